"""Who may have what of a registry: its own answer to a HEAD with the requester's own credentials, remembered for a minute.

So hosts whose tokens differ share one copy, and none is given what its token does not open. While a registry cannot be reached, or is
silent (see `silence`), its answer of the last hour holds.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from dfengine.errors import DfengineError, OriginError
from dfengine.proxy.fields import Fields, text
from dfengine.proxy.upstream import silence
from dfengine.proxy.upstream.question import ask
from dfengine.proxy.upstream.silence import Silence, Unanswered
from dfengine.value import Value

if TYPE_CHECKING:
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.upstreams import Upstreams

FRESH_SECONDS = 60.0
KEPT_SECONDS = 3600.0
MOST = 65536
"""Answers that are remembered."""

MOST_NAMES = 4096
HEAD_SECONDS = 20.0
"""For a question whose client has gone: its answer holds for the next request."""

UNSAID = (b"via", b"host", b"accept")
"""Fields that open nothing."""

OPEN = frozenset((200, 301, 302, 303, 307, 308))
"""Statuses of what may be fetched. A redirect leads to an object store, by a URL that is signed for who asked."""


class Permit(Value):
    """A registry's answer. length: bytes, -1 unknown. fields: of the answer, as far as they are remembered."""

    status: int
    content_type: str
    length: int
    at: float
    fields: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def opens(self) -> bool:
        return self.status in OPEN


class Permissions:
    """On the loop's thread."""

    most = MOST

    def __init__(self, loop: asyncio.AbstractEventLoop, upstreams: Upstreams) -> None:
        self._loop = loop
        self._upstreams = upstreams
        self._known: OrderedDict[bytes, Permit] = OrderedDict()
        self._names: OrderedDict[bytes, bytes] = OrderedDict()
        """See `same`."""
        self._asking: dict[bytes, asyncio.Task[Permit]] = {}
        self.silence = Silence(loop.time)

    def known(self, registry: Registry, target: str, fields: Fields) -> Permit | None:
        """The answer of the last minute."""
        found = self._known.get(self._key(registry, target, fields))
        return found if found is not None and self._loop.time() - found.at < FRESH_SECONDS else None

    def held(self, registry: Registry, target: str, fields: Fields) -> bool:
        """It was permitted within the last hour: for when the registry does not answer."""
        found = self._known.get(self._key(registry, target, fields))
        return found is not None and found.opens and self._loop.time() - found.at < KEPT_SECONDS

    def learn(self, registry: Registry, target: str, fields: Fields, content_type: str, length: int) -> None:
        """The registry has just given it."""
        self._keep(self._key(registry, target, fields), Permit(200, content_type, length, self._loop.time()))

    async def ask(self, registry: Registry, target: str, fields: Fields) -> Permit:
        """What the registry says to a HEAD with these fields. Raises Unanswered, OriginUnreachable and its kin when it says nothing."""
        key = self._key(registry, target, fields)
        held, silent = self._known[key] if self.held(registry, target, fields) else None, self.silence.of(registry)
        if held is not None and silent:
            return held
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = self._loop.create_task(self._ask(key, registry, target, fields))
            task.add_done_callback(partial(self._asked, key))
        # The question goes on when its client has gone: its answer holds for the next request.
        done, _ = await asyncio.wait({task}, timeout=silence.PATIENCE if held is not None else 0.0 if silent else silence.OWN)
        if done:
            return task.result()
        if not silent:
            self.silence.note(registry)
        if held is not None:
            return held
        raise Unanswered.of(registry.place)

    def _asked(self, key: bytes, task: asyncio.Task[Permit]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # where nobody waits for it any more

    async def _ask(self, key: bytes, registry: Registry, target: str, fields: Fields) -> Permit:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                permit = await self._head(registry, target, fields)
            self.silence.answered(registry)
        except (DfengineError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                self.silence.note(registry)
            if self.held(registry, target, fields):
                return self._known[key]
            if isinstance(error, TimeoutError):
                raise Unanswered.of(registry.place) from None
            raise
        if permit.status >= 500 or permit.status == 429:
            raise OriginError(f"{registry.place} answered {permit.status}", permit.status)
        self._known.pop(key, None)
        if permit.status != 404:  # it may be pushed at once
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

    def same(self, value: bytes, name: bytes) -> None:
        """This value of a field opens what others of this name open."""
        self._names[value] = name
        if len(self._names) > MOST_NAMES:
            self._names.popitem(last=False)

    def _key(self, registry: Registry, target: str, fields: Fields) -> bytes:
        """Of what is asked, in whose name; a secret is not kept."""
        sent = sorted((name.lower(), self._names.get(value, value)) for name, value in fields if name.lower() not in UNSAID)
        return hashlib.sha256(repr((registry.url, target, sent)).encode()).digest()
