"""The fast parser of plain requests agrees with the full parser."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.net._request import plain
from dfengine.net.http import MAX_FIELDS, MAX_HEAD
from tests.fuzz.parsers import plain as alike

lines = st.sampled_from(
    [
        b"Host: h:1",
        b"Content-Length: 3",
        b"Content-Length: 0",
        b"content-length: 3",
        b"Content-Length: +3",
        b"Content-Length: 03",
        b"X_y:z",
        b"X-Y: a b",
        b"X-Y:  a",
        b"X-Y: a ",
        b"X-Y:",
        b"X Y: 1",
        b" X: 1",
        b"Connection: close",
        b"Transfer-Encoding: chunked",
        b"Expect: 100-continue",
        b"Range: bytes=0-1",
        b"X: \xe9",
        b"X: \x01",
        b"X: a\tb",
        b": 1",
        b"Upgrade: x",
    ]
)
starts = st.sampled_from(
    [
        b"POST /a HTTP/1.1",
        b"GET /a?b=%20 HTTP/1.1",
        b"GET a HTTP/1.1",
        b"GET  /a HTTP/1.1",
        b"POST /a HTTP/1.0",
        b"PUT /a HTTP/1.1",
        b"GET /\xe9 HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET / HTTP/1.1 ",
    ]
)


@settings(deadline=None, max_examples=400)
@given(starts, st.lists(lines, max_size=4), st.sampled_from([b"", b"abc", b"abcd"]), st.sampled_from([b"\r\n", b"\r\n", b"\n"]))
def test_the_fast_parser_agrees_with_the_full_parser(start: bytes, headers: list[bytes], body: bytes, end: bytes) -> None:
    data = end.join([start, *headers, b"", body])
    alike(data)


def test_a_head_of_many_fields_is_left_to_the_full_parser() -> None:
    for number, is_plain in ((1, True), (MAX_FIELDS, False), (MAX_FIELDS + 1, False)):
        data = b"GET /a HTTP/1.1\r\n%b\r\n" % b"".join(b"h%d: v\r\n" % n for n in range(number))
        assert (plain(data, MAX_HEAD, 100) is not None) == is_plain


def test_a_usual_pull_is_parsed_by_the_fast_parser() -> None:
    data = b"POST /swarm/pull HTTP/1.1\r\nHost: h:1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    headers = {"host": "h:1", "content-type": "application/json", "content-length": "2"}
    assert plain(data, MAX_HEAD, 100) == ("POST", b"/swarm/pull", headers, b"{}")
    assert plain(data[:-1], MAX_HEAD, 100) is None
    assert plain(data + b"x", MAX_HEAD, 100) is None
    assert plain(data, 20, 100) is None
    assert plain(data, MAX_HEAD, 1) is None
