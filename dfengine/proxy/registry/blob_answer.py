"""A request for a blob: its registry states whether the requester has access; its bytes are from the disk or the swarm."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from dfengine.errors import DfengineError, OriginForbidden
from dfengine.net.http import BadRequest
from dfengine.proxy.blobs.blob import Reader
from dfengine.proxy.blobs.blobs import GENERAL, Source
from dfengine.proxy.blobs.file_answer import answer_file
from dfengine.proxy.blobs.request_handler import RequestHandler
from dfengine.proxy.header_fields import Fields, joined

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.blobs.blobs import Blobs
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.interfaces import Exchange
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.ranges import Span
    from dfengine.proxy.reference import Reference
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.permissions import Permit

REFUSED = frozenset((401, 403, 404))
"""Statuses by which a registry denies the requester the blob: the request is passed on without an event."""


class BlobAnswer(RequestHandler):
    """The exchange of one request for a blob. credentials: fields that open the blob at the registry, and fields sent with them."""

    def __init__(
        self, blobs: Blobs, client: ClientConnection, request: Head, asked: Reference, registry: Registry, credentials: Fields,
        pass_on: Callable[[], Exchange],
    ) -> None:
        super().__init__(blobs.loop, client, registry.authority, pass_on)
        self._blobs = blobs
        self._request = request
        self._asked = asked
        self._registry = registry
        self._credentials = credentials

    def _record_pass_through(self, reason: str) -> None:
        self._blobs.record_pass_through(self._asked.digest, self._registry, reason)

    async def _answer(self) -> bool:
        """Answer; False: pass the request on to the registry. Raises BadRequest, subclasses of DfengineError."""
        blobs, digest = self._blobs, self._asked.digest
        fields = [(b"Host", self._registry.authority.encode()), *self._credentials]
        accept = joined(self._request.fields, b"accept")
        fields += [(b"Accept", accept.encode("latin-1"))] if accept else []
        permit = blobs.permissions.cached(self._registry, self._asked.target, fields)
        if permit is None:
            permit = await blobs.permissions.ask(self._registry, self._asked.target, fields)
        if not permit.allowed:
            if permit.status not in REFUSED:
                self._reason = f"its registry responds to HEAD with {permit.status}"
            return False
        found = await blobs.find_stored(blobs.local_names(digest, self._registry, self._credentials))
        if found is not None:
            name, kept = found
            blobs.mark_used(name)
            return await self._serve(permit, kept.fd, kept, kept.length, None)
        if self._request.method == "HEAD":
            return False
        if blobs.distrusts(digest, self._registry):
            # No byte of it is passed on: the client may ask the registry directly, and compare the blob itself.
            with contextlib.suppress(DfengineError):
                if blobs.swarm and await self._fetch_blob(permit):
                    return True
            raise BadRequest(502, f"{self._registry.authority} has sent another blob than {digest}: it is not read again for a while")
        return await self._fetch_blob(permit)

    async def _fetch_blob(self, permit: Permit) -> bool:
        """Answer while the blob is fetched."""
        blobs = self._blobs
        if blobs.full:
            self._reason = "the disk was full a moment ago"
            return False
        blob = blobs.get_or_fetch(Source(self._asked.target, self._asked.digest), self._registry, self._credentials)
        try:
            file = await blob.opened()
            if file.geometry.length < 0 or not blobs.has_room(blob):
                self._reason = "its registry states no length" if file.geometry.length < 0 else "the disk has no room for it"
                return False
            return await self._serve(
                permit, file.fd, file, file.geometry.length, lambda span, on_written: Reader(blob, file, span, on_written)
            )  # fmt: skip
        except OriginForbidden:
            raise OriginForbidden(f"{self._registry.authority} sends to an address that this proxy may not ask") from None

    async def _serve(
        self, permit: Permit, fd: int, owner: object, length: int, reader: Callable[[Span, Callable[[], None]], Reader] | None
    ) -> bool:
        if reader is not None and permit.length not in (-1, length):
            self._reason = f"its registry states to HEAD {permit.length} bytes, and it has {length}"
            return False
        if self._client.unsent:
            return False
        tag = f'"{self._asked.digest}"'
        fields: Fields = [
            (b"Docker-Content-Digest", self._asked.digest.encode()), (b"ETag", tag.encode()), (b"Accept-Ranges", b"bytes"),
            (b"Docker-Distribution-Api-Version", b"registry/2.0"), (b"Cache-Control", b"max-age=31536000"),
        ]  # fmt: skip
        await answer_file(self._client, self._request, tag, fields, permit.content_type or GENERAL, fd, owner, length, reader)
        return True
