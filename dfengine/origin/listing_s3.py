"""One page of an S3 bucket's listing, with every key as the store sends it, where the environment has a key to sign with.

obstore lists for all stores and credentials, but no bucket with a key that has an empty segment, `..` or a control character.

Source: ListObjectsV2 of Amazon's S3 API reference.
"""

from __future__ import annotations

import os
import re
import time
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote_plus
from xml.parsers import expat

from dfengine.errors import BadListing, OriginError
from dfengine.origin.cancel import Cancel
from dfengine.origin.object_address import base, is_true, region
from dfengine.origin.signature import signed
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfengine.location import Location
    from dfengine.origin.origin_settings import OriginSettings

MAX_PAGE = 8 << 20
"""Limit in bytes of a page; one of 1,000 keys of 1,024 bytes, percent-encoded, has 3.5 MB."""

SECONDS = 300
"""Validity in seconds of a signature."""

DEPTH = 8
"""Limit of nested elements; valid responses have four levels."""

_FIELDS = frozenset(("Key", "LastModified", "ETag", "Size", "StorageClass"))
_ECHO = re.compile(rb"<StartAfter>[^<]*</StartAfter>")
"""It repeats a parameter of the request; some stores do not encode it, and XML permits no control characters."""

_SIZE = re.compile(r"(?a)\d{1,18}")


class StoreObject(Value):
    """An object. size: bytes. etag: as in responses to GETs. modified: unix seconds, -1 unknown."""

    key: str
    size: int
    etag: str
    modified: float
    storage: str


class StorePage(Value):
    """A page. more: there is another page; token: its start, "" if the store states none."""

    objects: tuple[StoreObject, ...]
    prefixes: tuple[str, ...]
    more: bool
    token: str


def signs_by_key(settings: OriginSettings, location: Location) -> bool | None:
    """Whether requests for a page are signed by this process's key; False: unsigned. None: only obstore can find credentials."""
    environment = os.environ
    if not settings.may_sign(location) or is_true(environment, "AWS_SKIP_SIGNATURE"):
        return False
    return True if environment.get("AWS_ACCESS_KEY_ID") and environment.get("AWS_SECRET_ACCESS_KEY") else None


def signed_or_not(url: str, location: Location, settings: OriginSettings, now: float) -> str | None:
    """The URL of a request to this location's bucket, signed where this process's key signs; None: only obstore can find credentials.

    now: unix seconds. Raises BadValue.
    """
    signs, environment = signs_by_key(settings, location), os.environ
    if not signs:
        return url if signs is False else None
    session = environment.get("AWS_SESSION_TOKEN") or environment.get("AWS_TOKEN") or ""
    keys = environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
    return signed(url, region(environment), *keys, session, now, SECONDS)


def listed(location: Location, query: Mapping[str, str], settings: OriginSettings, cancel: Cancel) -> StorePage:
    """The store's response to this query of the location's bucket. Blocks.

    Raises BadValue, OriginError (status: of the response) and its subclasses, BadListing for a response that is not a listing.
    """
    bucket = base(location, os.environ)
    text = "&".join(f"{name}={quote(value, safe='~')}" for name, value in query.items())
    url = f"{bucket}{'' if bucket.count('/') > 2 else '/'}?{text}"
    url = signed_or_not(url, location, settings, time.time()) or url
    status, _, body = settings.http(url, cancel).page(MAX_PAGE)
    if status != 200:
        raise OriginError(f"the bucket {location.place} is not listed: the store answers {status}", status)
    return parse(body, location.place)


def parse(body: bytes, place: str) -> StorePage:
    """Parse a ListBucketResult. place: the bucket, for messages. Raises BadListing."""
    reading = _Reading()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reading.start, reading.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = reading.text, reading.doctype
    try:
        parser.Parse(_ECHO.sub(b"", body, count=1), True)
        return reading.page()
    except (expat.ExpatError, ValueError, LookupError, OverflowError) as error:
        raise BadListing(f"the response of the store of {place} is no listing of a bucket: {str(error)[:100]}") from None


class _Reading:
    """expat's callbacks."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._parts: list[str] = []
        self._one: dict[str, str] = {}
        self._found: list[dict[str, str]] = []
        self._prefixes: list[str] = []
        self._head: dict[str, str] = {}

    def doctype(self, *_: Any) -> None:
        raise ValueError("it has a document type")

    def start(self, name: str, _: dict[str, str]) -> None:
        if len(self._path) >= DEPTH:
            raise ValueError("its elements are too deep")
        self._path.append(name)
        self._parts.clear()
        if self._path[1:] == ["Contents"]:
            self._one = {}

    def text(self, text: str) -> None:
        self._parts.append(text)

    def end(self, name: str) -> None:
        text, path = "".join(self._parts), self._path[1:]
        self._parts.clear()
        self._path.pop()
        if len(path) == 1 and name == "Contents":
            self._found.append(self._one)
        elif len(path) == 1:
            self._head[name] = text
        elif path == ["CommonPrefixes", "Prefix"]:
            self._prefixes.append(text)
        elif len(path) == 2 and path[0] == "Contents" and name in _FIELDS:
            self._one[name] = text
        elif not path and name != "ListBucketResult":
            raise ValueError(f"it is a {name[:40]}")

    def page(self) -> StorePage:
        """The parsed page. Raises ValueError, KeyError."""
        name = unquote_plus if self._head.get("EncodingType") == "url" else str
        objects = []
        for one in self._found:
            if not _SIZE.fullmatch(one["Size"].strip()):
                raise ValueError("a size is no number")
            etag = one.get("ETag", "").strip()
            try:
                modified = datetime.fromisoformat(one.get("LastModified", "").strip()).timestamp()
            except (ValueError, OverflowError):
                modified = -1.0
            objects.append(StoreObject(name(one["Key"]), int(one["Size"]), etag, modified, one.get("StorageClass", "") or "STANDARD"))
        more = self._head.get("IsTruncated", "").strip() == "true"
        return StorePage(tuple(objects), tuple(map(name, self._prefixes)), more, self._head.get("NextContinuationToken", ""))
