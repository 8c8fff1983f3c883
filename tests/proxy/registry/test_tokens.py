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


@pytest.mark.parametrize("failure", [429, 503, 508])
def test_a_failing_registry_states_no_challenge(failure: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """508: another proxy that this one reads from leads back to it, until its settings are mended."""
    answers: list[Any] = [(failure, [], b""), CHALLENGE, TOKEN]

    async def ask(*_: object) -> Any:
        status, fields, body = answers.pop(0)
        return SimpleNamespace(status=status, fields=fields, body=body)

    async def scene() -> None:
        now = [100.0]
        clock: Any = SimpleNamespace(time=lambda: now[0], create_task=asyncio.get_running_loop().create_task)
        permissions: Any = SimpleNamespace(
            alias_credential=lambda *_: None, silent_servers=SimpleNamespace(is_silent=lambda _: False, record_silent=print)
        )
        monkeypatch.setattr(tokens, "ask", ask)
        own, registry = Tokens(clock, None, permissions), Registry.parse("http://u:p@r")  # type: ignore[arg-type]
        assert await own.fields(registry, "/v2/a/manifests/1") == []
        now[0] += PAUSE_SECONDS + 1
        assert own.known(registry, "/v2/a/manifests/1") is None
        assert await own.fields(registry, "/v2/a/manifests/1") == [(b"Authorization", b"Bearer T")]

    asyncio.run(scene())
