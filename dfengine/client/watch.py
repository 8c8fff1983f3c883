"""The main thread's look around between two waits: the user's deadline, the threads' errors, the progress function."""

from __future__ import annotations

import time

from dfengine.client.tally import Tally
from dfengine.errors import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.transfer import Transfer

    Progress = Callable[[int, int, int, int, int], None]
    """Called with bytes: length (-1 unknown), from peers, from the supernode, from the origin, resumed."""

TICK = 0.1
"""Seconds between two looks, at most."""


class Watch:
    """`timeout`: seconds for the whole download, 0 = none. `advice`: what to do when they are over."""

    def __init__(self, timeout: float, progress: Progress | None, advice: str) -> None:
        self._timeout = timeout
        self._advice = advice
        self._progress = progress
        self.interrupted: BaseException | None = None
        """Raised at the next look."""
        self.started = time.monotonic()

    @property
    def deadline(self) -> float:
        """Monotonic seconds; far away when there is no timeout."""
        return self.started + (self._timeout or 10 * 365 * 86400.0)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    def look(self, transfer: Transfer | None) -> None:
        """Raises TimedOut, or whatever ended a thread."""
        if self.interrupted is not None:
            raise self.interrupted
        if transfer is not None and transfer.error is not None:
            raise transfer.error
        if self._timeout and time.monotonic() > self.deadline:
            raise TimedOut(f"not finished within {self._timeout:g} s; {self._advice}")
        if transfer is not None and self._progress is not None:
            self.show(transfer.file.geometry.length, transfer.tally, transfer.moving())

    def show(self, length: int, tally: Tally, moving: Tally | None = None) -> None:
        """Tell the progress function."""
        if self._progress is not None:
            extra = moving or Tally()
            self._progress(
                length,
                tally.peers + extra.peers,
                tally.supernode + extra.supernode,
                tally.origin + extra.origin,
                tally.resumed,
            )
