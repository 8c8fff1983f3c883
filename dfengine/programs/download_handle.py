"""A download into a file, and its handle."""

from __future__ import annotations

import time

from dfengine.client.download import FileDownload, run
from dfengine.client.monitor import RECENT
from dfengine.client.result import Result
from dfengine.programs.handle import Handle
from dfengine.programs.progress import ProgressReporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.programs.progress import Progress, ProgressCallback
    from dfengine.settings import GetSettings


class Download(Handle[Result]):
    """Handle of a download. If it ends early, fetched pieces stay beside the output, and the next download resumes from them."""

    def __init__(self, settings: GetSettings, on_progress: ProgressCallback | None, ended: Callable[[Download], None]) -> None:
        """on_progress: called by the download's thread, about ten times a second. ended: see Handle."""
        super().__init__(f"the download of {settings.output}", ended)
        self._settings = settings
        self._reporter = ProgressReporter(on_progress)
        self._running: FileDownload | None = None

    @property
    def progress(self) -> Progress:
        """The latest progress."""
        return self._reporter.now

    def _work(self) -> Result:
        self.check()
        running = self._running = FileDownload(self._settings, self._reporter)
        try:
            if self._stopped is not None:
                running.stop(self._stopped)
            result = run(running)
        finally:
            self._running = None
        self._reporter.end(result.length, result.from_peers, result.from_supernode, result.from_origin, result.resumed)
        return result

    def waiting_reason(self) -> str:
        """See Handle."""
        running = self._running
        return running.monitor.wait_reason(time.monotonic() - RECENT) if running is not None else ""

    def _interrupt(self, error: BaseException) -> None:
        running = self._running
        if running is not None:
            running.stop(error)
