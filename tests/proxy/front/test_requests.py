"""Parsing of clients' requests, including malformed and hostile ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.http import MAX_FIELDS, BadRequest
from dfengine.proxy.front.requests import MAX_HEAD, Head, Requests


class Taken:
    """Collects the parsed heads, and the bodies of requests that are complete."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.bodies: list[bytes] = []
        self._body = b""

    def request(self, head: Head) -> None:
        self.heads.append(head)
        self._body = b""

    def body(self, data: bytes) -> None:
        self._body += data

    def complete(self) -> None:
        self.bodies.append(self._body)


def fed(*parts: bytes, taken: Taken | None = None) -> Taken:
    """Return all that is parsed from these parts, one request at a time."""
    taken = taken or Taken()
    requests = Requests(taken)
    for part in parts:
        at = 0
        while at < len(part):
            before, ended = at, len(taken.bodies)
            at = requests.feed(part, at)
            assert at > before
            assert len(taken.bodies) <= ended + 1
    return taken


GET = b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
PUT = b"PUT /v2/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"PUT /v2/y HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def test_pipelined_requests_and_their_bodies_are_parsed() -> None:
    taken = fed(GET + PUT + GET + CHUNKS)
    assert [(head.method, head.target) for head in taken.heads] == [
        ("GET", b"/v2/"), ("PUT", b"/v2/x"), ("GET", b"/v2/"), ("PUT", b"/v2/y"),
    ]  # fmt: skip
    assert taken.bodies == [b"", b"hello", b"", b"abcde"]
    assert taken.heads[0].fields == [(b"Host", b"a"), (b"X", b"y")]


@given(st.lists(st.integers(0, len(GET + PUT + GET + CHUNKS)), max_size=8))
def test_requests_are_parsed_at_any_split_of_the_bytes(cuts: list[int]) -> None:
    whole = GET + PUT + GET + CHUNKS
    places = sorted({0, *cuts, len(whole)})
    taken = fed(*(whole[first:past] for first, past in pairwise(places)))
    assert taken.bodies == [b"", b"hello", b"", b"abcde"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /v2/ HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /v2/ HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET /v2/ HTTP/1.1\r\nHost: a\r\n x: folded\r\n\r\n", 400),
        (b"GET /v2/ HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        (b"GET /v2/ HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", 400),
        (b"GET /v2/ HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET v2/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET http://b/v2/ HTTP/1.1\r\n\r\n", 400),
        (b"GET http://b/v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 400),
        (b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
        (b"GET /v2/ HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n", 417),
        (b"PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"PUT /v2/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"PUT /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
        (b"PUT /v2/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"PUT /v2/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (CHUNKS[:-5] + b"0\r\n" + b"".join(b"X%d: %b\r\n" % (n, b"y" * 999) for n in range(40)) + b"\r\n", 431),
        (b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * MAX_FIELDS + b"\r\n", 431),
        (b"a" * (2 * MAX_HEAD), 400),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", 400),
        (CHUNKS + GET, 400),
    ],
)  # fmt: skip
def test_invalid_requests_are_refused(data: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as refused:
        fed(data)
    assert refused.value.status == status


def outcome(*parts: bytes) -> tuple[list[tuple[str, bytes]], list[bytes], int]:
    """Methods and targets, bodies, and the status of the refusal of the first invalid request; 0: there is none."""
    taken, status = Taken(), 0
    try:
        fed(*parts, taken=taken)
    except BadRequest as error:
        status = error.status
    return [(head.method, head.target) for head in taken.heads], taken.bodies, status


@given(st.lists(st.sampled_from([GET, PUT]), max_size=2), st.binary(max_size=100), st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_after_valid_requests_are_parsed_or_refused_however_they_are_cut(
    valid: list[bytes], rest: bytes, cuts: list[int]
) -> None:
    data = b"".join(valid) + rest
    heads, bodies, status = outcome(data)
    assert len(heads) >= len(valid) <= len(bodies)
    assert status == 0 or 400 <= status < 600
    assert all(target.startswith(b"/") for _, target in heads)
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    assert outcome(*(data[first:past] for first, past in pairwise(places))) == (heads, bodies, status)
