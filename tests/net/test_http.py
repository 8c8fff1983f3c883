from __future__ import annotations

import gc
import weakref
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.net._sendfile import FileSlice
from dfengine.net.http import MAX_FIELDS, MAX_HEAD, BadRequest, Parts, Request, RequestReader, Response, text

POST = b"POST /swarm/pull?a=1&b=%20x HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\nbody"
GET = b"GET /peer/file/n HTTP/1.1\r\nRange: bytes=0-4194303\r\npieceNum: 0\r\nPieceSize: 4194304\r\n\r\n"


def read(data: bytes, cuts: list[int] | None = None, max_body: int = 1 << 20) -> list[Request]:
    found: list[Request] = []
    reader = RequestReader("127.0.0.1", found.append, max_body)
    for begin, end in pairwise([0, *sorted(cuts or []), len(data)]):
        if data[begin:end]:
            reader.feed(data[begin:end])
    return found


def fields(request: Request) -> tuple[Any, ...]:
    return request.method, request.path, request.query, request.headers, request.body, request.keep_alive


@given(st.lists(st.sampled_from([POST, GET]), min_size=1, max_size=5), st.data())
def test_any_segmentation_yields_the_same_requests(requests: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(requests)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    whole = [fields(request) for one in requests for request in read(one)]
    assert [fields(request) for request in read(stream, cuts)] == whole


def test_fields_of_a_request_are_parsed() -> None:
    (request,) = read(POST)
    assert fields(request) == (
        "POST", "/swarm/pull", {"a": "1", "b": " x"}, {"host": "h", "content-type": "application/json", "content-length": "4"},
        b"body", True,
    )  # fmt: skip
    assert request.client == "127.0.0.1"
    (request,) = read(GET)
    assert request.headers == {"range": "bytes=0-4194303", "piecenum": "0", "piecesize": "4194304"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", {}),
        (b"a=1&a=2", {"a": "1"}),
        (b"a&b=&=c&&", {"a": "", "b": ""}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a+b=c%2Bd+e", {"a b": "c+d e"}),
        (b"%C3%A4=%e2%82%ac", {"ä": "€"}),
        (b"a=%zz%", {"a": "%zz%"}),
    ],
)
def test_queries_are_decoded(query: bytes, expected: dict[str, str]) -> None:
    assert Request("GET", b"/x?" + query, {}, b"", "").query == expected


@pytest.mark.parametrize("query", [b"a=%ff", b"%c3=1", b"a=\xff"])
def test_queries_that_are_not_utf8_are_refused(query: bytes) -> None:
    with pytest.raises(BadRequest) as refusal:
        _ = Request("GET", b"/x?" + query, {}, b"", "").query
    assert refusal.value.status == 400


def test_paths_are_decoded_once() -> None:
    assert Request("GET", b"/peer/file/a%2Fb%252e", {}, b"", "").path == "/peer/file/a/b%2e"


@pytest.mark.parametrize("target", [b"/%ff", b"/\xc3\xa4", b"http://h/x", b"*", b"x", b"/a\0b", b""])
def test_invalid_targets_are_refused(target: bytes) -> None:
    with pytest.raises(BadRequest) as refusal:
        Request("GET", target, {}, b"", "")
    assert refusal.value.status == 400


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"GET / HTTP/1.1", *lines, b"", b""])


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head(b"Content-Length: 1", b"Content-Length: 1"), 400),
        (head(b"Content-Length: 1", b"content-length: 2"), 400),
        (head(b"Transfer-Encoding: chunked"), 411),
        (head(b"Transfer-Encoding: chunked", b"Content-Length: 3"), 400),
        (head(b"Transfer-Encoding: gzip, chunked"), 400),
        (head(b"Content-Length: -1"), 400),
        (head(b"Content-Length: +1"), 400),
        (head(b"Content-Length: 1, 1"), 400),
        (head(b"Content-Length: 0x10"), 400),
        (head(b"Content-Length: " + b"9" * 18), 413),
        (head(b"Content-Length: " + b"9" * 19), 400),
        (head(b"Content-Length: " + b"0" * 30 + b"9"), 400),
        (head(b"Content-Length: 1048577"), 413),
        (head(b"Range: bytes=0-1", b"Range: bytes=2-3"), 400),
        (head(b"Host: a", b"Host: b"), 400),
        (head(b"Connection: Upgrade", b"Upgrade: h2c"), 400),
        (head(b"No colon"), 400),
        (head(b"X: a\0b"), 400),
        (head(b" folded: x"), 400),
        (b"CONNECT h:1 HTTP/1.1\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/3.9\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (head(b"X: " + b"a" * MAX_HEAD), 431),
        (b"GET /" + b"a" * MAX_HEAD + b" HTTP/1.1\r\n\r\n", 431),
        (head(*[b"a: b"] * 3000), 431),
        (head(b"X: " + b"a" * 100_000)[:60_000], 431),
        (b"GET /" + b"a" * 60_000, 431),
    ],
    ids=range(30),
)
@pytest.mark.parametrize("step", [1 << 20, 1000, 7])
def test_invalid_requests_are_refused(data: bytes, status: int, step: int) -> None:
    with pytest.raises(BadRequest) as refusal:
        read(data, list(range(step, len(data), step)))
    assert refusal.value.status == status
    assert refusal.value.reason


def test_a_head_of_many_fields_is_refused() -> None:
    for step in (1 << 20, 7):
        for name in (b"h%d: v", b"h%d:", b"h: v%d"):
            most = head(*[name % n for n in range(MAX_FIELDS)])
            assert len(read(most * 2, list(range(step, 2 * len(most), step)))) == 2, "each request has its own"
            more = head(*[name % n for n in range(MAX_FIELDS + 1)])
            with pytest.raises(BadRequest) as refusal:
                read(more, list(range(step, len(more), step)))
            assert (refusal.value.status, refusal.value.reason) == (431, "more than 128 header fields")


def test_a_head_of_almost_16_kib_is_accepted_in_any_segmentation() -> None:
    lines = [b"h%d: %s" % (n, b"v" * 1000) for n in range(16)]
    for step in (1 << 20, 3000, 1):
        data = head(*lines)
        assert MAX_HEAD - 1024 < len(data) < MAX_HEAD
        (request,) = read(data, list(range(step, len(data), step)))
        assert len(request.headers) == 16


def test_an_endless_head_is_refused_before_it_uses_memory() -> None:
    reader = RequestReader("", lambda request: None)
    fed = 0
    reader.feed(b"GET / HTTP/1.1\r\nX: ")

    def go_on() -> None:
        nonlocal fed
        while fed < 2 * MAX_HEAD:
            fed += 1000
            reader.feed(b"y" * 1000)

    with pytest.raises(BadRequest):
        go_on()


def test_a_body_is_refused_where_none_is_allowed() -> None:
    with pytest.raises(BadRequest) as refusal:
        read(head(b"Content-Length: 3") + b"abc", max_body=0)
    assert refusal.value.status == 400
    assert read(head(b"Content-Length: 0"), max_body=0)


def test_requests_before_a_bad_one_are_delivered() -> None:
    found: list[Request] = []
    reader = RequestReader("", found.append)
    with pytest.raises(BadRequest):
        reader.feed(GET + GET + b"nonsense\r\n\r\n")
    assert len(found) == 2


def test_a_refusal_by_the_receiver_of_requests_is_raised() -> None:
    def refuse(request: Request) -> None:
        raise BadRequest(429, "too many")

    with pytest.raises(BadRequest) as refusal:
        RequestReader("", refuse).feed(GET)
    assert refusal.value.status == 429


def test_started_is_true_within_a_request() -> None:
    reader = RequestReader("", lambda request: None)
    for data, started in ((b"GE", True), (b"T / HTTP/1.1\r\n\r\n", False), (POST[:-1], True), (POST[-1:], False)):
        reader.feed(data)
        assert reader.started is started


@pytest.mark.parametrize(
    ("line", "keeps"),
    [(b"HTTP/1.1\r\n", True), (b"HTTP/1.1\r\nConnection: close\r\n", False), (b"HTTP/1.0\r\n", False),
     (b"HTTP/1.0\r\nConnection: keep-alive\r\n", True)],
)  # fmt: skip
def test_keep_alive_follows_version_and_connection_field(line: bytes, keeps: bool) -> None:
    (request,) = read(b"GET / " + line + b"\r\n")
    assert request.keep_alive is keeps


def test_expect_100_continue_is_answered_once() -> None:
    told: list[int] = []
    reader = RequestReader("", lambda request: None, proceed=lambda: told.append(1))
    reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert told == [1]
    reader.feed(b"ab" + POST + b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")
    assert told == [1]


@given(st.lists(st.sampled_from([POST, GET]), max_size=2), st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
def test_any_bytes_after_valid_requests_yield_requests_or_a_refusal(valid: list[bytes], rest: bytes, cuts: list[int]) -> None:
    data, status = b"".join(valid) + rest, 0
    found: list[Request] = []
    reader = RequestReader("127.0.0.1", found.append)
    try:
        for begin, end in pairwise(sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})):
            reader.feed(data[begin:end])
    except BadRequest as error:
        status = error.status
    assert status == 0 or 400 <= status < 600
    assert len(found) >= len(valid)
    assert all(request.path.startswith("/") for request in found)


def test_a_closed_reader_is_freed_at_once() -> None:
    """Without the garbage collector, which runs rarely where few objects are created."""
    found: list[Request] = []
    reader = RequestReader("", found.append)
    reader.feed(b"GET / HTTP/1.1\r\nHost: s\r\n\r\nGET /half")
    there = weakref.ref(reader)
    gc.disable()
    try:
        reader.close()
        del reader
        assert there() is None
    finally:
        gc.enable()


def test_encoding_of_responses() -> None:
    assert Response(200, b"{}").encode() == b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    assert text(404, "no").encode(False) == (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n"
        b"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\nno\n"
    )
    assert Response(200, b"x" * 10).encode(bodiless=True).endswith(b"Content-Length: 10\r\n\r\n")
    assert b"\r\nX-A: b\r\n" in Response(200, headers=(("X-A", "b"),)).encode()


def test_length_of_a_response_in_parts() -> None:
    assert Parts(206, (b"1234", FileSlice(0, 5, 1000), b"5")).length == 1005
