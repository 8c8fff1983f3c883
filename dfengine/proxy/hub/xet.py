"""Xet behind /hub/.xet: the CAS's responses are passed on with rewritten URLs of xorbs, and ranges of xorbs are fetched through the swarm.

A xorb is named by the hash of its content, and a range of one is a task, for clients to which the CAS has given a signed URL of the xorb.
The supernode tries the URL before it admits a client. The signature is not part of the task's name. A range cannot be verified by itself:
a xorb's hash is computed from the hashes of all its chunks, and hf-xet compares lengths alone. So its bytes are bound to one version, as
the storage states it, and are compared piece by piece with those that the supernode has read, like those of any URL without a digest.
"""

from __future__ import annotations

import hashlib
import re
import time
from copy import copy
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dfengine.errors import BadValue, OriginError
from dfengine.net.http import BadRequest
from dfengine.proxy import reference
from dfengine.proxy.blobs.blob import Reader
from dfengine.proxy.blobs.blob_store import name_of, sha256_of
from dfengine.proxy.blobs.blobs import GENERAL, Source
from dfengine.proxy.blobs.file_answer import send_part
from dfengine.proxy.blobs.request_handler import RequestHandler
from dfengine.proxy.header_fields import Fields, credentials, text
from dfengine.proxy.hub.rewriting import Rewriting
from dfengine.proxy.registries import Registry
from dfengine.proxy.upstream.pass_through import PassThrough

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from dfengine.proxy.blobs.blobs import Blobs
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.interfaces import Exchange
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.hub.xet_names import XetNames, Xorb
    from dfengine.proxy.ranges import Span
    from dfengine.proxy.upstream.upstreams import Upstreams

KEY = "xet.key"
"""File name of the key in the proxy's home, so that URLs given to clients are valid after a restart."""

_RECONSTRUCTION = re.compile(r"(?:.*/)?reconstructions(?:/[^/?]+)?(?:\?.*)?")
_RANGE = re.compile(r"(?a)bytes=(\d{1,18})-(\d{1,18})")


def own_url(head: Head) -> str:
    """This proxy's URL as the client uses it, without a path; "" if the request has no valid Host."""
    place = reference.host(text(head.fields, b"host"))
    return f"http://{place}" if place else ""


class Xet:
    """On the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, names: XetNames, blobs: Blobs, upstreams: Upstreams) -> None:
        self.loop = loop
        self.names = names
        self.blobs = blobs
        self._upstreams = upstreams

    def route(self, client: ClientConnection, head: Head, target: str, more: Fields) -> Exchange:
        """The exchange that answers a request for a target behind /hub. Raises BadRequest."""
        found = self.names.cas_of(target)
        if found is not None:
            return CasPassThrough(client, head, self._upstreams, *found, more, self).start()
        xorb = self.names.xorb_of(target, time.time())
        if xorb is None:
            # hf-xet then requests another URL from the CAS.
            raise BadRequest(403, "this proxy has issued no such URL, or the URL has expired")
        if head.method not in ("GET", "HEAD") or head.length:
            raise BadRequest(405, "a xorb is read by GET and HEAD")
        pass_on = partial(self._pass_on, client, head, xorb, more)
        return XorbAnswer(self, client, head, xorb, more, pass_on).start()

    def _pass_on(self, client: ClientConnection, head: Head, xorb: Xorb, more: Fields) -> Exchange:
        """Pass the request on to the storage, with the URL as the only credential."""
        closed = credentials(head.fields)
        own = copy(head)
        own.fields = [each for each in head.fields if each not in closed]
        registry, target = _place(xorb.url)
        return PassThrough(client, own, self._upstreams, registry, target, more, target_changed=True).start()


def _place(url: str) -> tuple[Registry, str]:
    """The server and target of a URL that the hub or its CAS has named. Raises BadRequest."""
    parts = urlsplit(url)
    try:
        registry = Registry.parse(f"{parts.scheme}://{parts.netloc}")
    except BadValue as error:
        raise BadRequest(502, f"a URL of the hub cannot be asked for: {error}") from None
    return registry, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class CasPassThrough(Rewriting):
    """A request to the CAS with the client's own credentials. cas: its URL; target: of the request to it."""

    def __init__(
        self, client: ClientConnection, request: Head, upstreams: Upstreams, cas: str, target: str, more: Fields, xet: Xet
    ) -> None:
        super().__init__(client, request, upstreams, _place(cas)[0], target, more, target_changed=True)
        self._cas = cas
        self._xet = xet
        # With a task for each set of credentials, signed URLs would share nothing: then clients ask the storage directly.
        self.plain = self.rewrites = bool(_RECONSTRUCTION.fullmatch(target)) and not xet.blobs.split_by_credentials

    def rewritten(self, body: bytes) -> bytes:
        return self._xet.names.reconstruction(own_url(self._request), self._cas, body, time.time())


class XorbAnswer(RequestHandler):
    """The exchange of one request for a range of a xorb. more: additional fields for the upstream request."""

    def __init__(
        self, xet: Xet, client: ClientConnection, request: Head, xorb: Xorb, more: Fields, pass_on: Callable[[], Exchange]
    ) -> None:  # fmt: skip
        self._registry, self._target = _place(xorb.bare)
        super().__init__(xet.loop, client, self._registry.authority, pass_on)
        self._xet = xet
        self._request = request
        self._xorb = xorb
        self._more = more

    def _record_pass_through(self, reason: str) -> None:
        self._xet.blobs.record_pass_through(f"xorb:{self._xorb.hash}", self._registry, reason)

    async def _answer(self) -> bool:
        """See RequestHandler. Several ranges at once, and ranges that the URL was not signed for, are left to the storage."""
        match = _RANGE.fullmatch(text(self._request.fields, b"range"))
        span = (int(match[1]), int(match[2])) if match is not None else None
        if span is None or span not in self._xorb.spans or self._request.method != "GET":
            return False
        blobs, source = self._xet.blobs, self._source(span)
        found = await blobs.find_stored([source.name])
        if found is not None:
            name, kept = found
            blobs.mark_used(name)
            return await self._serve(span, kept.fd, kept, kept.length, None)
        if blobs.full:
            return False
        blob = blobs.get_or_fetch(source, self._registry, [(b"Range", b"bytes=%d-%d" % span), *self._more])
        here = await blob.opened()
        version = here.record.generation
        if not (blob.bound or (version and blob.bind(version))) or not blobs.has_room(blob):
            return False
        return await self._serve(span, here.fd, here, here.geometry.length, lambda part, on_written: Reader(blob, here, part, on_written))

    def _source(self, span: tuple[int, int]) -> Source:
        """The task is named by the xorb's location, hash and range, not by its credentials."""
        xorb = self._xorb
        hex = hashlib.sha256(repr((xorb.bare, xorb.hash, span, self._registry.insecure)).encode()).hexdigest()
        return Source(self._target, f"xorb:{xorb.hash}", verify=sha256_of, name=name_of(f"xorb-{hex}", "xet"),
                      version=f"xorb:{xorb.hash}", signed=xorb.url)  # fmt: skip

    async def _serve(
        self, span: tuple[int, int], fd: int, owner: object, length: int, reader: Callable[[Span, Callable[[], None]], Reader] | None
    ) -> bool:
        if self._client.unsent:
            return False
        first, last = span
        if length != last - first + 1:
            raise OriginError(f"{self._server_name} sends {length} bytes for a range of {last - first + 1}")
        fields: Fields = [(b"Content-Type", GENERAL.encode()), (b"Content-Range", b"bytes %d-%d/*" % span)]
        await send_part(self._client, fields, fd, owner, length, reader)
        return True
