"""Pages of an S3 bucket, each as the store lists it: keys are translated from and to those below the facade's root."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from dfengine.errors import BadListing, OriginError
from dfengine.origin import listing_s3
from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.page import KEY, Object, Page, read_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Executor

    from dfengine.location import Location
    from dfengine.origin.cancel import Cancel
    from dfengine.origin.listing_s3 import StorePage
    from dfengine.origin.origin_settings import OriginSettings
    from dfengine.proxy.s3.bucket import Bucket
    from dfengine.proxy.s3.request import Listed

MAX_PAGES = 64
"""Maximum number of cached pages, of up to 1,000 keys each."""

MAX_EMPTY = 8
"""Maximum number of pages without a name that are read for one page."""


def query(prefix: str, asked: Listed) -> dict[str, str]:
    """Parameters of the query to the store. prefix: of all keys of the facade's bucket. Raises S3Error.

    ListObjectsV2 is used for both versions: in its responses stores encode all names, which some do not for ListObjects.
    """
    found = {"prefix": prefix + asked.prefix, "max-keys": str(asked.most), "encoding-type": "url", "list-type": "2"}
    if asked.delimiter:
        found["delimiter"] = asked.delimiter
    after = asked.after
    if asked.token is not None:
        kind, text = read_token(asked.token)
        if kind != KEY:
            return found | {"continuation-token": text}
        after = text
    # The prefix itself is not a key below it: a page with it alone would be empty, and would look like the last one.
    after = prefix + after if after or not asked.prefix else ""
    return found | ({"start-after": after} if after else {})


def page_of(prefix: str, asked: Listed, found: StorePage) -> Page:
    """The store's page, for the facade's bucket: without names outside of it."""
    objects = tuple(
        Object(each.key[len(prefix) :], each.size, each.etag, each.modified, each.storage)
        for each in found.objects if each.key.startswith(prefix) and len(each.key) > len(prefix)
    )  # fmt: skip
    prefixes = tuple(each[len(prefix) :] for each in found.prefixes if each.startswith(prefix) and len(each) > len(prefix))
    if not found.more:
        return Page(objects, prefixes)
    if asked.version == 2 and found.token:
        return Page(objects, prefixes, token=found.token)
    return Page(objects, prefixes, max([*(each.key for each in objects), *prefixes], default=""))


def read_page(prefix: str, asked: Listed, ask: Callable[[Mapping[str, str]], StorePage]) -> Page:
    """A page of the bucket, from as many queries as needed. ask: sends a query. Raises S3Error, BadListing, errors of `ask`."""
    given = query(prefix, asked)
    after = given.get("start-after", "")
    for _ in range(MAX_EMPTY):
        found = ask(given)
        if any(each.key < after for each in found.objects):
            raise BadListing("the store ignores start-after: it does not support ListObjectsV2")
        # Stores differ in whether they list again the common prefix that a query starts after.
        objects = tuple(each for each in found.objects if each.key != after)
        found = found.replace(objects=objects, prefixes=tuple(each for each in found.prefixes if each != after))
        one = page_of(prefix, asked, found)
        if one.truncated or not found.more:
            return one
        # There is no name after which the next page could begin.
        if not found.token:
            break
        given = {name: text for name, text in given.items() if name != "start-after"} | {"continuation-token": found.token}
    raise BadListing("the store sends empty pages, and states that there are more")


class StorePages:
    """On the loop's thread. fresh: seconds for which a page is cached."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, threads: Executor, origin_settings: OriginSettings, fresh: float, cancel: Cancel
    ) -> None:
        self._loop = loop
        self._threads = threads
        self._origin_settings = origin_settings
        self._fresh = fresh
        self._cancel = cancel
        self._known: OrderedDict[tuple[str, Listed], tuple[float, Page]] = OrderedDict()
        self._asking: dict[tuple[str, Listed], asyncio.Future[Page]] = {}

    async def page(self, bucket: Bucket, asked: Listed) -> Page:
        """A page of a listing. Raises S3Error, subclasses of DfengineError."""
        if not asked.most:
            return Page((), ())
        key = bucket.name, asked
        at, known = self._known.get(key, (0.0, None))
        if known is not None and self._loop.time() - at < self._fresh:
            return known
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = self._loop.run_in_executor(self._threads, self._ask, bucket, asked)
            asking.add_done_callback(partial(self._asked, key, self._loop.time()))
        return await asyncio.shield(asking)

    def _ask(self, bucket: Bucket, asked: Listed) -> Page:
        """Read a page, in a thread."""
        assert bucket.location is not None
        try:
            return read_page(bucket.prefix, asked, partial(self._listed, bucket.location))
        except OriginError as error:
            if error.status == 404:
                raise S3Error("NoSuchBucket", "The specified bucket does not exist") from None
            if error.status == 400 and asked.token is not None:
                raise S3Error("InvalidArgument", "the store refuses the continuation token") from None
            raise

    def _listed(self, location: Location, given: Mapping[str, str]) -> StorePage:
        return listing_s3.listed(location, given, self._origin_settings, self._cancel)

    def _asked(self, key: tuple[str, Listed], at: float, asking: asyncio.Future[Page]) -> None:
        self._asking.pop(key, None)
        if asking.cancelled() or asking.exception() is not None:
            return
        self._known.pop(key, None)
        self._known[key] = at, asking.result()
        if len(self._known) > MAX_PAGES:
            self._known.popitem(last=False)
