"""Blocking calls awaited by an asyncio loop: each runs in a separate thread, which ends with the call."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def shielded(future: asyncio.Future[T]) -> T:
    """Wait for the future's result even if this is cancelled; the cancellation is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        future.exception()
        raise cancelled
    return future.result()


def in_thread(call: Callable[[], T]) -> asyncio.Future[T]:
    """Run `call` in a separate thread, which ends with it. The future has its result or exception."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        thread.join()  # the thread is about to end
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
            future.exception()  # marks it as retrieved: a cancelled caller does not read it, and asyncio would log that
        else:
            future.set_result(result)  # type: ignore[arg-type]  # set if there is no error

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    thread = threading.Thread(target=run, name="dfengine", daemon=True)
    thread.start()
    return future
