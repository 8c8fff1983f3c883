"""SRV records by dnspython, from a name server of this test, and the nodes made of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import SupernodeError
from dfengine.net import srv
from dfengine.settings import SupernodeAddress
from tests.net.name_server import NAME, NameServer


@pytest.fixture
def server() -> Iterator[NameServer]:
    made = NameServer()
    yield made
    made.close()


def test_records_become_nodes_that_are_valid_for_the_ttl_within_bounds(server: NameServer) -> None:
    server.records = ["10 5 8002 Sn1.test.", "20 0 9000 sn2.test."]
    found, seconds = srv.lookup(NAME, server.resolver())
    assert sorted(found, key=str) == [
        SupernodeAddress("sn1.test", 8002, 5, priority=10), SupernodeAddress("sn2.test", 9000, 0, priority=20)
    ]  # fmt: skip
    assert seconds == 60
    for server.ttl, kept in ((0, srv.SECONDS[0]), (1 << 30, srv.SECONDS[1])):
        assert srv.lookup(NAME, server.resolver())[1] == kept


@pytest.mark.parametrize(
    ("records", "said"),
    [(None, "no such name"), ([], "no SRV records"), (["0 0 0 ."], "name no host"), (["0 0 0 sn.test."], "name no host")],
)
def test_records_without_usable_hosts_are_reported(server: NameServer, records: list[str] | None, said: str) -> None:
    server.records = records
    with pytest.raises(SupernodeError, match=said):
        srv.lookup(NAME, server.resolver())


@pytest.mark.parametrize("kind", ["silent", "garbage"])
def test_silent_and_invalid_name_servers_are_given_up(server: NameServer, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(srv, "LIFETIME", 0.3)
    setattr(server, kind, True)
    with pytest.raises(SupernodeError, match="no name server answers"):
        srv.lookup(NAME, server.resolver())


NUMBERS = st.integers(0, 65535)


TARGETS = st.text(max_size=300) | st.sampled_from([".", "a.b.", "[::1]", "x://y", "a=1", "-o"])


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, TARGETS)))
def test_any_record_yields_a_valid_node_or_none(records: list[tuple[int, int, int, str]]) -> None:
    for node in srv.nodes(records):
        assert 0 < node.port < 65536
        assert not node.lookup
        assert SupernodeAddress.parse(str(node)) == SupernodeAddress(node.host, node.port)
