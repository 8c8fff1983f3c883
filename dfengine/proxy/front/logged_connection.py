"""The access log of the proxy: a connection that logs one event for each response."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from dfengine.proxy.front.client_connection import ClientConnection

if TYPE_CHECKING:
    from dfengine.net.event_log import EventLog
    from dfengine.proxy.front.interfaces import Server
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.header_fields import Fields
    from dfengine.proxy.registries import Registry


class LoggedConnection(ClientConnection):
    """See `ClientConnection`. In an event `bytes` is the length in the response's head, `first_byte` the seconds until it was ready."""

    __slots__ = ("_answered", "_asked", "_events", "_length", "_status")

    def __init__(self, events: EventLog, server: Server, intercepted: Registry | None = None) -> None:
        super().__init__(server, intercepted)
        self._events = events
        self._asked = ""
        self._answered = 0.0
        self._status, self._length = 0, -1

    def request(self, head: Head) -> None:
        self._asked = f"{head.method} {head.target.decode('latin-1').partition('?')[0]}"
        self._status = 0
        super().request(head)

    def begin(self, status: int, reason: bytes, fields: Fields, length: int) -> None:
        self._status, self._length, self._answered = status, length, monotonic()
        super().begin(status, reason, fields, length)

    def _next(self) -> None:
        self._log_access(True)
        super()._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._log_access(False)
        super().connection_lost(exc)

    def _log_access(self, whole: bool) -> None:
        asked, self._asked = self._asked, ""
        if not asked:
            return
        method, _, path = asked.partition(" ")
        first = self._answered - self.arrived if self._status else None
        self._events.access(client=self.address or "local", method=method, path=path, status=self._status or 499,
                            bytes=max(0, self._length) if self._status else 0, complete=whole, first_byte=first,
                            seconds=monotonic() - self.arrived)
