"""Identifiers of a download, and its registration."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfengine import task, wire
from dfengine.client import messages
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.identity import identify, registration
from dfengine.errors import BadValue
from dfengine.settings import GetSettings
from dfengine.storage.home import valid_name


def asked(url: str = "http://o/f", **values: object) -> GetSettings:
    return GetSettings(url=url, output="x", **values)  # type: ignore[arg-type]


def test_the_task_id_is_that_of_1x() -> None:
    assert identify(asked()).task == task.task_id("http://o/f")
    assert identify(asked("http://o/f?a=1&t=9", filter="t")).task == task.task_id("http://o/f?a=1")
    assert identify(asked(md5="m", identifier="i")).task == task.task_id("http://o/f", "m")
    assert identify(asked(identifier="i")).task == task.task_id("http://o/f", "i")
    assert identify(asked(headers=(("range", "bytes=1-2"),))).task == task.task_id("http://o/f", "", "bytes=1-2")


@pytest.mark.parametrize(
    "url",
    ["http://o/", "http://o/..", "http://o/.hidden", "http://o/a%2Fb%00c", "http://o/" + "x" * 500, "http://o/%E4%B8%AD", "http://o/%E9.bin",
     "http://o/a?b/c"],
)  # fmt: skip
def test_the_name_is_valid_at_the_peer_server(url: str) -> None:
    assert valid_name(identify(asked(url)).name)


def test_downloads_of_one_process_have_different_signs() -> None:
    assert len({identify(asked()).sign for _ in range(50)}) == 50


def test_an_unsupported_url_is_rejected() -> None:
    with pytest.raises(BadValue):
        identify(asked("ftp://o/f"))


def test_the_fields_of_a_registration(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    settings = asked(headers=(("A", "b"),), cacerts=(str(pem),), insecure=True, pattern="cdn", md5="0" * 32, callsystem="me")
    who = identify(settings)
    sent = registration(settings, who, "10.0.0.1", 15001)
    fields = wire.folded(sent.encode("10.0.0.9"))
    assert fields["supernodeip"] == "10.0.0.9"
    assert fields["cid"] == f"10.0.0.1-{who.sign}"
    assert fields["path"] == f"/peer/file/{who.name}"
    assert (fields["port"], fields["native"], fields["headers"], fields["insecure"]) == (15001, 1, ["A: b"], True)
    assert (fields["pattern"], fields["md5"], fields["callsystem"]) == ("cdn", "0" * 32, "me")
    assert fields["rootcas"] == ["LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="]


def test_a_host_header_changes_the_task() -> None:
    plain = asked(headers=(("A", "b"),))
    one, same, two = (asked(headers=((name, host),)) for name, host in (("Host", "one.test"), ("host", "ONE.test"), ("Host", "two.test")))
    assert identify(one).task == identify(same).task
    assert len({identify(each).task for each in (plain, one, two)}) == 3
    ranged = asked(headers=(("Range", "bytes=1-2"), ("Host", "one.test")))
    assert identify(ranged).task not in {identify(one).task, task.task_id("http://o/f", "", "bytes=1-2")}


def test_a_user_is_registered_as_a_header(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine o login me password p\nmachine other login you password q\n")
    given = (("A", "b"),)
    for settings in (asked(headers=given, user="me:p"), asked(headers=given, netrc_file=str(netrc))):
        sent = wire.folded(registration(settings, identify(settings), "10.0.0.1", 0).encode("10.0.0.9"))
        assert sent["headers"] == ["A: b", "Authorization: Basic bWU6cA=="]
    netrc.write_text("machine other login you password q\n")
    settings = asked(headers=given, netrc_file=str(netrc))
    assert wire.folded(registration(settings, identify(settings), "10.0.0.1", 0).encode("10.0.0.9"))["headers"] == ["A: b"]


def test_invalid_certificates_are_rejected(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"hello")
    for path in (plain, tmp_path / "absent"):
        with pytest.raises(BadValue, match="cannot be read"):
            identify(asked(cacerts=(str(path),)))


def test_downloads_with_different_verification_of_the_origin_are_stored_separately(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n")
    a, b = (str(tmp_path / name) for name in "ab")
    ways: list[dict[str, object]] = [{}, {"insecure": True}, {"cacerts": (a,)}, {"cacerts": (b,)}, {"cacerts": (a, b)}]
    found = [identify(asked("https://o/f", **way)) for way in ways]
    assert len({who.storage_id for who in found}) == len(ways)
    assert {who.task for who in found} == {found[0].storage_id}, "the 1.x id, which selects the supernode, depends on it"
    assert identify(asked("https://o/f", cacerts=(b, a, b))).storage_id == found[-1].storage_id


def test_downloads_with_different_selecting_headers_are_stored_separately() -> None:
    ways = [(), (("Accept-Language", "fr"),), (("Accept-Language", "en"),), (("User-Agent", "fr"),)]
    found = [identify(asked("https://o/f", headers=way)) for way in ways]
    assert len({who.storage_id for who in found}) == len(ways)
    assert {who.task for who in found} == {found[0].storage_id}
    token = identify(asked("https://o/f", headers=(("Authorization", "b"), ("X-Request-Id", "1"), ("accept-language", "fr"))))
    assert token.storage_id == found[1].storage_id, "a new token does not resume the download of the old one"


def test_downloads_of_one_content_from_different_servers_are_stored_separately() -> None:
    content = f"df:sha256:{'0' * 64}"
    found = [identify(asked("https://o/f", content=content, source=source)) for source in ("", "https://o", "https://p")]
    assert len({who.storage_id for who in found}) == 3
    assert {who.task for who in found} == {found[0].storage_id}, "supernodes have one task for all of them"


def test_an_md5_is_case_insensitive() -> None:
    upper, lower = asked(md5="AB" * 16), asked(md5="ab" * 16)
    assert identify(upper).task == identify(lower).task == task.task_id("http://o/f", "ab" * 16)
    assert registration(upper, identify(upper), "10.0.0.1", 0).md5 == "ab" * 16


def test_bytes_are_counted_by_kind_of_source() -> None:
    byte_counts = ByteCounts()
    byte_counts.resumed = 1
    byte_counts.add(None, 10)
    byte_counts.add(messages.Source("cdnnode:1.2.3.4~t", "1.2.3.4", 1, "/"), 100)
    byte_counts.add(messages.Source("10.0.0.1-1-1.0", "10.0.0.1", 1, "/"), 1000)
    assert (byte_counts.origin, byte_counts.supernode, byte_counts.peers, byte_counts.total) == (10, 100, 1000, 1111)


def test_each_peer_is_counted_once() -> None:
    byte_counts = ByteCounts()
    for cid, ip, port in [("a", "10.1", 1), ("b", "10.1", 1), ("c", "10.1", 2), ("cdnnode:d", "10.4", 1), ("e", "10.2", 1)]:
        byte_counts.add(messages.Source(cid, ip, port, "/"), 10)
    byte_counts.add(None, 10)
    assert byte_counts.senders == 3
    byte_counts.reset(7)
    assert (byte_counts.senders, byte_counts.total, byte_counts.resumed) == (0, 7, 7)
