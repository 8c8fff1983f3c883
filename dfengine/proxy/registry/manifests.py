"""Manifests: requested from their registry each time, and stored for when it does not respond.

    HOME/manifests/KEY    a line of JSON about the response, then its body

A manifest that is named by its digest never changes: a requester that had access within the last minute gets it from here. A stale
response is sent to requesters that had access: to all if it was sent to a request without credentials, else to those whose own
credentials were accepted within the last hour.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from dfengine.errors import StorageError
from dfengine.proxy.header_fields import Fields, is_cacheable_request, joined, text
from dfengine.proxy.reference import MAX_MANIFEST
from dfengine.storage.path_protection import is_own_folder
from dfengine.value import Value

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.reference import Reference
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.permissions import Permissions
    from dfengine.proxy.upstream.timeouts import TrackedRequest

FOLDER = "manifests"
DIGEST = re.compile("sha256:[0-9a-f]{64}")
MAX_FILES = 20_000
MAX_READY = 256
LARGE = 64 << 10
"""Number of manifests in memory, and the size in bytes above which a manifest is not kept there."""

STALE = b'110 dfengine "the registry does not answer: this is what it said before"'


class Manifest(Value):
    """digest: sha256 of the body. public: it was sent without credentials. named: a tag's entry, whose body is stored under its digest."""

    digest: str
    content_type: str
    body: bytes
    public: bool
    named: bool = False

    def encode(self) -> bytes:
        """The form on the disk."""
        about = {"digest": self.digest, "type": self.content_type, "public": self.public, "named": self.named}
        return json.dumps(about).encode() + b"\n" + self.body

    @classmethod
    def decode(cls, data: bytes) -> Manifest | None:
        """Parse the form on the disk; None if it is incomplete or wrong."""
        first, _, body = data.partition(b"\n")
        try:
            about: Any = json.loads(first)
            found = cls(about["digest"], about["type"], body, about["public"] is True, about.get("named") is True)
        except (ValueError, TypeError, KeyError):
            return None
        if not isinstance(found.digest, str) or not isinstance(found.content_type, str) or not is_plain(found.content_type):
            return None
        right = not body if found.named else digest(body) == found.digest
        return found if right else None


def digest(body: bytes) -> str:
    """The digest in the registries' form."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def is_plain(content_type: str) -> bool:
    """Whether the type is stated, and valid in a response's head."""
    return content_type != "" and content_type.isascii() and content_type.isprintable()


def accepted(content_type: str, accept: str) -> bool:
    """Whether an Accept field accepts the type."""
    kinds = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return not accept.strip() or bool(kinds & {content_type.partition(";")[0].strip().lower(), "*/*"})


class Manifests:
    """home: the directory of this host's downloads. Raises StorageError if it cannot be used."""

    def __init__(self, home: str, threads: Executor, permissions: Permissions) -> None:
        self._path = os.path.join(home, FOLDER)
        self._threads = threads
        self._permissions = permissions
        self._ready: OrderedDict[str, Manifest] = OrderedDict()
        self._count = -1
        try:
            os.makedirs(self._path, mode=0o700, exist_ok=True)
            if not is_own_folder(self._path):
                raise StorageError(f"cannot use {self._path}: other users can write there: choose another --home")
        except OSError as error:
            raise StorageError(f"cannot use {self._path}: {error.strerror}") from error

    def watch(self, client: ClientConnection, request: Head, asked: Reference, registry: Registry, credentials: Fields) -> ManifestWatcher:
        """The watcher of a response that is passed on. credentials: those of the request."""
        return ManifestWatcher(self, client, request, asked, registry, credentials)

    def answer(self, client: ClientConnection, request: Head, asked: Reference, registry: Registry, credentials: Fields) -> bool:
        """Answer a request for a manifest by its digest, if it is stored and access is permitted; else False."""
        found = self.find(registry, asked) if asked.digest else None
        permit = self._permissions.cached(registry, asked.target, credentials) if found is not None else None
        if found is None or permit is None or not permit.allowed or not accepted(found.content_type, joined(request.fields, b"accept")):
            return False
        self.send_manifest(client, request, found, [])
        return True

    def track(self, registry: Registry) -> TrackedRequest:
        """Begin the tracking of a request that is passed on to the registry."""
        return self._permissions.silent_servers.track(registry)

    @staticmethod
    def send_manifest(client: ClientConnection, request: Head, found: Manifest, more: Fields) -> None:
        """Answer with a manifest."""
        client.send_response(200, found.body, [
            (b"Content-Type", found.content_type.encode()), (b"Docker-Content-Digest", found.digest.encode()),
            (b"ETag", f'"{found.digest}"'.encode()), (b"Docker-Distribution-Api-Version", b"registry/2.0"), *more,
        ])  # fmt: skip

    def may_send_stale(self, registry: Registry, asked: Reference, credentials: Fields, found: Manifest) -> bool:
        """Whether a request with these credentials may get the stale manifest."""
        return found.public or self._permissions.was_allowed(registry, asked.target, credentials)

    def record_allowed(self, registry: Registry, asked: Reference, credentials: Fields, found: Manifest) -> None:
        """Record that the registry has sent the manifest to a request with these credentials."""
        self._permissions.record_allowed(registry, asked.target, credentials, found.content_type, len(found.body))

    def find(self, registry: Registry, asked: Reference) -> Manifest | None:
        """The stored manifest. Reads a small file."""
        key = _key(registry, asked)
        found = self._ready.get(key)
        if found is None:
            with contextlib.suppress(OSError):
                fd = os.open(os.path.join(self._path, key), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                with open(fd, "rb") as file:
                    found = Manifest.decode(file.read(MAX_MANIFEST + 4096))
            if found is not None:
                self._remember(key, found)
        if found is not None and asked.digest and (asked.digest != found.digest or found.named):
            return None
        if found is not None and found.named:
            return self.find(registry, by_digest(asked, found.digest))
        return found

    def _remember(self, key: str, found: Manifest) -> None:
        if len(found.body) > LARGE:
            return
        self._ready[key] = found
        self._ready.move_to_end(key)
        if len(self._ready) > MAX_READY:
            self._ready.popitem(last=False)

    def keep(self, registry: Registry, asked: Reference, found: Manifest) -> None:
        """Store a manifest, on the disk if that has room."""
        key = _key(registry, asked)
        known = self._ready.get(key)
        if known is not None and known.digest == found.digest and known.content_type == found.content_type and known.public >= found.public:
            return
        self._remember(key, found)
        self._threads.submit(self._write, key, found.encode())

    def _write(self, key: str, data: bytes) -> None:
        path = os.path.join(self._path, key)
        new = f"{path}.{os.getpid()}.new"
        try:
            os.makedirs(self._path, mode=0o700, exist_ok=True)  # it may have been removed
            with open(new, "wb") as out:
                out.write(data)
            os.rename(new, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(new)
        self._count = self._count + 1 if self._count >= 0 else len(os.listdir(self._path))
        if self._count > MAX_FILES:
            self._prune()

    def _prune(self) -> None:
        """Remove the older half of the files."""
        with contextlib.suppress(OSError), os.scandir(self._path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.stat().st_mtime)[: MAX_FILES // 2]:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)
        self._count = -1


class PingWatcher:
    """Answers `GET /v2/`, a client's first request, for a registry that does not respond. See pass_through.Watcher."""

    def __init__(self, client: ClientConnection, tracked: TrackedRequest) -> None:
        self._client = client
        self._tracked = tracked

    def on_head(self, status: int, fields: Fields) -> None:
        """The registry responded."""
        self._tracked.answered()

    def on_body(self, data: bytes) -> None: ...
    def on_end(self) -> None: ...

    def can_answer(self) -> bool:
        """See ManifestWatcher."""
        return True

    def on_failure(self) -> bool:
        """Answer, so that the client requests manifests, which may be stored here."""
        self._tracked.failed()
        more = [(b"Content-Type", b"application/json"), (b"Docker-Distribution-Api-Version", b"registry/2.0"), (b"Warning", STALE)]
        self._client.send_response(200, b"{}", more)
        return True


class ManifestWatcher:
    """Watches a response that is passed on. See pass_through.Watcher."""

    def __init__(
        self, manifests: Manifests, client: ClientConnection, request: Head, asked: Reference, registry: Registry, credentials: Fields
    ) -> None:
        self._manifests = manifests
        self._client = client
        self._request = request
        self._asked = asked
        self._registry = registry
        self._credentials = credentials
        self._body: bytearray | None = None
        self._content_type = ""
        self._tracked = manifests.track(registry)

    def on_head(self, status: int, fields: Fields) -> None:
        """Handle the head of the response."""
        self._tracked.answered()
        wanted = status == 200 and not joined(fields, b"content-encoding") and is_cacheable_request(self._request.fields)
        self._body = bytearray() if wanted and self._request.method == "GET" else None
        self._content_type = text(fields, b"content-type")
        digest = text(fields, b"docker-content-digest")
        if wanted and self._request.method == "HEAD" and self._asked.tag and DIGEST.fullmatch(digest) and is_plain(self._content_type):
            self._named(digest)

    def _named(self, digest: str) -> None:
        """Record the digest that the tag names now."""
        manifests, found = self._manifests, Manifest(digest, self._content_type, b"", not self._credentials, named=True)
        manifests.keep(self._registry, self._asked, found)
        manifests.record_allowed(self._registry, self._asked, self._credentials, found)

    def on_body(self, data: bytes) -> None:
        """Add a part of the body."""
        if self._body is not None:
            self._body += data
            if len(self._body) > MAX_MANIFEST:
                self._body = None

    def on_end(self) -> None:
        """Store the manifest, when all of it was passed on."""
        if self._body is None or not is_plain(self._content_type):
            return
        body = bytes(self._body)
        found = Manifest(digest(body), self._content_type, body, not self._credentials)
        if self._asked.digest and self._asked.digest != found.digest:
            return
        if self._asked.tag:
            self._named(found.digest)
        place = by_digest(self._asked, found.digest)
        self._manifests.keep(self._registry, place, found)
        self._manifests.record_allowed(self._registry, place, self._credentials, found)

    def _stored_manifest(self) -> Manifest | None:
        """The manifest that may be sent if the registry does not respond."""
        found = self._manifests.find(self._registry, self._asked)
        if found is None or not accepted(found.content_type, joined(self._request.fields, b"accept")):
            return None
        return found if self._manifests.may_send_stale(self._registry, self._asked, self._credentials, found) else None

    def can_answer(self) -> bool:
        """Whether `on_failure` would answer the request."""
        return self._stored_manifest() is not None

    def on_failure(self) -> bool:
        """Handle the registry's failure. True if the request was answered from the stored manifest."""
        self._tracked.failed()
        found = self._stored_manifest()
        if found is None:
            return False
        self._manifests.send_manifest(self._client, self._request, found, [(b"Warning", STALE)])
        return True


def by_digest(asked: Reference, digest: str) -> Reference:
    """The manifest of that digest in the same repository."""
    return asked.replace(target=asked.target.rpartition("/")[0] + f"/{digest}", digest=digest, tag="")


def _key(registry: Registry, asked: Reference) -> str:
    return hashlib.sha256(f"{registry.url}\n{asked.target}".encode()).hexdigest()
