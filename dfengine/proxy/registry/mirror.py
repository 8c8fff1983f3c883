"""The registry mirror: for a request below `/v2/`, the registry, the content, the credentials, and the exchange that answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.errors import DfengineError
from dfengine.net.http import BadRequest
from dfengine.proxy import header_fields, reference
from dfengine.proxy.registry.blob_answer import BlobAnswer
from dfengine.proxy.registry.manifest_answer import ManifestAnswer
from dfengine.proxy.registry.manifests import Manifests, ManifestWatcher, PingWatcher
from dfengine.proxy.registry.token_request import TokenRequest
from dfengine.proxy.upstream.pass_through import PassThrough
from dfengine.proxy.upstream.timeouts import OPTIONAL_SECONDS

if TYPE_CHECKING:
    from dfengine.proxy.blobs.blobs import Blobs
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.interfaces import Exchange
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.registries import Registries, Registry
    from dfengine.proxy.registry.tokens import Tokens
    from dfengine.proxy.upstream.upstreams import Upstreams

REGISTRY = b"x-dragonfly-registry"
"""The field by which clients of Dragonfly name the registry."""


class Mirror:
    """On the loop's thread. home: where manifests are stored. via: the field by which request loops are detected."""

    def __init__(
        self, home: str, blobs: Blobs, upstreams: Upstreams, registries: Registries, tokens: Tokens, via: tuple[bytes, bytes]
    ) -> None:
        self._blobs = blobs
        self._upstreams = upstreams
        self._registries = registries
        self._tokens = tokens
        self._via = via
        self._manifests = Manifests(home, blobs.threads, blobs.permissions)

    def route(self, client: ClientConnection, head: Head) -> Exchange | None:
        """The exchange that answers a request; None if it is answered already. Raises BadRequest."""
        given = head.first.get(REGISTRY, b"").decode("latin-1").strip()
        if given:
            given = given.partition("://")[2].rstrip("/") if "://" in given else given
            given = reference.host(given) or "?"
        asked, registry = self._asked(head.target, given)
        # The proxy's own credentials are for reading only.
        if not registry.user or b"authorization" in head.first or head.method not in ("GET", "HEAD") or head.length:
            return self._open(client, head, asked, registry, [])
        own = self._tokens.known(registry, asked.target)
        if own is not None:
            return self._open(client, head, asked, registry, own)

        def resume(own: header_fields.Fields) -> Exchange | None:
            return self._open(client, head, asked, registry, own)

        return TokenRequest(self._blobs.loop, client, registry, self._tokens.fields(registry, asked.target), resume).start()

    def _open(
        self, client: ClientConnection, head: Head, asked: reference.Reference, registry: Registry, own: header_fields.Fields
    ) -> Exchange | None:
        """As `route`. own: this proxy's own credentials."""
        more = [*own]
        reads = head.method in ("GET", "HEAD") and not head.length and "?" not in asked.target
        credentials = [*header_fields.credentials(head.fields), *more] if reads and asked.kind else []
        silent_servers = self._blobs.permissions.silent_servers
        watcher: PingWatcher | ManifestWatcher | None = None
        if reads and asked.target == "/v2/":
            watcher = PingWatcher(client, silent_servers.track(registry))
        if reads and asked.kind == reference.MANIFESTS:
            if self._manifests.answer(client, head, asked, registry, credentials):
                return None
            watcher = self._manifests.watch(client, head, asked, registry, credentials)
        more.append(self._via)
        can_answer = watcher is not None and watcher.can_answer()
        if watcher is not None and can_answer and silent_servers.is_silent(registry) and watcher.on_failure():
            return None

        def pass_on() -> Exchange:
            target_changed = asked.target.encode() != head.target
            withheld = self._blobs.withheld_tail(head.method, asked, registry)
            exchange = PassThrough(client, head, self._upstreams, registry, asked.target, more, target_changed, watcher, withheld).start()
            if can_answer:
                client.set_deadline(OPTIONAL_SECONDS)
            return exchange

        if watcher is not None and ManifestAnswer.answers(head, asked):
            sent = [*credentials, more[-1]]
            answer = ManifestAnswer(self._manifests, self._blobs, client, head, asked, registry, sent, credentials, pass_on)
            if can_answer:
                answer.fallback = watcher.on_failure
                client.set_deadline(OPTIONAL_SECONDS)
            return answer.start()
        if reads and asked.kind == reference.BLOBS and asked.digest:
            return BlobAnswer(self._blobs, client, head, asked, registry, [*credentials, more[-1]], pass_on).start()
        return pass_on()

    def _asked(self, target: bytes, given: str) -> tuple[reference.Reference, Registry]:
        """The content and the registry of a request. Raises BadRequest."""
        asked = reference.parse(target, given)
        if asked is None:
            raise BadRequest(404, reference.refusal(target, given))
        try:
            return asked, self._registries.find(asked.registry)
        except DfengineError as error:
            # If only configured registries are asked, a name that begins like a host is a repository's.
            plain = reference.parse(target, given, hosts_in_paths=False)
            if self._registries.derives or plain is None or plain.registry or not self._registries.known:
                raise BadRequest(403, str(error)) from None
            return plain, self._registries.known[0]
