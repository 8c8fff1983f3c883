"""An answer without an end: server-sent events (the HTML standard, section 9.2), each written when there is something to say.

Nothing is queued for a reader: who writes asks whether the last message was read, and leaves out what has become old meanwhile. So a slow
reader keeps one message and the connection's buffer, and is disconnected when it takes nothing for the server's stall seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dfengine.net.http import Response

TYPE = "text/event-stream; charset=utf-8"


class EventStream(Response):
    """opened: called once when its head was written; ended: when the connection is gone. The request's `keep_alive` must be False."""

    __slots__ = ("_ended", "_opened", "_transport")

    def __init__(
        self, opened: Callable[[EventStream], None], ended: Callable[[EventStream], None], headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(200, b"", TYPE, headers)
        self._opened, self._ended = opened, ended
        self._transport: asyncio.WriteTransport | None = None

    def encode(self, keep_alive: bool = True, bodiless: bool = False) -> bytes:
        """The head; its body ends with the connection."""
        lines = ["HTTP/1.1 200 OK", f"Content-Type: {TYPE}", *(f"{name}: {value}" for name, value in self.headers), "Connection: close"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def begin(self, transport: asyncio.WriteTransport) -> None:
        """Of the connection: the head was written."""
        self._transport = transport
        self._opened(self)

    @property
    def unread(self) -> bool:
        """The reader has not taken all that was written, or is gone."""
        return self._transport is None or self._transport.is_closing() or self._transport.get_write_buffer_size() > 0

    def write(self, data: bytes) -> None:
        """Bytes of whole messages, which the caller has found not `unread`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """No more comes: cut the connection once all is read."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def end(self) -> None:
        """Of the connection: it is gone."""
        if self._transport is not None:
            self._transport = None
            self._ended(self)


def message(data: bytes, kind: str, id: int = 0) -> bytes:
    """One event. data: one line, as JSON is. id: from which a reader goes on when it connects again; 0: none."""
    head = f"id: {id}\nevent: {kind}\n" if id else f"event: {kind}\n"
    return head.encode() + b"data: " + data + b"\n\n"
