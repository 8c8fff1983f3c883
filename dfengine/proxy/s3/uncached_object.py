"""An object for which the disk has no room: its bytes are sent while they are read from its origin. Memory is bounded by one block."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from dfengine.errors import OriginChanged, OriginError
from dfengine.origin.cancel import Cancel
from dfengine.origin.schemes import origin

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Executor

    from dfengine.origin.origin_interface import Answer
    from dfengine.origin.origin_settings import OriginSettings
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.s3.object_head import ObjectHead

BLOCK = 256 << 10


class Direct:
    """For one response, on the loop's thread. Call `open`, `send`, and in any case `close`. origin_settings: how the origin is asked."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: Executor, origin_settings: OriginSettings) -> None:
        self._loop = loop
        self._threads = threads
        self._origin_settings = origin_settings
        self._cancel = Cancel()
        self._body: Answer | None = None
        self._first = b""
        self._turn = threading.Lock()
        """Held by the thread that reads or closes."""

    async def open(self, url: str, object_head: ObjectHead, start: int, past: int) -> None:
        """Request the bytes [start, past) of the object with this head, and wait for the first of them.

        Raises OriginChanged for another version, OriginError and related errors.
        """
        await self._loop.run_in_executor(self._threads, self._open, url, object_head, start, past)

    def _open(self, url: str, object_head: ObjectHead, start: int, past: int) -> None:
        with self._turn:
            asked = origin(url, self._origin_settings, self._cancel)
            body = self._body = asked.open(start, None if past == object_head.length else past)
            if body.version.with_length(body.length).name != object_head.version or body.length != object_head.length:
                raise OriginChanged(f"{body.place} sends another version of the object")
            if body.start != start:
                raise OriginError(f"{body.place} serves no ranges")
            self._first = self._block(min(past - start, BLOCK))

    async def send(self, client: ClientConnection, left: int, writable: asyncio.Event) -> None:
        """Send the body, `left` bytes. writable: set while the client reads. Raises OriginError and related errors."""
        while left:
            await writable.wait()
            block = self._first or await self._loop.run_in_executor(self._threads, self._read, min(left, BLOCK))
            self._first = b""
            left -= len(block)
            client.write(block)
            client.flush()
            client.extend_deadline()

    def _read(self, most: int) -> bytes:
        with self._turn:
            return self._block(most)

    def _block(self, most: int) -> bytes:
        assert self._body is not None
        buffer = bytearray(most)
        got = self._body.read_into(memoryview(buffer))
        if not got:
            raise OriginError("the origin has sent fewer bytes than announced")
        return bytes(buffer[:got])

    def close(self) -> None:
        """Stop the reading thread at once."""
        self._cancel.set()
        with contextlib.suppress(RuntimeError):  # the process ends
            self._threads.submit(self._close)

    def _close(self) -> None:
        with self._turn:
            if self._body is not None:
                self._body.close()
            self._cancel.close()
