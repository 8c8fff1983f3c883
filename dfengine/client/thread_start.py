"""Starting threads in a process that may be at its limit of threads."""

from __future__ import annotations

import contextlib

from dfengine.errors import LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable


def start(thread: threading.Thread, started: list[threading.Thread] | None = None) -> None:
    """Start it and add it to `started`. Raises LocalError if the system has no thread for it.

    It is added first: a signal's exception may interrupt the start of a thread that runs.
    """
    threads = [] if started is None else started
    threads.append(thread)
    try:
        thread.start()
    except RuntimeError as error:
        threads.remove(thread)
        raise LocalError.without_thread(error) from None


def start_some(most: int, start_one: Callable[[int], None], on_none: Callable[[], None] = lambda: None) -> None:
    """Call `start_one` with 0, 1, ... until `most` threads run or the system has no more.

    Raises LocalError, after `on_none`, if the system has none at all.
    """
    try:
        start_one(0)
    except LocalError:
        on_none()
        raise
    with contextlib.suppress(LocalError):
        for number in range(1, most):
            start_one(number)
