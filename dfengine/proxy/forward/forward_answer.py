"""The forward proxy: handles a request for an absolute URL by the rule for it: through the swarm, passed on, or refused.

A response that a shared cache may reuse (`shared_cache`) is served through the swarm. The origin first gets a HEAD with the client's own
fields, and only a file of the version in its response is sent. Blobs of registries are named by their digest, and are served as by the
registry mirror.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from functools import partial
from typing import TYPE_CHECKING

from dfengine.errors import OriginForbidden
from dfengine.net.http import BadRequest
from dfengine.proxy import reference, targets
from dfengine.proxy.blobs.blob import Reader
from dfengine.proxy.blobs.blob_store import name_of, sha256_of
from dfengine.proxy.blobs.blobs import GENERAL, Source
from dfengine.proxy.blobs.file_answer import send_file
from dfengine.proxy.blobs.request_handler import RequestHandler
from dfengine.proxy.forward import rules, shared_cache
from dfengine.proxy.forward.origin_heads import OriginHead, OriginHeads
from dfengine.proxy.header_fields import TOKEN, Fields, credentials, text
from dfengine.proxy.registries import Registry
from dfengine.proxy.registry.blob_answer import BlobAnswer
from dfengine.proxy.upstream.pass_through import PassThrough
from dfengine.task import task_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.blobs.blobs import Blobs
    from dfengine.proxy.forward.rules import Rule, Rules
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.interfaces import Exchange
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.ranges import Span
    from dfengine.proxy.reference import Reference
    from dfengine.proxy.upstream.upstreams import Upstreams
    from dfengine.settings import SupernodeAddress

VIA = b"Via", b"1.1 dfengine"
"""Of a response. It does not identify the process, which clients need not know."""

OF_BODY = frozenset((b"content-type", b"content-length", b"content-range", b"accept-ranges", b"age"))
"""Fields of an origin's response that this proxy sets itself."""

NOT_STORED = "only-if-cached: no fresh response is stored"

USE_P2P, FILTERED = b"x-dragonfly-use-p2p", b"x-dragonfly-filtered-query-params"


class Forward:
    """On the loop's thread. via: the field by which request loops are detected. nodes: supernodes."""

    def __init__(
        self, chosen: Rules, blobs: Blobs, upstreams: Upstreams, via: tuple[bytes, bytes], nodes: tuple[SupernodeAddress, ...]
    ) -> None:
        self._here = all(targets.is_local(Registry("http", node.host.lower(), node.port)) for node in nodes)
        """Whether all programs that read files for this proxy run on this host."""
        self.chosen = chosen
        """Replaced when rules are read again."""
        self._via = via
        self.blobs = blobs
        self.upstreams = upstreams
        self.heads = OriginHeads(blobs.loop, upstreams)

    def route(self, client: ClientConnection, head: Head) -> Exchange:
        """The exchange that answers a request for an absolute URL. Raises BadRequest."""
        server, target = targets.parse_absolute(head.target)
        if head.method == "OPTIONS" and targets.is_server(head.target):
            target = "*"
        return self.forward(client, head, server, target)

    def forward(self, client: ClientConnection, head: Head, server: Registry, target: str) -> Exchange:
        """The exchange that answers a request for a target at a server. Raises BadRequest."""
        rule = self._rule(head, server.url + target)
        if rule.do == rules.REFUSE:
            raise BadRequest(403, "a rule of this proxy refuses this URL")
        server = rule.server(server)
        direct = rule.do == rules.DIRECT or not target.startswith("/v2/")
        asked = None if direct else reference.parse(target.encode(), "", hosts_in_paths=False)
        pass_on = partial(self._pass_on, client, head, server, target, asked)
        if shared_cache.only_if_cached(head.fields):
            if rule.do == rules.DIRECT or shared_cache.forbidden_by_request(head.method, head.fields, rule.ignore):
                raise BadRequest(504, NOT_STORED)
            return OnlyIfCached(self, client, head, server, target, rule, self._via, pass_on).start()
        if rule.do == rules.DIRECT or (targets.is_local(server) and not self._here) or head.method not in ("GET", "HEAD") or head.length:
            return pass_on()
        if asked is not None and asked.kind == reference.BLOBS and asked.digest and "?" not in target:
            return BlobAnswer(self.blobs, client, head, asked, server, [*credentials(head.fields), self._via], pass_on).start()
        if asked is not None and asked.content:
            return pass_on()  # a manifest: files that are shared by URL are not compared with a digest
        if shared_cache.forbidden_by_request(head.method, head.fields, rule.ignore) or self.heads.is_unshared(server.url + target):
            return pass_on()
        return ForwardAnswer(self, client, head, server, target, rule, self._via, pass_on).start()

    def _rule(self, head: Head, url: str) -> Rule:
        """The rule of the URL, modified by fields of the request, as clients of Dragonfly send them."""
        rule = self.chosen.of(url)
        use = head.first.get(USE_P2P, b"").strip().lower()
        if use and rule.do != rules.REFUSE:
            rule = rule.replace(do=rules.SWARM if use == b"true" else rules.DIRECT)
        strip = head.first.get(FILTERED, b"").decode("latin-1").replace("&", ",").split(",")
        return rule.replace(strip=(*rule.strip, *filter(None, map(str.strip, strip)))) if any(strip) else rule

    def _pass_on(self, client: ClientConnection, head: Head, server: Registry, target: str, asked: Reference | None) -> Exchange:
        withheld = self.blobs.withheld_tail(head.method, asked, server) if asked is not None else None
        return ForwardPassThrough(client, head, self.upstreams, server, target, [self._via], withheld=withheld).start()


class ForwardPassThrough(PassThrough):
    """See PassThrough."""

    def answer(self, status: int, reason: bytes, fields: Fields, length: int) -> None:
        super().answer(status, reason, [*fields, VIA], length)


class ForwardAnswer(RequestHandler):
    """The exchange of one GET whose response may be shared. server, target: of the request."""

    responds_at_once = False

    def __init__(
        self, forward: Forward, client: ClientConnection, request: Head, server: Registry, target: str, rule: Rule,
        via: tuple[bytes, bytes], pass_on: Callable[[], Exchange],
    ) -> None:
        super().__init__(forward.blobs.loop, client, server.authority, pass_on)
        self._forward = forward
        self._request = request
        self._server = server
        self._target = target
        self._rule = rule
        self._via = via

    async def _answer(self) -> bool:
        """See RequestHandler."""
        rule, server, fields = self._rule, self._server, self._request.fields
        head = await self._forward.heads.ask(server, self._target, fields, self._via, rule.ignore)
        if shared_cache.forbidden_by_answer(head.status, [*head.fields], head.length, rule.ignore) or head.length < max(1, rule.least):
            if head.status == 200:
                self._forward.heads.record_unshared(server.url + self._target)
            return False
        status = shared_cache.status(fields, head.version)
        if status != 200:
            return await self._serve(head, status, -1, None, None)
        blobs, source, sent = self._forward.blobs, self._source(head), [*credentials(fields), self._via]
        found = await blobs.find_stored([source.name])
        if found is not None:
            name, kept = found
            blobs.mark_used(name)
            return kept.length == head.length and await self._serve(head, status, kept.fd, kept, None)
        if blobs.full:
            return False
        blob = blobs.get_or_fetch(source, server, sent)
        try:
            here = await blob.opened()
            if not blob.bind(source.version.encode()) or here.geometry.length != head.length:
                self._forward.heads.forget(server, self._target, fields, rule.ignore)
                return False
            if not blobs.has_room(blob):
                return False
            return await self._serve(head, status, here.fd, here, lambda span, on_written: Reader(blob, here, span, on_written))
        except OriginForbidden:
            return False  # the origin decides

    def _source(self, head: OriginHead) -> Source:
        """The file is named by the URL without stripped parameters, the names of these, and the version; by credentials too if they must
        not share files. So a client that strips no parameters gets no file that was fetched for one that does.
        """
        url, version = self._server.url + self._target, head.version.name
        strip = "&".join(rules.stripped(url, self._rule.strip))
        opening = [field for field in credentials(self._request.fields) if self._forward.blobs.split_by_credentials]
        name = hashlib.sha256(repr((task_url(url, strip), strip, version, self._server.insecure, sorted(opening))).encode()).hexdigest()
        return Source(self._target, f"{url.partition('?')[0]}", verify=sha256_of, name=name_of(f"url-{name}", "forward"), version=version,
                      filter=strip)  # fmt: skip

    async def _serve(
        self, head: OriginHead, status: int, fd: int, owner: object, reader: Callable[[Span, Callable[[], None]], Reader] | None
    ) -> bool:
        if self._client.unsent:
            return False
        given = self._request.fields
        asked = text(given, b"range") if shared_cache.range_applies(given, head.version) else ""
        fields = [field for field in head.fields if field[0].lower() not in OF_BODY]
        age = shared_cache.age([*head.fields], head.at, time.time())
        fields += [(b"Age", b"%d" % age)] if age >= 1 else []
        fields += [(b"Accept-Ranges", b"bytes"), VIA]
        content_type = text(head.fields, b"content-type") or GENERAL
        await send_file(self._client, "GET", status, asked, fields, content_type, fd, owner, head.length, reader)
        return True


class OnlyIfCached(ForwardAnswer):
    """The exchange of a request that must not be sent to its origin (RFC 9111 section 5.2.1.7)."""

    async def _answer(self) -> bool:
        """See RequestHandler."""
        head = self._forward.heads.fresh(self._server, self._target, self._request.fields, self._rule.ignore)
        if head is not None:
            status = shared_cache.status(self._request.fields, head.version)
            if status != 200 and await self._serve(head, status, -1, None, None):
                return True
            found = await self._forward.blobs.find_stored([self._source(head).name])
            if found is not None and found[1].length == head.length and await self._serve(head, 200, found[1].fd, found[1], None):
                return True
        raise BadRequest(504, NOT_STORED)


def client_token(first: dict[bytes, bytes]) -> bytes | None:
    """The client's token: from the proxy's own field, or, if the client uses this proxy as a forward proxy, the password."""
    given = first.get(TOKEN)
    if given or b"proxy-authorization" not in first:
        return given
    scheme, _, rest = first.get(b"proxy-authorization", b"").partition(b" ")
    try:
        return base64.b64decode(rest, validate=True).partition(b":")[2] if scheme.lower() == b"basic" else b""
    except binascii.Error:
        return b""
