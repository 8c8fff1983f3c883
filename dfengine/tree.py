"""The two tasks of a tree (see `manifest`), and which one a download is for. Pure.

    MANIFEST   the file is `Manifest.encode()` of the files that are below the URL now
    DATA       the file is all files of one manifest, which is identified by its identity

A tree with globs is a tree of its own, with two tasks of its own. Files that the globs do not select are not fetched.
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
"""Prefix of names that a download uses in its directory (`storage.tree_target`, `storage.folder_lock`); a tree has no such names."""


class TreeTask(Value):
    """part: MANIFEST or DATA. manifest: the manifest's identity for DATA, "" for MANIFEST."""

    part: str
    globs: Globs = Globs()
    manifest: str = ""

    @classmethod
    def parse(cls, part: str, include: Iterable[str] = (), exclude: Iterable[str] = (), manifest: str = "") -> TreeTask:
        """From the fields of a registration. Raises BadValue."""
        if part not in (MANIFEST, DATA):
            raise BadValue(f"a tree has the tasks {MANIFEST} and {DATA}, not {part[:40]!r}")
        if not re.fullmatch(r"[0-9a-f]{64}" if part == DATA else "", manifest):
            raise BadValue("the data of a tree, and nothing else, is named by its manifest's identity: 64 hex characters")
        return cls(part, Globs(tuple(include), tuple(exclude)).check(), manifest)

    @property
    def mark(self) -> str:
        """Suffix of the range in a task's id (`task.task_id`); a tree has no range, and no range contains a line break."""
        return f"\ntree:{self.part}:{self.manifest}\n{self.globs.text}"


def tree_url(url: str) -> str:
    """A directory's URL in the form that its tasks' ids use: it ends in a slash. Raises BadValue if the URL is not a directory's."""
    scheme = scheme_of(url)
    if scheme == CONTENT:
        raise BadValue(f"{url[:200]} names content, which cannot be listed")
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
    """Whether a manifest is of the directory `url`; a hub's may name the commit of a revision. Raises BadValue as `tree_url`."""
    base = tree_url(url)
    if scheme_of(url) != "hf":
        return manifest.base == base
    asked, based = parse(base), parse(manifest.base)
    return based.replace(version=asked.version) == asked
