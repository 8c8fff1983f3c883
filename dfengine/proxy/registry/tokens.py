"""Credentials of the proxy's own user for a registry: the password itself, or a token for one repository in exchange for it.

Laws:
* They are used if a client sends no credentials, and for reading only: every client of the proxy can read what they open, and change
  nothing.
* A password is sent only to its registry and to the token server that the registry names, by https if the registry is asked by https. A
  token is sent only to its registry. Neither follows a redirect.
"""

from __future__ import annotations

import asyncio
import sys
from base64 import b64encode
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from dfengine.errors import DfengineError, OriginError
from dfengine.origin import challenge
from dfengine.proxy.header_fields import Fields, joined
from dfengine.proxy.registry.logins import scope_of, token_of, token_server
from dfengine.proxy.upstream.own_request import ask
from dfengine.proxy.upstream.timeouts import LOOP, OPTIONAL_SECONDS, is_failure

if TYPE_CHECKING:
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.permissions import Permissions
    from dfengine.proxy.upstream.upstreams import Upstreams

HOLDS = 0.8
"""Fraction of a token's lifetime after which it is renewed."""

CHALLENGE_SECONDS = 3600.0
PAUSE_SECONDS = 10.0
"""Time before the next try after a failure."""

MAX_SECONDS = 15.0
"""Time limit of a renewal, if there are no earlier fields."""

MAX_TOKENS = 4096

Key = tuple[str, str]


class Tokens:
    """On the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, upstreams: Upstreams, permissions: Permissions) -> None:
        self._loop = loop
        self._upstreams = upstreams
        self._permissions = permissions
        self._challenges: dict[str, tuple[challenge.Challenge, float]] = {}
        """Registry -> its challenge, and until when that is valid."""
        self._known: OrderedDict[Key, tuple[Fields, float]] = OrderedDict()
        """(registry, scope) -> fields, and until when they are valid."""
        self._asking: dict[Key, asyncio.Task[Fields]] = {}

    def forget(self) -> None:
        """Discard all tokens, since passwords may have changed."""
        self._challenges.clear()
        self._known.clear()
        self._asking.clear()

    def known(self, registry: Registry, target: str) -> Fields | None:
        """The fields of a request for `target`, if they are cached."""
        fields, until = self._known.get((registry.url, scope_of(target)), ([], 0.0))
        return fields if until > self._loop.time() else None

    async def fields(self, registry: Registry, target: str) -> Fields:
        """The fields, requested if need be. If the registry provides none, the last ones or []."""
        key = registry.url, scope_of(target)
        last, silent_servers = self._known.get(key), self._permissions.silent_servers
        if last is not None and silent_servers.is_silent(registry):
            return last[0]
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = self._loop.create_task(self._renew(registry, key))
            task.add_done_callback(partial(self._asked, key))
        if last is not None:
            done, _ = await asyncio.wait({task}, timeout=OPTIONAL_SECONDS)
            if not done:
                silent_servers.record_silent(registry)
                return last[0]
        return await asyncio.shield(task)

    def _asked(self, key: Key, task: asyncio.Task[Fields]) -> None:
        if self._asking.get(key) is task:
            del self._asking[key]

    async def _renew(self, registry: Registry, key: Key) -> Fields:
        try:
            async with asyncio.timeout(MAX_SECONDS):
                fields, seconds = await self._ask(registry, key[1])
        except (DfengineError, TimeoutError) as error:
            print(f"dfengine: the user of {registry.authority}: {error or 'no response in time'}", file=sys.stderr)
            fields, seconds = self._known.get(key, ([], 0.0))[0], PAUSE_SECONDS
        for _, value in fields:
            # Another token of the same user gives the same access.
            self._permissions.alias_credential(value, f"{registry.url} {registry.user}".encode())
        if self._asking.get(key) is not asyncio.current_task():
            return fields  # passwords were read again in the meantime
        self._known.pop(key, None)
        self._known[key] = fields, self._loop.time() + seconds
        if len(self._known) > MAX_TOKENS:
            self._known.popitem(last=False)
        return fields

    async def _ask(self, registry: Registry, scope: str) -> tuple[Fields, float]:
        """(fields, seconds for which they are used). Raises DfengineError."""
        ask_of = partial(ask, self._loop, self._upstreams)
        asked, until = self._challenges.get(registry.url, (challenge.Challenge(), 0.0))
        if until < self._loop.time():
            answer = await ask_of(registry, "GET", "/v2/", [(b"Host", registry.authority.encode())])
            if is_failure(answer.status) or answer.status == LOOP:
                raise OriginError(f"{registry.authority} answered {answer.status}", answer.status)
            asked = challenge.parse(joined(answer.fields, b"www-authenticate"))
            # Only these tell how the registry authenticates. A mirror may answer by itself with a warning while its registry is silent.
            states = answer.status == 401 or (answer.status == 200 and not joined(answer.fields, b"warning"))
            until = self._loop.time() + (CHALLENGE_SECONDS if states else PAUSE_SECONDS)
            self._challenges[registry.url] = asked, until
        basic = b"Authorization", b"Basic " + b64encode(registry.user.encode())
        if asked.scheme != "bearer" or not asked.realm:
            return [basic], until - self._loop.time()
        whom, target = token_server(asked, registry, scope)
        answer = await ask_of(whom, "GET", target, [(b"Host", whom.authority.encode()), basic])
        if answer.status != 200:
            raise OriginError(f"{whom.authority}, the token server, answered {answer.status}", answer.status)
        token, seconds = token_of(answer.body)
        return [(b"Authorization", f"Bearer {token}".encode())], seconds * HOLDS
