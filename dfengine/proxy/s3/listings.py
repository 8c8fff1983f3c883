"""Lists buckets: those of S3 page by page, others by the full listing of a directory, which is cached for a while."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from dfengine.errors import OriginError
from dfengine.location import OBJECTS
from dfengine.net.thread_pool import ThreadPool
from dfengine.origin import listing_s3
from dfengine.origin.listing_names import ENTRY, Limits, ListingNames
from dfengine.proxy.s3 import page as s3_page
from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.page import Object, Page
from dfengine.proxy.s3.store_pages import StorePages
from dfengine.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dfengine.origin.cancel import Cancel
    from dfengine.origin.listing_names import Entry
    from dfengine.origin.origin_settings import OriginSettings
    from dfengine.proxy.s3.bucket import Bucket
    from dfengine.proxy.s3.objects import Objects
    from dfengine.proxy.s3.request import Listed

THREADS = 4
LIMITS = Limits(entries=1_000_000, seconds=55.0)
MAX_ENTRIES = 1_000_000
"""Maximum number of cached entries: about 400 MB."""

PAGE_SECONDS = 20.0
"""Time for a store to begin its response with a page, for which it may have to read many keys. Clients wait for 60 s."""

NEXT_SECONDS = 60.0
"""Time for which a listing is cached for its further pages."""

_PLAIN = re.compile(r"(?:(?!\.{1,2}/)[^/\x00-\x1f\x7f]+/)*")
"""The directories of a prefix that can be requested from every origin."""


class _Keys(ListingNames):
    """Accepts any key, since no file system stores it."""

    def __init__(self, url: str, limits: Limits) -> None:
        super().__init__(url, limits)
        self._count = 0

    def file(self, path: str, size: int = -1) -> str:
        """See ListingNames."""
        self._limits.spend(ENTRY + 4 * len(path))
        self._count += 1
        if self._count > self._limits.entries:
            raise S3Error("InternalError", f"more than {self._limits.entries} keys: list by a prefix that ends in a slash")
        return path


class _Snapshot(Value):
    """All keys below a directory, in order. at: when the listing began, of the loop's clock."""

    keys: tuple[str, ...]
    objects: tuple[Object, ...]
    at: float


class Listings:
    """On the loop's thread. origin_settings: how this proxy asks origins itself."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, origin_settings: OriginSettings, fresh: float, objects: Objects, cancel: Cancel
    ) -> None:
        self._loop = loop
        self._origin_settings = origin_settings = origin_settings.replace(first=PAGE_SECONDS)
        self._fresh = fresh
        self._objects = objects
        self._cancel = cancel
        self._threads = ThreadPool(THREADS, "list")
        self._pages = StorePages(loop, self._threads, origin_settings, fresh, cancel)
        self._known: OrderedDict[tuple[str, str], _Snapshot] = OrderedDict()
        self._listing: dict[tuple[str, str], asyncio.Future[_Snapshot]] = {}

    async def page(self, bucket: Bucket, asked: Listed) -> Page:
        """A page of a bucket's listing. Raises S3Error, subclasses of DfengineError."""
        location = bucket.location
        if bucket.scheme == "s3" and location is not None and listing_s3.signs_by_key(self._origin_settings, location) is not None:
            return await self._pages.page(bucket, asked)
        match = _PLAIN.match(asked.prefix)
        folder = match[0] if match is not None else ""
        goes_on = asked.token is not None or bool(asked.after)
        snapshot = self._find(bucket, folder, max(self._fresh, NEXT_SECONDS) if goes_on else self._fresh)
        if snapshot is None:
            key = bucket.name, folder
            listing = self._listing.get(key)
            if listing is None:
                listing = self._listing[key] = self._loop.run_in_executor(self._threads, self._list, bucket, folder, self._loop.time())
                listing.add_done_callback(partial(self._listed, key))
            snapshot = await asyncio.shield(listing)
        found = s3_page.page(snapshot.keys, snapshot.objects, asked)
        if any(each.size < 0 for each in found.objects):
            objects = await asyncio.gather(*(self._sized(bucket, each) for each in found.objects))
            found = found.replace(objects=tuple(each for each in objects if each is not None))
        return found

    async def _sized(self, bucket: Bucket, listed: Object) -> Object | None:
        """Add the length, which an index may not state; None if the file no longer exists."""
        if listed.size >= 0:
            return listed
        try:
            object_head = await self._objects.head(bucket, bucket.object_url(listed.key))
        except OriginError as error:
            if error.status in (403, 404, 410):
                return None
            raise
        return listed.replace(size=object_head.length, etag=object_head.tag, modified=object_head.modified)

    def _find(self, bucket: Bucket, folder: str, seconds: float) -> _Snapshot | None:
        """A snapshot of this directory or one above it, of at most this age."""
        parts = folder.split("/")[:-1]
        for depth in range(len(parts), -1, -1):
            known = self._known.get((bucket.name, "".join(f"{part}/" for part in parts[:depth])))
            if known is not None and self._loop.time() - known.at < seconds:
                return known
        return None

    def _listed(self, key: tuple[str, str], listing: asyncio.Future[_Snapshot]) -> None:
        self._listing.pop(key, None)
        if listing.cancelled() or listing.exception() is not None:
            return
        self._known.pop(key, None)
        self._known[key] = listing.result()
        while len(self._known) > 1 and sum(len(each.keys) for each in self._known.values()) > MAX_ENTRIES:
            self._known.popitem(last=False)

    def _list(self, bucket: Bucket, folder: str, now: float) -> _Snapshot:
        """List all keys, in a thread."""
        found: dict[str, Object] = {}
        try:
            for each in self._entries(bucket, folder):
                key = bucket.key_of(each.url) if bucket.scheme in OBJECTS else folder + each.path
                if key and not re.search("[\ud800-\udfff]", key):
                    modified = each.modified if each.modified >= 0 else float(each.shown)
                    found[key] = Object(key, each.size, each.etag, modified)
        except OriginError as error:
            if error.status != 404:
                raise
            if bucket.scheme in OBJECTS:
                raise S3Error("NoSuchBucket", "The specified bucket does not exist") from None
        keys = sorted(found)
        return _Snapshot(tuple(keys), tuple(found[key] for key in keys), now)

    def _entries(self, bucket: Bucket, folder: str) -> Iterator[Entry]:
        names = _Keys(bucket.url, LIMITS)
        if bucket.location is None:
            from dfengine.origin.listing_http import Pages, index

            url = bucket.object_url(folder.removesuffix("/")) + "/" if folder else bucket.url
            yield from index(url, Pages(lambda page: self._origin_settings.http(page, self._cancel), names, LIMITS), names, LIMITS)
        elif bucket.scheme == "file":
            from dfengine.origin import listing_file

            began = time.monotonic()
            location = bucket.location.replace(key=f"{bucket.location.key.rstrip('/')}/{folder}")
            roots = self._origin_settings.roots
            yield from listing_file.list_files(location, roots, names, lambda: names.check_time(time.monotonic() - began), True)
        else:
            from dfengine.origin import listing_objects

            location = bucket.location.replace(key=bucket.prefix + folder)
            settings = self._origin_settings
            yield from listing_objects.list_objects(location, settings.may_sign(location), settings.access, names, LIMITS)

    def close(self) -> None:
        """End all, when the process ends."""
        self._threads.shutdown(wait=False, cancel_futures=True)
