"""Access rights at a registry: its response to a HEAD with the requester's own credentials, cached for a minute.

So hosts with different tokens share one copy, and each gets only content that its token opens. While a registry cannot be reached, is
silent (see `timeouts`), or responds 5xx or 429, its response of the last hour is valid; 5xx and 429 are passed on for content that changes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from dfengine.errors import DfengineError, OriginError
from dfengine.proxy.header_fields import Fields, text
from dfengine.proxy.upstream import timeouts
from dfengine.proxy.upstream.own_request import ask
from dfengine.proxy.upstream.timeouts import SilentServers, Unanswered
from dfengine.value import Value

if TYPE_CHECKING:
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.upstreams import Upstreams

FRESH_SECONDS = 60.0
KEPT_SECONDS = 3600.0
MAX_RESPONSES = 65536
"""Maximum number of cached responses."""

MAX_NAMES = 4096
HEAD_SECONDS = 20.0
"""Time limit of a HEAD, also when its client has left: its response is cached for the next request."""

NON_CREDENTIAL_FIELDS = (b"via", b"host", b"accept")
"""Fields that are not credentials."""

OPEN = frozenset((200, 301, 302, 303, 307, 308))
"""Statuses of content that may be fetched. A redirect leads to an object store, by a URL that is signed for the requester."""


class Permit(Value):
    """A registry's response. length: bytes, -1 unknown. fields: those of the response that are cached."""

    status: int
    content_type: str
    length: int
    at: float
    fields: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def allowed(self) -> bool:
        return self.status in OPEN


class Permissions:
    """Cached permissions. On the loop's thread."""

    most = MAX_RESPONSES

    def __init__(self, loop: asyncio.AbstractEventLoop, upstreams: Upstreams) -> None:
        self._loop = loop
        self._upstreams = upstreams
        self._known: OrderedDict[bytes, Permit] = OrderedDict()
        self._aliases: OrderedDict[bytes, bytes] = OrderedDict()
        """See `alias_credential`."""
        self._asking: dict[bytes, asyncio.Task[Permit]] = {}
        self.silent_servers = SilentServers(loop.time)

    def cached(self, registry: Registry, target: str, fields: Fields) -> Permit | None:
        """The response, if it is not older than a minute."""
        found = self._known.get(self._key(registry, target, fields))
        return found if found is not None and self._loop.time() - found.at < FRESH_SECONDS else None

    def was_allowed(self, registry: Registry, target: str, fields: Fields) -> bool:
        """Whether access was permitted within the last hour; for when the registry does not respond."""
        found = self._known.get(self._key(registry, target, fields))
        return found is not None and found.allowed and self._loop.time() - found.at < KEPT_SECONDS

    def record_allowed(self, registry: Registry, target: str, fields: Fields, content_type: str, length: int) -> None:
        """Record that the registry has just sent the content."""
        self._keep(self._key(registry, target, fields), Permit(200, content_type, length, self._loop.time()))

    async def ask(self, registry: Registry, target: str, fields: Fields, changes: bool = False) -> Permit:
        """The response to a HEAD with these fields. Raises Unanswered, OriginUnreachable or a related error if there is none.

        changes: whether the target may name other content now: then a 5xx or 429 is an error, for the client to see.
        """
        key = self._key(registry, target, fields)
        held, silent = self._known[key] if self.was_allowed(registry, target, fields) else None, self.silent_servers.is_silent(registry)
        if held is not None and silent:
            return held
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = self._loop.create_task(self._ask(key, registry, target, fields, changes))
            task.add_done_callback(partial(self._asked, key))
        # The HEAD continues after its client has left: its response is cached for the next request.
        timeout = timeouts.OPTIONAL_SECONDS if held is not None else 0.0 if silent else timeouts.OWN_REQUEST_SECONDS
        done, _ = await asyncio.wait({task}, timeout=timeout)
        if done:
            return task.result()
        if not silent:
            self.silent_servers.record_silent(registry)
        if held is not None:
            return held
        raise Unanswered.of(registry.authority)

    def _asked(self, key: bytes, task: asyncio.Task[Permit]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # retrieved, for the case that no request waits for it

    async def _ask(self, key: bytes, registry: Registry, target: str, fields: Fields, changes: bool) -> Permit:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                permit = await self._head(registry, target, fields)
            self.silent_servers.record_answered(registry)
        except (DfengineError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self.silent_servers.record_silent(registry)
            if self.was_allowed(registry, target, fields):
                return self._known[key]
            if isinstance(error, TimeoutError):
                raise Unanswered.of(registry.authority) from None
            raise
        if timeouts.is_failure(permit.status):
            if not changes and self.was_allowed(registry, target, fields):
                return self._known[key]
            raise OriginError(f"{registry.authority} answered {permit.status}", permit.status)
        if permit.status == timeouts.LOOP:
            return permit
        self._known.pop(key, None)
        if permit.status != 404:  # it may be pushed at any time
            self._keep(key, permit)
        return permit

    def _keep(self, key: bytes, permit: Permit) -> None:
        self._known.pop(key, None)
        self._known[key] = permit
        if len(self._known) > self.most:
            self._known.popitem(last=False)

    async def _head(self, registry: Registry, target: str, fields: Fields) -> Permit:
        answer = await ask(self._loop, self._upstreams, registry, "HEAD", target, fields)
        if answer.status != 200:  # a redirect's fields do not describe the file
            return Permit(answer.status, "", -1, self._loop.time())
        return Permit(answer.status, text(answer.fields, b"content-type"), answer.length, self._loop.time())

    def alias_credential(self, value: bytes, name: bytes) -> None:
        """Treat this value of a field as equal to others with this name: it gives the same access."""
        self._aliases[value] = name
        if len(self._aliases) > MAX_NAMES:
            self._aliases.popitem(last=False)

    def _key(self, registry: Registry, target: str, fields: Fields) -> bytes:
        """Cache key of a request and its credentials, hashed so that no secret is stored."""
        opening = [(name.lower(), value) for name, value in fields if name.lower() not in NON_CREDENTIAL_FIELDS]
        sent = sorted((name, self._aliases.get(value, value)) for name, value in opening)
        return hashlib.sha256(repr((registry.url, target, sent)).encode()).digest()
