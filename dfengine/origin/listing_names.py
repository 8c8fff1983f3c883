"""Limits and checks of a listing's names, counts and sizes. Pure. `paths` defines valid paths."""

from __future__ import annotations

from dfengine.errors import BadListing
from dfengine.paths import DEPTH, Paths
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


ENTRY, PAGE = 600, 10
"""Approximate bytes of memory: of an entry besides its path, and per byte of a page while it is read."""


def _free(count: int) -> None:
    """The default of `Limits.spend`: memory is not counted."""


class Limits(Value):
    """Limits of a listing. entries: files. pages: responses. page_bytes: of one response. seconds: in all. depth: directories in a path.

    spend: called with further bytes of memory that the listing takes; an exception that it raises ends the listing.
    """

    entries: int = 1_000_000
    pages: int = 100_000
    page_bytes: int = 16 << 20
    seconds: float = 600.0
    depth: int = DEPTH
    spend: Callable[[int], None] = _free


class Entry(Value):
    """One file. path: below the listed URL, segments joined by `/`, checked by `Names`. url: what to download.

    size: bytes, -1 unknown. etag: as in the origin's responses to GETs, "" unknown. modified: unix seconds, -1 unknown.
    digest: `sha256:HEX`, "" unknown. mode: permission bits, -1 unknown. shown: see `manifest.File`.
    Only the response to a GET of the file proves any of these.
    """

    path: str
    url: str
    size: int = -1
    etag: str = ""
    modified: float = -1.0
    digest: str = ""
    mode: int = -1
    shown: int = -1


class ListingNames(Paths):
    """Checks the names in a listing of `url`; each method raises BadListing, which names the path."""

    def __init__(self, url: str, limits: Limits) -> None:
        super().__init__(f"the listing of {url}", limits.entries, limits.depth)
        self._limits = limits
        self._pages = self._largest = 0

    def file(self, path: str, size: int = -1) -> str:
        """See `Paths`."""
        self._limits.spend(ENTRY + 4 * len(path))
        return super().file(path, size)

    def charge(self, count: int) -> None:
        """Count the memory of a page of `count` bytes that is about to be read."""
        if count > self._largest:
            self._limits.spend(PAGE * (count - self._largest))
            self._largest = count

    def count_page(self, elapsed: float) -> None:
        """Count one more response. elapsed: seconds since the listing began."""
        self._pages += 1
        self.check_time(elapsed)
        if self._pages > self._limits.pages:
            raise BadListing(f"{self.owner} has more than {self._limits.pages} pages")

    def check_time(self, elapsed: float) -> None:
        """Check the time limit. elapsed: seconds since the listing began."""
        if elapsed > self._limits.seconds:
            raise BadListing(f"{self.owner} has not ended within {self._limits.seconds:.0f} s")
