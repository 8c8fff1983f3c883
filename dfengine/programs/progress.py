"""Progress of a download, as reported to a program."""

from __future__ import annotations

import math
import time

from dfengine.client.progress_text import Gauge
from dfengine.errors import BadValue
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    ProgressCallback = Callable[["Progress"], object]

CO_COROUTINE = 0x80
"""Code flag of an `async def` function (inspect.CO_COROUTINE; inspect is slow to import)."""

PAUSE = 0.1
"""Minimum number of seconds between two calls of a program's function."""


class Progress(Value):
    """Progress at one moment: received bytes, including those of unfinished pieces, in total (`done`) and by source.

    length: bytes of the file, -1 = not known yet. resumed: bytes of an earlier download. rate: bytes per second over the last seconds.
    eta: estimated seconds to the end at that rate, None = unknown. seconds: since the start.
    """

    done: int = 0
    length: int = -1
    from_peers: int = 0
    from_supernode: int = 0
    from_origin: int = 0
    resumed: int = 0
    rate: float = 0.0
    eta: float | None = None
    seconds: float = 0.0


def check(on_progress: ProgressCallback | None) -> None:
    """Check a progress function. Raises BadValue if it cannot be called, or is a coroutine function."""
    if on_progress is not None and not callable(on_progress):
        raise BadValue(f"progress: {type(on_progress).__name__} is given, not a function")
    if on_progress is not None and CO_COROUTINE & getattr(getattr(on_progress, "__code__", None), "co_flags", 0):
        raise BadValue("progress: a coroutine function is given, which would never be awaited; give a function")


class ProgressReporter:
    """Turns a download's counters into Progress, and calls `on_progress` with it. The download thread calls it; any thread reads `now`."""

    def __init__(self, on_progress: ProgressCallback | None) -> None:
        """Raises BadValue; see `check`."""
        check(on_progress)
        self._on_progress = on_progress
        self._gauge = Gauge()
        self._began = time.monotonic()
        self._next = -math.inf
        self.now = Progress()
        """The latest progress."""

    def __call__(self, length: int, peers: int, supernode: int, origin: int, resumed: int) -> None:
        """Report the current counters, in bytes; see monitor.Counted. Raises the exceptions of `on_progress`."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + PAUSE
        done = peers + supernode + origin + resumed
        self._gauge.add(now, done)
        # Between its last byte and its verification a piece is in no counter: the gauge keeps `done` from decreasing.
        done = min(self._gauge.done, length) if length >= 0 else self._gauge.done
        rate = self._gauge.rate
        eta = (length - done) / rate if length >= 0 and rate > 0 else None
        self._say(Progress(done, length, peers, supernode, origin, resumed, rate, eta, now - self._began))

    def end(self, length: int, peers: int, supernode: int, origin: int, resumed: int) -> None:
        """Report that the download is complete and the file has its name. Raises the exceptions of `on_progress`."""
        seconds = time.monotonic() - self._began
        rate = (length - resumed) / seconds if seconds > 0 else 0.0
        self._say(Progress(length, length, peers, supernode, origin, resumed, rate, 0.0, seconds))

    def _say(self, progress: Progress) -> None:
        self.now = progress
        if self._on_progress is not None:
            self._on_progress(progress)
