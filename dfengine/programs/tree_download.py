"""A download of a directory, and its handle."""

from __future__ import annotations

from dfengine.client.tree_fetch import Tree, TreeResult
from dfengine.errors import Incomplete
from dfengine.programs.handle import Handle
from dfengine.programs.progress import ProgressReporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.tree_fetch import TreeSettings
    from dfengine.programs.progress import Progress, ProgressCallback


class TreeDownload(Handle[TreeResult]):
    """Handle of a download of a directory. If it ends early, fetched data stays there, and the next download resumes from it."""

    def __init__(self, settings: TreeSettings, on_progress: ProgressCallback | None, ended: Callable[[TreeDownload], None]) -> None:
        """on_progress: called by the download's thread, about ten times a second. ended: see Handle."""
        super().__init__(f"the download of {settings.get.output}", ended)
        self._settings = settings
        self._reporter = ProgressReporter(on_progress)
        self._running: Tree | None = None

    @property
    def progress(self) -> Progress:
        """The latest progress."""
        return self._reporter.now

    def _work(self) -> TreeResult:
        """Download the tree. Raises Incomplete if files failed."""
        self.check()
        running = self._running = Tree(self._settings, self._reporter)
        try:
            if self._stopped is not None:
                running.stop(self._stopped)
            result = running.run()
        finally:
            self._running = None
        if result.errors:
            raise incomplete(result)
        self._reporter.end(result.length, result.from_peers, result.from_supernode, result.from_origin, result.resumed)
        return result

    def _interrupt(self, error: BaseException) -> None:
        running = self._running
        if running is not None:
            running.stop(error)


def incomplete(result: TreeResult) -> Incomplete:
    """The error of a tree with missing files."""
    worst, (first, *more) = result.worst, result.failed
    assert worst is not None
    others = f" (and {len(more)} more)" if more else ""
    error = Incomplete(f"{len(result.errors)} of {result.count} files are not in {result.directory}: {first.error}{others}", result)
    error.exit_code = worst.exit_code
    error.__cause__ = worst
    return error
