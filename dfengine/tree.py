"""Which of a tree's two tasks a download is of. Pure. What a tree is, says `manifest`.

    MANIFEST   the file is `Manifest.encode()` of what lies below the URL now
    DATA       the file is all files of one manifest, which is named by its identity

A tree that globs select from is another tree: its two tasks are others, and what it leaves out nobody fetches.
"""

from __future__ import annotations

import re

from dfengine.errors import BadValue
from dfengine.globs import Globs
from dfengine.location import CONTENT, parse, scheme_of
from dfengine.task import check_url
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.manifest import Manifest

MANIFEST, DATA = "manifest", "data"

USED = ".dfengine."
"""How names begin that a download uses in its directory for itself (`storage.tree_target`, `storage.folder_lock`): they are of no tree."""


class TreeTask(Value):
    """part: MANIFEST or DATA. manifest: of DATA, the manifest's identity; "" of MANIFEST."""

    part: str
    globs: Globs = Globs()
    manifest: str = ""

    @classmethod
    def parse(cls, part: str, include: Iterable[str] = (), exclude: Iterable[str] = (), manifest: str = "") -> TreeTask:
        """Of what a registration says. Raises BadValue."""
        if part not in (MANIFEST, DATA):
            raise BadValue(f"a tree has the tasks {MANIFEST} and {DATA}, not {part[:40]!r}")
        if not re.fullmatch(r"[0-9a-f]{64}" if part == DATA else "", manifest):
            raise BadValue("the data of a tree, and nothing else, is named by its manifest's identity: 64 hex characters")
        return cls(part, Globs(tuple(include), tuple(exclude)).check(), manifest)

    @property
    def mark(self) -> str:
        """What stands for it in a task's id, behind the range, which a tree does not have (`task.task_id`). No range holds a line break."""
        return f"\ntree:{self.part}:{self.manifest}\n{self.globs.text}"


def tree_url(url: str) -> str:
    """The URL of a directory in the form that names its tasks: it ends in a slash. Raises BadValue for what is no directory's URL."""
    scheme = scheme_of(url)
    if scheme == CONTENT:
        raise BadValue(f"{url[:200]} names content, which nobody can list")
    if not scheme:
        if "?" in check_url(url) or "#" in url:
            raise BadValue("the URL of a directory to list has no query")
        return url if url.endswith("/") else url + "/"
    location = parse(url)
    if location.version and scheme != "hf":
        raise BadValue(f"{url[:200]} names one version of one object: it cannot be listed")
    key = location.key.strip("/")
    lead = "/" if scheme == "file" else ""
    return location.replace(key=f"{lead}{key}/" if key else lead).url


def is_of(manifest: Manifest, url: str) -> bool:
    """The manifest's files lie where the directory `url` is: a hub's may name the commit that a revision was. Raises BadValue as above."""
    base = tree_url(url)
    if scheme_of(url) != "hf":
        return manifest.base == base
    asked, based = parse(base), parse(manifest.base)
    return based.replace(version=asked.version) == asked
