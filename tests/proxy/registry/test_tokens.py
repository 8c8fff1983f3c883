"""Tokens of the proxy's own users: how long a registry's challenge is used."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.proxy.registries import Registry
from dfengine.proxy.registry import tokens
from dfengine.proxy.registry.tokens import PAUSE_SECONDS, Tokens

CHALLENGE = 401, [(b"www-authenticate", b'Bearer realm="http://r/token",service="r"')], b""
TOKEN: Any = 200, [], b'{"token": "T"}'


def fields_before_and_after(first: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The fields of a request when the registry gives `first` for its challenge, and those after a pause."""
    answers: list[Any] = [first, CHALLENGE, TOKEN]

    async def ask(*_: object) -> Any:
        status, fields, body = answers.pop(0)
        return SimpleNamespace(status=status, fields=fields, body=body)

    async def scene() -> list[Any]:
        now = [100.0]
        clock: Any = SimpleNamespace(time=lambda: now[0], create_task=asyncio.get_running_loop().create_task)
        permissions: Any = SimpleNamespace(
            alias_credential=lambda *_: None, silent_servers=SimpleNamespace(is_silent=lambda _: False, record_silent=print)
        )
        monkeypatch.setattr(tokens, "ask", ask)
        own, registry = Tokens(clock, None, permissions), Registry.parse("http://u:p@r")  # type: ignore[arg-type]
        before = await own.fields(registry, "/v2/a/manifests/1")
        now[0] += PAUSE_SECONDS + 1
        assert own.known(registry, "/v2/a/manifests/1") is None
        return [before, await own.fields(registry, "/v2/a/manifests/1")]

    return asyncio.run(scene())


@pytest.mark.parametrize("failure", [429, 503, 508])
def test_a_failing_registry_states_no_challenge(failure: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """508: another proxy that this one reads from leads back to it, until its settings are mended."""
    assert fields_before_and_after((failure, [], b""), monkeypatch) == [[], [(b"Authorization", b"Bearer T")]]


@pytest.mark.parametrize(
    ("status", "fields"),
    [(200, [(b"Warning", b'110 - "Response is Stale"')]), *((status, []) for status in (400, 403, 404, 407, 408, 421))],
)
def test_an_answer_that_the_registry_does_not_send_states_no_challenge_for_long(
    status: int, fields: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror answers by itself while its registry is silent; an ingress may have no route for a while."""
    before, after = fields_before_and_after((status, fields, b""), monkeypatch)
    assert [name for name, _ in before] == [b"Authorization"]
    assert before[0][1].startswith(b"Basic ")
    assert after == [(b"Authorization", b"Bearer T")]
