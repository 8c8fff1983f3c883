"""Directories of the file system, made from an origin's list of all files below a directory. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Description = dict[str, Any]
"""name, size and type, as in fsspec."""


def directories(root: str, files: Iterable[tuple[str, int]]) -> Iterator[tuple[str, list[Description]]]:
    """(name, its direct entries) for the directory `root` and all directories below it. files: (path below root, bytes or -1)."""
    found: dict[str, dict[str, Description]] = {root: {}}
    for path, size in files:
        *above, last = path.split("/")
        at = root
        for part in above:
            into = f"{at}/{part}"
            found[at].setdefault(part, {"name": into, "size": 0, "type": "directory"})
            found.setdefault(into, {})
            at = into
        found[at][last] = {"name": f"{at}/{last}", "size": size if size >= 0 else None, "type": "file"}
    for name, inside in found.items():
        yield name, [*inside.values()]
