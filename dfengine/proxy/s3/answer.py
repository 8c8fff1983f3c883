"""The exchange of one request of the S3 facade."""

from __future__ import annotations

import asyncio
import secrets
import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from dfengine.errors import (
    BadValue,
    DfengineError,
    LocalError,
    OriginChanged,
    OriginError,
    OriginForbidden,
    OriginUnreachable,
    SourceGone,
    StorageError,
    SupernodeError,
)
from dfengine.net.http import BadRequest
from dfengine.origin.head import seconds
from dfengine.origin.retry import TRANSIENT
from dfengine.proxy import ranges
from dfengine.proxy.blobs.blob import Reader
from dfengine.proxy.blobs.blob_store import StoredBlob
from dfengine.proxy.blobs.first_byte import first_byte
from dfengine.proxy.blobs.serving import Serving
from dfengine.proxy.header_fields import Fields, joined, text
from dfengine.proxy.s3 import page as s3_page
from dfengine.proxy.s3 import request as s3_request
from dfengine.proxy.s3 import xml as s3_xml
from dfengine.proxy.s3.error import S3Error
from dfengine.task import redacted

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.net.event_log import EventLog
    from dfengine.proxy.blobs.blob import Blob
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.s3.bucket import Bucket
    from dfengine.proxy.s3.listings import Listings
    from dfengine.proxy.s3.object_head import ObjectHead
    from dfengine.proxy.s3.objects import Objects
    from dfengine.proxy.s3.request import Listed, Request
    from dfengine.storage.piece_file import PieceFile

ANSWER_SECONDS = 90.0
"""Time limit for a response to begin."""

AGAIN = 2
"""Seconds of Retry-After, if another try may succeed."""

XML = b"application/xml"
REGION = b"us-east-1"


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


def _usual() -> Fields:
    """Fields of all responses: the request's id and the date."""
    return [(b"x-amz-request-id", secrets.token_hex(8).upper().encode()), (b"Date", _date(int(time.time())))]


def refuse(client: ClientConnection, head: Head, error: S3Error) -> None:
    """Answer with an error. If the response has started, cut it."""
    if client.answer_started:
        client.cut()
        return
    path = head.target.partition(b"?")[0].decode("latin-1")
    fields: Fields = [(b"Content-Type", XML), *_usual()]
    if error.status == 405:
        fields.append((b"Allow", b"GET, HEAD"))
    if error.status == 503:
        fields.append((b"Retry-After", b"%d" % AGAIN))
    client.send_response(error.status, error.xml(path[:1024], fields[1][1].decode()), fields)


def as_s3(error: Exception) -> S3Error:
    """The corresponding error of S3."""
    message = redacted(" ".join(str(error).split()))[:500]
    if isinstance(error, S3Error):
        return error
    if isinstance(error, BadRequest):
        return S3Error("InvalidRequest", message)
    if isinstance(error, BadValue):
        return S3Error("InvalidURI", message)
    if isinstance(error, OriginForbidden) or (isinstance(error, OriginError) and error.status in (401, 403)):
        return S3Error("AccessDenied", message)
    if isinstance(error, OriginError) and error.status in (404, 410):
        return S3Error("NoSuchKey", "The specified key does not exist.")
    passing = isinstance(error, OriginError) and error.status in TRANSIENT
    if passing or isinstance(error, OriginChanged | OriginUnreachable | SupernodeError | SourceGone | LocalError):
        return S3Error("SlowDown", message)
    return S3Error("InternalError", message)


class S3Answer:
    """See interfaces.Exchange."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, client: ClientConnection, head: Head, asked: Request, bucket: Bucket, objects: Objects,
        listings: Listings, events: EventLog,
    ) -> None:
        self._loop = loop
        self._client = client
        self._head = head
        self._asked = asked
        self._bucket = bucket
        self._objects = objects
        self._listings = listings
        self._events = events
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def start(self) -> Self:
        self._client.set_deadline(ANSWER_SECONDS)
        self._task = self._loop.create_task(self._run())
        return self

    def body(self, data: bytes) -> None: ...
    def complete(self) -> None: ...
    def pause(self, paused: bool) -> None:
        (self._writable.clear if paused else self._writable.set)()

    def gone(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def expired(self) -> None:
        self.gone()
        refuse(self._client, self._head, S3Error("SlowDown", "the origin did not respond in time"))

    async def _run(self) -> None:
        try:
            if self._asked.listed is not None:
                await self._list(self._asked.listed)
            else:
                await self._object()
        except (S3Error, BadRequest, DfengineError, OSError) as error:
            found = as_s3(error)
            if found.status >= 500:
                self._events.warning("s3_failed", bucket=self._bucket.name, key=self._asked.key, code=found.code, reason=found.message)
            refuse(self._client, self._head, found)

    async def _list(self, asked: Listed) -> None:
        page = await self._listings.page(self._bucket, asked)
        fields: Fields = [(b"Content-Type", XML), (b"x-amz-bucket-region", REGION), *_usual()]
        self._client.send_response(200, s3_page.xml(self._bucket.name, asked, page), fields)

    async def _object(self) -> None:
        asked, head = self._asked, self._head
        url = self._bucket.object_url(asked.key, asked.version)
        object_head = await self._objects.head(self._bucket, url)
        status = condition(head, object_head)
        if status == 412:
            # A client that requires another version than the cached one may know of a newer one.
            object_head = await self._objects.head(self._bucket, url, again=True)
            status = condition(head, object_head)
        fields: Fields = [(b"ETag", object_head.tag.encode()), (b"Accept-Ranges", b"bytes"), *_usual()]
        if object_head.modified >= 0:
            fields.append((b"Last-Modified", object_head.last_modified.encode()))
        if status == 304:
            # Its Content-Length, if any, is that of a 200 (RFC 9110 section 8.6).
            self._client.begin(304, b"", fields, object_head.length)
            self._client.end()
            return
        if status == 412:
            raise S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        fields += [*object_head.fields, (b"Content-Type", object_head.content_type.encode("latin-1"))]
        if asked.overrides:
            names = {name.lower() for name, _ in asked.overrides}
            fields = [field for field in fields if field[0].lower() not in names] + [*asked.overrides]
        if asked.part:
            span = await self._part(url, object_head, fields)
        else:
            span = span_of(head, object_head)
        if span is not None:
            fields.append((b"Content-Range", b"bytes %d-%d/%d" % (span[0], span[1] - 1, object_head.length)))
        start, past = span or (0, object_head.length)
        if head.method == "HEAD" or start == past:
            self._begin(span, fields, past - start)
            self._client.end()
            return
        try:
            fd, owner, reader = _opened(await self._objects.find(self._bucket, url, object_head))
            first = await first_byte(reader, (start, past)) if reader is not None else None
        except StorageError:
            await self._directly(url, object_head, span, fields)
            return
        try:
            if self._client.unsent:
                raise S3Error("SlowDown", "an earlier response is still being sent")
            self._begin(span, fields, past - start)
            serving = Serving(self._client, fd, owner, [(start, past)], [b"", b""], reader)
            self._client.hand_over(serving)
            serving.start()
        finally:
            if first is not None:
                first.close()

    async def _part(self, url: str, object_head: ObjectHead, fields: Fields) -> ranges.Span | None:
        """The bytes of the requested part; None if it is empty. Adds its fields to `fields`."""
        if text(self._head.fields, b"range"):
            raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        try:
            part = await self._objects.parts.find(self._bucket, url, object_head, self._asked.part)
        except OriginChanged:
            self._objects.forget(url)
            raise
        if part.count:
            fields.append((b"x-amz-mp-parts-count", b"%d" % part.count))
        return (part.start, part.past) if part.start < part.past else None

    async def _directly(self, url: str, object_head: ObjectHead, span: ranges.Span | None, fields: Fields) -> None:
        """Send from the origin to the client, because the disk has no room."""
        start, past = span or (0, object_head.length)
        direct = self._objects.direct()
        try:
            try:
                await direct.open(url, object_head, start, past)
            except OriginChanged:
                self._objects.forget(url)
                raise
            self._begin(span, fields, past - start)
            await direct.send(self._client, past - start, self._writable)
            self._client.end()
        finally:
            direct.close()

    def _begin(self, span: ranges.Span | None, fields: Fields, length: int) -> None:
        self._client.begin(200 if span is None else 206, b"", fields, length)


def _opened(
    found: StoredBlob | tuple[Blob, PieceFile]
) -> tuple[int, object, Callable[[ranges.Span, Callable[[], None]], Reader] | None]:
    if isinstance(found, StoredBlob):
        return found.fd, found, None
    blob, file = found
    return file.fd, file, lambda span, on_written: Reader(blob, file, span, on_written)


def condition(head: Head, object_head: ObjectHead) -> int:
    """200, or 304 or 412 as the request's conditions require (RFC 9110 section 13.2.2). Invalid dates are ignored."""
    fields = head.fields
    match, none_match = joined(fields, b"if-match"), joined(fields, b"if-none-match")
    status = ranges.status(object_head.tag, match, none_match, head.method)
    modified = int(object_head.modified)
    if status != 200 or modified < 0:
        return status
    since = seconds(text(fields, b"if-unmodified-since")) if not match else None
    if since is not None and modified > since:
        return 412
    since = seconds(text(fields, b"if-modified-since")) if not none_match else None
    return 304 if since is not None and modified <= since else 200


def span_of(head: Head, object_head: ObjectHead) -> ranges.Span | None:
    """The requested range; None: all. Several ranges are not served, as at S3. Raises S3Error for a range behind the object's end."""
    asked = text(head.fields, b"range")
    if not asked or not ranges.applies(object_head.tag, text(head.fields, b"if-range")) or "," in asked:
        return None
    spans = ranges.parse(asked, object_head.length)
    if spans is None:
        return None
    if not spans:
        more = (("RangeRequested", asked[:100]), ("ActualObjectSize", str(object_head.length)))
        raise S3Error("InvalidRange", "The requested range is not satisfiable", more)
    return spans[0]


def buckets(names: list[str], made: float) -> bytes:
    """The body of ListBuckets. made: unix seconds."""
    inside = [("Bucket", [("Name", name), ("CreationDate", s3_xml.timestamp(made))]) for name in names]
    owner = [("ID", "dfengine"), ("DisplayName", "dfengine")]
    return s3_xml.document("ListAllMyBucketsResult", [("Owner", owner), ("Buckets", inside)])


def whole(client: ClientConnection, kind: str, body: bytes) -> None:
    """Send a response that needs no origin."""
    fields: Fields = [(b"Content-Type", XML), *_usual()]
    if kind != s3_request.BUCKETS:
        fields.append((b"x-amz-bucket-region", REGION))
    client.send_response(200, body, fields)


def location() -> bytes:
    """The body of GetBucketLocation: the first region has no name."""
    return s3_xml.document("LocationConstraint", ())
