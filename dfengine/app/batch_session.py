"""A run over several files: one display, one JSON object, one exit code, and signals."""

from __future__ import annotations

import json
import os
import sys

from dfengine.app.output import as_object, print_flushed
from dfengine.client.batch import Batch, BatchOutcome
from dfengine.client.batch_progress import BatchProgress
from dfengine.client.error_urls import with_url
from dfengine.client.interrupt import Interrupted, interruptible
from dfengine.errors import Cancelled, DfengineError
from dfengine.task import redacted, redacted_url, shown
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any

    from dfengine.client.batch import BatchFile
    from dfengine.settings import GetSettings

WORST = (1, 5, 7, 2, 4, 3, 6, 8)
"""Exit codes of failures, worst first."""


def worst(codes: Collection[int]) -> int:
    """The worst of the exit codes of failures; 0 if there are none."""
    return next((code for code in WORST if code in codes), max(codes, default=0))


class FailureGroup(Value):
    """Failures with the same cause. The first one was printed; names: the outputs or URLs of the next NAMED."""

    message: str
    count: int = 0
    names: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The line that is printed at the end for all but the first."""
        others = self.count - len(self.names)
        rest = f" and {others} more, which --json names" if others else ""
        return f"{self.count} more failed like that: {self.message}: {', '.join(self.names)}{rest}"


NAMED, CAUSES = 10, 100
"""Maximum number of files named per cause, and of causes that are grouped; failures of further causes are printed one by one."""


class Totals(Value):
    """Totals of all files so far: numbers of complete, skipped and failed files, and bytes by source."""

    complete: int = 0
    skipped: int = 0
    failed: int = 0
    length: int = 0
    peers: int = 0
    supernode: int = 0
    origin: int = 0
    host: int = 0
    resumed: int = 0


class BatchReport:
    """Reports each file when it has ended, and all of them at the end. One thread uses it, except for `close`."""

    def __init__(self, progress: BatchProgress, quiet: bool, as_json: bool) -> None:
        self._progress = progress
        self._quiet = quiet
        self._json = as_json
        self._codes: set[int] = set()
        self._entries = 0
        self._closed = self._sent = False
        self._failure_groups: dict[str, FailureGroup] = {}
        self.totals = Totals()

    @property
    def code(self) -> int:
        """Exit code of the worst failure so far."""
        return worst(self._codes)

    def report(self, ended: BatchOutcome, code: int = 0) -> None:
        """BatchReport one file. code: replaces the failure's exit code, 0 = keeps it. Raises BrokenPipeError, StorageError."""
        found, totals, result, error = ended.wanted, self.totals, ended.result, ended.error
        failure: dict[str, Any] = {}
        if result is not None:
            self.totals = totals.replace(
                complete=totals.complete + 1, length=totals.length + result.length, peers=totals.peers + result.from_peers,
                supernode=totals.supernode + result.from_supernode, origin=totals.origin + result.from_origin,
                host=totals.host + result.from_host, resumed=totals.resumed + result.resumed,
            )  # fmt: skip
            if result.back_to_source and found.settings.nodes and found.settings.pattern != "source" and not self._quiet:
                # Only the first reason is printed: reasons may differ in the task or a time.
                if not self._sent:
                    self._progress.print(f"dfengine: goes to the origin: {redacted(result.back_to_source)}")
                self._sent = True
        elif error is None:
            self.totals = totals.replace(skipped=totals.skipped + 1)
        else:
            self.totals = totals.replace(failed=totals.failed + 1)
            failure = self._failure(found, error, code)
        if self._json:
            entry = _entry(found)
            self._put(as_object(result) if result is not None else {**entry, "error": failure} if failure else {**entry, "skipped": True})

    def list(self, found: BatchFile) -> None:
        """Add one file of a dry run to the JSON object."""
        self._put({**_entry(found), "skipped": True} if found.skipped else _entry(found))

    def _put(self, entry: dict[str, Any]) -> None:
        before = ",\n" if self._entries else '{"files": [\n'
        self._entries += 1  # counted before writing: a signal that interrupts the write leaves the rest in the buffer
        print_flushed(before + json.dumps(entry), end="")

    def _failure(self, found: BatchFile, error: BaseException, code: int) -> dict[str, Any]:
        code = code or (error.exit_code if isinstance(error, DfengineError) else 1)
        self._codes.add(code)
        message = redacted(" ".join(str(error).split()))
        url = redacted_url(found.urls[0])
        if not isinstance(error, Cancelled):
            self._print_failure(message, url, found.settings.output)
        kind = "Interrupted" if isinstance(error, Cancelled) else type(error).__name__
        return {"code": code, "kind": kind, "status": getattr(error, "status", 0), "message": message, "url": url}

    def _print_failure(self, message: str, url: str, output: str) -> None:
        """Print a line for a failure, unless a line with the same cause was printed."""
        cause = message
        for each in filter(None, (url, url.partition("?")[0], output, os.path.basename(output))):
            cause = cause.replace(each, "...")
        group = self._failure_groups.get(cause)
        if group is not None:
            names = group.names if len(group.names) == NAMED else (*group.names, shown(output or url))
            self._failure_groups[cause] = group.replace(count=group.count + 1, names=names)
            return
        if len(self._failure_groups) < CAUSES:
            self._failure_groups[cause] = FailureGroup(cause)
        named = "" if with_url(message, url, 1) == message else f" ({url})"
        where = f"{output}: " if output else ""
        self._progress.print(f"dfengine: {where}{message}{named}")

    def report_groups(self) -> None:
        """Print, at the end, one line for each cause: how many more files failed with it, and which."""
        groups, self._failure_groups = self._failure_groups, {}
        for group in groups.values():
            if group.count:
                self._progress.print(f"dfengine: {group.line}")

    def fail(self, error: DfengineError) -> None:
        """BatchReport that the rest of the list cannot be read."""
        self._codes.add(error.exit_code)
        self._progress.print(f"dfengine: {redacted(' '.join(str(error).split()))}")

    def close(self, code: int) -> None:
        """Print the end of the JSON object, with the exit code; at most once. Raises BrokenPipeError, StorageError."""
        if not self._json or self._closed:
            return
        self._closed = True
        totals = self.totals
        fields = {
            "code": code, "complete": totals.complete, "skipped": totals.skipped, "failed": totals.failed, "length": totals.length,
            "seconds": round(self._progress.seconds, 3),
            "from": {
                "peers": totals.peers, "supernode": totals.supernode, "origin": totals.origin, "host": totals.host,
                "resumed": totals.resumed,
            },
        }  # fmt: skip
        print_flushed(("\n" if self._entries else '{"files": [') + "], " + json.dumps(fields)[1:])

    def summary(self) -> str:
        """A line such as `12 files, 3 failed: 30 MB in 6 s, 92% from peers`."""
        from dfengine.client.progress_text import amount, percent, took

        totals = self.totals
        counted = [f"{totals.complete} {'file' if totals.complete == 1 else 'files'}"]
        others = ((totals.skipped, "skipped"), (totals.failed, "failed"))
        counted += [f"{count} {word}" for count, word in others if count]
        parts = [f"{amount(totals.length)} in {took(self._progress.seconds)}"]
        for count, name in (
            (totals.peers, "from peers"), (totals.supernode, "from the supernode"), (totals.host, "from other downloads of this host"),
            (totals.resumed, "was here before"), (totals.origin, "from the origin"),
        ):  # fmt: skip
            parts += [f"{percent(count, totals.length)} {name}"] if count and totals.length else []
        return f"{', '.join(counted)}: {', '.join(parts)}"


def _entry(found: BatchFile) -> dict[str, Any]:
    """The fields of a file that are known before its download."""
    output = os.path.abspath(found.settings.output) if found.settings.output else ""
    return {"url": redacted_url(found.urls[0]), "output": output}


class BatchSession:
    """A run over several files. folder: their directory, for messages."""

    def __init__(self, settings: GetSettings, folder: str, *, shows: bool, as_json: bool) -> None:
        self._settings = settings.replace(timeout=0.0, output=folder)
        self._quiet = settings.quiet
        self._shows = shows
        self._json = as_json
        self.progress = BatchProgress()
        self.report = BatchReport(self.progress, settings.quiet, as_json)

    def unknown(self, name: str) -> None:
        """BatchReport an unsupported option of a list."""
        if not self._quiet:
            self.progress.once(f"dfengine: the option {shown(name)}= of the list is not supported, and is ignored")

    def only_list(self, files: Iterator[BatchFile]) -> None:
        """Print URLs and outputs, without downloading. Raises the error that ends `files`, and SystemExit if entries are invalid."""
        count = 0
        for each in files:
            count += 1
            if each.fault is not None:
                self.report.report(BatchOutcome(each, error=each.fault))
            elif self._json:
                self.report.list(each)
            else:
                print_flushed(f"{redacted_url(each.urls[0])}\t{each.settings.output}{'	skipped' if each.skipped else ''}")
        code = self.report.code
        self.report.report_groups()
        self.report.close(code)
        if not self._quiet and not self._json:
            print(f"dfengine: {count} {'file' if count == 1 else 'files'}; nothing is written", file=sys.stderr)
        if code:
            sys.exit(code)

    def download(self, files: Iterator[BatchFile], jobs: int) -> None:
        """Download all files, until a signal. Raises SystemExit after a signal, BrokenPipeError, StorageError."""
        count = self.progress.files
        at_once = jobs if count < 0 else max(1, min(jobs, count))
        batch = Batch(files, at_once, self.progress, self._settings.locallimit)
        stopped: list[BatchOutcome] = []

        def work() -> None:
            try:
                batch.run(self.report.report)
            except DfengineError as error:
                self.report.fail(error)
            except BaseException:
                batch.stop(Cancelled("stopped"), stopped.append)
                raise
            if self.report.code:
                raise _Failed

        def report(code: int, *_: str) -> None:
            for ended in (*stopped, *batch.unfinished(Cancelled("stopped"))):
                self.report.report(ended, code)
            self.report.close(code)

        try:
            interruptible(self._settings, lambda: self._shown(work), report)
        except _Failed:
            return
        except Interrupted as stop:
            code = int(stop.code or 0)
            report(code)
            self.report.report_groups()
            raise SystemExit(code) from None

    def _shown(self, work: Callable[[], None]) -> None:
        if not self._shows:
            return work()
        from dfengine.client.progress import Bar

        with Bar("") as bar:
            self.progress.display = bar
            bar.follow(self.progress)
            try:
                work()
            finally:
                self.progress.display = None

    def end(self) -> None:
        """BatchReport the totals. Raises SystemExit if files failed."""
        code = self.report.code
        self.report.report_groups()
        self.report.close(code)
        if not self._quiet and not self._json:
            print(f"dfengine: {self.report.summary()}", file=sys.stderr)
        if code:
            sys.exit(code)


class _Failed(Exception):
    """Raised when some files failed, so that the display is not finished as a success."""
