"""The Hugging Face Hub behind /hub: files through the swarm, the API passed on with rewritten links, other requests passed on.

Access is checked in the requester's own name: first the Hub responds to a HEAD with the requester's token, and states the file's commit,
length and digest. Large files are named by their SHA-256, small ones by git.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from dfengine.errors import OriginError
from dfengine.net.home_key import own_key
from dfengine.net.http import BadRequest
from dfengine.proxy.blobs.blob import Reader
from dfengine.proxy.blobs.blobs import GENERAL, Source
from dfengine.proxy.blobs.file_answer import answer_file
from dfengine.proxy.blobs.request_handler import RequestHandler
from dfengine.proxy.header_fields import Fields, end_to_end, text
from dfengine.proxy.hub import reference as hub_reference
from dfengine.proxy.hub.api import HubPassThrough
from dfengine.proxy.hub.git_file import check_git_file
from dfengine.proxy.hub.response_changes import LARGEST_PLAIN, digest_of, length_of, own_link, own_links, tag_of, without_xet
from dfengine.proxy.hub.xet import KEY, Xet, own_url
from dfengine.proxy.hub.xet_names import XetNames
from dfengine.proxy.registries import Registry
from dfengine.proxy.upstream.own_request import ask
from dfengine.proxy.upstream.permissions import Permissions, Permit
from dfengine.value import Value

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from dfengine.proxy.blobs.blobs import Blobs
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.interfaces import Exchange
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.hub.reference import HubReference
    from dfengine.proxy.ranges import Span
    from dfengine.proxy.upstream.upstreams import Upstreams

MAX_HOPS = 5
"""Maximum number of redirects within the Hub that are followed to identify a file."""

MAX_KNOWN = 4096
"""Files whose responses are cached; with MAX_FIELDS each, at most 32 MiB."""

MAX_FIELDS = 8 << 10
"""Maximum number of bytes of one file's cached fields."""

NOT_KEPT = frozenset((
    b"location", b"set-cookie", b"date", b"age", b"via", b"etag", b"accept-ranges", b"content-type", b"content-range",
    b"content-encoding", b"server", b"alt-svc", b"strict-transport-security", b"vary", b"cache-control", b"expires",
))
"""Fields of the Hub's response that are not about the file, or that this proxy sets itself."""



class HubFile(Value):
    """A file as the Hub states it. commit, tag: "" if not stated; length: -1. fields: for the client."""

    commit: str
    tag: str
    length: int
    content_type: str
    fields: tuple[tuple[bytes, bytes], ...]


class HubPermissions(Permissions):
    """Also caches the file's fields. A redirect within the Hub is followed, because it leads to these fields."""

    most = MAX_KNOWN

    async def _head(self, registry: Registry, target: str, fields: Fields) -> Permit:
        file_fields: Fields = []
        for _ in range(MAX_HOPS):
            answer = await ask(self._loop, self._upstreams, registry, "HEAD", target, fields)
            status, found, length = answer.status, answer.fields, answer.length
            kept = [(name, value) for name, value in end_to_end(found, False) if name.lower() not in NOT_KEPT]
            file_fields += [field for field in kept if all(field[0].lower() != name.lower() for name, _ in file_fields)]
            location = text(found, b"location")
            if status == 200 or not location:
                break
            redirected = _within(registry, target, location)
            if not redirected:
                break
            target = redirected
        if status == 200:
            file_fields += [(b"ETag", value) for name, value in found if name.lower() == b"etag"]
        file_fields = file_fields if sum(len(name) + len(value) for name, value in file_fields) <= MAX_FIELDS else []
        content_type = text(found, b"content-type") if status == 200 else ""
        return Permit(status, content_type, length if status == 200 else -1, self._loop.time(), tuple(file_fields))


def _within(registry: Registry, target: str, location: str) -> str:
    """The target of a redirect to the same server; "" if it leads to another server."""
    try:
        parts = urlsplit(urljoin(registry.url + target, location))
    except ValueError:
        return ""
    if f"{parts.scheme}://{parts.netloc}" != registry.url or not re.fullmatch(r"[!-~]+", parts.path + parts.query):
        return ""
    return parts.path + (f"?{parts.query}" if parts.query else "")


def known_file(permit: Permit) -> HubFile | None:
    """The file from the Hub's response; None if fields are missing, so that the Hub must answer the request."""
    tag, length = tag_of(permit.fields), length_of(permit.fields)
    length = permit.length if length < 0 and not text(permit.fields, b"x-linked-size") else length
    if not tag or length < 0:
        return None
    fields = [field for field in permit.fields if field[0].lower() not in (b"etag", b"content-length")]
    return HubFile(text(permit.fields, b"x-repo-commit"), tag, length, permit.content_type or GENERAL, tuple(fields))


class Hub:
    """url: of the Hub, also with a path. mode: how clients get files: `strip`, by plain HTTP if they accept it; `swarm`, by Xet through
    this proxy; `passthrough`, past this proxy. home: of this proxy. Raises BadValue, LocalError.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str, mode: str, home: str, blobs: Blobs, upstreams: Upstreams) -> None:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        self.registry = Registry.parse(f"{parts.scheme}://{parts.netloc}" + (f"?{parts.query}" if parts.query else ""))
        self.path = parts.path.rstrip("/")
        self.blobs = blobs
        self.largest_plain = LARGEST_PLAIN if mode == "strip" else -1
        """Maximum number of bytes of files for plain HTTP."""
        self.upstreams = upstreams
        self.loop = loop
        self.permissions = HubPermissions(loop, upstreams)
        self.xet: Xet | None = None
        """None: clients get files past this proxy."""
        if mode != "passthrough":
            self.xet = Xet(loop, XetNames(own_key(os.path.join(home, KEY)), self.url), blobs, upstreams)

    @property
    def url(self) -> str:
        return self.registry.url + self.path

    def route(self, client: ClientConnection, head: Head, asked: HubReference, credentials: Fields, more: Fields) -> Exchange:
        """The exchange that answers a request. credentials: those of the request. more: fields to add upstream.

        Raises BadRequest.
        """
        if asked.kind == hub_reference.XET:
            if self.xet is None:
                raise BadRequest(404, "Xet is not served by this proxy")
            return self.xet.route(client, head, asked.target, more)
        pass_on = partial(self._pass_on, client, head, asked, more)
        if asked.kind == hub_reference.FILE and head.method in ("GET", "HEAD") and not head.length and self.xet is not None:
            return HubAnswer(self, client, head, asked, [*credentials, *more], pass_on).start()
        return pass_on()

    def _pass_on(self, client: ClientConnection, head: Head, asked: HubReference, more: Fields) -> Exchange:
        return HubPassThrough(client, head, self, asked, more).start()


class HubAnswer(RequestHandler):
    """The exchange of one request for a file."""

    def __init__(
        self, hub: Hub, client: ClientConnection, request: Head, asked: HubReference, credentials: Fields, pass_on: Callable[[], Exchange]
    ) -> None:  # fmt: skip
        super().__init__(hub.loop, client, hub.registry.authority, pass_on)
        self._hub = hub
        self._request = request
        self._asked = asked
        self._credentials = credentials

    async def _answer(self) -> bool:
        """See RequestHandler."""
        hub, registry, target = self._hub, self._hub.registry, self._hub.path + self._asked.target
        fields: Fields = [(b"Host", registry.authority.encode()), *self._credentials, (b"Accept-Encoding", b"identity")]
        permit = hub.permissions.cached(registry, target, fields) if self._asked.lasts else None
        permit = permit or await hub.permissions.ask(registry, target, fields, changes=not self._asked.lasts)
        file = known_file(permit) if permit.allowed else None
        if file is None:
            return False
        if self._request.method == "HEAD":
            return await self._serve(file, -1, None, file.length, None)
        source = self._source(file)
        if source is None:
            return False
        found = await hub.blobs.find_stored(hub.blobs.local_names(source.digest, registry, self._credentials))
        if found is not None:
            name, kept = found
            hub.blobs.mark_used(name)
            return await self._serve(file, kept.fd, kept, kept.length, None)
        if hub.blobs.distrusts(source.digest, registry):
            raise BadRequest(502, f"{self._server_name} has sent another file than {source.digest}: it is not read again for a while")
        if hub.blobs.full:
            return False
        blob = hub.blobs.get_or_fetch(source, registry, self._credentials)
        here = await blob.opened()
        if here.geometry.length < 0 or not hub.blobs.has_room(blob):
            return False
        return await self._serve(file, here.fd, here, here.geometry.length, lambda span, on_written: Reader(blob, here, span, on_written))

    def _source(self, file: HubFile) -> Source | None:
        """The file by its commit, so that all hosts use the same task; None if the Hub states no digest."""
        target = self._hub.path + self._asked.at(file.commit)
        digest = digest_of(file.tag)
        verify = partial(check_git_file, sha1=file.tag) if digest.startswith("git:") else None
        return Source(target, digest, verify=verify) if digest else None

    async def _serve(
        self, file: HubFile, fd: int, owner: object, length: int, reader: Callable[[Span, Callable[[], None]], Reader] | None
    ) -> bool:
        if self._client.unsent:
            return False
        if length != file.length:
            raise OriginError(f"{self._server_name} states that the file has {file.length} bytes, but it has {length}")
        tag = f'"{file.tag}"'
        fields = [*self._file_fields(file), (b"ETag", tag.encode()), (b"Accept-Ranges", b"bytes")]
        await answer_file(self._client, self._request, tag, fields, file.content_type, fd, owner, length, reader)
        return True

    def _file_fields(self, file: HubFile) -> Fields:
        """The Hub's fields of the file, for this client."""
        hub, own, keeps = self._hub, own_url(self._request), file.length > self._hub.largest_plain
        found: Fields = []
        for name, value in file.fields if keeps else without_xet([*file.fields]):
            if name.lower() == b"link":
                value = own_links(hub.url, self._asked.target, value, own, "token") if keeps else b""
            elif name.lower() == b"x-xet-refresh-route":
                value = own_link(hub.url, self._asked.target, value.decode("latin-1"), own).encode("latin-1")
            found += [(name, value)] if value else []
        return found
