"""The manifest of a tree as an origin: a file whose version is its identity."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from dfengine.errors import OriginChanged
from dfengine.globs import Globs
from dfengine.manifest import Manifest
from dfengine.origin.cancel import Cancel
from dfengine.origin.head import Head
from dfengine.origin.listing_names import Limits
from dfengine.origin.origin_settings import OriginSettings
from dfengine.origin.tree_listing import ListingCache, manifest
from dfengine.origin.version import Version


class ManifestOrigin:
    """See `origin_interface.Origin`: the encoded manifest of the directory `url`, listed anew by each `open` without a version.

    before: the inputs of an earlier manifest of the same directory and globs. listing: limits of a listing, entered for its duration.
    made: called with each new manifest. Raises BadValue.
    """

    def __init__(
        self, url: str, globs: Globs, settings: OriginSettings, cancel: Cancel, *, before: ListingCache | None = None,
        listing: Callable[[], AbstractContextManager[Limits]] = lambda: nullcontext(Limits()),
        made: Callable[[Manifest], None] = lambda manifest: None,
    ) -> None:
        self.key = url[:300]
        self.cancel = cancel
        self.connect, self.first, self.floor = settings.connect, settings.first, settings.floor
        self._url, self._globs, self._settings, self._listing, self._made = url, globs, settings, listing, made
        self._before = before or ListingCache()
        self._encoded = b""
        self._version = Version()

    def open(
        self, start: int = 0, end: int | None = None, *, version: Version | None = None, unless: Version | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> ManifestBody:
        """See `http.HttpOrigin.open`; raises as `tree_listing.manifest`."""
        if version is None or not self._encoded:
            settings = self._settings.replace(connect=self.connect, first=self.first)
            with self._listing() as limits:
                made = manifest(self._url, settings, self.cancel, self._globs, limits, self._before)
            self._made(made)
            self._encoded = made.encode()
            self._version = Version(f'"{made.identity}"', "", len(self._encoded))
        if version is not None and not version.covers(self._version):
            raise OriginChanged(f"{self._url[:200]} has other files now")
        same = unless is not None and unless.covers(self._version)
        return ManifestBody(self._url[:200], self._encoded, start, end, self._version, same)

    def send_ahead(self) -> None:
        """See `origin_interface.Origin`."""

    def cancel_request(self) -> None:
        """See `origin_interface.Origin`."""

    def check_end(self, start: int, version: Version) -> None:
        """See `origin_interface.Origin`. Does nothing: each answer states its length."""


class ManifestBody:
    """See `origin_interface.Answer`."""

    def __init__(self, place: str, encoded: bytes, start: int, end: int | None, version: Version, same: bool) -> None:
        self.place = place
        self.head = Head(200)
        self.start, self.length = start, len(encoded)
        past = len(encoded) if end is None else min(end, len(encoded))
        self.remaining = 0 if same else max(0, past - start)
        self.vary = frozenset(("*",))
        self.version = version
        self.ranged, self.bounded = bool(start) or end is not None, end is not None
        self.not_modified, self.end_unknown = same, False
        self._encoded = encoded

    def read_into(self, buffer: memoryview, waiting: Callable[[], None] | None = None) -> int:
        """See `body.Body.read_into`."""
        count = min(len(buffer), self.remaining)
        buffer[:count] = self._encoded[self.start : self.start + count]
        self.start += count
        self.remaining -= count
        return count

    def close(self) -> None:
        """Do nothing: no resource is open."""
