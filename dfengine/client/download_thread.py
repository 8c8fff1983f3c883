"""The thread that runs a download while a program reads its bytes."""

from __future__ import annotations

import contextlib
import threading

from dfengine.client.cleanup import release
from dfengine.client.transfer import join
from dfengine.errors import LocalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from dfengine.client.result import Result

    class Run(Protocol):
        """A download: `run` to its end; `abandon` when that failed; `close` releases all resources after `run` has ended."""

        def run(self) -> Result: ...
        def abandon(self, error: BaseException) -> None: ...
        def close(self) -> None: ...

CLOSING = 0.7
"""Seconds to wait for the end of a download thread that is being closed."""


class DownloadThread(threading.Thread):
    """Runs one download. It has no reference to a reader, so a dropped reader is garbage-collected, which ends the download thread."""

    def __init__(self, download: Run, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._download = download
        self.result: Result | None = None
        self.failure: BaseException | None = None
        self._turn = threading.RLock()
        self._over = self._close_requested = False

    @property
    def over(self) -> bool:
        """Whether the download has run to its end, so that no stop is needed."""
        return self._over

    def start(self) -> None:
        """Start the download. Raises LocalError if the system has no thread for it; the download is then closed."""
        try:
            super().start()
        except RuntimeError as error:
            self._over = True
            self._download.close()
            raise LocalError.without_thread(error) from None

    def run(self) -> None:
        """Run the download and record its result or failure."""
        try:
            self.result = self._download.run()
        except BaseException as error:
            self.failure = error
            with contextlib.suppress(Exception):
                self._download.abandon(error)
        with self._turn:
            self._over = True
            if self._close_requested:
                self._download.close()

    def close(self) -> None:
        """Close the download: at once, or later by the download thread while that is in a wait that cannot be cut, such as a name lookup.

        A second call does the steps that an interrupted `close` did not do.
        """
        release(self._request_close, self._await_end, self._close)

    def _request_close(self) -> None:
        # First: signals do not interrupt the download thread, so it closes the download even if the steps after this one are interrupted.
        with self._turn:
            self._close_requested = True

    def _await_end(self) -> None:
        if threading.current_thread() is not self:  # the download thread itself may run the garbage collection that closes the reader
            join([self], CLOSING)

    def _close(self) -> None:
        with self._turn:
            if self._over:
                self._download.close()
