"""A response without an end: server-sent events (the HTML standard, section 9.2), each written when there is an event.

No message is queued for a reader: the writer checks whether the last message was read, and skips messages that are outdated by then. A slow
reader therefore occupies one message and the connection's buffer, and is disconnected when it reads nothing for the server's stall_seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dfengine.net.http import Response
from dfengine.net.response_writing import write

TYPE = "text/event-stream; charset=utf-8"


class EventStream(Response):
    """Response whose body is written later. opened: called once after its head is written. ended: called when the connection is closed.

    The request's `keep_alive` must be False.
    """

    __slots__ = ("_ended", "_opened", "_transport")

    def __init__(
        self, opened: Callable[[EventStream], None], ended: Callable[[EventStream], None], headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(200, b"", TYPE, headers)
        self._opened, self._ended = opened, ended
        self._transport: asyncio.WriteTransport | None = None

    def encode(self, keep_alive: bool = True, bodiless: bool = False) -> bytes:
        """Encode the head; the body ends with the connection."""
        lines = ["HTTP/1.1 200 OK", f"Content-Type: {TYPE}", *(f"{name}: {value}" for name, value in self.headers), "Connection: close"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def begin(self, transport: asyncio.WriteTransport) -> None:
        """Start the body; the connection calls this after writing the head."""
        self._transport = transport
        self._opened(self)

    @property
    def unread(self) -> bool:
        """Whether the reader has not read all written bytes, or has disconnected."""
        return self._transport is None or self._transport.is_closing() or self._transport.get_write_buffer_size() > 0

    def write(self, data: bytes) -> None:
        """Write bytes of whole messages; the caller has checked that the stream is not `unread`."""
        if self._transport is not None and not self._transport.is_closing():
            write(self._transport, data)

    def close(self) -> None:
        """Close the connection once all written bytes are read."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def end(self) -> None:
        """End the stream; the connection calls this when it is closed."""
        if self._transport is not None:
            self._transport = None
            self._ended(self)


def message(data: bytes, kind: str, id: int = 0) -> bytes:
    """Encode one event. data: one line, for example JSON. id: where a reader resumes after reconnecting; 0: none."""
    head = f"id: {id}\nevent: {kind}\n" if id else f"event: {kind}\n"
    return head.encode() + b"data: " + data + b"\n\n"
