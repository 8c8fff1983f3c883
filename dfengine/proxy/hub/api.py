"""A request that is passed on to the Hub: the API's JSON comes without what leads to Xet, and links to the Hub become links to us.

A file that the Hub answers with, and does not redirect, is compared with the digest that the answer itself says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.proxy import reference
from dfengine.proxy.fields import UNTIL_CLOSE, Fields, get, text
from dfengine.proxy.hub.fields import digest_of, own_link, own_links, plain_json, tag_of, without_xet
from dfengine.proxy.hub.reference import API, FILE
from dfengine.proxy.upstream.passing import Passing

if TYPE_CHECKING:
    from dfengine.proxy.blobs.blobs import Blobs
    from dfengine.proxy.front.front import Front
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.hub.reference import HubReference
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.upstreams import Upstreams

MOST_JSON = 16 << 20
"""Bytes of an answer of the API that are rewritten; a page of a tree has 1,000 files. A longer one is passed on as it is."""


class HubPassing(Passing):
    """See Passing. path: of the Hub's own URL. asked: what of it. xet: leave what leads to Xet."""

    def __init__(
        self, front: Front, request: Head, upstreams: Upstreams, registry: Registry, path: str, asked: HubReference, more: Fields,
        xet: bool, blobs: Blobs,
    ) -> None:
        super().__init__(front, request, upstreams, registry, path + asked.target, more)
        self._hub = registry.url + path
        self._asked = asked
        self._xet = xet
        self._told: tuple[int, bytes, Fields, int] | None = None
        """The head of an answer whose body is collected."""
        self._parts: list[bytes] = []
        self._size = 0
        self._blobs = blobs
        self._rewrites = asked.kind == API and not xet
        # What is rewritten or compared must be read: no encoding of it.
        self.plain = self._rewrites or self._compares

    @property
    def _compares(self) -> bool:
        return self._asked.kind == FILE and self._request.method == "GET"

    def answer(self, status: int, reason: bytes, fields: Fields, length: int) -> None:
        fields = self._own(fields)
        digest = digest_of(tag_of(fields)) if self._compares else ""
        if digest and (length >= 0 or not digest.startswith("git:")):
            self._withheld = self._blobs.withholding(digest, self._registry, length=length)
        collected = self._rewrites and status == 200 and self._request.method != "HEAD" and UNTIL_CLOSE <= length <= MOST_JSON
        if not collected or not text(fields, b"content-type").startswith("application/json") or get(fields, b"content-encoding"):
            super().answer(status, reason, fields, length)
            return
        self._again = False
        self._told = status, reason, fields, length

    def body_part(self, data: bytes) -> None:
        if self._told is None:
            super().body_part(data)
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > MOST_JSON:
            self._begin()

    def _begin(self) -> None:
        """Pass on what was collected, and what follows, as it is."""
        assert self._told is not None
        told, self._told = self._told, None
        super().answer(*told)
        for part in self._parts:
            super().body_part(part)
        self._parts.clear()

    def end(self) -> None:
        if self._told is not None:
            status, reason, fields, _ = self._told
            body = b"".join(self._parts)
            plain = plain_json(body)
            if plain is not body:
                # Its entity-tag is that of the other text.
                fields = [field for field in fields if field[0].lower() not in (b"etag", b"content-md5", b"digest")]
            self._told = status, reason, fields, len(plain)
            self._parts = [plain] if plain else []
            self._begin()
        super().end()

    def _own(self, fields: Fields) -> Fields:
        place = reference.host(text(self._request.fields, b"host"))
        own, target = f"http://{place}" if place else "", self._asked.target
        found: Fields = []
        if not self._xet:
            size = text(fields, b"x-linked-size")
            fields = without_xet(fields, int(size) if size.isascii() and size.isdigit() and len(size) < 19 else -1)
        for name, value in fields:
            lower = name.lower()
            if lower == b"location":
                value = own_link(self._hub, target, value.decode("latin-1"), own).encode("latin-1")
            elif lower == b"link":
                value = own_links(self._hub, target, value, own, self._xet)
                if not value:
                    continue
            found.append((name, value))
        return found
