"""Ranges and conditions of requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.http import BadRequest
from dfengine.proxy import ranges
from dfengine.proxy.ranges import MAX_RANGES, parse

TAG = '"sha256:1"'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes=0-0", [(0, 1)]), ("bytes=0-", [(0, 100)]), ("bytes=50-1000", [(50, 100)]), ("bytes=-1", [(99, 100)]),
        ("bytes=-1000", [(0, 100)]),
        ("bytes=0-1,5-6", [(0, 2), (5, 7)]), ("bytes= 1-2 , 3-4,", [(1, 3), (3, 5)]), ("Bytes=99-99", [(99, 100)]),
        ("bytes=100-", []), ("bytes=-0", []), ("bytes=100-200,300-", []), ("bytes=0-1,100-", [(0, 2)]),
        ("", None), ("bytes", None),
        ("bytes=", None), ("bytes=,", None), ("bytes=-", None), ("bytes=5-4", None),
        ("bytes=a-b", None),
        ("items=0-1", None),
        ("bytes=0-1;5-6", None), ("bytes=--1", None), ("bytes=0x1-2", None), ("bytes=+1-2", None), ("bytes=1-2-3", None),
        ("bytes=" + "9" * 50 + "-", None), ("bytes=\u0661-2", None),
    ],
)  # fmt: skip
def test_ranges_of_a_hundred_bytes(text: str, found: list[ranges.Span] | None) -> None:
    assert parse(text, 100) == found


def test_ranges_of_an_empty_file() -> None:
    assert parse("bytes=0-", 0) == []
    assert parse("bytes=-5", 0) == []


@pytest.mark.parametrize("text", ["0-," * (MAX_RANGES + 1), ",".join(f"{n}-{n}" for n in range(MAX_RANGES + 1)), "0-,0-", "1-1," * 9999])
def test_too_many_or_overlapping_ranges_are_rejected(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(f"bytes={text}", 100)
    assert refused.value.status == 400


@given(st.text("0123456789-, =bytes", max_size=40) | st.text(max_size=40), st.integers(0, 200))
def test_any_text_yields_valid_ranges_or_is_rejected(text: str, length: int) -> None:
    try:
        found = parse(text, length)
    except BadRequest:
        return
    assert all(0 <= start < past <= length for start, past in found or ())


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=5))
def test_ranges_are_returned_in_the_order_of_the_request(spans: list[tuple[int, int]]) -> None:
    spans = [(min(span), max(span)) for span in spans]
    wanted = [(start, min(last + 1, 200)) for start, last in spans if start < 200]
    try:
        found = parse("bytes=" + ",".join(f"{start}-{last}" for start, last in spans), 200)
    except BadRequest:
        assert len(wanted) > 1
        assert sum(past - start for start, past in wanted) > 200
    else:
        assert found == wanted


def test_conditional_requests() -> None:
    assert ranges.status(TAG, "", "", "GET") == 200
    assert ranges.status(TAG, "", f'"x", W/{TAG}', "GET") == 304
    assert ranges.status(TAG, "", "*", "HEAD") == 304
    assert ranges.status(TAG, "", '"x"', "GET") == 200
    assert ranges.status(TAG, "", "sha256:1", "GET") == 200
    assert ranges.status(TAG, '"x"', TAG, "GET") == 412
    assert ranges.status(TAG, TAG, "", "GET") == 200
    assert ranges.applies(TAG, "")
    assert ranges.applies(TAG, TAG)
    assert not ranges.applies(TAG, f"W/{TAG}")
    assert not ranges.applies(TAG, "Mon, 30 Nov 2026 00:00:00 GMT")


def test_a_multipart_body_of_several_ranges() -> None:
    data = bytes(range(100))
    spans = [(0, 2), (50, 53)]
    heads, length = ranges.multipart(spans, 100, "text/plain", "sep")
    body = b"".join([head + data[start:past] for head, (start, past) in zip(heads, spans, strict=False)]) + heads[-1]
    assert len(body) == length
    assert body == (
        b"\r\n--sep\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/100\r\n\r\n\0\x01"
        b"\r\n--sep\r\nContent-Type: text/plain\r\nContent-Range: bytes 50-52/100\r\n\r\n234\r\n--sep--\r\n"
    )
