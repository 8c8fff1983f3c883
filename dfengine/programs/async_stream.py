"""A stream for coroutines: a separate thread waits for each piece."""

from __future__ import annotations

import asyncio
import contextlib
from operator import index

from dfengine.errors import Cancelled, LocalError
from dfengine.programs.loop_threads import in_thread, shielded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType
    from typing import Any, Self

    from dfengine import streaming
    from dfengine.client import Result


class Reader:
    """A stream: `async for` yields the content of each piece in order, `read` returns some bytes. Use it as an asynchronous context
    manager, or `close` it.

    Any task may read: each read continues after the one before. A cancelled read loses no byte: the next one returns the bytes. At the end
    of the file the given digests have been compared; `verified` is then True if there are any, and `result` is set. See
    streaming.reader.Reader.
    """

    def __init__(self, begin: Callable[[], streaming.Reader]) -> None:
        self._begin = begin
        self._reader: streaming.Reader | None = None
        self._pending: asyncio.Future[bytes] | None = None
        self._rest = memoryview(b"")
        """Bytes that were received, and not read yet."""
        self._stopped: BaseException | None = None
        self._closed = False
        self._turn = asyncio.Lock()
        """Held by the current read."""

    @property
    def verified(self) -> bool:
        """See the class."""
        return self._reader is not None and self._reader.verified

    @property
    def result(self) -> Result | None:
        """See the class."""
        return self._reader.result if self._reader is not None else None

    @property
    def closed(self) -> bool:
        """Whether the stream is closed."""
        return self._closed

    def readable(self) -> bool:
        """True."""
        return True

    async def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes, -1 or None = the rest; b"" at the end. Raises subclasses of DfengineError, TypeError."""
        size = -1 if size is None else index(size)
        async with self._turn:
            self._check_open()
            if size < 0:
                return await self._all()
            if size and not self._rest:
                self._rest = memoryview(await self._piece())
            return bytes(self._taken(size))

    async def _all(self) -> bytes:
        parts: list[bytes | memoryview] = []
        try:
            while part := self._taken(len(self._rest)) or await self._piece():
                parts.append(part)
        except BaseException:
            self._rest = memoryview(b"".join(parts))
            raise
        return b"".join(parts)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("I/O operation on closed stream")

    async def readall(self) -> bytes:
        """Read the rest of the stream."""
        return await self.read()

    async def readinto(self, buffer: Any, /) -> int:
        """Read bytes into `buffer`, and return their number, 0 at the end. Raises TypeError for a buffer that cannot be written."""
        view = memoryview(buffer).cast("B")
        if view.readonly:
            raise TypeError(f"readinto wants a buffer that can be written, not {type(buffer).__name__}")
        async with self._turn:
            self._check_open()
            if len(view) and not self._rest:
                self._rest = memoryview(await self._piece())
            found = self._taken(len(view))
            view[: len(found)] = found
            return len(found)

    async def next_piece(self) -> bytes:
        """The rest of the current piece, or the next piece; b"" at the end."""
        async with self._turn:
            self._check_open()
            return bytes(self._taken(len(self._rest))) if self._rest else await self._piece()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while content := await self.next_piece():
            yield content

    def _taken(self, size: int) -> memoryview:
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    async def _piece(self) -> bytes:
        if self._closed:
            raise LocalError("the stream was closed")
        if self._pending is None:
            self._pending = in_thread(self._next)
        content = await asyncio.shield(self._pending)
        self._pending = None
        return content

    def _next(self) -> bytes:
        """The next piece's content. Runs in a separate thread."""
        reader = self._reader
        if reader is None:
            if self._stopped is not None:
                raise self._stopped
            reader = self._reader = self._begin()
            if self._stopped is not None:  # `_stop` was called before `_reader` was set, so it could not stop it
                reader.stop(self._stopped)
        return reader.next_piece()

    def cancel(self) -> None:
        """Cancel the stream: reads, including a waiting one, raise Cancelled. Returns at once; `close` releases everything."""
        self._stop(Cancelled("the stream was cancelled"))

    def _stop(self, error: BaseException) -> None:
        self._stopped = self._stopped or error
        if self._reader is not None:
            self._reader.stop(error)

    async def close(self) -> None:
        """Compare the given digests, then release everything, as streaming.reader.Reader.close."""
        await self._close(compare=True)

    async def _close(self, compare: bool) -> None:
        if self._closed:
            return
        self._closed = True
        pending = self._pending
        if pending is not None and not pending.done():
            compare = False  # a read was abandoned, so the rest of the bytes is unknown
            self._stop(Cancelled("the stream was closed"))
        try:
            if pending is not None:
                with contextlib.suppress(Exception):
                    await shielded(pending)
        finally:
            reader = self._reader
            if reader is not None:
                await shielded(in_thread(reader.close if compare else lambda: reader.__exit__(Cancelled, Cancelled(), None)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._close(compare=error is None)
