"""Origins that a supernode may connect to: names, addresses in every notation, and redirects."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dfengine.errors import BadValue, OriginForbidden
from dfengine.net.metadata_addresses import ADDRESSES
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.cancel import Cancel
from dfengine.origin.http import HttpOrigin
from dfengine.origin.request import is_private
from tests.origins import quiet

METADATA = [
    "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1",
    "::169.254.169.254", "::ffff:0:169.254.169.254", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1:2:3:4:a9fe:a9fe", "fe80::1%eth0",
    "fd00:ec2::254", "fd00:ec2::23", "100.100.100.200", "169.254.170.2", "169.254.170.23", "fd20:ce::254", "168.63.129.16",
    "169.254.42.42", "fd00:42::42", "fd00:c1::a9fe:a9fe", "192.0.0.192", "fd00:100::100:200", "fd00:a9fe:a9fe::1", "100.96.0.96",
    # Of another network: ISATAP with either flag, also within a global prefix and link-local.
    "2001:db8::5efe:169.254.169.254", "2001:db8::200:5efe:a83f:8110", "fd12:3456::5efe:6464:64c8", "2001:db8::300:5efe:a9fe:a9fe",
    # Teredo: the server in plain form, the client's address inverted.
    "2001:0:a9fe:a9fe:0:f227:8181:8181", "2001:0:4136:e378:8000:63bf:5601:5601",
    # NAT64 with a prefix of 48, 56 and 64 bits; 6to4 that carries ISATAP's form.
    "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:aa:a9:fe:a9fe:a9fe", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:0:a9:fea9:fe00:0",
    "64:ff9b:1:a83f:81:1000::", "2002:808:808::5efe:a9fe:a9fe", "::ffff:168.63.129.16", "64:ff9b::168.63.129.16", "2002:a83f:8110::1",
]


@pytest.mark.parametrize("address", METADATA)
def test_metadata_addresses_are_denied_in_every_notation(address: str) -> None:
    assert not OriginAccess().permits("innocent.example", address)
    assert not OriginAccess(allow=["0.0.0.0/0", "::/0", "innocent.example"]).permits("innocent.example", address)


def test_only_a_rule_for_the_exact_network_allows_what_is_denied_by_default() -> None:
    access = OriginAccess(allow=["169.254.7.0/24"])
    assert access.permits("files", "169.254.7.9")
    assert not access.permits("files", "169.254.169.254")
    assert not OriginAccess(allow=["169.254.7.0/24"], deny=["169.254.7.9"]).permits("files", "169.254.7.9")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.0.2.1", "2001:db8::1", "168.63.129.17", "100.100.100.201", "fd00:42::43", "fd20:ce::253", "fd00:ec1::1",
     "2001:db8::5efe:10.1.2.3", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "64:ff9b:1::10.1.2.3", "2001:db8::5eff:169.254.169.254"],
)
def test_other_addresses_are_allowed_without_rules(address: str) -> None:
    assert OriginAccess().permits("files.example", address)


def test_allow_rules_deny_the_rest_and_deny_rules_take_precedence() -> None:
    access = OriginAccess(allow=["files.example", ".cdn.example", "10.0.0.0/8"], deny=["10.9.0.0/16", "old.cdn.example"])
    assert access.permits("files.example", "192.0.2.1")
    assert access.permits("FILES.example.", "192.0.2.1")
    assert access.permits("a.cdn.example", "192.0.2.1")
    assert access.permits("other", "10.1.1.1")
    assert not access.permits("old.cdn.example", "192.0.2.1")
    assert not access.permits("files.example", "10.9.1.1")
    assert not access.permits("notfiles.example", "192.0.2.1")
    assert not access.permits("evilcdn.example", "192.0.2.1")
    assert not access.permits("files.example.evil", "192.0.2.1")


@pytest.mark.parametrize("host", ["files.example", "\u24d5iles.EXAMPLE", "files\u3002example", "\uff46iles.example."])
def test_names_are_compared_after_unicode_normalization(host: str) -> None:
    assert not OriginAccess(deny=["files.example"]).permits(host, "192.0.2.1")
    assert OriginAccess(allow=["\uff26iles.example"]).permits(host, "192.0.2.1")


def test_an_ipv6_prefix_that_embeds_ipv4_can_be_denied_itself() -> None:
    assert not OriginAccess(deny=["64:ff9b::/96"]).permits("files", "64:ff9b::1.2.3.4")
    assert OriginAccess(deny=["64:ff9b::/96"]).permits("files", "1.2.3.4")


@pytest.mark.parametrize(
    "carrier",
    ["::ffff:{}", "64:ff9b::{}", "64:ff9b:1::{}", "64:ff9b:1:2::{}", "::{}", "::ffff:0:{}", "2001:db8::5efe:{}", "2001:db8::200:5efe:{}"],
)
def test_rules_for_ipv4_apply_to_every_ipv6_notation(carrier: str) -> None:
    access = OriginAccess(deny=["10.9.0.0/16", "127.0.0.0/8"])
    assert not access.permits("files", carrier.format("10.9.1.2"))
    assert access.permits("files", carrier.format("10.8.1.2"))
    assert not OriginAccess(allow=["10.8.0.0/16"]).permits("files", carrier.format("10.9.1.2"))


def test_each_metadata_address_states_its_source_and_is_denied() -> None:
    assert all(
        what and ("https://" in source or "RFC" in source) and not OriginAccess().permits("files", network.partition("/")[0])
        for network, what, source in ADDRESSES
    )


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "http://files", "a b", "1.2.3", "::zz", "300.1.1.1"])
def test_a_rule_that_would_never_match_is_rejected(text: str) -> None:
    with pytest.raises(BadValue):
        OriginAccess(deny=[text])


class Handler(quiet.QuietHandler):
    """Redirects to `target`, or answers `size` bytes; stores the heads of requests."""

    target = ""
    size = 3
    seen: list[dict[str, str]]

    def do_GET(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(302 if self.target else 200)
        if self.target:
            self.send_header("Location", self.target)
        self.send_header("Content-Length", "0" if self.target else str(self.size))
        self.end_headers()
        if not self.target:
            with contextlib.suppress(OSError):
                self.wfile.write(bytes(self.size))


@contextmanager
def origin(where: str = "127.0.0.1", to: str = "", size: int = 3) -> Iterator[tuple[str, list[dict[str, str]]]]:
    seen: list[dict[str, str]] = []
    kind = type("_Handler", (Handler,), {"target": to, "size": size, "seen": seen})
    with quiet.serving(kind, where) as address:
        yield f"http://{address}/f", seen


def ask(url: str, access: OriginAccess, headers: Iterable[tuple[str, str]] = ()) -> None:
    """Send one request, through redirects; the body is not read."""
    cancel = Cancel()
    try:
        HttpOrigin(url, headers, cancel=cancel, access=access).open().close()
    finally:
        cancel.close()


def test_the_checked_address_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is looked up again between the check and the connection."""
    judged: list[str] = []
    permits = OriginAccess.permits

    def asked(access: OriginAccess, host: str, address: str) -> bool:
        judged.append(address)
        return permits(access, host, address)

    def resolve(*_: Any, **__: Any) -> None:
        raise AssertionError("a second look-up may find another address")

    monkeypatch.setattr(OriginAccess, "permits", asked)
    with origin() as (url, seen):
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        there = url.replace("127.0.0.1", "localhost")
        ask(there, OriginAccess())
        assert judged[-1] == "127.0.0.1", "the last checked address is the one that answers"
        assert len(seen) == 1
        judged.clear()
        with pytest.raises(OriginForbidden):
            ask(there, OriginAccess(deny=["127.0.0.0/8", "::1"]))
        assert "127.0.0.1" in judged
        assert len(seen) == 1


def connected(fd: int, port: int) -> bool:
    """Whether the descriptor is a socket connected to `port` of this machine."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            with socket.socket(fileno=os.dup(fd)) as sock:
                return bool(sock.getpeername() == ("127.0.0.1", port))
    return False


def test_an_origins_socket_is_not_inheritable() -> None:
    cancel = Cancel()
    with origin(size=1 << 24) as (url, _):
        port = int(url.split("/")[2].partition(":")[2])
        body = HttpOrigin(url, cancel=cancel, access=OriginAccess()).open()
        inherited = [os.get_inheritable(fd) for fd in map(int, os.listdir("/proc/self/fd")) if connected(fd, port)]
        body.close()
    cancel.close()
    assert inherited == [False], "the connection has exactly one descriptor"


def test_redirect_targets_are_checked_like_urls() -> None:
    with origin("127.0.0.9") as (inner, seen), origin(to=inner) as (url, _):
        ask(url, OriginAccess())
        assert len(seen) == 1
        with pytest.raises(OriginForbidden, match=r"127\.0\.0\.9"):
            ask(url, OriginAccess(deny=["127.0.0.9"]))
        assert len(seen) == 1
    with origin(to="http://169.254.169.254/latest/meta-data") as (url, _), pytest.raises(OriginForbidden):
        ask(url, OriginAccess())


SPELLINGS = ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "0.0.0.0", "[::ffff:127.0.0.1]",
             "[::ffff:0.0.0.0]", "localhost", "LOCALHOST"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_denied_address_is_refused_in_any_spelling_and_after_redirects(spelling: str) -> None:
    """Each spelling reaches this machine when nothing is denied, in the URL itself and after a redirect from elsewhere."""
    with origin("127.0.0.1") as (url, seen):
        port = url.split("/")[2].partition(":")[2]
        disguised = f"http://{spelling}:{port}/f"
        with origin("127.0.0.9", disguised) as (elsewhere, _):
            for first in (disguised, elsewhere):
                ask(first, OriginAccess())
                before = len(seen)
                with pytest.raises(OriginForbidden):
                    ask(first, OriginAccess(deny=["127.0.0.1", "::1"]))
                assert len(seen) == before


@pytest.mark.parametrize("host", ["inner.example", "inner.example.", "INNER.example.", "a.inner.example", "a.inner.example."])
def test_a_denied_name_is_denied_with_a_trailing_dot(host: str) -> None:
    assert not OriginAccess(deny=["inner.example", ".inner.example"]).permits(host, "192.0.2.1")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
def test_unspecified_addresses_count_as_this_machine(address: str) -> None:
    assert not OriginAccess(deny=["127.0.0.0/8", "::1"]).permits("x", address)
    assert not OriginAccess(allow=["10.0.0.0/8"]).permits("x", address)


def test_credentials_are_not_sent_to_another_host_after_a_redirect() -> None:
    headers = [("Authorization", "Bearer t0ken"), ("cookie", "s=1"), ("X-Auth-Token", "t0ken"), ("User-Agent", "curl")]
    with origin("127.0.0.9") as (inner, there), origin(to=inner) as (url, here):
        ask(url, OriginAccess(), headers)
    assert {"authorization", "cookie", "x-auth-token"} <= set(here[0])
    assert there[0]["user-agent"] == "curl"
    assert not {"authorization", "cookie", "x-auth-token"} & set(there[0])


def test_header_fields_not_known_to_be_harmless_are_private() -> None:
    assert all(map(is_private, ("Authorization", "COOKIE", "Proxy-Authorization", "X-Auth-Token", "PRIVATE-TOKEN", "X-Api-Key", "Host")))
    assert not any(map(is_private, ("Accept", "User-Agent", "Range", "Connection", "traceparent")))
