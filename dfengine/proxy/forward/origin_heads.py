"""Heads of origins' responses, requested before a file is shared: by HEAD with the client's own fields, and cached while fresh.

For a URL that is signed for GET alone, or a server without HEAD, the first byte is requested.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from dfengine.proxy.forward import shared_cache
from dfengine.proxy.header_fields import Fields, end_to_end, text
from dfengine.proxy.upstream.own_request import ask
from dfengine.proxy.upstream.timeouts import OWN_REQUEST_SECONDS, SilentServers, Unanswered
from dfengine.value import Value

if TYPE_CHECKING:
    from dfengine.origin.version import Version
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.upstreams import Upstreams

MAX_KNOWN = 4096
"""Cached responses; with MAX_FIELDS each, at most 32 MiB."""

MAX_FIELDS = 8 << 10
MAX_URL = 2048
"""Maximum number of characters of a cached URL."""

UNSHARED_SECONDS = 60.0

NO_HEAD = frozenset((400, 403, 405, 501))
"""Statuses of servers that may respond to a GET."""

CONDITIONAL_FIELDS = frozenset((
    b"range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"expect", b"content-type",
))
"""Fields that request a part of a file, or state a condition."""

NEGOTIATION_FIELDS = frozenset((b"accept", b"accept-encoding", b"accept-language"))
"""Request fields by which an origin may choose one of several files; a cached response is for requests with the same values."""

_FIRST_BYTE_RANGE = re.compile(r"(?a)bytes 0-0/(\d{1,18})")


class OriginHead(Value):
    """An origin's response to a HEAD of a file. fields: of the response, to be passed on. length: bytes, -1 if not stated.

    at: unix seconds of the response; until: unix seconds at which its freshness ends.
    """

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    length: int
    at: float
    until: float

    @property
    def version(self) -> Version:
        return shared_cache.version([*self.fields], self.length)


class OriginHeads:
    """On the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, upstreams: Upstreams) -> None:
        self._loop = loop
        self._upstreams = upstreams
        self._silent_servers = SilentServers(loop.time)
        self._known: OrderedDict[tuple[object, ...], OriginHead] = OrderedDict()
        self._unshared: OrderedDict[str, float] = OrderedDict()
        """URL -> time until which its responses are passed on without a HEAD."""

    def is_unshared(self, url: str) -> bool:
        """Whether the file was recently found not to be shared, so that requests are passed on without a HEAD."""
        return self._unshared.get(url, 0.0) > self._loop.time()

    def record_unshared(self, url: str) -> None:
        """Record that the file at the URL is not shared."""
        if len(url) > MAX_URL:
            return
        self._unshared.pop(url, None)
        self._unshared[url] = self._loop.time() + UNSHARED_SECONDS
        if len(self._unshared) > MAX_KNOWN:
            self._unshared.popitem(last=False)

    async def ask(self, registry: Registry, target: str, request: Fields, via: tuple[bytes, bytes], ignore: frozenset[str]) -> OriginHead:
        """The head for a GET with these fields, from the cache or the origin. ignore: see shared_cache.

        Raises Unanswered, OriginUnreachable and related errors.
        """
        key, known = _key(registry, target, request, ignore), self.fresh(registry, target, request, ignore)
        if known is not None:
            return known
        anyone = _is_anyones(ignore)
        self._known.pop(key, None)
        if self._silent_servers.is_silent(registry):
            raise Unanswered.of(registry.authority)
        own = [field for field in end_to_end(request, True) if field[0].lower() not in CONDITIONAL_FIELDS]
        fields: Fields = [(b"Host", registry.authority.encode()), *own, via]
        try:
            async with asyncio.timeout(OWN_REQUEST_SECONDS):
                found = await self._asked(registry, target, fields)
        except TimeoutError:
            self._silent_servers.record_silent(registry)
            raise Unanswered.of(registry.authority) from None
        self._silent_servers.record_answered(registry)
        if anyone and found.until > time.time():
            self._keep(key, found, ignore)
        return found

    def fresh(self, registry: Registry, target: str, request: Fields, ignore: frozenset[str]) -> OriginHead | None:
        """The cached head, if it is fresh."""
        known = self._known.get(_key(registry, target, request, ignore))
        holds = known is not None and known.until > time.time() and not shared_cache.asks_again(request)
        return known if holds and _is_anyones(ignore) else None

    def _keep(self, key: tuple[object, ...], found: OriginHead, ignore: frozenset[str]) -> None:
        size = sum(len(name) + len(value) for name, value in found.fields)
        shared = not shared_cache.forbidden_by_answer(found.status, [*found.fields], found.length, ignore)
        if shared and size <= MAX_FIELDS and len(repr(key)) <= 2 * MAX_URL:
            self._known[key] = found
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)

    def forget(self, registry: Registry, target: str, request: Fields, ignore: frozenset[str]) -> None:
        """Drop the cached head."""
        self._known.pop(_key(registry, target, request, ignore), None)

    async def _asked(self, registry: Registry, target: str, fields: Fields) -> OriginHead:
        asked = time.time()
        answer = await ask(self._loop, self._upstreams, registry, "HEAD", target, fields)
        status, length = answer.status, answer.length
        if status in NO_HEAD:
            answer = await ask(self._loop, self._upstreams, registry, "GET", target, [*fields, (b"Range", b"bytes=0-0")])
            whole = _FIRST_BYTE_RANGE.fullmatch(text(answer.fields, b"content-range"))
            if answer.status == 206 and whole:
                status, length = 200, int(whole[1])
            else:
                status, length = 502 if answer.status == 206 else answer.status, -1
        kept = [(name, value) for name, value in end_to_end(answer.fields, False) if name.lower() != b"content-range"]
        now = time.time()
        return OriginHead(status, tuple(kept), length, now, shared_cache.fresh_until(kept, asked, now))


def _is_anyones(ignore: frozenset[str]) -> bool:
    """Whether the response to one client is valid for all."""
    return not ignore & {"authorization", "cookie"}


def _key(registry: Registry, target: str, request: Fields, ignore: frozenset[str]) -> tuple[object, ...]:
    chosen = sorted((name.lower(), value) for name, value in request if name.lower() in NEGOTIATION_FIELDS)
    return registry.url, target, *chosen, ignore
