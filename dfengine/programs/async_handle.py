"""Handles of work for coroutines: a running download, preheat or share that can be awaited.

Invariant: a cancelled coroutine cancels its work, and ends when the work has ended, so that no thread and no descriptor remains.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Generic, TypeVar

from dfengine.client import Result
from dfengine.client.tree_fetch import TreeResult
from dfengine.programs.handle import CLOSING, Handle, waiting_time
from dfengine.programs.preheat import Preheated
from dfengine.programs.progress import check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from dfengine.programs.progress import Progress, ProgressCallback

T = TypeVar("T")
D = TypeVar("D")


class LoopCallback:
    """Calls the function `progress` in the running loop, from any thread. An exception of `progress` is raised by the next call of this.

    Raises BadValue if `progress` is not a function, RuntimeError if no loop runs.
    """

    def __init__(self, progress: ProgressCallback) -> None:
        check(progress)
        self._progress = progress
        self._loop = asyncio.get_running_loop()
        self.raised: BaseException | None = None
        """The exception that the function has raised."""
        self.failed: Callable[[BaseException], None] = lambda _: None
        """Called by the loop with that exception."""

    def __call__(self, now: Progress) -> None:
        if self.raised is not None:
            raise self.raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._call_progress, now)

    def _call_progress(self, now: Progress) -> None:
        if self.raised is not None:
            return
        try:
            self._progress(now)
        except BaseException as error:
            self.raised = error
            self.failed(error)


class Awaited(Generic[T]):
    """A handle of `programs.handle` that coroutines of one loop can await."""

    def __init__(self, handle: Handle[T]) -> None:
        self._handle = handle

    def __repr__(self) -> str:
        return repr(self._handle)

    @property
    def name(self) -> str:
        """See Handle."""
        return self._handle.name

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
        """See Handle. If this is cancelled, the work continues: the caller of `download` may wait again, or `cancel` it."""
        if not await _wait_ended(self._handle, timeout):
            raise TimeoutError(f"{self._handle.name} still runs{self._handle.waiting_reason()}")
        return self._handle.wait(0)

    def __await__(self) -> Generator[Any, None, T]:
        return self.wait().__await__()

    async def wait_or_cancel(self) -> T:
        """As `wait`, but a cancel also ends the work."""
        try:
            return await self.wait()
        except asyncio.CancelledError:
            self._handle.cancel()
            await _await_shielded(self._handle)
            raise


class _WithProgress(Awaited[T]):
    """A handle that reports progress."""

    _handle: Any

    def __init__(self, handle: Handle[T], on_progress: LoopCallback | None = None) -> None:
        """on_progress: reports the progress on the loop."""
        super().__init__(handle)
        self._on_progress = on_progress

    async def wait(self, timeout: float | None = None) -> T:
        """See Handle."""
        result = await super().wait(timeout)
        if self._on_progress is not None and self._on_progress.raised is not None:
            raise self._on_progress.raised
        return result

    @property
    def progress(self) -> Progress:
        """The latest progress."""
        found: Progress = self._handle.progress
        return found


class Download(_WithProgress[Result]):
    """A running download; `await` it, or its `wait`."""


class TreeDownload(_WithProgress[TreeResult]):
    """A running download of a directory; `await` it, or its `wait`."""


class Preheat(Awaited[Preheated]):
    """A running preheat; `await` it, or its `wait`. `cancel` ends only the waiting: the supernode continues."""


def started(
    begin: Callable[[ProgressCallback | None], Any], progress: ProgressCallback | None, kind: Callable[[Any, LoopCallback | None], D]
) -> D:
    """Start the work with `begin`, and report its progress on the loop. An exception of `progress` ends the work."""
    if progress is None:
        return kind(begin(None), None)
    on_progress = LoopCallback(progress)
    handle = begin(on_progress)
    on_progress.failed = handle.stop
    return kind(handle, on_progress)


async def _wait_ended(handle: Handle[Any], timeout: float | None) -> bool:
    """Wait at most `timeout` seconds, None = without limit, for the work to end, and return whether it has. Raises BadValue."""
    timeout = waiting_time(timeout)
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def wake(_: Handle[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_set, over)

    handle.on_done(wake)
    if timeout is None:
        await over
    else:
        await asyncio.wait((over,), timeout=timeout)
    return handle.ended(0)


def _set(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


async def _await_shielded(handle: Handle[Any]) -> None:
    """Wait at most CLOSING seconds for the end of the work, even if this is cancelled."""
    end = time.monotonic() + CLOSING
    while not handle.done and (left := end - time.monotonic()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await _wait_ended(handle, left)
