"""Cached heads of origins' responses, and when the origin is asked again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dfengine.proxy.forward import origin_heads
from dfengine.proxy.forward.origin_heads import MAX_URL, OriginHeads
from dfengine.proxy.header_fields import Fields
from dfengine.proxy.registries import Registry
from dfengine.proxy.upstream.own_request import OwnResponse
from dfengine.proxy.upstream.timeouts import Unanswered

SERVER = Registry("http", "h", 80)
VIA = b"Via", b"1.1 x"
NONE: frozenset[str] = frozenset()


class Origin:
    """Returns canned responses in place of a server. asked: (method, target, fields) of each request."""

    def __init__(self, *answers: OwnResponse) -> None:
        self.answers = [*answers]
        self.asked: list[tuple[str, str, Fields]] = []

    async def __call__(self, loop: Any, upstreams: Any, registry: Registry, method: str, target: str, fields: Fields) -> OwnResponse:
        self.asked.append((method, target, fields))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def answered(status: int, length: int, *fields: tuple[bytes, bytes]) -> OwnResponse:
    return OwnResponse(status, [(b"ETag", b'"v"'), *fields], length, b"")


def ask(monkeypatch: pytest.MonkeyPatch, origin: Origin, *requests: tuple[str, Fields], ignore: frozenset[str] = NONE) -> list[Any]:
    """Return the heads for these requests, sent one after another: (target, fields)."""
    monkeypatch.setattr(origin_heads, "ask", origin)

    async def run() -> list[Any]:
        heads = OriginHeads(asyncio.get_running_loop(), None)  # type: ignore[arg-type]  # `ask` is what uses it
        return [await heads.ask(SERVER, target, fields, VIA, ignore) for target, fields in requests]

    return asyncio.run(run())


def test_head_requests_carry_the_clients_end_to_end_fields_without_range_or_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = Origin(answered(200, 9))
    fields = [(b"Accept", b"a"), (b"Range", b"bytes=5-"), (b"If-None-Match", b"x"), (b"Host", b"other"), (b"Proxy-Authorization", b"p"),
              (b"Connection", b"X-Mine"), (b"X-Mine", b"m"), (b"Cookie", b"c")]  # fmt: skip
    [said] = ask(monkeypatch, origin, ("/x", fields), ignore=frozenset(("cookie",)))
    assert (said.status, said.length, said.version.etag) == (200, 9, '"v"')
    assert origin.asked == [("HEAD", "/x", [(b"Host", b"h"), (b"Accept", b"a"), (b"Cookie", b"c"), VIA])]


def test_an_origin_that_refuses_head_is_asked_for_one_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    ranged = (b"Content-Range", b"bytes 0-0/77")
    for second, status, length in (
        (answered(206, 1, ranged), 200, 77), (answered(206, 1), 502, -1), (answered(206, 1, (b"Content-Range", b"bytes 0-0/*")), 502, -1),
        (answered(200, 5), 200, -1), (answered(403, 5), 403, -1), (answered(206, 1, (b"Content-Range", b"bytes 1-1/77")), 502, -1),
    ):  # fmt: skip
        origin = Origin(answered(403, 3), second)
        [said] = ask(monkeypatch, origin, ("/x", []))
        assert (said.status, said.length) == (status, length)
        assert [method for method, _, _ in origin.asked] == ["HEAD", "GET"]
        assert (b"Range", b"bytes=0-0") in origin.asked[1][2]
        assert b"content-range" not in {name.lower() for name, _ in said.fields}


@pytest.mark.parametrize(
    ("fields", "requests", "asked"),
    [
        ([(b"Cache-Control", b"max-age=60")], [[], []], 1),
        ([(b"Cache-Control", b"max-age=60")], [[], [(b"Cache-Control", b"no-cache")]], 2),
        ([(b"Cache-Control", b"max-age=60")], [[(b"Accept", b"a")], [(b"Accept", b"b")]], 2),
        ([(b"Cache-Control", b"max-age=60")], [[(b"Accept-Encoding", b"gzip")], []], 2),
        ([(b"Cache-Control", b"no-cache")], [[], []], 2),
        ([(b"Cache-Control", b"max-age=60, private")], [[], []], 2),
        ([(b"Cache-Control", b"max-age=60"), (b"X", b"x" * 9000)], [[], []], 2),
        ([(b"Cache-Control", b"max-age=60")], [[(b"Accept", b"a" * 2 * MAX_URL)]] * 2, 2),
        ([], [[], []], 2),
    ],
)  # fmt: skip
def test_fresh_heads_are_reused_for_equal_requests(
    monkeypatch: pytest.MonkeyPatch, fields: Fields, requests: list[Fields], asked: int
) -> None:
    origin = Origin(answered(200, 9, *fields))
    ask(monkeypatch, origin, *(("/x", request) for request in requests))
    assert len(origin.asked) == asked


def test_heads_are_not_reused_where_authorization_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = Origin(answered(200, 9, (b"Cache-Control", b"max-age=60")))
    ask(monkeypatch, origin, ("/x", []), ("/x", []), ignore=frozenset(("authorization",)))
    assert len(origin.asked) == 2


def test_requests_to_a_silent_origin_fail_at_once_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers GET but never HEAD would otherwise delay each file by 8 s."""
    monkeypatch.setattr(origin_heads, "OWN_REQUEST_SECONDS", 0.01)
    asked: list[str] = []

    async def silent(loop: Any, upstreams: Any, registry: Registry, method: str, target: str, fields: Fields) -> OwnResponse:
        asked.append(target)
        await asyncio.sleep(3600.0)
        raise AssertionError

    async def run() -> None:
        heads = OriginHeads(asyncio.get_running_loop(), None)  # type: ignore[arg-type]  # `ask` is what uses it
        for target in ("/x", "/y"):
            with pytest.raises(Unanswered):
                await heads.ask(SERVER, target, [], VIA, NONE)

    monkeypatch.setattr(origin_heads, "ask", silent)
    asyncio.run(run())
    assert asked == ["/x"]
