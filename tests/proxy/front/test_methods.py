"""Requests that are answered by the proxy itself, because of their method or of how far they may go."""

from __future__ import annotations

import pytest

from dfengine.net.http import BadRequest
from dfengine.proxy.front.methods import ends
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
def test_what_ends_here(method: str, target: bytes, given: bytes | None, status: int, left: bytes | None) -> None:
    request = head(method, target, *([(b"Max-Forwards", given)] if given is not None else []))
    assert ends(request, intercepted=False) == status
    assert dict(request.fields).get(b"Max-Forwards") == left


def test_what_is_asked_of_a_server_whose_https_is_read_is_the_servers_to_answer() -> None:
    assert ends(head("OPTIONS", b"*"), intercepted=True) == 0


@pytest.mark.parametrize("given", [b"", b"-1", b"1.5", b"9" * 40, b"1, 2"])
def test_a_number_of_hops_that_is_none(given: bytes) -> None:
    with pytest.raises(BadRequest):
        ends(head("OPTIONS", b"/", (b"Max-Forwards", given)), intercepted=False)


def test_only_options_may_ask_about_everything() -> None:
    for method in ("GET", "POST", "TRACE"):
        with pytest.raises(BadRequest):
            head(method, b"*")
