"""What a listing of an origin may say: names, counts, sizes. Pure. What a path may be is said in `paths`."""

from __future__ import annotations

from dfengine.errors import BadListing
from dfengine.paths import DEPTH, Paths
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


ENTRY, PAGE = 600, 10
"""Bytes of memory that an entry takes besides its path, and that a byte of a page takes while it is read, about."""


def _free(count: int) -> None:
    """Memory is not counted."""


class Limits(Value):
    """What a listing may cost. entries: files. pages: answers. page_bytes: of one answer. seconds: in all. depth: directories in a path.

    spend: is told of more bytes of memory that the listing takes; what it raises ends the listing.
    """

    entries: int = 1_000_000
    pages: int = 100_000
    page_bytes: int = 16 << 20
    seconds: float = 600.0
    depth: int = DEPTH
    spend: Callable[[int], None] = _free


class Entry(Value):
    """One file. path: below the listed URL, segments joined by `/`; `Names` has passed it. url: what to download.

    size: bytes, -1 unknown. etag: as the origin's answers to GETs have it, "" unknown. modified: unix seconds, -1 unknown.
    digest: `sha256:HEX`, "" unknown. mode: permission bits, -1 unknown. shown: see `manifest.File`.
    Only the file's own answer proves any of these.
    """

    path: str
    url: str
    size: int = -1
    etag: str = ""
    modified: float = -1.0
    digest: str = ""
    mode: int = -1
    shown: int = -1


class Names(Paths):
    """Checks what a listing of `url` says; each method raises BadListing, which names the path."""

    def __init__(self, url: str, limits: Limits) -> None:
        super().__init__(f"the listing of {url}", limits.entries, limits.depth)
        self._limits = limits
        self._pages = self._largest = 0

    def file(self, path: str, size: int = -1) -> str:
        """See `Paths`."""
        self._limits.spend(ENTRY + 4 * len(path))
        return super().file(path, size)

    def weigh(self, count: int) -> None:
        """A page of so many bytes is about to be read."""
        if count > self._largest:
            self._limits.spend(PAGE * (count - self._largest))
            self._largest = count

    def page(self, elapsed: float) -> None:
        """One more answer; elapsed: seconds since the listing began."""
        self._pages += 1
        self.clock(elapsed)
        if self._pages > self._limits.pages:
            raise BadListing(f"{self.whose} has more than {self._limits.pages} pages")

    def clock(self, elapsed: float) -> None:
        """elapsed: seconds since the listing began."""
        if elapsed > self._limits.seconds:
            raise BadListing(f"{self.whose} has not ended within {self._limits.seconds:.0f} s")
