"""Blobs of this host: those on its disk, those being fetched through the swarm, and how each request is answered."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from dfengine.errors import DigestMismatch, StorageError
from dfengine.net.event_log import NO_EVENTS, EventLog
from dfengine.net.thread_pool import ThreadPool
from dfengine.proxy.blobs.blob import Blob
from dfengine.proxy.blobs.blob_announcer import BlobAnnouncer
from dfengine.proxy.blobs.blob_store import BlobStore, StoredBlob, name_of, state_of
from dfengine.proxy.blobs.counts import Counts
from dfengine.proxy.header_fields import Fields
from dfengine.proxy.reference import MANIFESTS, MAX_MANIFEST
from dfengine.proxy.registries import OWN_MACHINE
from dfengine.proxy.upstream.permissions import NON_CREDENTIAL_FIELDS, Permissions
from dfengine.proxy.upstream.withheld_tail import MIN_WITHHELD, WithheldTail
from dfengine.settings import GetSettings
from dfengine.task import Digest
from dfengine.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.reference import Reference
    from dfengine.proxy.registries import Registry
    from dfengine.settings import ProxySettings

IDLE_SECONDS, KEPT_SECONDS = 60.0, 2.0
"""A blob without readers is closed after this; a verified one, which the store has by its name, after the second."""

MAX_IDLE = 128
"""Maximum number of open blobs without readers; each has threads of its own until it is complete."""

THREADS = 32
"""Threads for comparing, closing, and writing manifests: work that waits for the disk or for CPU, not for servers."""

RETRY_SECONDS = 5.0
"""Time for retries by this host and by a supernode after a registry's first failure. Then a client gets the registry's own response,
whose status and Retry-After state when to try again, or it resumes by a range.
"""

OPEN_RETRY_SECONDS = 120.0
"""The same for retries by this host once the blob's length is known and responses may have started: a client that is cut then loses the
bytes that it has, or must resume by a range. A registry restarts in less time; a client that does not wait that long asks it directly.
"""

LOG_SECONDS = 1.0
"""After this a fetch is logged as begun; a blob that is complete before is logged as finished only."""

RESERVE = 16 << 20
"""Bytes of the disk that are kept free."""

FULL_SECONDS = 30.0

DISTRUST_SECONDS = 600.0
"""Time for which a registry that sent a wrong blob is not read again for it; the swarm may have the right one from another source."""

MAX_DISTRUSTED = 4096
EVICT_SECONDS = 5.0

GENERAL = "application/octet-stream"

MAX_STORED_NAMES = 16384
"""Maximum number of files without a sha256 name whose sha256 is cached."""


class Source(Value):
    """A file at a registry. target: its request target there. digest: `sha256:HEX`, or `git:HEX`, which `verify` compares (see Blob).

    name, version: of a file without a digest: its local name, and which version of it (see `Blob.bind`); "" otherwise.
    filter: query parameters of `target` that do not identify the file, as `a&b`. signed: the presigned URL, see `GetSettings`.
    """

    target: str
    digest: str
    verify: Callable[[int], str] | None = None
    name: str = ""
    version: str = ""
    filter: str = ""
    signed: str = ""

    @property
    def identifier(self) -> str:
        """The task's identifier: the version, and the filter, since each set of filtered parameters needs a task of its own."""
        return f"{self.version} less {self.filter}" if self.filter else self.version


class Blobs:
    """On the loop's thread. settings: of the proxy. Raises StorageError if the home cannot be used."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: ProxySettings, permissions: Permissions, events: EventLog = NO_EVENTS
    ) -> None:
        self.loop = loop
        self._events = events
        self.counts = Counts()
        self.permissions = permissions
        self.threads = ThreadPool(THREADS, "blob")
        self.store = BlobStore(settings.home)
        self._settings = settings
        self.cache_size = settings.cache_size
        """Maximum number of bytes of blobs on the disk, 0: no limit."""
        self._announcer = BlobAnnouncer(settings, self.store)
        self._announcer.start()
        self._open: dict[str, Blob] = {}
        self._unlogged: dict[Blob, tuple[float, tuple[str, str]]] = {}
        """Fetches that are not logged yet: when to log them, and (digest, registry)."""
        self._dropped: list[Blob] = []
        """Replaced blobs that still have readers."""
        self._checking: dict[str, asyncio.Future[StoredBlob | None]] = {}
        self._stored_names: dict[str, str] = {}
        """Name of a blob without a sha256 name -> the name under which it is stored."""
        self._evicted, self._evicting = 0.0, False
        self.swarm = bool(settings.nodes)
        self.split_by_credentials = settings.private == "split"
        """Whether a blob that credentials opened is only for requests with the same credentials."""
        self._full_until = 0.0
        """Time until which nothing is fetched, after the disk was full."""
        self._distrusted: OrderedDict[tuple[str, str], float] = OrderedDict()
        """(blob, registry) -> time until which the registry is distrusted."""

    async def find_stored(self, names: list[str]) -> tuple[str, StoredBlob] | None:
        """The first of these blobs that is complete on the disk, with its name."""
        for name in (self._stored_names.get(name, name) for name in names):
            kept = self.store.find(name)
            if kept is None and self.store.exists(name):
                kept = await self._checked(name)
            if kept is not None:
                return name, kept
        return None

    async def _checked(self, name: str) -> StoredBlob | None:
        """Verify the blob on the disk, once for all concurrent requests."""
        checking = self._checking.get(name)
        if checking is None:
            checking = self._checking[name] = self.loop.run_in_executor(self.threads, self.store.verify, name)
            checking.add_done_callback(partial(self._has_checked, name))
        return await asyncio.shield(checking)

    def _has_checked(self, name: str, checking: asyncio.Future[StoredBlob | None]) -> None:
        del self._checking[name]
        if not checking.cancelled() and checking.result() is None:
            self._record_changed(name)

    def _record_changed(self, name: str) -> None:
        self.counts.changed += 1
        self._events.warning("blob_damaged", name=name, reason="it differs from the fetched file: another program wrote to it, or the disk")

    def distrusts(self, digest: str, registry: Registry) -> bool:
        """Whether a blob from this registry, or from other hosts, recently had a wrong digest."""
        return self._distrusted.get((digest, registry.url), 0.0) > self.loop.time()

    def withheld_tail(self, method: str, asked: Reference, registry: Registry) -> WithheldTail | None:
        """The check of a response that is passed on, if a digest names it; else None."""
        if method != "GET" or not asked.content:
            return None
        return self.new_withheld_tail(asked.content, registry, MAX_MANIFEST if asked.kind == MANIFESTS else MIN_WITHHELD)

    def new_withheld_tail(self, digest: str, registry: Registry, most: int = MIN_WITHHELD, length: int = -1) -> WithheldTail:
        """Make the check of a response; see WithheldTail."""

        def report(reason: str) -> None:
            self.counts.failed += 1
            self._events.warning("failed", name=digest, server=registry.url, reason=reason)

        return WithheldTail(digest, most, report, length)

    def record_pass_through(self, digest: str, registry: Registry, reason: str) -> None:
        """Record that a request is passed on to the registry, past the swarm."""
        self.counts.passed_on += 1
        self._events.warning("passed_through", name=digest, server=registry.url, reason=reason)

    def local_names(self, digest: str, registry: Registry, sent: Fields) -> list[str]:
        """Local names of a blob for requests with these fields to this registry; the last one is used for fetching it.

        A blob that credentials opened at this registry may be sent to a client without credentials: the registry has just permitted that.
        """
        hex = digest.removeprefix("sha256:").replace(":", "-")
        opening = sorted((name.lower(), value) for name, value in sent if name.lower() not in NON_CREDENTIAL_FIELDS)
        own = name_of(hex, registry.url + (repr(opening) if self.split_by_credentials else ""))
        return [hex, own] if opening else [own, hex]

    def get_or_fetch(self, asked: Source, registry: Registry, sent: Fields) -> Blob:
        """The blob of `asked`; its fetch is started if need be. sent: fields of the request to the registry, credentials included."""
        names, digest = [asked.name] if asked.name else self.local_names(asked.digest, registry, sent), asked.digest
        blob = next((blob for name in names if (blob := self._joinable(name, registry.url)) is not None), None)
        if blob is None:
            # Without credentials the last name is that of all registries, so another registry's blob may have it.
            name = names[-1] if self.in_progress(names[-1]) is None else names[0]
            own = self._settings
            settings = GetSettings(
                url=registry.url + asked.target, output="", nodes=own.nodes, notbs=self.distrusts(digest, registry),
                headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in sent),
                digest=None if asked.verify else Digest.parse(digest), content="" if asked.verify else f"df:{digest}", quiet=True,
                filter=asked.filter, identifier=asked.identifier, source=registry.url,
                retry_max_time=RETRY_SECONDS, open_retry_time=OPEN_RETRY_SECONDS, home=own.home, ip=own.ip, port=own.port,
                locallimit=own.locallimit, totallimit=own.totallimit, alivetime=own.alivetime, expiretime=own.expiretime,
                cacerts=own.cacerts, insecure=own.insecure or registry.insecure, location=own.location,
                secret_file=own.secret_file, signed=asked.signed, tls_cert=own.tls_cert, tls_key=own.tls_key, tls_ca=own.tls_ca,
                private=own.private, reach=(own.origin_allow, (*own.origin_deny, *(() if registry.known else OWN_MACHINE))),
            )  # fmt: skip
            blob = self.fetch(name, (digest, registry.url), settings, asked.verify, by_digest=not asked.name)
        return blob

    def _joinable(self, name: str, server_url: str) -> Blob | None:
        """The blob of this name, if its bytes may be sent to a request to this server: until they are compared they are another's word."""
        blob = self.in_progress(name)
        return blob if blob is not None and (blob.verified or not blob.by_digest or blob.server_url == server_url) else None

    def in_progress(self, name: str) -> Blob | None:
        """The blob of this name that is being fetched, or was until a moment ago and has not changed since. For one that is not `kept`."""
        blob = self._open.get(name)
        if blob is None or blob.failed:
            return None
        if blob.verified and blob.state != state_of(blob.file.fd):
            self._record_changed(name)
            self.drop(name)
            return None
        return blob

    def fetch(
        self, name: str, asked: tuple[str, str], settings: GetSettings, verify: Callable[[int], str] | None, by_digest: bool = True
    ) -> Blob:  # fmt: skip
        """Start a fetch, which replaces an earlier one of this name. asked: (digest, registry). verify, by_digest: see Blob."""
        self.drop(name)
        self._drop_idle(MAX_IDLE)
        self.counts.started += 1
        blob = self._open[name] = Blob(
            self.loop, self.threads, settings, lambda blob: self._ended(name, asked, blob), verify, by_digest, asked[1]
        )
        self._unlogged[blob] = self.loop.time() + LOG_SECONDS, asked
        return blob

    def _drop_idle(self, most: int) -> None:
        """Drop blobs without readers, except the `most` last used ones."""
        idle = sorted((blob.idle_since, name) for name, blob in self._open.items() if blob.idle)
        for _, name in idle[: max(0, len(idle) - most)]:
            self.drop(name)

    def drop(self, name: str) -> None:
        """Drop the blob of this name, because it is being replaced or its content is wrong."""
        blob = self._open.pop(name, None)
        if blob is not None and blob.readers:
            self._dropped.append(blob)  # its readers share its descriptor
        elif blob is not None:
            blob.close()

    def mark_used(self, name: str, sent: bool = True) -> None:
        """Record that a stored blob is used: sent to a client if `sent`, else requested by a supernode."""
        self.counts.sent_from_disk += sent
        self.store.mark_used(name, time.time())

    @property
    def open_count(self) -> int:
        """Number of blobs that are being fetched, or were until a moment ago."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether the disk was full a moment ago, so that nothing is fetched."""
        return self.loop.time() < self._full_until

    def has_room(self, blob: Blob) -> bool:
        """Whether the disk has room for the rest of this blob and of all others with readers. Raises StorageError."""
        if blob.finished or blob.readers:
            return True
        try:
            self.store.ensure_folder()
        except StorageError:
            self._full_until = self.loop.time() + FULL_SECONDS
            raise
        found = os.statvfs(self.store.path)
        promised = sum(other.missing_bytes for other in self._open.values() if other is blob or other.readers)
        return found.f_bavail * found.f_frsize - RESERVE >= promised

    def _ended(self, name: str, asked: tuple[str, str], blob: Blob) -> None:
        self._unlogged.pop(blob, None)
        if blob.closed:
            return  # its file is closed, or is about to be
        if blob.verified:
            _, dot, place = name.partition(".")
            kept = blob.sha256 + dot + place
            if kept != name:
                self._stored_names[name] = kept
                if len(self._stored_names) > MAX_STORED_NAMES:
                    del self._stored_names[next(iter(self._stored_names))]
            self.counts.finished(blob.byte_counts)
            self._events.info("finished", name=asked[0], server=asked[1], length=blob.file.geometry.length, **blob.byte_counts)
            if self.store.add(kept, *blob.path_and_fd) and not place:
                self._announcer.add(kept, blob.file)
            blob.state = state_of(blob.file.fd)
        else:
            self.counts.failed += 1
            self._events.warning("failed", name=asked[0], server=asked[1], reason=str(blob.failure))
            if isinstance(blob.failure, DigestMismatch):
                self._distrusted.pop(asked, None)
                self._distrusted[asked] = self.loop.time() + DISTRUST_SECONDS
                if len(self._distrusted) > MAX_DISTRUSTED:
                    self._distrusted.popitem(last=False)
            if isinstance(blob.failure, StorageError):
                self._full_until = self.loop.time() + FULL_SECONDS

    def sweep(self) -> None:
        """Call every second: close blobs without readers."""
        now = self.loop.time()
        for blob, (_, asked) in [each for each in self._unlogged.items() if each[1][0] < now]:
            del self._unlogged[blob]
            self._events.info("started", name=asked[0], server=asked[1])
        if now - self._evicted > EVICT_SECONDS and not self._evicting:
            self._evicting = True
            self.loop.run_in_executor(self.threads, self.store.evict, self.cache_size).add_done_callback(self._has_evicted)
        for blob in (*self._open.values(), *self._dropped):
            if blob.readers and not blob.finished:
                blob.check_progress()
        for name, blob in list(self._open.items()):
            if not blob.readers and (blob.failed or now - blob.idle_since > (KEPT_SECONDS if blob.verified else IDLE_SECONDS)):
                del self._open[name]
                blob.close()
        for blob in [blob for blob in self._dropped if not blob.readers]:
            self._dropped.remove(blob)
            blob.close()

    def _has_evicted(self, _: object) -> None:
        self._evicting, self._evicted = False, self.loop.time()

    def close(self) -> None:
        """Close all, when the process ends."""
        for blob in [*self._open.values(), *self._dropped]:
            blob.close()
        self._announcer.close()
        self.threads.shutdown(wait=False, cancel_futures=True)
