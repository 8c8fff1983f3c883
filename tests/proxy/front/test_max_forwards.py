"""Requests that the proxy answers itself because of their method or of Max-Forwards."""

from __future__ import annotations

import pytest

from dfengine.net.http import BadRequest
from dfengine.proxy.front.max_forwards import local_status
from dfengine.proxy.front.requests import Head


def head(method: str, target: bytes, *fields: tuple[bytes, bytes]) -> Head:
    return Head(method, target, [(b"Host", b"h"), *fields], "1.1", True)


@pytest.mark.parametrize(
    ("method", "target", "given", "status", "left"),
    [
        ("TRACE", b"http://h/", None, 405, None), ("TRACE", b"/", b"3", 405, b"3"),
        ("OPTIONS", b"*", None, 200, None), ("OPTIONS", b"*", b"7", 200, b"7"),
        ("OPTIONS", b"http://h/", None, 0, None), ("OPTIONS", b"http://h/", b"0", 200, b"0"), ("OPTIONS", b"http://h/", b" 10 ", 0, b"9"),
        ("GET", b"http://h/", b"0", 0, b"0"), ("POST", b"/", b"x", 0, b"x"),
    ],
)  # fmt: skip
def test_trace_and_final_options_requests_are_answered_by_the_proxy(
    method: str, target: bytes, given: bytes | None, status: int, left: bytes | None
) -> None:
    request = head(method, target, *([(b"Max-Forwards", given)] if given is not None else []))
    assert local_status(request, intercepted=False) == status
    assert dict(request.fields).get(b"Max-Forwards") == left


def test_options_inside_intercepted_https_is_left_to_the_server() -> None:
    assert local_status(head("OPTIONS", b"*"), intercepted=True) == 0


@pytest.mark.parametrize("given", [b"", b"-1", b"1.5", b"9" * 40, b"1, 2"])
def test_invalid_max_forwards_is_rejected(given: bytes) -> None:
    with pytest.raises(BadRequest):
        local_status(head("OPTIONS", b"/", (b"Max-Forwards", given)), intercepted=False)


def test_only_options_accepts_an_asterisk_target() -> None:
    for method in ("GET", "POST", "TRACE"):
        with pytest.raises(BadRequest):
            head(method, b"*")
