"""Validation of remotely supplied paths of files below one directory. Pure.

Law: a set of accepted paths can be written below any directory: each is relative, stays below it, and is the path of one file alone.
Whether a file system ignores case is for the writer to check: see `Manifest.case_clashes`.
"""

from __future__ import annotations

from dfengine.errors import BadListing

MAX_SEGMENT = 255
"""Bytes of one segment of a path: the limit of Linux's file systems."""

MAX_PATH = 4000
"""Bytes of a path; with the target directory before it, it stays below PATH_MAX."""

LARGEST = (1 << 62) - 1
"""Maximum number of bytes of a file; a longer one has no pieces (`Geometry`)."""

DEPTH = 64
"""Maximum number of directories in a path."""


class Paths:
    """Checks the paths named by `owner` (a listing or manifest, for messages). Each method raises BadListing, which names the path."""

    def __init__(self, owner: str, most: int, depth: int = DEPTH) -> None:
        """most: maximum number of files."""
        self.owner = owner
        self._most = most
        self._depth = depth
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def file(self, path: str, size: int = -1) -> str:
        """Accept a new path and return it. size: bytes, -1 unknown."""
        self._check(path)
        if path in self._files:
            raise self.refused(path, "twice")
        if path in self._folders:
            raise self.refused(path, "as a file and as a directory")
        new, cut = [], path.rfind("/")
        while cut > 0 and (folder := path[:cut]) not in self._folders:
            if folder in self._files:
                raise self.refused(folder, "as a file and as a directory")
            new.append(folder)
            cut = path.rfind("/", 0, cut)
        if not -1 <= size <= LARGEST:
            raise self.refused(path, f"with {size} bytes")
        self._folders.update(new)
        self._files.add(path)
        if len(self._files) > self._most:
            raise BadListing(f"{self.owner} has more than {self._most} files")
        return path

    def folder(self, path: str) -> str:
        """Accept the path of a directory below the listed one, and return it."""
        self._check(path)
        if path in self._files:
            raise self.refused(path, "as a file and as a directory")
        return path

    def segment(self, before: str, name: str) -> str:
        """The path of `name` in the directory `before`, which ends in a slash or is empty."""
        if "/" in name:
            raise self.refused(before + name, "as one segment")
        return before + name

    def refused(self, path: str, why: str) -> BadListing:
        """An error that states the path and the reason."""
        shown = path if len(path) <= 200 else path[:200] + "..."
        return BadListing(f"{self.owner} names {shown!r} {why}: the whole list is rejected")

    def _check(self, path: str) -> None:
        if path[:1] == "/":
            raise self.refused(path, "which is absolute")
        around = f"/{path}/"
        if "//" in around or "/./" in around or "/../" in around:
            raise self.refused(path, 'which has a segment that is empty, "." or ".."')
        if "\0" in path:
            raise self.refused(path, "which contains a NUL")
        if path.count("/") >= self._depth:
            raise self.refused(path, f"which is more than {self._depth} directories deep")
        try:
            encoded = path.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise self.refused(path, "which is not Unicode") from None
        if len(encoded) > MAX_SEGMENT and (len(encoded) > MAX_PATH or max(map(len, encoded.split(b"/"))) > MAX_SEGMENT):
            raise self.refused(path, f"which is longer than {MAX_PATH} bytes, or than {MAX_SEGMENT} in one segment")
