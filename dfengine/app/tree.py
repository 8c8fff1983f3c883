"""Runs `dfengine get --recursive`: all files below a URL, into a directory."""

from __future__ import annotations

import os
import sys

from dfengine.app.printing import put
from dfengine.app.session import Session
from dfengine.client.batch import Wanted
from dfengine.errors import BadListing, BadValue, DfengineError, StorageError
from dfengine.globs import Globs
from dfengine.storage.output import prepare
from dfengine.storage.surplus import surplus
from dfengine.task import Digest
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from dfengine.origin.listing_names import Entry
    from dfengine.settings import GetSettings


class Tree(Value):
    """settings: with the directory's URL. folder: what its files are put into. delete: of `folder`, what the tree has not."""

    settings: GetSettings
    folder: str
    globs: Globs
    delete: bool = False
    skip_existing: bool = False


def entries(tree: Tree) -> list[Entry]:
    """The files that are wanted, by their paths. Raises OriginError and its kin, BadListing, BadValue."""
    from dfengine.origin.cancel import Cancel
    from dfengine.origin.listing import files
    from dfengine.origin.schemes import of_download

    settings = tree.settings
    if settings.nodes and settings.url.startswith("file:"):
        raise BadValue("file:// with a supernode is a directory of the supernode's disk, which cannot be listed from here: omit -n")
    path, mark, query = settings.url.partition("?")
    url = (path if path.endswith("/") else f"{path}/") + mark + query
    takes = tree.globs.matcher().takes
    cancel = Cancel()
    try:
        found = [entry for entry in files(url, of_download(settings), cancel) if takes(entry.path)]
    finally:
        cancel.close()
    found.sort(key=lambda entry: entry.path)
    return found


def dry_run(tree: Tree, *, as_json: bool) -> None:
    """Print sizes in bytes and paths, also of what would be deleted. Raises subclasses of DfengineError."""
    found = entries(tree)
    doomed = list(_doomed(tree, found, remove=False)) if tree.delete else []
    known = [entry.size for entry in found if entry.size >= 0]
    if as_json:
        import json

        listed: list[dict[str, Any]] = [{"path": entry.path, "size": entry.size, "url": entry.url} for entry in found]
        put(json.dumps({"files": listed, "deleted": doomed, "count": len(found), "length": sum(known), "dry_run": True}))
    else:
        rows = [(str(entry.size) if entry.size >= 0 else "-", entry.path) for entry in found]
        rows += [("delete", path) for path in doomed]
        if rows:
            put("\n".join(f"{size}\t{_printable(path)}" for size, path in rows))
    if not tree.settings.quiet:
        from dfengine.client.meter import amount

        least = "at least " if len(known) < len(found) else ""
        deleted = f", {len(doomed)} to delete" if tree.delete else ""
        print(f"dfengine: {len(found)} files, {least}{amount(sum(known))}{deleted}; nothing is written", file=sys.stderr)


def get(tree: Tree, jobs: int, *, shows: bool, as_json: bool) -> None:
    """Download all of it. Raises SystemExit where files failed, subclasses of DfengineError before any file is begun."""
    found = entries(tree)
    session = Session(tree.settings, tree.folder, shows=shows, as_json=as_json)
    session.progress.files = len(found)
    if all(entry.size >= 0 for entry in found):
        session.progress.length = sum(entry.size for entry in found)
    session.download(_wanted(tree, found), jobs)
    if tree.delete and not session.report.code:
        session.report.deleted = []
        try:
            session.report.deleted.extend(_doomed(tree, found, remove=True))
        except DfengineError as error:
            session.report.fail(error)
    session.end()


def _wanted(tree: Tree, found: list[Entry]) -> Iterator[Wanted]:
    top = os.path.realpath(tree.folder)
    for entry in found:
        output = os.path.join(tree.folder, entry.path)
        digest = Digest.parse(entry.digest) if entry.digest else None
        settings = tree.settings.replace(url=entry.url, output=output, digest=digest)
        fault = None
        try:
            real = os.path.realpath(os.path.dirname(output))
            if os.path.commonpath((top, real)) != top:
                raise StorageError(f"a link in {tree.folder} leads out of it: nothing is written there")
            prepare(output, create=True)
        except StorageError as error:
            fault = error
        yield Wanted(settings, (entry.url,), fault, skipped=tree.skip_existing and os.path.exists(output))


def _doomed(tree: Tree, found: list[Entry], remove: bool) -> Iterator[str]:
    """Files of the folder that the tree has not. Raises StorageError, BadListing."""
    if not found:
        raise BadListing(f"{tree.settings.url[:200]} has no file that is wanted: --delete deletes nothing then")
    return surplus(tree.folder, {entry.path for entry in found}, tree.globs.matcher().takes, remove)


def _printable(path: str) -> str:
    return path if path.isprintable() else "".join(each if each.isprintable() else "?" for each in path)
