"""An open file for coroutines, from which any number of asyncio tasks may read."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TypeVar

from dfengine.files.cancel import Cancel
from dfengine.programs.loop_threads import in_thread, shielded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Any, Self

    from dfengine import files

T = TypeVar("T")


class File:
    """See files.file.File. `read` and `seek` share one position, and run for one task at a time; the other methods use no position.

    A cancelled read does not change the position, the file or the reads of other tasks. Use it as an asynchronous context manager, or
    `close` it.
    """

    def __init__(self, file: files.File) -> None:
        self._file = file
        self._turn = asyncio.Lock()

    async def opened(self) -> Self:
        """Return itself when the file's metadata is known. A cancel closes it. Raises subclasses of DfengineError."""
        opening = in_thread(self._file.opened)
        try:
            await asyncio.shield(opening)
        except BaseException:
            try:
                await shielded(in_thread(self._file.close))
            finally:
                with contextlib.suppress(Exception):
                    await shielded(opening)
            raise
        return self

    @property
    def name(self) -> str:
        """The URL."""
        return self._file.name

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    @property
    def mode(self) -> str:
        """The mode, as of `open`."""
        return self._file.mode

    def readable(self) -> bool:
        """True."""
        return self._file.readable()

    def seekable(self) -> bool:
        """True."""
        return self._file.seekable()

    def writable(self) -> bool:
        """False."""
        return self._file.writable()

    async def size(self) -> int:
        """Length of the file in bytes. If the origin does not state it, the file is fetched to its end for this."""
        return await self._run(lambda: self._file.size)

    def tell(self) -> int:
        """Offset in bytes of the next `read`."""
        return self._file.tell()

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """See files.file.File.seek."""
        async with self._turn:
            return await self._run(lambda: self._file.seek(offset, whence))

    async def read(self, count: int | None = -1, /) -> bytes:
        """See files.file.File.read."""
        async with self._turn:
            return await self._moving(lambda: self._file.read(count))

    async def readall(self) -> bytes:
        """Read the rest of the file."""
        return await self.read()

    async def readinto(self, buffer: Any, /) -> int:
        """See files.file.File.readinto. After a cancel nothing is written to `buffer` any more."""
        async with self._turn:
            return await self._moving(lambda: self._file.readinto(buffer))

    async def pread(self, offset: int, count: int) -> bytes:
        """See files.file.File.pread."""
        return await self._run(lambda: self._file.pread(offset, count))

    async def pread_into(self, offset: int, buffer: Any) -> int:
        """See files.file.File.pread_into. After a cancel nothing is written to `buffer` any more."""
        return await self._run(lambda: self._file.pread_into(offset, buffer))

    async def readv(self, ranges: Iterable[tuple[int, int]]) -> list[bytes]:
        """See files.file.File.readv."""
        return await self._run(lambda: self._file.readv(ranges))

    async def map(self, offset: int = 0, count: int | None = None) -> memoryview:
        """See files.file.File.map."""
        return await self._run(lambda: self._file.map(offset, count))

    async def path(self) -> str:
        """See files.file.File.path."""
        return await self._run(self._file.path)

    async def _moving(self, call: Callable[[], T]) -> T:
        """As `_run`, but a cancel restores the position, since the bytes were not returned. The caller holds the lock `_turn`."""
        before = self._file.tell()
        try:
            return await self._run(call)
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):  # the file was closed
                self._file.seek(before)
            raise

    async def _run(self, call: Callable[[], T]) -> T:
        if self._file.closed:
            raise ValueError("I/O operation on closed file")
        cancel = Cancel()
        running = in_thread(lambda: cancel.run(call))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            cancel.cancel()
            with contextlib.suppress(Exception):
                await shielded(running)
            raise

    async def close(self) -> None:
        """Release everything. Waiting reads of other tasks raise LocalError. A second call has no effect."""
        await shielded(in_thread(self._file.close))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
