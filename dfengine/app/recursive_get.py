"""Runs `dfengine get --recursive`: all files below a URL, into a directory, as one task."""

from __future__ import annotations

import os
import sys
from functools import partial

from dfengine.app.batch_session import worst
from dfengine.app.output import print_flushed, sources
from dfengine.client.interrupt import interruptible
from dfengine.client.tree_fetch import TreeSettings, fetch, listed
from dfengine.errors import DfengineError
from dfengine.storage.extraneous_files import find_extraneous
from dfengine.task import redacted, redacted_url, shown
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dfengine.client.tree_fetch import FileResult, TreeResult


LINES = 1000
"""Number of JSON objects that are printed in one write."""


class TreeRequest(Value):
    """A command's request. shows: a progress line is shown. json: an object is printed at the end."""

    tree: TreeSettings
    shows: bool = False
    json: bool = False


def dry_run(request: TreeRequest) -> None:
    """Print sizes in bytes and paths, and the paths that would be deleted. Raises subclasses of DfengineError."""
    settings = request.tree.get
    # A dry run writes nothing; serving the manifest would store it in the home directory.
    pattern = "cdn" if settings.pattern == "p2p" else settings.pattern
    tree = request.tree.replace(get=settings.replace(pattern=pattern, quiet=True))
    found = interruptible(settings, lambda: listed(tree), partial(_fail, request))
    doomed: list[str] = []
    if request.tree.delete:
        doomed += find_extraneous(
            settings.output, frozenset([*found.paths, *found.refused]), request.tree.globs.matcher().matches, remove=False
        )
    if request.json:
        import json

        files = [{"path": each.path, "size": each.size, "url": redacted_url(each.url)} for each in found]
        report = {"files": files, "delete": doomed, "count": len(found), "length": found.length, "refused": found.refused, "dry_run": True}
        print_flushed(json.dumps(report))
    else:
        rows = [*zip(map(str, found.sizes), found.paths, strict=True), *(("delete", path) for path in doomed)]
        print_flushed("\n".join(f"{size}\t{_printable(path)}" for size, path in rows))
    if not settings.quiet:
        from dfengine.client.progress_text import amount

        for path, status in found.refused.items():
            print(f"dfengine: {shown(_printable(path))}: the origin lists it, and answers {status} instead of the file", file=sys.stderr)
        deleted = f", {len(doomed)} to delete" if request.tree.delete else ""
        print(f"dfengine: {len(found)} files, {amount(found.length)}{deleted}; nothing is written", file=sys.stderr)


def get(request: TreeRequest) -> None:
    """Download the tree. Raises SystemExit if files failed, and subclasses of DfengineError if the whole download failed."""
    settings = request.tree.get

    def run() -> TreeResult:
        if not request.shows:
            return fetch(request.tree)
        from dfengine.client.progress import Bar

        with Bar(settings.output) as bar:
            return fetch(request.tree, bar)

    result = interruptible(settings, run, partial(_fail, request))
    codes = {error.exit_code for error in result.errors.values()}
    for file in result.failed:
        why = _one_line(file.error).removeprefix(f"{file.path}: ")
        print(f"dfengine: {shown(_printable(os.path.join(settings.output, file.path)))}: {why}", file=sys.stderr)
    if result.undeleted is not None:
        print(f"dfengine: {_one_line(result.undeleted)}", file=sys.stderr)
        codes.add(result.undeleted.exit_code)
    code = worst(codes)
    if request.json:
        _tell(result, code, request.tree.delete)
    elif not settings.quiet:
        print(f"dfengine: {_summary(result)}", file=sys.stderr)
    if code:
        sys.exit(code)


def _fail(request: TreeRequest, code: int, kind: str, message: str) -> None:
    """Print the failure of the whole download, where it cannot be raised as an exception. See `interrupt`."""
    if request.json:
        import json

        url = redacted_url(request.tree.get.url)
        print_flushed(json.dumps({"error": {"code": code, "kind": kind, "status": 0, "message": redacted(message), "url": url}}))


def _tell(result: TreeResult, code: int, delete: bool) -> None:
    """Print `--json`'s object in parts, as there may be many files. delete: `--delete` was given."""
    import json

    print_flushed('{"files": [', end="")
    lines: list[str] = []
    for n, file in enumerate(result.files):
        lines.append((",\n" if n else "\n") + json.dumps(_as_object(result, n, file)))
        if len(lines) == LINES:
            print_flushed("".join(lines), end="")
            lines.clear()
    failed = len(result.errors)
    totals: dict[str, Any] = {
        "code": code, "complete": result.count - failed, "skipped": 0, "failed": failed, "length": result.length,
        "seconds": round(result.seconds, 3), "from": sources(result), "url": redacted_url(result.url), "output": result.directory,
        "manifest": result.manifest, "task_id": result.task_id, "back_to_source": redacted(result.back_to_source or "") or None,
        "serves": result.serves, "hedged": result.hedged,
    }  # fmt: skip
    if not result.serves:
        totals["not_serving_reason"] = result.why_not
    if delete:
        totals["deleted"] = result.deleted
    print_flushed("".join(lines) + "\n], " + json.dumps(totals)[1:])


def _as_object(result: TreeResult, n: int, file: FileResult) -> dict[str, Any]:
    url = redacted_url(result.rows.url(n))
    entry: dict[str, Any] = {"url": url, "output": os.path.join(result.directory, file.path), "length": file.size, "from": sources(file)}
    error = file.error
    if error is not None:
        status = getattr(error, "status", 0)
        entry["error"] = {
            "code": error.exit_code, "kind": type(error).__name__, "status": status, "message": _one_line(error), "url": url,
        }  # fmt: skip
    return entry


def _summary(result: TreeResult) -> str:
    """A line such as `12 files, 3 failed: 30 MB in 6 s, 92% from peers`."""
    from dfengine.client.progress_text import amount, percent, took

    failed = len(result.errors)
    counted = [f"{result.count - failed} {'file' if result.count - failed == 1 else 'files'}"]
    counted += [f"{count} {word}" for count, word in ((failed, "failed"), (len(result.deleted), "deleted")) if count]
    parts = [f"{amount(result.length)} in {took(result.seconds)}"]
    for count, name in (
        (result.from_peers, "from peers"), (result.from_supernode, "from the supernode"), (result.resumed, "was here before"),
        (result.from_origin, f"from the origin: {redacted(result.back_to_source or '')}"),
    ):  # fmt: skip
        parts += [f"{percent(count, result.length)} {name}"] if count and result.length else []
    return f"{', '.join(counted)}: {', '.join(parts)}"


def _one_line(error: DfengineError | None) -> str:
    return redacted(" ".join(str(error).split()))


def _printable(path: str) -> str:
    return path if path.isprintable() else "".join(each if each.isprintable() else "?" for each in path)
