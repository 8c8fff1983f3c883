"""Parts of an object from a multipart upload, for requests with `partNumber`.

An object without known parts has one part: all of it. The entity-tag of S3's objects contains the number of parts. Only the store knows
where each begins, so the part is requested from it, and the response's head is read. A version's parts never change, so the result is
cached.

Source: GetObject and HeadObject of Amazon's S3 API reference.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from dfengine.errors import OriginChanged, OriginError
from dfengine.location import parse
from dfengine.origin.listing_s3 import signed_or_not
from dfengine.origin.object_address import address
from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.upstream.timeouts import OWN_REQUEST_SECONDS, Unanswered
from dfengine.value import Value

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from dfengine.origin.cancel import Cancel
    from dfengine.origin.head import Head
    from dfengine.origin.origin_settings import OriginSettings
    from dfengine.proxy.s3.bucket import Bucket
    from dfengine.proxy.s3.object_head import ObjectHead

MAX_PARTS = 16384
"""Maximum number of cached parts."""

_PARTS = re.compile(r'"[0-9a-fA-F]{32}-([1-9][0-9]{0,4})"')
"""Entity-tag of a multipart upload."""


class Part(Value):
    """[start, past): bytes of the object. count: number of its parts, 0: unknown."""

    start: int
    past: int
    count: int


def count_of(object_head: ObjectHead) -> int:
    """The number of parts of an S3 object in its entity-tag; 0: it is not from a multipart upload."""
    match = _PARTS.fullmatch(object_head.tag)
    return int(match[1]) if match else 0


def no_such(number: int, count: int) -> S3Error:
    """The error for a request of a part that does not exist."""
    more = (("PartNumberRequested", str(number)), ("ActualPartCount", str(max(1, count))))
    return S3Error("InvalidPartNumber", "The requested partnumber is not satisfiable", more)


def found(status: int, head: Head, object_head: ObjectHead, number: int) -> Part:
    """The part in the store's response. Raises S3Error, OriginChanged for another version, OriginError."""
    if status == 416:
        raise no_such(number, count_of(object_head))
    span = head.content_range
    if status not in (200, 206):
        raise OriginError(f"the store answers {status} to a request for a part", status)
    if head.get("etag") != object_head.tag or (span is not None and span[2] != object_head.length):
        raise OriginChanged("the store responds with a part of another version of the object")
    if status == 200 or span is None:
        raise S3Error("NotImplemented", "the store does not say where the parts of this object begin")
    count = head.get("x-amz-mp-parts-count")
    return Part(span[0], span[1] + 1, int(count) if re.fullmatch(r"(?a)[1-9]\d{0,4}", count) else count_of(object_head))


class Parts:
    """On the loop's thread. origin_settings: how this proxy asks origins itself."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: Executor, origin_settings: OriginSettings, cancel: Cancel) -> None:
        self._loop = loop
        self._threads = threads
        self._origin_settings = origin_settings.replace(first=OWN_REQUEST_SECONDS)
        self._cancel = cancel
        self._known: OrderedDict[tuple[str, str, int], Part] = OrderedDict()

    async def find(self, bucket: Bucket, url: str, object_head: ObjectHead, number: int) -> Part:
        """The part of this number, from 1 on. Raises S3Error, subclasses of DfengineError."""
        count = count_of(object_head) if bucket.scheme == "s3" else 0
        if number > max(1, count):
            raise no_such(number, count)
        if count <= 1:
            return Part(0, object_head.length, count)
        key = url, object_head.version, number
        part = self._known.get(key)
        if part is None:
            asking = self._loop.run_in_executor(self._threads, self._ask, url, object_head, number)
            try:
                part = await asyncio.wait_for(asking, OWN_REQUEST_SECONDS)
            except TimeoutError:
                raise Unanswered.of("the store") from None
            self._known[key] = part
            if len(self._known) > MAX_PARTS:
                self._known.popitem(last=False)
        return part

    def _ask(self, url: str, object_head: ObjectHead, number: int) -> Part:
        """Request a part from the store, in a thread."""
        location = parse(url)
        plain = address(location, os.environ)
        target = signed_or_not(f"{plain}{'&' if '?' in plain else '?'}partNumber={number}", location, self._origin_settings, time.time())
        if target is None:
            raise S3Error("NotImplemented", "partNumber of this object needs AWS_ACCESS_KEY_ID, or --sign none")
        status, head = self._origin_settings.http(target, self._cancel).head_of_get()
        return found(status, head, object_head, number)
