"""Ends the wait of one read from another thread; the file stays open and its other reads continue."""

from __future__ import annotations

import contextlib
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    Found = TypeVar("Found")

_thread = threading.local()


class Cancel:
    """Cancels one read."""

    def __init__(self) -> None:
        self.cancelled = False
        self._wake: Callable[[], None] | None = None

    def run(self, read: Callable[[], Found]) -> Found:
        """Return the result of `read`, which runs on the present thread. It raises Cancelled if it waits for a piece after `cancel`."""
        _thread.cancel = self
        try:
            return read()
        finally:
            _thread.cancel = None

    def cancel(self) -> None:
        """Cancel the read; may be called from any thread. A read that no longer waits is not affected."""
        self.cancelled = True
        wake = self._wake
        if wake is not None:
            wake()

    @contextlib.contextmanager
    def waits(self, wake: Callable[[], None]) -> Iterator[None]:
        """Context in which `wake` makes the read check `cancelled`."""
        before, self._wake = self._wake, wake
        try:
            yield
        finally:
            self._wake = before


def cancelled() -> bool:
    """Whether the read of this thread was cancelled."""
    found: Cancel | None = getattr(_thread, "cancel", None)
    return found is not None and found.cancelled


def waits(wake: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
    """Cancel.waits for the read of this thread, if that can be cancelled."""
    found: Cancel | None = getattr(_thread, "cancel", None)
    return contextlib.nullcontext() if found is None else found.waits(wake)
