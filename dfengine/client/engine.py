"""The thread that runs a download whose bytes a program takes while it runs."""

from __future__ import annotations

import contextlib
import threading

from dfengine.client.releasing import release
from dfengine.client.transfer import join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from dfengine.client.result import Result

    class Run(Protocol):
        """A download: `run` to its end; `abandon` when that failed; `close` lets go of everything, once `run` has ended."""

        def run(self) -> Result: ...
        def abandon(self, error: BaseException) -> None: ...
        def close(self) -> None: ...

CLOSING = 0.7
"""Seconds for an engine to end that is not wanted any more."""


class Engine(threading.Thread):
    """It knows nobody who reads, so that a reader that is dropped is collected, and ends it."""

    def __init__(self, download: Run, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._download = download
        self.result: Result | None = None
        self.failure: BaseException | None = None
        self._turn = threading.RLock()
        self._over = self._left = False

    @property
    def over(self) -> bool:
        """The download has run to its end, and needs no stop."""
        return self._over

    def run(self) -> None:
        """See Run."""
        try:
            self.result = self._download.run()
        except BaseException as error:
            self.failure = error
            with contextlib.suppress(Exception):
                self._download.abandon(error)
        with self._turn:
            self._over = True
            if self._left:
                self._download.close()

    def leave(self) -> None:
        """The download is closed: at once, or by the engine where that waits for what nothing cuts, as the look-up of a name.

        Again: what an interrupted `leave` did not do.
        """
        release(self._leave, self._await_end, self._close)

    def _leave(self) -> None:
        # First: no signal interrupts the engine, which closes the download also where the steps after this one do not come to an end.
        with self._turn:
            self._left = True

    def _await_end(self) -> None:
        if threading.current_thread() is not self:  # as where it collects the garbage that the reader is
            join([self], CLOSING)

    def _close(self) -> None:
        with self._turn:
            if self._over:
                self._download.close()
