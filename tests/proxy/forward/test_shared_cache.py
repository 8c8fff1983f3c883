"""Responses that a shared cache may store, by RFC 9111."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.proxy.forward import shared_cache
from dfengine.proxy.forward.shared_cache import FORBIDS
from dfengine.proxy.header_fields import Fields

NOW = 1_700_000_000.0
NONE: frozenset[str] = frozenset()


def fields(*lines: str) -> Fields:
    return [(name.encode("latin-1"), value.strip().encode("latin-1")) for name, _, value in (line.partition(":") for line in lines)]


def date(at: float) -> str:
    return formatdate(at, usegmt=True)


TAG = 'ETag: "v1"'
DATED = (f"Date: {date(NOW)}", f"Last-Modified: {date(NOW - 3600)}")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((), ""), (("Cookie: a=b",), "cookie"), (("Authorization: Basic x",), "authorization"), (("X-Api-Key: x",), "authorization"),
        (("Cache-Control: no-store",), "no-store"), (("cache-control: max-age=0, NO-STORE",), "no-store"),
        (("Cache-Control: no-cache", "Pragma: no-cache", "Range: bytes=0-5", "If-None-Match: \"x\"", "Accept-Encoding: gzip",
          "User-Agent: a", "Proxy-Authorization: Basic x", "X-Dragonfly-Use-P2P: true"), ""),
        (('Cache-Control: "',), "no-store"),
    ],
)  # fmt: skip
def test_requests_whose_responses_must_not_be_shared(lines: tuple[str, ...], why: str) -> None:
    assert shared_cache.forbidden_by_request("GET", fields(*lines), NONE) == why
    assert not shared_cache.forbidden_by_request("GET", fields(*lines), FORBIDS)
    assert shared_cache.forbidden_by_request("POST", fields(*lines), FORBIDS) == "method"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((TAG,), ""), (DATED, ""), ((TAG, "Cache-Control: public, max-age=5, immutable"), ""), ((TAG, "Cache-Control: no-cache"), ""),
        ((TAG, "Cache-Control: no-store"), "no-store"), ((TAG, "Cache-Control: max-age=9", "Cache-Control: private"), "private"),
        ((TAG, 'Cache-Control: private="x, y", max-age=9'), "private"), ((TAG, "Cache-Control: ,,Private ,"), "private"),
        ((TAG, 'Cache-Control: x="a, no-store'), "no-store"), ((TAG, 'Cache-Control: ext="no-store, private"'), ""),
        ((TAG, "Set-Cookie: a=b"), "set-cookie"), ((TAG, "Vary: *"), "vary"), ((TAG, "Vary: Accept-Encoding"), ""),
        ((TAG, "Vary: accept-encoding", "Vary: Origin"), "vary"), ((TAG, "Content-Encoding: gzip"), "coding"),
        ((TAG, "Content-Encoding: identity"), ""),
        ((), "validator"), (('ETag: W/"v1"',), "validator"), (('ETag: W/"v1"', *DATED), ""), (("ETag: v1",), "validator"),
        ((TAG, 'ETag: "v2"'), "validator"), (("ETag: v1", *DATED), "validator"),
        ((f"Date: {date(NOW)}", f"Last-Modified: {date(NOW)}"), "validator"),
        (("Last-Modified: yesterday", f"Date: {date(NOW)}"), "validator"),
        ((f"Last-Modified: {date(NOW)}",), "validator"),
    ],
)  # fmt: skip
def test_responses_that_must_not_be_shared(lines: tuple[str, ...], why: str) -> None:
    assert shared_cache.forbidden_by_answer(200, fields(*lines), 5, NONE) == why
    lifted = shared_cache.forbidden_by_answer(200, fields(*lines), 5, FORBIDS)
    assert lifted in ("", "validator", "coding")
    assert shared_cache.forbidden_by_answer(200, fields(TAG), -1, FORBIDS) == "length"
    for status in (201, 203, 204, 206, 301, 304, 404, 500):
        assert shared_cache.forbidden_by_answer(status, fields(*lines), 5, FORBIDS) == "status"


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (("Cache-Control: max-age=100",), 100), (("Cache-Control: max-age=100, s-maxage=50",), 50), (("Cache-Control: max-age=x",), 0),
        (("Cache-Control: max-age=100", "Cache-Control: max-age=10"), 10), (('Cache-Control: max-age="70"',), 70),
        (("Cache-Control: max-age=100", "Age: 30"), 70), (("Cache-Control: max-age=100", "Age: 130"), -30),
        (("Cache-Control: no-cache",), None),
        (('Cache-Control: no-cache="x", max-age=9',), None), ((f"Expires: {date(NOW + 40)}",), 40), (("Expires: 0",), 0),
        (("Expires: 0", "Cache-Control: max-age=9"), 9), (DATED[1:], 60), ((f"Last-Modified: {date(NOW - 100)}",), 10), ((), 0),
        ((f"Last-Modified: {date(NOW + 100)}",), 0), (("Cache-Control: max-age=99999999999999999999",), 0),
        (("Cache-Control: max-age=9999999",), 86400),
    ],
)  # fmt: skip
def test_freshness_lifetime_of_responses(lines: tuple[str, ...], seconds: float | None) -> None:
    until = shared_cache.fresh_until(fields(f"Date: {date(NOW)}", *lines), NOW, NOW)
    assert until == (NOW + seconds if seconds is not None else NOW)


def test_transit_time_and_date_count_towards_age() -> None:
    # Requested at NOW, received 5 s later, generated 20 s before that by its Date.
    given = fields(f"Date: {date(NOW - 15)}", "Cache-Control: max-age=100")
    assert shared_cache.fresh_until(given, NOW, NOW + 5) == NOW + 5 + 80
    assert shared_cache.age(fields("Age: 7"), NOW, NOW + 3) == 10


def test_requests_that_demand_revalidation() -> None:
    assert not shared_cache.asks_again(fields("Accept: a"))
    for line in ("Cache-Control: no-cache", "Cache-Control: max-age=0", "Pragma: no-cache", "Cache-Control: min-fresh=9"):
        assert shared_cache.asks_again(fields(line))


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ((), 200), (('If-None-Match: "v1"',), 304), (('If-None-Match: W/"v1", "x"',), 304), (("If-None-Match: *",), 304),
        (('If-None-Match: "x"',), 200), (('If-None-Match: "x"', f"If-Modified-Since: {date(NOW)}"), 200),
        ((f"If-Modified-Since: {date(NOW)}",), 304), ((f"If-Modified-Since: {date(NOW - 9999)}",), 200), (("If-Modified-Since: x",), 200),
        (('If-Match: "x"',), 412), (('If-Match: "v1"',), 200), (('If-Match: W/"v1"',), 412), (("If-Match: *",), 200),
        ((f"If-Unmodified-Since: {date(NOW - 9999)}",), 412), ((f"If-Unmodified-Since: {date(NOW)}",), 200),
    ],
)  # fmt: skip
def test_conditional_requests(asked: tuple[str, ...], status: int) -> None:
    said = shared_cache.version(fields(TAG, *DATED), 5)
    assert shared_cache.status(fields(*asked), said) == status


def test_if_range_matches_only_the_same_strong_version() -> None:
    said = shared_cache.version(fields(TAG, *DATED), 5)
    assert shared_cache.range_applies([], said)
    assert shared_cache.range_applies(fields('If-Range: "v1"'), said)
    assert shared_cache.range_applies(fields(f"If-Range: {date(NOW - 3600)}"), said)
    for other in ('"v2"', 'W/"v1"', date(NOW), ""):
        assert not shared_cache.range_applies(fields(f"If-Range: {other}"), said)
    weak = shared_cache.version(fields('ETag: W/"v1"'), 5)
    assert not shared_cache.range_applies(fields('If-Range: W/"v1"'), weak)
    assert not shared_cache.range_applies(fields("If-Range: "), weak)


@given(st.lists(st.tuples(st.sampled_from([b"Cache-Control", b"ETag", b"Last-Modified", b"Date", b"Age", b"Expires", b"Vary", b"Set-Cookie",
                                           b"If-Range", b"If-None-Match", b"If-Modified-Since", b"Authorization"]),
                          st.binary(max_size=30)), max_size=6))
def test_any_fields_are_handled(given: Fields) -> None:
    shared_cache.forbidden_by_request("GET", given, NONE)
    why = shared_cache.forbidden_by_answer(200, given, 5, NONE)
    if any(name == b"Set-Cookie" for name, _ in given):
        assert why
    shared_cache.fresh_until(given, NOW, NOW)
    said = shared_cache.version(given, 5)
    assert shared_cache.status(given, said) in (200, 304, 412)
    shared_cache.range_applies(given, said)
