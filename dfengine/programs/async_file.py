"""An open file for coroutines: any number of tasks read from it."""

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
    """See files.file.File. `read` and `seek` share one position, and one task at a time uses them; all other methods have none.

    A read that is cancelled ends by itself, and leaves the position where it was: the file and the reads of other tasks go on. Use it as an
    asynchronous context, or `close` it.
    """

    def __init__(self, file: files.File) -> None:
        self._file = file
        self._turn = asyncio.Lock()

    async def opened(self) -> Self:
        """Itself, when it is known what the file is. A cancel closes it. Raises subclasses of DfengineError."""
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
        """See `close`."""
        return self._file.closed

    @property
    def mode(self) -> str:
        """As of `open`."""
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
        """Bytes of the file. Where the origin does not tell, the file is fetched to its end for this."""
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
        """All that is left."""
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
        """`_run`; a cancel takes back what the call did to the position, since nobody has those bytes. Hold the turn."""
        before = self._file.tell()
        try:
            return await self._run(call)
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):  # it was closed
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
        """Release everything. Reads of other tasks that wait raise LocalError. Again: nothing."""
        await shielded(in_thread(self._file.close))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
