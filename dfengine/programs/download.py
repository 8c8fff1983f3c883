"""A download into a file, and its handle."""

from __future__ import annotations

import time

from dfengine.client.download import FileDownload, run
from dfengine.client.result import Result
from dfengine.client.watch import RECENT
from dfengine.programs.handle import Handle
from dfengine.programs.progress import Teller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.programs.progress import Progress, Tell
    from dfengine.settings import GetSettings


class Download(Handle[Result]):
    """Handle of a download. If it ends early, fetched pieces stay beside the output, and the next download resumes from them."""

    def __init__(self, settings: GetSettings, tell: Tell | None, ended: Callable[[Download], None]) -> None:
        """tell: called by the download's thread, about ten times a second. ended: see Handle."""
        super().__init__(f"the download of {settings.output}", ended)
        self._settings = settings
        self._teller = Teller(tell)
        self._running: FileDownload | None = None

    @property
    def progress(self) -> Progress:
        """The latest progress."""
        return self._teller.now

    def _work(self) -> Result:
        self.check()
        running = self._running = FileDownload(self._settings, self._teller)
        try:
            if self._stopped is not None:
                running.stop(self._stopped)
            result = run(running)
        finally:
            self._running = None
        self._teller.end(result.length, result.from_peers, result.from_supernode, result.from_origin, result.resumed)
        return result

    def why(self) -> str:
        """See Handle."""
        running = self._running
        return running.watch.why(time.monotonic() - RECENT) if running is not None else ""

    def _cut(self, error: BaseException) -> None:
        running = self._running
        if running is not None:
            running.stop(error)
