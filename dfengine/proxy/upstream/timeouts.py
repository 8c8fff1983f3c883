"""Timeouts of responses, responses that count as none, and servers that were silent recently.

    OPTIONAL_SECONDS     for a registry's response that is optional, since this host has an earlier one
    OWN_REQUEST_SECONDS  for a response to the proxy's own request, as a HEAD before a file: without it the client's request is passed on
                         or refused
    TOTAL_SECONDS        for the response to a request at registries and hubs, which serve files only and so respond at once. It counts
                         from the client's request. The rest of it is for the server that the request is passed on to: at least
                         MIN_REMAINING_SECONDS if that has responded.
    STALLED_SECONDS      for the next byte of a file whose download gets nothing new from any source; see `Progress`
    else                 as long as the other side of a connection may take (`net.http.STALL_SECONDS`): a package index, or a
                         batch of LFS, may be generated on request

A server that was silent gets no requests of the proxy's own for SILENT_SECONDS, unless it responds before. Silence gives no more access
than a refused connection does.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from dfengine.errors import OriginUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class HasUrl(Protocol):
        """A registry, an origin or a bucket."""

        @property
        def url(self) -> str: ...

OPTIONAL_SECONDS = 3.0
"""Seconds for an optional response. A registry responds to a HEAD in much less than one; a client that pulls an image causes about ten,
and waits for 10 to 30 s for each.
"""

OWN_REQUEST_SECONDS = 8.0
"""Seconds: clients wait for 10 or more."""

TOTAL_SECONDS = 30.0
"""Seconds for which the most patient clients wait."""

MIN_REMAINING_SECONDS = TOTAL_SECONDS - OWN_REQUEST_SECONDS

STALLED_SECONDS = 180.0
"""Seconds. Within it a download abandons a swarm without progress (128) and a failing source (120, `blobs.OPEN_RETRY_SECONDS`), and
then tries the origin. Programs that watch an image's progress wait for at least 300, so their next request is still in time.
"""

SILENT_SECONDS = 10.0

MAX_SILENT = 1024
"""Maximum number of silent servers that are tracked."""


LOOP = 508
"""Status of a proxy that a request has passed before. It says nothing about content or access either, and is not kept."""


def is_failure(status: int) -> bool:
    """Whether a server that responds with this status says nothing about content or access: it fails, or limits its clients' requests.

    Not LOOP: proxies that lead to each other are an error of their configuration, which an earlier response would hide.
    """
    return (status >= 500 and status != LOOP) or status == 429


def remaining_seconds(elapsed: float, answered: bool) -> float:
    """Seconds for the response to a request that is `elapsed` seconds old and passed on now. answered: the server has responded since."""
    return max(MIN_REMAINING_SECONDS if answered else OWN_REQUEST_SECONDS, TOTAL_SECONDS - elapsed)


class Unanswered(OriginUnreachable):
    """A request of the proxy's own had no response within OWN_REQUEST_SECONDS, or is not awaited because its server was silent recently."""

    @classmethod
    def of(cls, server: str) -> Unanswered:
        """server: its name."""
        return cls(f"{server} did not answer within {OWN_REQUEST_SECONDS:g} s")


class Progress:
    """Progress of a download, from any source. Bytes that are received again do not count as progress.

    So a waiting response ends, whatever the sources do: the number of new bytes is bounded. now: seconds, of one clock.
    """

    def __init__(self, now: float) -> None:
        self._most, self._since = 0, now

    def update(self, count: int, now: float) -> None:
        """Record that `count` bytes have been received so far, incomplete pieces included."""
        if count > self._most:
            self._most, self._since = count, now

    def remaining_seconds(self, since: float, now: float) -> float:
        """Seconds left for a reader that waits for a byte since `since`; 0 or less: it has waited for long enough."""
        return STALLED_SECONDS - (now - max(since, self._since))


class SilentServers:
    """Servers that were silent recently. clock: seconds, such as the loop's. On the loop's thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def record_silent(self, registry: HasUrl) -> None:
        """Record that the server did not respond in time."""
        self._until.pop(registry.url, None)
        self._until[registry.url] = self._clock() + SILENT_SECONDS
        if len(self._until) > MAX_SILENT:
            self._until.popitem(last=False)

    def record_answered(self, registry: HasUrl) -> None:
        """Record a response."""
        self._until.pop(registry.url, None)

    def is_silent(self, registry: HasUrl) -> bool:
        """Whether the server was silent recently."""
        return self._until.get(registry.url, 0.0) > self._clock()

    def track(self, registry: HasUrl) -> TrackedRequest:
        """Begin a request to the server."""
        return TrackedRequest(self, registry, self._clock)


class TrackedRequest:
    """One request to a registry."""

    def __init__(self, silent_servers: SilentServers, registry: HasUrl, clock: Callable[[], float]) -> None:
        self._silent_servers = silent_servers
        self._registry = registry
        self._clock = clock
        self._asked = clock()

    def answered(self) -> None:
        self._silent_servers.record_answered(self._registry)

    def failed(self) -> None:
        """Record that there is no response, or no usable one."""
        if self._clock() - self._asked >= OPTIONAL_SECONDS:
            self._silent_servers.record_silent(self._registry)
