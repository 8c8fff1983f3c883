"""Blobs of this host: those that are whole on its disk, those that come through the swarm, and how each is answered."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from dfengine.errors import DigestMismatch, StorageError
from dfengine.net.event_log import SILENT, EventLog
from dfengine.proxy.blobs.announcing import Announcing
from dfengine.proxy.blobs.blob import Blob
from dfengine.proxy.blobs.counts import Counts
from dfengine.proxy.blobs.store import Kept, Store, name_of, state_of
from dfengine.proxy.fields import Fields
from dfengine.proxy.reference import LONGEST_MANIFEST, MANIFESTS
from dfengine.proxy.registries import OWN_MACHINE
from dfengine.proxy.upstream.permissions import UNSAID, Permissions
from dfengine.proxy.upstream.withheld import LEAST, Withheld
from dfengine.settings import GetSettings
from dfengine.task import Digest
from dfengine.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.reference import Reference
    from dfengine.proxy.registries import Registry
    from dfengine.settings import ProxySettings

IDLE_SECONDS, KEPT_SECONDS = 60.0, 2.0
"""A blob that nobody reads is let go of after this; one that is whole, and kept by its name, after the second."""

MOST_IDLE = 128
"""Blobs that nobody reads; each has threads of its own while it is not whole."""

THREADS = 32
"""For openings, comparisons and closings."""

RETRY_SECONDS = 5.0
"""After a registry's first failure, for tries by this host and by a supernode. Then a client has the registry's own answer, whose status
and Retry-After tell it when to come again, or goes on by a range.
"""

OPEN_RETRY_SECONDS = 120.0
"""The same for tries by this host once the blob's length is known, and answers may have started: a client that is cut then loses what it
has, or must resume by a range. A registry restarts in less time, and a client that does not wait so long goes to it directly.
"""

LOG_SECONDS = 1.0
"""After this a fetch is logged as begun; a blob that is complete before is logged as finished only."""

RESERVE = 16 << 20
"""Bytes of the disk that are left free."""

FULL_SECONDS = 30.0

DISTRUST_SECONDS = 600.0
"""For which a registry is not read again for a blob that was a wrong one; the swarm may have the right one from elsewhere."""

MOST_DISTRUSTED = 4096
EVICT_SECONDS = 5.0

GENERAL = "application/octet-stream"

MOST_PROVED = 16384
"""Files named by no sha256 whose sha256 is remembered."""


class Source(Value):
    """What somebody has. target: where, at its registry. digest: `sha256:HEX`, or `git:HEX`, which `proof` compares (see Blob).

    name, version: of a file that is named by no digest: under which it is here, and which version of it (see `Blob.bind`); "" otherwise.
    filter: query parameters of `target` that do not name the file, as `a&b`. signed: the URL that opens it, see `GetSettings`.
    """

    target: str
    digest: str
    proof: Callable[[int], str] | None = None
    name: str = ""
    version: str = ""
    filter: str = ""
    signed: str = ""

    @property
    def identifier(self) -> str:
        """Of its task, which has another one for each set of parameters that are left out."""
        return f"{self.version} less {self.filter}" if self.filter else self.version


class Blobs:
    """On the loop's thread. settings: of the proxy. Raises StorageError where the home cannot be used."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: ProxySettings, permissions: Permissions, events: EventLog = SILENT
    ) -> None:
        self.loop = loop
        self._events = events
        self.counts = Counts()
        self.permissions = permissions
        self.threads = ThreadPoolExecutor(THREADS, "blob")
        self.store = Store(settings.home)
        self._settings = settings
        self.cache_size = settings.cache_size
        """Most bytes of blobs on the disk, 0: any."""
        self._announcing = Announcing(settings, self.store, self.threads)
        self._announcing.start()
        self._open: dict[str, Blob] = {}
        self._unlogged: dict[Blob, tuple[float, tuple[str, str]]] = {}
        """Fetches that are not logged yet: when they are, and what is asked of which registry."""
        self._dropped: list[Blob] = []
        """Those that are still read from."""
        self._checking: dict[str, asyncio.Future[Kept | None]] = {}
        self._proved: dict[str, str] = {}
        """Name of a blob that is named by no sha256 -> the name by which it is kept."""
        self._evicted, self._evicting = 0.0, False
        self.swarm = bool(settings.nodes)
        self.splits = settings.private == "split"
        """A blob that credentials opened is for these alone."""
        self._full_until = 0.0
        """Until when nothing is fetched, because the disk took no more."""
        self._distrusted: OrderedDict[tuple[str, str], float] = OrderedDict()
        """(blob, registry) -> until when."""

    async def kept(self, names: list[str]) -> tuple[str, Kept] | None:
        """The first of these blobs that is whole on the disk, with its name."""
        for name in (self._proved.get(name, name) for name in names):
            kept = self.store.find(name)
            if kept is None and self.store.exists(name):
                kept = await self._checked(name)
            if kept is not None:
                return name, kept
        return None

    async def _checked(self, name: str) -> Kept | None:
        """What is on the disk by this name is compared, once for all who ask for it at the same time."""
        checking = self._checking.get(name)
        if checking is None:
            checking = self._checking[name] = self.loop.run_in_executor(self.threads, self.store.check, name)
            checking.add_done_callback(partial(self._has_checked, name))
        return await asyncio.shield(checking)

    def _has_checked(self, name: str, checking: asyncio.Future[Kept | None]) -> None:
        del self._checking[name]
        if not checking.cancelled() and checking.result() is None:
            self._changed(name)

    def _changed(self, name: str) -> None:
        self.counts.changed += 1
        self._events.warning("blob_changed", name=name, reason="it is not what was fetched: another program wrote to the file, or the disk")

    def distrusts(self, digest: str, registry: Registry) -> bool:
        """What it sent lately, or what others had from somewhere, was another blob."""
        return self._distrusted.get((digest, registry.url), 0.0) > self.loop.time()

    def withheld(self, method: str, asked: Reference, registry: Registry) -> Withheld | None:
        """What compares a passed answer to a request for what a digest names; None: none names it."""
        if method != "GET" or not asked.content:
            return None
        return self.withholding(asked.content, registry, LONGEST_MANIFEST if asked.kind == MANIFESTS else LEAST)

    def withholding(self, digest: str, registry: Registry, most: int = LEAST, length: int = -1) -> Withheld:
        """See Withheld."""

        def report(reason: str) -> None:
            self.counts.failed += 1
            self._events.warning("failed", name=digest, of=registry.url, reason=reason)

        return Withheld(digest, most, report, length)

    def passes(self, digest: str, registry: Registry, reason: str) -> None:
        """It is asked of the registry, past the swarm."""
        self.counts.passed_on += 1
        self._events.warning("passed_on", name=digest, of=registry.url, reason=reason)

    def names(self, digest: str, registry: Registry, sent: Fields) -> list[str]:
        """Under which a blob may be here for who sends these fields to this registry; the last one: for who else it is brought here.

        What credentials have opened at this registry may be given to a client that needs none there: the registry has just permitted it.
        """
        hex = digest.removeprefix("sha256:").replace(":", "-")
        opening = sorted((name.lower(), value) for name, value in sent if name.lower() not in UNSAID)
        own = name_of(hex, registry.url + (repr(opening) if self.splits else ""))
        return [hex, own] if opening else [own, hex]

    def bring(self, asked: Source, registry: Registry, sent: Fields) -> Blob:
        """What is asked for, fetched from now on if it is not yet. sent: fields that open it at the registry, and others beside them."""
        names, digest = [asked.name] if asked.name else self.names(asked.digest, registry, sent), asked.digest
        name = next((name for name in names if self.under_way(name) is not None), names[-1])
        blob = self.under_way(name)
        if blob is None:
            own = self._settings
            settings = GetSettings(
                url=registry.url + asked.target, output="", nodes=own.nodes, notbs=self.distrusts(digest, registry),
                headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in sent),
                digest=None if asked.proof else Digest.parse(digest), content="" if asked.proof else f"df:{digest}", quiet=True,
                filter=asked.filter, identifier=asked.identifier, retry_max_time=RETRY_SECONDS, open_retry_time=OPEN_RETRY_SECONDS,
                home=own.home, ip=own.ip, port=own.port, locallimit=own.locallimit, totallimit=own.totallimit, alivetime=own.alivetime,
                expiretime=own.expiretime, cacerts=own.cacerts, insecure=own.insecure or registry.insecure,
                location=own.location, secret_file=own.secret_file, signed=asked.signed,
                tls_cert=own.tls_cert, tls_key=own.tls_key, tls_ca=own.tls_ca, private=own.private,
                reach=(own.origin_allow, (*own.origin_deny, *(() if registry.known else OWN_MACHINE))),
            )  # fmt: skip
            blob = self.fetch(name, (digest, registry.url), settings, asked.proof, named=not asked.name)
        return blob

    def under_way(self, name: str) -> Blob | None:
        """The one of this name that is fetched, or was a moment ago and has not changed since. For one that is not `kept`."""
        blob = self._open.get(name)
        if blob is None or blob.failed:
            return None
        if blob.right and blob.state != state_of(blob.file.fd):
            self._changed(name)
            self.drop(name)
            return None
        return blob

    def fetch(
        self, name: str, asked: tuple[str, str], settings: GetSettings, proof: Callable[[int], str] | None, named: bool = True
    ) -> Blob:  # fmt: skip
        """Start to fetch one, which replaces an earlier one of this name. asked: what, of whom. proof, named: see Blob."""
        self.drop(name)
        self._let_go(MOST_IDLE)
        self.counts.started += 1
        blob = self._open[name] = Blob(
            self.loop, self.threads, settings, lambda blob: self._ended(name, asked, blob), proof, named
        )
        self._unlogged[blob] = self.loop.time() + LOG_SECONDS, asked
        return blob

    def _let_go(self, most: int) -> None:
        """Drop blobs without readers, but for the `most` last used."""
        idle = sorted((blob.idle_since, name) for name, blob in self._open.items() if blob.idle)
        for _, name in idle[: max(0, len(idle) - most)]:
            self.drop(name)

    def drop(self, name: str) -> None:
        """The fetch of this name has the wrong content."""
        blob = self._open.pop(name, None)
        if blob is not None and blob.readers:
            self._dropped.append(blob)  # its descriptor is theirs, too
        elif blob is not None:
            blob.close()

    def use(self, name: str, given: bool = True) -> None:
        """A blob that is kept is given away now, or was asked for by a supernode."""
        self.counts.given += given
        self.store.use(name, time.time())

    @property
    def open(self) -> int:
        """How many are fetched, or were a moment ago."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """The disk took no more a moment ago: nothing is fetched."""
        return self.loop.time() < self._full_until

    def room(self, blob: Blob) -> bool:
        """The disk has room for what this blob lacks, besides what the others will take. Raises StorageError."""
        if blob.over or blob.readers:
            return True
        try:
            self.store.make()
        except StorageError:
            self._full_until = self.loop.time() + FULL_SECONDS
            raise
        found = os.statvfs(self.store.path)
        promised = sum(other.lacks for other in self._open.values() if other is blob or other.readers)
        return found.f_bavail * found.f_frsize - RESERVE >= promised

    def _ended(self, name: str, asked: tuple[str, str], blob: Blob) -> None:
        self._unlogged.pop(blob, None)
        if blob.closed:
            return  # its file is closed, or about to
        if blob.right:
            _, dot, place = name.partition(".")
            kept = blob.sha256 + dot + place
            if kept != name:
                self._proved[name] = kept
                if len(self._proved) > MOST_PROVED:
                    del self._proved[next(iter(self._proved))]
            self.counts.finished(blob.byte_counts)
            self._events.info("finished", name=asked[0], of=asked[1], length=blob.file.geometry.length, **blob.byte_counts)
            if self.store.add(kept, *blob.whole) and not place:
                self._announcing.add(kept, blob.file)
            blob.state = state_of(blob.file.fd)
        else:
            self.counts.failed += 1
            self._events.warning("failed", name=asked[0], of=asked[1], reason=str(blob.failure))
            if isinstance(blob.failure, DigestMismatch):
                self._distrusted.pop(asked, None)
                self._distrusted[asked] = self.loop.time() + DISTRUST_SECONDS
                if len(self._distrusted) > MOST_DISTRUSTED:
                    self._distrusted.popitem(last=False)
            if isinstance(blob.failure, StorageError):
                self._full_until = self.loop.time() + FULL_SECONDS

    def sweep(self) -> None:
        """Call every second: let go of blobs without readers."""
        now = self.loop.time()
        for blob, (_, asked) in [each for each in self._unlogged.items() if each[1][0] < now]:
            del self._unlogged[blob]
            self._events.info("begun", name=asked[0], of=asked[1])
        if now - self._evicted > EVICT_SECONDS and not self._evicting:
            self._evicting = True
            self.loop.run_in_executor(self.threads, self.store.evict, self.cache_size).add_done_callback(self._has_evicted)
        for blob in (*self._open.values(), *self._dropped):
            if blob.readers and not blob.over:
                blob.check_progress()
        for name, blob in list(self._open.items()):
            if not blob.readers and (blob.failed or now - blob.idle_since > (KEPT_SECONDS if blob.right else IDLE_SECONDS)):
                del self._open[name]
                blob.close()
        for blob in [blob for blob in self._dropped if not blob.readers]:
            self._dropped.remove(blob)
            blob.close()

    def _has_evicted(self, _: object) -> None:
        self._evicting, self._evicted = False, self.loop.time()

    def close(self) -> None:
        """The process ends."""
        for blob in [*self._open.values(), *self._dropped]:
            blob.close()
        self.threads.shutdown(wait=False, cancel_futures=True)
