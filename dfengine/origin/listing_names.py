"""What a listing of an origin may say: names, counts, sizes. Pure.

Law: a path that passed is relative, stays below the directory that it is put into, and is the path of one file alone.
"""

from __future__ import annotations

from dfengine.errors import BadListing
from dfengine.value import Value

LONGEST_SEGMENT = 255
"""Bytes of one segment of a path, as Linux's file systems have it."""

LONGEST_PATH = 4000
"""Bytes of a path; with a directory before it, it stays below PATH_MAX."""

LARGEST = (1 << 62) - 1
"""Bytes of a file."""


class Limits(Value):
    """What a listing may cost. entries: files. pages: answers. page_bytes: of one answer. seconds: in all. depth: directories in a path."""

    entries: int = 1_000_000
    pages: int = 100_000
    page_bytes: int = 16 << 20
    seconds: float = 600.0
    depth: int = 64


class Entry(Value):
    """One file. path: below the listed URL, segments joined by `/`; `Names` has passed it. url: what to download.

    size: bytes, -1 unknown. etag: as the origin's answers to GETs have it, "" unknown. modified: unix seconds, -1 unknown.
    digest: `sha256:HEX`, "" unknown. Only the file's own answer proves any of these.
    """

    path: str
    url: str
    size: int = -1
    etag: str = ""
    modified: float = -1.0
    digest: str = ""


class Names:
    """Checks what a listing of `url` says; each method raises BadListing, which names the path."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url = url
        self._limits = limits
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._pages = 0

    def page(self, elapsed: float) -> None:
        """One more answer; elapsed: seconds since the listing began."""
        self._pages += 1
        self.clock(elapsed)
        if self._pages > self._limits.pages:
            raise BadListing(f"the listing of {self._url} has more than {self._limits.pages} pages")

    def clock(self, elapsed: float) -> None:
        """elapsed: seconds since the listing began."""
        if elapsed > self._limits.seconds:
            raise BadListing(f"the listing of {self._url} has not ended within {self._limits.seconds:.0f} s")

    def file(self, path: str, size: int = -1) -> str:
        """`path` itself, which was not told before."""
        parts = self._parts(path)
        if path in self._files:
            raise self._refused(path, "twice")
        if path in self._folders:
            raise self._refused(path, "as a file and as a directory")
        for n in range(len(parts) - 1, 0, -1):
            folder = "/".join(parts[:n])
            if folder in self._folders:
                break
            if folder in self._files:
                raise self._refused(folder, "as a file and as a directory")
            self._folders.add(folder)
        if not -1 <= size <= LARGEST:
            raise self._refused(path, f"with {size} bytes")
        self._files.add(path)
        if len(self._files) > self._limits.entries:
            raise BadListing(f"the listing of {self._url} has more than {self._limits.entries} files")
        return path

    def folder(self, path: str) -> str:
        """`path` itself: a directory below the listed one."""
        self._parts(path)
        if path in self._files:
            raise self._refused(path, "as a file and as a directory")
        return path

    def segment(self, before: str, name: str) -> str:
        """The path of `name` in the directory `before`, which ends in a slash or is empty."""
        if "/" in name:
            raise self._refused(before + name, "as one segment")
        return before + name

    def _parts(self, path: str) -> list[str]:
        parts = path.split("/")
        if path.startswith("/"):
            raise self._refused(path, "which is absolute")
        if any(part in ("", ".", "..") for part in parts):
            raise self._refused(path, 'which has a segment that is empty, "." or ".."')
        if "\0" in path:
            raise self._refused(path, "which holds a NUL")
        if len(parts) > self._limits.depth:
            raise self._refused(path, f"which is more than {self._limits.depth} directories deep")
        try:
            encoded = path.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise self._refused(path, "which is no Unicode") from None
        if len(encoded) > LONGEST_PATH or any(len(part) > LONGEST_SEGMENT for part in encoded.split(b"/")):
            raise self._refused(path, f"which is longer than {LONGEST_PATH} bytes, or than {LONGEST_SEGMENT} in one segment")
        return parts

    def _refused(self, path: str, why: str) -> BadListing:
        shown = path if len(path) <= 200 else path[:200] + "..."
        return BadListing(f"the listing of {self._url} names {shown!r} {why}: nothing of it is used")
