"""Runs `dfengine get` of several files: one display, one JSON object, one exit code."""

from __future__ import annotations

import contextlib
import json
import os
import sys

from dfengine.app import wanted
from dfengine.app.printing import as_object, put
from dfengine.app.wanted import Several
from dfengine.client.batch import Batch, Ended
from dfengine.client.batch_progress import BatchProgress
from dfengine.client.interrupt import Interrupted, interruptible
from dfengine.client.naming import without_password
from dfengine.errors import BadValue, Cancelled, DfengineError
from dfengine.task import shown
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from dfengine.client.batch import Wanted

__all__ = ["Several", "get"]

WORST = (1, 5, 7, 2, 4, 3, 6, 8)
"""Exit codes of failures, the worst first."""


class Sums(Value):
    """Of all files so far: how many are complete, were left out and failed; bytes by source."""

    complete: int = 0
    skipped: int = 0
    failed: int = 0
    length: int = 0
    peers: int = 0
    supernode: int = 0
    origin: int = 0
    host: int = 0
    resumed: int = 0


class Report:
    """Tells how each file went when it has ended, and in the end how all did. One thread uses it, but for `close`."""

    def __init__(self, progress: BatchProgress, quiet: bool, as_json: bool) -> None:
        self._progress = progress
        self._quiet = quiet
        self._json = as_json
        self._codes: set[int] = set()
        self._entries = 0
        self._closed = False
        self.sums = Sums()

    @property
    def code(self) -> int:
        """Exit code of the worst failure so far."""
        return next((code for code in WORST if code in self._codes), max(self._codes, default=0))

    def tell(self, ended: Ended, code: int = 0) -> None:
        """One file. code: instead of the failure's own, 0 = that one. Raises BrokenPipeError, StorageError."""
        found, sums, result, error = ended.wanted, self.sums, ended.result, ended.error
        settings = found.settings
        output = os.path.abspath(settings.output) if settings.output else ""
        entry: dict[str, Any] = {"url": without_password(found.urls[0]), "output": output}
        if result is not None:
            entry = as_object(result)
            self.sums = sums.replace(
                complete=sums.complete + 1, length=sums.length + result.length, peers=sums.peers + result.from_peers,
                supernode=sums.supernode + result.from_supernode, origin=sums.origin + result.from_origin,
                host=sums.host + result.from_host, resumed=sums.resumed + result.resumed,
            )  # fmt: skip
            if result.back_to_source and settings.nodes and settings.pattern != "source" and not self._quiet:
                self._progress.once(f"dfengine: goes to the origin: {shown(result.back_to_source)}")
        elif error is None:
            entry["skipped"] = True
            self.sums = sums.replace(skipped=sums.skipped + 1)
        else:
            self.sums = sums.replace(failed=sums.failed + 1)
            entry["error"] = self._failure(found, error, code)
        if self._json:
            put((",\n" if self._entries else '{"files": [\n') + json.dumps(entry), end="")
            self._entries += 1

    def _failure(self, found: Wanted, error: BaseException, code: int) -> dict[str, Any]:
        code = code or (error.exit_code if isinstance(error, DfengineError) else 1)
        self._codes.add(code)
        message = shown(" ".join(str(error).split()))
        url = without_password(found.urls[0])
        if not isinstance(error, Cancelled):
            named = "" if url in message else f" ({url})"
            where = f"{found.settings.output}: " if found.settings.output else ""
            self._progress.print(f"dfengine: {where}{message}{named}")
        kind = "Interrupted" if isinstance(error, Cancelled) else type(error).__name__
        return {"code": code, "kind": kind, "status": getattr(error, "status", 0), "message": message, "url": url}

    def fail(self, error: DfengineError) -> None:
        """The list cannot be read on."""
        self._codes.add(error.exit_code)
        self._progress.print(f"dfengine: {shown(' '.join(str(error).split()))}")

    def close(self, code: int) -> None:
        """The end of the JSON object, with the exit code. Again: nothing. Raises BrokenPipeError, StorageError."""
        if not self._json or self._closed:
            return
        self._closed = True
        sums = self.sums
        totals = {
            "code": code, "complete": sums.complete, "skipped": sums.skipped, "failed": sums.failed, "length": sums.length,
            "seconds": round(self._progress.seconds, 3),
            "from": {"peers": sums.peers, "supernode": sums.supernode, "origin": sums.origin, "host": sums.host, "resumed": sums.resumed},
        }  # fmt: skip
        put(("\n" if self._entries else '{"files": [') + "], " + json.dumps(totals)[1:])

    def summary(self) -> str:
        """`12 files, 3 failed: 30 MB in 6 s, 92% from peers`."""
        from dfengine.client.meter import amount, percent, took

        sums = self.sums
        said = [f"{sums.complete} {'file' if sums.complete == 1 else 'files'}"]
        said += [f"{count} {word}" for count, word in ((sums.skipped, "skipped"), (sums.failed, "failed")) if count]
        parts = [f"{amount(sums.length)} in {took(self._progress.seconds)}"]
        for count, name in (
            (sums.peers, "from peers"), (sums.supernode, "from the supernode"), (sums.host, "from other downloads of this host"),
            (sums.resumed, "was here before"), (sums.origin, "from the origin"),
        ):  # fmt: skip
            parts += [f"{percent(count, sums.length)} {name}"] if count and sums.length else []
        return f"{', '.join(said)}: {', '.join(parts)}"


def get(several: Several, urls: list[str], listed: str, jobs: int, *, shows: bool, as_json: bool) -> None:
    """Download the URLs, then those of the list at the path `listed`. Raises SystemExit where files failed, and what is wrong before any
    file is begun: subclasses of DfengineError.
    """
    settings = several.settings
    if settings.md5 or settings.digest is not None:
        raise BadValue("--md5 and --digest are of one file: give one URL, or checksum= in a list")
    quiet = settings.quiet
    # Of each file there is a line only if it fails.
    several = several.replace(settings=settings.replace(quiet=True))
    progress = BatchProgress()
    report = Report(progress, quiet, as_json)

    def unknown(name: str) -> None:
        if not quiet:
            progress.once(f"dfengine: the option {shown(name)}= of the list means nothing here, and is left out")

    files: Iterator[Wanted] = iter(())
    count = 0
    if urls:
        found = wanted.of_urls(several, urls)
        files, count = iter(found), len(found)
    with contextlib.ExitStack() as stack:
        if listed:
            from itertools import chain

            file = wanted.opened(listed)
            if file is not sys.stdin.buffer:
                stack.enter_context(file)
            lines = wanted.checked(several, file, unknown)
            files, count = chain(files, wanted.of_list(several, file, unknown)), count + lines if lines >= 0 else -1
        progress.files = count
        at_once = jobs if progress.files < 0 else max(1, min(jobs, progress.files))
        _run(Batch(files, at_once, progress, settings.locallimit), several, progress, report, shows)
        code = report.code
        if not quiet and not as_json:
            print(f"dfengine: {report.summary()}", file=sys.stderr)
    if code:
        sys.exit(code)


def _run(batch: Batch, several: Several, progress: BatchProgress, report: Report, shows: bool) -> None:
    """All of it; signals end it. Raises SystemExit."""
    stopped: list[Ended] = []

    def run() -> None:
        try:
            batch.run(report.tell)
        except DfengineError as error:
            report.fail(error)
        except BaseException:
            batch.stop(Cancelled("stopped"), stopped.append)
            raise
        report.close(report.code)
        if report.code:
            raise _Failed

    def run_shown() -> None:
        if not shows:
            return run()
        from dfengine.client.progress import Bar

        with Bar("") as bar:
            progress.display = bar
            bar.follow(progress)
            try:
                run()
            finally:
                progress.display = None

    def tell(code: int, kind: str, message: str) -> None:
        report.close(code)

    try:
        interruptible(several.settings.replace(timeout=0.0, output=several.folder or "."), run_shown, tell)
    except _Failed:
        return
    except Interrupted as stop:
        code = int(stop.code or 0)
        for ended in stopped:
            report.tell(ended, code)
        report.close(code)
        raise SystemExit(code) from None


class _Failed(Exception):
    """Some files failed: the display stays where it stands."""
