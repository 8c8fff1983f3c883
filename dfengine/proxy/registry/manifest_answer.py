"""A request for a manifest by its digest: the registry states access by a HEAD, and the manifest is from the swarm or this host.

Registries count the manifests that they send: many hosts cost one GET. HEAD and swarm are asked at the same time, so that their delays do
not add up. A manifest that does not arrive so within SWARM_SECONDS is requested from the registry.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from dfengine.errors import DfengineError
from dfengine.proxy.blobs.blob import Blob, Reader
from dfengine.proxy.blobs.blobs import Source
from dfengine.proxy.blobs.request_handler import RequestHandler
from dfengine.proxy.header_fields import Fields, is_cacheable_request, joined
from dfengine.proxy.reference import MAX_MANIFEST
from dfengine.proxy.registry.manifests import Manifest, accepted, is_plain
from dfengine.proxy.registry.manifests import digest as digest_of
from dfengine.proxy.upstream.timeouts import Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.blobs.blobs import Blobs
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.interfaces import Exchange
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.reference import Reference
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.registry.manifests import Manifests
    from dfengine.proxy.upstream.permissions import Permit

SWARM_SECONDS = 5.0
"""Seconds for the swarm to deliver a manifest."""

KINDS = (
    "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
)  # fmt: skip
ACCEPT = b"Accept", ", ".join((*KINDS, "*/*")).encode()
"""Equal on all hosts, so that a registry that chooses by it sends all of them the same manifest."""


class ManifestAnswer(RequestHandler):
    """credentials: fields that open the manifest at the registry, and fields sent with them; opening: those of them that open it."""

    def __init__(
        self, manifests: Manifests, blobs: Blobs, client: ClientConnection, request: Head, asked: Reference, registry: Registry,
        credentials: Fields, opening: Fields, pass_on: Callable[[], Exchange],
    ) -> None:
        super().__init__(blobs.loop, client, registry.authority, pass_on)
        self._manifests = manifests
        self._blobs = blobs
        self._request = request
        self._asked = asked
        self._registry = registry
        self._credentials = credentials
        self._opening = opening

    @staticmethod
    def answers(request: Head, asked: Reference) -> bool:
        """Whether the request has no further conditions."""
        plain = is_cacheable_request(request.fields) and b"if-none-match" not in request.first
        return request.method == "GET" and bool(asked.digest) and plain

    async def _answer(self) -> bool:
        """Answer; False: pass the request on to the registry. Raises subclasses of DfengineError."""
        known = self._manifests.find(self._registry, self._asked)
        if known is None and not self._blobs.swarm:
            return False
        async with asyncio.TaskGroup() as group:
            fetching = group.create_task(self._fetch_manifest()) if known is None else None
            permit = await self._permit()
            typed = known is not None or (permit is not None and is_plain(permit.content_type))
            if permit is None or not permit.allowed or not typed:
                # Without the type, which the manifest need not contain, it cannot be sent.
                if fetching is not None:
                    fetching.cancel()
                return False
        body = known.body if known is not None else fetching.result() if fetching is not None else b""
        if known is None:
            if digest_of(body) != self._asked.digest:
                return False
            known = Manifest(self._asked.digest, permit.content_type, body, not self._opening)
            self._manifests.keep(self._registry, self._asked, known)
        if not accepted(known.content_type, joined(self._request.fields, b"accept")) or self._client.unsent:
            return False
        self._manifests.send_manifest(self._client, self._request, known, [])
        return True

    async def _permit(self) -> Permit | None:
        """The registry's permit; None without a response."""
        permissions, fields = self._blobs.permissions, [(b"Host", self._registry.authority.encode()), *self._credentials, ACCEPT]
        try:
            known = permissions.cached(self._registry, self._asked.target, self._opening)
            return known or await permissions.ask(self._registry, self._asked.target, fields)
        except DfengineError as error:
            self._unanswered = isinstance(error, Unanswered)
            return None

    async def _fetch_manifest(self) -> bytes:
        """The whole manifest, b"" if the swarm does not deliver it in time."""
        source = Source(self._asked.target, self._asked.digest)
        with contextlib.suppress(DfengineError, OSError, TimeoutError):
            async with asyncio.timeout(SWARM_SECONDS):
                return await _read(self._blobs.get_or_fetch(source, self._registry, [*self._credentials, ACCEPT]))
        return b""


async def _read(blob: Blob) -> bytes:
    file = await blob.opened()
    length = file.geometry.length
    if not 0 < length <= MAX_MANIFEST:
        return b""
    written = asyncio.Event()
    reader = Reader(blob, file, (0, length), written.set)
    try:
        while not blob.finished:
            written.clear()
            reader.ready(0)
            await written.wait()
    finally:
        reader.close()
    return os.pread(file.fd, length, 0) if blob.verified else b""
