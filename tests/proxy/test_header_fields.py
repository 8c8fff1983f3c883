"""Header fields that are passed on, and the framing of bodies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.http import BadRequest
from dfengine.proxy import header_fields
from dfengine.proxy.header_fields import CHUNKED, UNTIL_CLOSE, end_to_end, framing


def test_hop_by_hop_fields_are_not_passed_on() -> None:
    given = [
        (b"Connection", b"close, X-Once"), (b"x-once", b"1"), (b"Keep-Alive", b"5"), (b"TE", b"trailers"),
        (b"Transfer-Encoding", b"chunked"), (b"Upgrade", b"h2c"),
        (b"Proxy-Authorization", b"x"), (b"Content-Length", b"3"), (b"Trailer", b"x"), (b"Accept", b"*/*"),
        (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"),
    ]  # fmt: skip
    assert end_to_end(given, request=False) == [(b"Accept", b"*/*"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")]


def test_a_list_may_be_given_in_several_fields() -> None:
    given = [(b"Accept", b"a, b "), (b"X", b"x"), (b"ACCEPT", b" c")]
    assert [header_fields.joined(given, name) for name in (b"accept", b"x", b"y")] == ["a, b, c", "x", ""]


def test_fields_for_the_proxy_are_not_passed_on() -> None:
    given = [(b"Host", b"mirror"), (b"X-Dfengine-Token", b"secret"), (b"X-Dragonfly-Registry", b"r"), (b"Authorization", b"Bearer t")]
    assert end_to_end(given, request=True) == [(b"Authorization", b"Bearer t")]


def test_framing_of_bodies() -> None:
    assert framing([], "1.1", request=True) == 0
    assert framing([], "1.1", request=False) == UNTIL_CLOSE
    assert framing([(b"content-length", b"7")], "1.0", request=True) == 7
    assert framing([(b"Transfer-Encoding", b"Chunked")], "1.1", request=True) == CHUNKED


@pytest.mark.parametrize("request_", [True, False])
@pytest.mark.parametrize(
    ("given", "version"),
    [
        ([(b"Content-Length", b"1"), (b"Content-Length", b"1")], "1.1"),
        ([(b"Content-Length", b"1"), (b"Transfer-Encoding", b"chunked")], "1.1"),
        ([(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")], "1.1"),
        ([(b"Transfer-Encoding", b"chunked")], "1.0"),
        ([(b"Transfer-Encoding", b"gzip, chunked")], "1.1"),
        ([(b"Transfer-Encoding", b"identity")], "1.1"),
        ([(b"Transfer-Encoding", b"\x0bchunked")], "1.1"),
        ([(b"Content-Length", b"+1")], "1.1"),
        ([(b"Content-Length", b"-1")], "1.1"),
        ([(b"Content-Length", b"1, 1")], "1.1"),
        ([(b"Content-Length", b"0x10")], "1.1"),
        ([(b"Content-Length", b"")], "1.1"),
        ([(b"Content-Length", b"1" * 19)], "1.1"),
        ([(b"Content-Length", b"\xd9\xa1")], "1.1"),
    ],
)
def test_ambiguous_framing_is_refused(given: header_fields.Fields, version: str, request_: bool) -> None:
    with pytest.raises(BadRequest):
        framing(given, version, request=request_)


@given(st.lists(st.tuples(st.sampled_from([b"Connection", b"connection", b"X", b"Y", b"Content-Length"]), st.binary(max_size=8))))
def test_fields_named_by_connection_are_not_passed_on(given: header_fields.Fields) -> None:
    names = header_fields.connection_options(given)
    left = end_to_end(given, request=False)
    assert not [name for name, _ in left if name.lower() in names or name.lower() in (b"connection", b"content-length")]


def test_requests_with_fields_that_could_alter_a_shared_response_are_not_cacheable() -> None:
    docker = [(b"Host", b"m"), (b"User-Agent", b"containerd"), (b"ACCEPT", b"a"), (b"Accept-Encoding", b"zstd"), (b"Authorization", b"x")]
    assert header_fields.is_cacheable_request(docker)
    for name in (b"X-Forwarded-Host", b"X-Original-URL", b"Cookie", b"Range", b"Accept-Language", b"X-Anything"):
        assert not header_fields.is_cacheable_request([*docker, (name, b"evil")])
