"""Targets of requests to a forward proxy."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.http import BadRequest
from dfengine.proxy.targets import is_absolute, is_local, parse_absolute, parse_connect, path


@pytest.mark.parametrize(
    ("target", "url", "rest"),
    [
        (b"http://example.com/a?b=%2F&c", "http://example.com", "/a?b=%2F&c"),
        (b"HTTP://Example.COM:80", "http://example.com", "/"),
        (b"http://a_b.local:8080?x", "http://a_b.local:8080", "/?x"),
        (b"http://[::1]:8080/x", "http://[::1]:8080", "/x"),
        (b"http://h//a/../b?u=http://c/@", "http://h", "//a/../b?u=http://c/@"),
        (b"http://example.com./x", "http://example.com.", "/x"),
    ],
)
def test_absolute_urls_are_parsed(target: bytes, url: str, rest: str) -> None:
    server, path = parse_absolute(target)
    assert (server.url, path) == (url, rest)
    assert is_absolute(target)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"https://h/x", 501), (b"ftp://h/x", 501), (b"http:///x", 400), (b"http://u:p@h/x", 400), (b"http://h:0/x", 400),
        (b"http://h:99999/x", 400), (b"http://h:x/", 400), (b"http://h/x#y", 400), (b"http://h/\xff", 400), (b"http://h /x", 400),
        (b"http://a..b/x", 400), (b"http://-/x", 400), (b"http://" + b"a." * 200 + b"b/", 400), (b"http://h\\x/", 400), (b"://h/x", 400),
        (b"http://[::1/x", 400), (b"http://h\r\n/x", 400), (b"http://%68/x", 400),
    ],
)  # fmt: skip
def test_invalid_absolute_urls_are_refused(target: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_absolute(target)
    assert refused.value.status == status


def test_paths_are_not_absolute_urls() -> None:
    assert not any(map(is_absolute, (b"/x://y", b"*", b"//h/x", b"x", b"/")))


def test_targets_of_connect_are_parsed_or_refused() -> None:
    found = [(each.host, each.port) for each in map(parse_connect, (b"Example.com:443", b"[::1]:8443"))]
    assert found == [("example.com", 443), ("[::1]", 8443)]
    for target in (b"example.com", b"http://h:443", b"u@h:443", b"h:0", b"h:443/x", b":443", b"", b"h:443 ", b"h:", b"[::1]", b"\xff:443"):
        with pytest.raises(BadRequest):
            parse_connect(target)


def test_local_addresses_are_recognized() -> None:
    local = (b"http://localhost/", b"http://a.localhost:8/", b"http://127.9.9.9/", b"http://[::1]/", b"http://169.254.1.1/", b"http://[fe80::1]/",
             b"http://[::ffff:127.0.0.1]/", b"http://0.0.0.0/", b"http://localhost./")  # fmt: skip
    others = (b"http://10.0.0.1/", b"http://localhost.example.org/", b"http://example.org/", b"http://[2001:db8::1]/")
    assert [is_local(parse_absolute(each)[0]) for each in local + others] == [True] * len(local) + [False] * len(others)


def test_paths_are_parsed_or_refused() -> None:
    assert path(b"/a?b=%2f") == "/a?b=%2f"
    for target in (b"/\xc3\xa4", b"/a b", b"a", b"", b"/\x7f", b"/a\n"):
        with pytest.raises(BadRequest):
            path(target)


@given(st.binary(max_size=60) | st.builds(lambda rest: b"http://" + rest, st.binary(max_size=60)))
def test_any_bytes_are_parsed_or_refused(target: bytes) -> None:
    for read in (parse_absolute, parse_connect):
        with contextlib.suppress(BadRequest):
            found = read(target)
            server = found[0] if isinstance(found, tuple) else found
            assert 0 < server.port < 65536
            assert server.host
            assert not set("@/?# \r\n") & set(server.host)
