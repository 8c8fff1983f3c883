"""The cache of permissions that servers have granted."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.errors import OriginError
from dfengine.proxy.header_fields import Fields
from dfengine.proxy.hub.hub_answer import MAX_KNOWN, HubPermissions
from dfengine.proxy.registries import Registry
from dfengine.proxy.upstream import timeouts
from dfengine.proxy.upstream.permissions import MAX_RESPONSES, Permissions, Permit
from dfengine.proxy.upstream.timeouts import Unanswered

LOOP: Any = SimpleNamespace(time=lambda: 1.0)
NOBODY: Any = None


@pytest.mark.parametrize(("kind", "most"), [(Permissions, MAX_RESPONSES), (HubPermissions, MAX_KNOWN)])
def test_the_oldest_permission_is_evicted(kind: type[Permissions], most: int) -> None:
    permissions, registry = kind(LOOP, NOBODY), Registry.parse("https://registry")
    for n in range(most + 2):
        permissions.record_allowed(registry, f"/{n}", [], "", n)
    assert [n for n in (0, 1, 2, most + 1) if permissions.cached(registry, f"/{n}", []) is None] == [0, 1]


class Asking(Permissions):
    """A registry that answers with the status `said`, once `speaks` is set."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop(), NOBODY)
        self.speaks = asyncio.Event()
        self.said = 200
        self.asked = 0

    async def _head(self, registry: Registry, target: str, fields: Fields) -> Permit:
        self.asked += 1
        await self.speaks.wait()
        return Permit(self.said, "", -1, self._loop.time())


@pytest.mark.parametrize("said", [401, 404])
def test_a_silent_registry_does_not_delay_clients_that_it_permitted(monkeypatch: pytest.MonkeyPatch, said: int) -> None:
    """Its late response counts; other clients get no permission from its silence."""
    monkeypatch.setattr(timeouts, "OPTIONAL_SECONDS", 0.01)

    async def run() -> None:
        permissions, registry, own = Asking(), Registry.parse("https://registry"), [(b"Authorization", b"own")]
        permissions.record_allowed(registry, "/x", own, "", 1)
        for _ in range(2):
            assert (await permissions.ask(registry, "/x", own)).allowed
        assert permissions.asked == 1
        other = [(b"Authorization", b"other")]
        for _ in range(2):
            with pytest.raises(Unanswered):
                await permissions.ask(registry, "/x", other)
        assert permissions.asked == 2, "the request continues"
        permissions.said = said
        permissions.speaks.set()
        while permissions.silent_servers.is_silent(registry):
            await asyncio.sleep(0)
        assert not (await permissions.ask(registry, "/x", other)).allowed
        assert not permissions.was_allowed(registry, "/x", own)
        assert not (await permissions.ask(registry, "/x", own)).allowed

    asyncio.run(run())


def test_only_the_first_request_waits_for_a_silent_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each blob of an image waits 20 s before its request is passed on."""
    monkeypatch.setattr(timeouts, "OWN_REQUEST_SECONDS", 0.01)

    async def run() -> None:
        permissions, registry = Asking(), Registry.parse("https://registry")
        with pytest.raises(Unanswered):
            await permissions.ask(registry, "/x", [])
        monkeypatch.setattr(timeouts, "OWN_REQUEST_SECONDS", 3600.0)
        with pytest.raises(Unanswered):
            await permissions.ask(registry, "/y", [])
        permissions.speaks.set()
        while permissions.silent_servers.is_silent(registry):
            await asyncio.sleep(0)
        assert (await permissions.ask(registry, "/y", [])).allowed
        assert permissions.asked == 2, "each request continued, and its response is cached"

    asyncio.run(run())


@pytest.mark.parametrize("said", [429, 500, 502, 503, 504])
def test_an_earlier_permission_is_valid_while_the_registry_fails(said: int) -> None:
    """Such a status says nothing about access. Other clients get no permission, and the earlier one is not extended."""

    async def run() -> None:
        permissions, registry, own = Asking(), Registry.parse("https://registry"), [(b"Authorization", b"own")]
        permissions.speaks.set()
        permissions.said = said
        permissions.record_allowed(registry, "/x", own, "", 7)
        before = permissions.cached(registry, "/x", own)
        for _ in range(2):
            assert await permissions.ask(registry, "/x", own) is before
        assert permissions.asked == 2
        for other in ([], [(b"Authorization", b"other")]):
            with pytest.raises(OriginError) as error:
                await permissions.ask(registry, "/x", other)
            assert error.value.status == said
        permissions.said = 403
        assert not (await permissions.ask(registry, "/x", own)).allowed
        permissions.said = said
        with pytest.raises(OriginError):
            await permissions.ask(registry, "/x", own)

    asyncio.run(run())


def test_a_loop_of_proxies_is_reported_and_ends_no_earlier_permission() -> None:
    async def run() -> None:
        permissions, registry = Asking(), Registry.parse("https://registry")
        permissions.speaks.set()
        permissions.record_allowed(registry, "/x", [], "", 7)
        before = permissions.cached(registry, "/x", [])
        permissions.said = timeouts.LOOP
        for _ in range(2):
            permit = await permissions.ask(registry, "/x", [])
            assert (permit.status, permit.allowed) == (508, False)
        assert permissions.asked == 2, "it is not kept"
        permissions.said = 503
        assert await permissions.ask(registry, "/x", []) is before

    asyncio.run(run())


@pytest.mark.parametrize("said", [429, 503])
def test_a_failing_server_is_asked_itself_for_content_that_changes(said: int) -> None:
    """The earlier response may be about other content. It is valid again if the server does not respond at all."""

    async def run() -> None:
        permissions, registry = Asking(), Registry.parse("https://hub")
        permissions.speaks.set()
        permissions.said = said
        permissions.record_allowed(registry, "/main/x", [], "", 7)
        before = permissions.cached(registry, "/main/x", [])
        with pytest.raises(OriginError) as error:
            await permissions.ask(registry, "/main/x", [], changes=True)
        assert error.value.status == said
        assert await permissions.ask(registry, "/main/x", []) is before

    asyncio.run(run())


def test_silence_of_a_server_expires() -> None:
    now = 5.0
    found, registry, other = timeouts.SilentServers(lambda: now), Registry.parse("https://registry"), Registry.parse("https://other")
    quick, slow = found.track(registry), found.track(registry)
    quick.failed()
    assert not found.is_silent(registry)
    now += timeouts.OPTIONAL_SECONDS
    slow.failed()
    assert found.is_silent(registry)
    assert not found.is_silent(other)
    slow.answered()
    assert not found.is_silent(registry)
    slow.failed()
    now += timeouts.SILENT_SECONDS
    assert not found.is_silent(registry)
