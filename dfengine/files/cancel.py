"""Ends the wait of one read from another thread; the file and its other reads go on."""

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
    """Of one read."""

    def __init__(self) -> None:
        self.cancelled = False
        self._wake: Callable[[], None] | None = None

    def run(self, read: Callable[[], Found]) -> Found:
        """What `read` returns, on the present thread. It raises Cancelled where it would wait for a piece after `cancel`."""
        _thread.cancel = self
        try:
            return read()
        finally:
            _thread.cancel = None

    def cancel(self) -> None:
        """From any thread. A read that does not wait any more ends as it would have."""
        self.cancelled = True
        wake = self._wake
        if wake is not None:
            wake()

    @contextlib.contextmanager
    def waits(self, wake: Callable[[], None]) -> Iterator[None]:
        """While inside `wake` makes the read look at `cancelled`."""
        before, self._wake = self._wake, wake
        try:
            yield
        finally:
            self._wake = before


def cancelled() -> bool:
    """The read of this thread is to end."""
    found: Cancel | None = getattr(_thread, "cancel", None)
    return found is not None and found.cancelled


def waits(wake: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
    """See Cancel.waits; of the read of this thread, if that can be cancelled."""
    found: Cancel | None = getattr(_thread, "cancel", None)
    return contextlib.nullcontext() if found is None else found.waits(wake)
