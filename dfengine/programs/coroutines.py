"""The client for asyncio: the same work in threads of its own, awaited without a thread of the loop's.

Law: a coroutine that is cancelled cancels its work, and ends when the work has ended. So nothing is left behind: no thread, no descriptor.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from operator import index
from typing import Generic, TypeVar

from dfengine.client import Result
from dfengine.errors import Cancelled, LocalError
from dfengine.programs import client
from dfengine.programs.async_file import File
from dfengine.programs.handle import CLOSING, Handle, waiting_time
from dfengine.programs.loop_threads import in_thread, shielded
from dfengine.programs.preheat import Preheated
from dfengine.programs.progress import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator
    from types import TracebackType
    from typing import Any, Self, Unpack

    from dfengine import streaming
    from dfengine.app.keywords import Keywords, Path
    from dfengine.client.tree import TreeResult
    from dfengine.programs.client import Patterns
    from dfengine.programs.progress import Progress, Tell
    from dfengine.programs.tree_download import TreeDownload as TreeHandle

T = TypeVar("T")
D = TypeVar("D")


class _Awaited(Generic[T]):
    """A handle of `programs.handle` that coroutines of one loop wait for."""

    def __init__(self, handle: Handle[T]) -> None:
        self._handle = handle

    def __repr__(self) -> str:
        return repr(self._handle)

    @property
    def done(self) -> bool:
        """See Handle."""
        return self._handle.done

    @property
    def result(self) -> T | None:
        """See Handle."""
        return self._handle.result

    @property
    def error(self) -> BaseException | None:
        """See Handle."""
        return self._handle.error

    def cancel(self) -> None:
        """See Handle."""
        self._handle.cancel()

    async def wait(self, timeout: float | None = None) -> T:
        """See Handle. That this is cancelled does not end the work: who began it by `download` may wait again, or `cancel` it."""
        if not await _ended(self._handle, timeout):
            raise TimeoutError(f"{self._handle.name} still runs{self._handle.why()}")
        return self._handle.wait(0)

    def __await__(self) -> Generator[Any, None, T]:
        return self.wait().__await__()

    async def _only(self) -> T:
        """`wait`, and the work ends with it."""
        try:
            return await self.wait()
        except asyncio.CancelledError:
            self._handle.cancel()
            await _surely(self._handle)
            raise


class _Told(_Awaited[T]):
    """One that tells its progress."""

    _handle: Any

    def __init__(self, handle: Handle[T], raised: list[BaseException]) -> None:
        """raised: what the function `progress` has raised, if anything."""
        super().__init__(handle)
        self._raised = raised

    async def wait(self, timeout: float | None = None) -> T:
        """See Handle."""
        result = await super().wait(timeout)
        if self._raised:
            raise self._raised[0]
        return result

    @property
    def progress(self) -> Progress:
        """What it has done so far."""
        found: Progress = self._handle.progress
        return found


class Download(_Told[Result]):
    """A download that was begun; `await` it, or its `wait`."""


class TreeDownload(_Told["TreeResult"]):
    """The same of a directory."""


class Preheat(_Awaited[Preheated]):
    """A preheat that was begun; `await` it, or its `wait`. `cancel` ends the waiting alone: the supernode goes on."""


class Reader:
    """A stream: `async for` gives the content of one piece after the other, and `read` some bytes. Use it as a context, or `close` it.

    One task at a time reads. That a read is cancelled loses no byte: the next one gets what came. At the end of the file the digests that
    were given have been compared, `verified` is True if there are any, and `result` says how it went. See streaming.reader.Reader.
    """

    def __init__(self, begin: Callable[[], streaming.Reader]) -> None:
        self._begin = begin
        self._reader: streaming.Reader | None = None
        self._pending: asyncio.Future[bytes] | None = None
        self._rest = b""
        self._closed = False

    @property
    def verified(self) -> bool:
        """See the class."""
        return self._reader is not None and self._reader.verified

    @property
    def result(self) -> Result | None:
        """See the class."""
        return self._reader.result if self._reader is not None else None

    async def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes, -1 or None = all that is left; b"" at the end. Raises subclasses of DfengineError, TypeError."""
        size = -1 if size is None else index(size)
        if size < 0:
            parts = [self._rest]
            self._rest = b""
            while part := await self._piece():
                parts.append(part)
            return b"".join(parts)
        if size and not self._rest:
            self._rest = await self._piece()
        got, self._rest = self._rest[:size], self._rest[size:]
        return got

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while content := await self.read(1 << 62):
            yield content

    async def _piece(self) -> bytes:
        if self._closed:
            raise LocalError("the stream was closed")
        if self._pending is None:
            self._pending = in_thread(self._next)
        content = await asyncio.shield(self._pending)
        self._pending = None
        return content

    def _next(self) -> bytes:
        """The next piece's content; in a thread of its own."""
        reader = self._reader
        if reader is None:
            reader = self._reader = self._begin()
            if self._closed:  # while it was begun: who closed it saw nothing to cancel
                reader.cancel(Cancelled("the stream was closed"))
        return reader.next_piece()

    async def close(self) -> None:
        """Release everything, when the digests that were given have been compared, as streaming.reader.Reader.close."""
        await self._close(compare=True)

    async def _close(self, compare: bool) -> None:
        if self._closed:
            return
        self._closed = True
        if self._pending is not None and not self._pending.done():
            compare = False  # a read was given up: nobody knows what it would have brought
            if self._reader is not None:
                self._reader.cancel(Cancelled("the stream was closed"))
        pending = self._pending
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


class Client:
    """See programs.client.Client, the keywords of which it takes. Use it as an asynchronous context, or `close` it."""

    def __init__(self, **settings: Unpack[Keywords]) -> None:
        self._client = client.Client(**settings)

    @classmethod
    def configured(cls, **settings: Unpack[Keywords]) -> Self:
        """See programs.client.Client."""
        made = cls()
        made._client = client.Client.configured(**settings)
        return made

    async def get(self, url: str, output: Path, *, progress: Tell | None = None, **settings: Unpack[Keywords]) -> Result:
        """See programs.client.Client. progress: called by the loop. A cancel ends the download before it comes out here."""
        return await self._begin(url, output, progress, settings)._only()

    async def download(self, url: str, output: Path, *, progress: Tell | None = None, **settings: Unpack[Keywords]) -> Download:
        """Begin it; the result can be awaited, and cancelled. progress: called by the loop."""
        return self._begin(url, output, progress, settings)

    async def fetch_tree(
        self, url: str, directory: Path, *, include: Patterns = (), exclude: Patterns = (), progress: Tell | None = None,
        **settings: Unpack[Keywords],
    ) -> TreeResult:  # fmt: skip
        """See programs.client.Client. progress: called by the loop. A cancel ends the download before it comes out here."""

        def begin(tell: Tell | None) -> TreeHandle:
            return self._client.download_tree(url, directory, include=include, exclude=exclude, progress=tell, **settings)

        return await _told(begin, progress, TreeDownload)._only()

    def stream(self, url: str, *, progress: Tell | None = None, **settings: Unpack[Keywords]) -> Reader:
        """`url` in order; see Reader. It begins with the first read. progress: called by the loop; what it raises is raised by a read."""
        self._client.settings(url, None, settings)  # raises what is wrong now
        tell = _in_loop(progress) if progress is not None else None
        return Reader(lambda: self._client.stream(url, progress=tell, **settings))

    async def open(self, url: str, *, store: str = "", **settings: Unpack[Keywords]) -> File:
        """`url` as a file to seek in, whose pieces are fetched when they are read; see File, and programs.client.Client."""
        return await File(self._client.file(url, store=store, **settings)).opened()

    async def preheat(self, url: str, **settings: Unpack[Keywords]) -> Preheat:
        """See programs.client.Client; the result can be awaited."""
        return Preheat(self._client.preheat(url, **settings))

    def _begin(self, url: str, output: Path, progress: Tell | None, settings: Keywords) -> Download:
        return _told(lambda tell: self._client.download(url, output, progress=tell, **settings), progress, Download)

    async def close(self) -> None:
        """Cancel what runs, and wait until it has ended."""
        await shielded(in_thread(self._client.close))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()


async def get(url: str, output: Path, *, progress: Tell | None = None, **settings: Unpack[Keywords]) -> Result:
    """As `dfengine.get`, with what configuration files and the environment say; see Client.get."""
    return await Client.configured().get(url, output, progress=progress, **settings)


async def download(url: str, output: Path, *, progress: Tell | None = None, **settings: Unpack[Keywords]) -> Download:
    """As `dfengine.download`; see Client.download."""
    return await Client.configured().download(url, output, progress=progress, **settings)


def stream(url: str, *, progress: Tell | None = None, **settings: Unpack[Keywords]) -> Reader:
    """As `dfengine.stream`; see Client.stream."""
    return Client.configured().stream(url, progress=progress, **settings)


async def open(url: str, *, store: str = "", **settings: Unpack[Keywords]) -> File:
    """As `dfengine.open`; see Client.open."""
    return await Client.configured().open(url, store=store, **settings)


async def preheat(url: str, **settings: Unpack[Keywords]) -> Preheat:
    """As `dfengine.preheat`; see Client.preheat."""
    return await Client.configured().preheat(url, **settings)


def _told(begin: Callable[[Tell | None], Any], progress: Tell | None, kind: Callable[[Any, list[BaseException]], D]) -> D:
    """What `begin` begins, whose progress the loop tells; what `progress` raises ends it."""
    raised: list[BaseException] = []
    if progress is None:
        return kind(begin(None), raised)
    check(progress)
    loop = asyncio.get_running_loop()

    def told(now: Progress) -> None:
        try:
            if not raised:
                progress(now)
        except BaseException as error:
            raised.append(error)
            handle.stop(error)

    def tell(now: Progress) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(told, now)

    handle = begin(tell)
    return kind(handle, raised)


def _in_loop(progress: Tell) -> Tell:
    """What has the loop call `progress`. What that raised is raised by the next call. Raises RuntimeError where no loop runs."""
    check(progress)
    loop, raised = asyncio.get_running_loop(), list[BaseException]()

    def told(now: Progress) -> None:
        try:
            if not raised:
                progress(now)
        except BaseException as error:
            raised.append(error)

    def tell(now: Progress) -> None:
        if raised:
            raise raised[0]
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(told, now)

    return tell


async def _ended(handle: Handle[Any], timeout: float | None) -> bool:
    """Wait so many seconds for its end, None = as long as it takes. Raises BadValue."""
    timeout = waiting_time(timeout)
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def wake(_: Handle[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_set, over)

    handle.then(wake)
    if timeout is None:
        await over
    else:
        await asyncio.wait((over,), timeout=timeout)
    return handle.ended(0)


def _set(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


async def _surely(handle: Handle[Any]) -> None:
    """Wait for its end, whoever cancels this; for CLOSING seconds at most."""
    end = time.monotonic() + CLOSING
    while not handle.done and (left := end - time.monotonic()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await _ended(handle, left)
