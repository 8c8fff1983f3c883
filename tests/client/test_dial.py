"""Response heads and requests on piece connections: hostile input ends in ProtocolViolation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.errors import ProtocolViolation
from dfengine.net.http_client import encode_request, parse_head


def head(*lines: str, status: str = "HTTP/1.1 206 Partial Content") -> bytes:
    return "\r\n".join([status, *lines, "", ""]).encode("latin-1")


def test_a_piece_servers_head_is_parsed() -> None:
    parsed = parse_head(head("Content-Length: 4194304", "Content-Type: application/octet-stream", "ETag:\t\"x\" "))
    assert (parsed.status, parsed.length, parsed.chunked, parsed.keep_alive) == (206, 4194304, False, True)
    assert parsed.headers["etag"] == '"x"'


def test_bare_line_feeds_are_accepted() -> None:
    assert parse_head(b"HTTP/1.1 200 OK\nContent-Length: 3\n\n").length == 3


@pytest.mark.parametrize(
    ("raw", "keep_alive"),
    [
        (head("Content-Length: 0"), True),
        (head("Content-Length: 0", "Connection: close"), False),
        (head("Content-Length: 0", "Connection: Close"), False),
        (head("Content-Length: 0", status="HTTP/1.0 200 OK"), False),
        (head("Content-Length: 0", "Connection: keep-alive", status="HTTP/1.0 200 OK"), True),
        (head("Transfer-Encoding: chunked"), True),
        (head(), False),
    ],
)
def test_whether_a_connection_can_be_kept(raw: bytes, keep_alive: bool) -> None:
    assert parse_head(raw).keep_alive == keep_alive


@pytest.mark.parametrize("status", ["HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified", "HTTP/1.1 100 Continue"])
def test_responses_without_a_body_have_length_0(status: str) -> None:
    assert parse_head(head("Content-Length: 77", status=status)).length == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n\r\n",
        b"\n\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 +20 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200\tOK\r\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        head("Content-Length: -1"),
        head("Content-Length: +1"),
        head("Content-Length: 0x10"),
        head("Content-Length: 1 2"),
        head("Content-Length: "),
        head("Content-Length: \xb2"),
        head("Content-Length: " + "9" * 19),
        head("Content-Length: 5", "Content-Length: 5"),
        head("Content-Length: 5", "content-length: 6"),
        head("Content-Length: 5", "Transfer-Encoding: chunked"),
        head("Transfer-Encoding: gzip, chunked"),
        head("Transfer-Encoding: identity"),
        head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        head("Content-Range: bytes 0-1/2", "Content-Range: bytes 5-6/7"),
        head("no colon"),
        head(": no name"),
        head("Sp ace: x"),
        head("Space : x"),
        head("Folded: x", " continued"),
        head("Value: a\x00b"),
        head("Value: a\rb"),
        head("Nam\xe9: x"),
    ],
)
def test_invalid_heads_are_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_head(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    try:
        parsed = parse_head(raw)
    except ProtocolViolation:
        return
    assert 100 <= parsed.status <= 599
    assert parsed.length >= -1


@given(st.lists(st.tuples(st.sampled_from(["Content-Length", "Transfer-Encoding", "X"]), st.text(max_size=8)), max_size=4))
def test_framing_headers_of_any_value_are_parsed_or_refused(headers: list[tuple[str, str]]) -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in headers) + b"\r\n"
    try:
        parsed = parse_head(raw)
    except ProtocolViolation:
        return
    assert not (parsed.chunked and parsed.length >= 0)
    assert parsed.length < 10**18


def test_requests_are_encoded() -> None:
    get = encode_request("GET", "/a?b=c", "h:1", {"Range": "bytes=0-1"}, b"")
    assert get == b"GET /a?b=c HTTP/1.1\r\nHost: h:1\r\nRange: bytes=0-1\r\n\r\n"
    assert encode_request("POST", "/", "h", {}, b"").endswith(b"Content-Length: 0\r\n\r\n")
    assert encode_request("POST", "/", "h", {}, b"xy").endswith(b"Content-Length: 2\r\n\r\nxy")


@pytest.mark.parametrize("target", ["", "x", "http://x/", "/a b", "/a\r\nX: y", "/a\0", "/\xe9", "/a\x7f", "/a\tb"])
def test_invalid_targets_are_refused(target: str) -> None:
    with pytest.raises(ProtocolViolation):
        encode_request("GET", target, "h", {}, b"")


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\0b"])
def test_header_values_with_line_breaks_are_refused(value: str) -> None:
    with pytest.raises(ProtocolViolation):
        encode_request("GET", "/", "h", {"X": value}, b"")
