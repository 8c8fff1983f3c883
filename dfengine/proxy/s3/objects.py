"""Objects behind the S3 facade: the version of each, and the source of its bytes: this host's disk or the swarm.

Laws:
* An object's version is the one in its origin's last response, at most `s3_fresh` seconds old; while the origin cannot be reached, at most
  HELD_SECONDS old.
* Only bytes of a download of this very version are sent. If it is of another version, as a supernode may have for a moment, it is repeated,
  and finally the object is fetched from the origin alone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from dfengine.errors import OriginChanged, OriginError, OriginUnreachable, StorageError
from dfengine.location import parse
from dfengine.net.thread_pool import ThreadPool
from dfengine.origin.cancel import Cancel
from dfengine.proxy.blobs.blob_store import StoredBlob, name_of, sha256_of
from dfengine.proxy.blobs.blobs import OPEN_RETRY_SECONDS
from dfengine.proxy.s3.error import S3Error
from dfengine.proxy.s3.head_reader import HeadReader
from dfengine.proxy.s3.parts import Parts
from dfengine.proxy.s3.uncached_object import Direct
from dfengine.proxy.upstream.timeouts import SilentServers, Unanswered
from dfengine.settings import GetSettings
from dfengine.task import redacted_url

if TYPE_CHECKING:
    from dfengine.origin.origin_settings import OriginSettings
    from dfengine.proxy.blobs.blob import Blob
    from dfengine.proxy.blobs.blobs import Blobs
    from dfengine.proxy.s3.bucket import Bucket
    from dfengine.proxy.s3.object_head import ObjectHead
    from dfengine.proxy.secret_files import Secrets
    from dfengine.settings import ProxySettings
    from dfengine.storage.piece_file import PieceFile

THREADS = 16
"""Maximum number of concurrent requests to origins."""

HELD_SECONDS = 3600.0
MAX_OBJECTS = 16384
"""Maximum number of cached objects, with up to `object_head.MAX_FIELDS` each."""

PAUSES = (0.0, 0.3, 1.2, 2.5)
"""Seconds before each try by the swarm: a supernode revalidates at the origin three seconds after it did last."""


class Objects:
    """On the loop's thread. origin_settings: how this proxy asks origins itself. secrets: see head_reader.HeadReader."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: ProxySettings, blobs: Blobs, origin_settings: OriginSettings, secrets: Secrets
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._blobs = blobs
        self._threads = ThreadPool(THREADS, "s3")
        self._origin_settings = origin_settings
        self._head_reader = HeadReader(origin_settings, secrets)
        self._cancel = Cancel()
        self.parts = Parts(loop, self._threads, origin_settings, self._cancel)
        self._silent_servers = SilentServers(loop.time)
        self._heads: OrderedDict[str, ObjectHead] = OrderedDict()
        self._asking: dict[str, asyncio.Future[ObjectHead]] = {}
        self._opening: dict[str, asyncio.Task[tuple[Blob, PieceFile]]] = {}

    async def head(self, bucket: Bucket, url: str, again: bool = False) -> ObjectHead:
        """The head of the object at this URL. again: even if it was requested a moment ago. Raises subclasses of DfengineError."""
        known = self._heads.get(url)
        if known is not None and not again and self._loop.time() - known.at < self._settings.s3_fresh:
            return known
        if self._silent_servers.is_silent(bucket):
            if known is not None and self._loop.time() - known.at < HELD_SECONDS:
                return known
            raise Unanswered.of("the store")
        asking = self._asking.get(url)
        if asking is None:
            asking = self._asking[url] = self._loop.run_in_executor(self._threads, self._head_reader.read, url, self._loop.time())
            asking.add_done_callback(partial(self._asked, bucket, url))
        try:
            return await asyncio.shield(asking)
        except OriginUnreachable:
            if known is not None and self._loop.time() - known.at < HELD_SECONDS:
                return known
            raise

    def _asked(self, bucket: Bucket, url: str, asking: asyncio.Future[ObjectHead]) -> None:
        self._asking.pop(url, None)
        if asking.cancelled():
            return
        error = asking.exception()
        (self._silent_servers.record_silent if isinstance(error, Unanswered) else self._silent_servers.record_answered)(bucket)
        if error is None:
            self._heads.pop(url, None)
            self._heads[url] = asking.result()
            if len(self._heads) > MAX_OBJECTS:
                self._heads.popitem(last=False)
        elif isinstance(error, OriginError) and not isinstance(error, OriginUnreachable):
            self._heads.pop(url, None)

    def forget(self, url: str) -> None:
        """Drop the cached head, which may be wrong."""
        self._heads.pop(url, None)

    async def find(self, bucket: Bucket, url: str, object_head: ObjectHead) -> StoredBlob | tuple[Blob, PieceFile]:
        """The source of its bytes. Raises S3Error, subclasses of DfengineError."""
        hex = hashlib.sha256(f"{url}\n{object_head.version}\n{object_head.length}".encode()).hexdigest()
        name = name_of(f"s3-{hex}", f"s3 facade {bucket.url}")
        found = await self._blobs.find_stored([name])
        if found is not None:
            self._blobs.mark_used(found[0])
            return found[1]
        blob = self._blobs.in_progress(name)
        if blob is not None and blob.bound:
            return self._with_room(blob, blob.file)
        opening = self._opening.get(name)
        if opening is None:
            opening = self._opening[name] = self._loop.create_task(self._open(name, bucket, url, object_head))
            opening.add_done_callback(partial(self._opened, name))
        return await asyncio.shield(opening)

    def direct(self) -> Direct:
        """A reader that does not use the disk, for one response."""
        return Direct(self._loop, self._threads, self._origin_settings)

    def _opened(self, name: str, opening: asyncio.Task[tuple[Blob, PieceFile]]) -> None:
        self._opening.pop(name, None)
        if not opening.cancelled():
            opening.exception()  # retrieved, for the case that no request waits for it

    async def _open(self, name: str, bucket: Bucket, url: str, object_head: ObjectHead) -> tuple[Blob, PieceFile]:
        blobs, version = self._blobs, object_head.version.encode()
        if blobs.in_progress(name) is None and blobs.full:
            raise StorageError("the disk has no room")
        tries = [*PAUSES] if self._nodes(bucket) else []
        again = False
        while True:
            # The last try asks the origin alone.
            await asyncio.sleep(tries[0] if tries else 0.0)
            blob = blobs.in_progress(name)
            if blob is None:
                settings = self._get_settings(bucket, url, again, not tries)
                blob = blobs.fetch(name, (redacted_url(url), bucket.url), settings, sha256_of, by_digest=False)
            try:
                file = await blob.opened()
            except OriginChanged:
                blobs.drop(name)
                break
            if blob.bind(version) and file.geometry.length == object_head.length:
                return self._with_room(blob, file)
            blobs.drop(name)
            if not tries:
                break
            # A supernode of 1.x states no versions.
            tries, again = tries[1:] if file.record.generation else [], True
        self.forget(url)
        raise S3Error("SlowDown", "the object is being changed")

    def _with_room(self, blob: Blob, file: PieceFile) -> tuple[Blob, PieceFile]:
        """Raises StorageError if the disk has no room for its missing bytes."""
        if not self._blobs.has_room(blob):
            raise StorageError("the disk has no room")
        return blob, file

    def _nodes(self, bucket: Bucket) -> bool:
        """Whether to use the supernodes. A directory of this machine is read without them."""
        return bool(self._settings.nodes) and bucket.scheme != "file"

    def _get_settings(self, bucket: Bucket, url: str, again: bool, alone: bool) -> GetSettings:
        """again: another download of this host may be of the wrong version. alone: use no supernode."""
        own = self._settings
        local = bucket.scheme == "file"
        return GetSettings(
            url=url, output="", nodes=own.nodes if self._nodes(bucket) and not alone else (), quiet=True, home=own.home, ip=own.ip,
            port=own.port, locallimit=own.locallimit, totallimit=own.totallimit, alivetime=own.alivetime, expiretime=own.expiretime,
            cacerts=own.cacerts, insecure=own.insecure, location=own.location, secret_file=own.secret_file, tls_cert=own.tls_cert,
            tls_key=own.tls_key, tls_ca=own.tls_ca, private=own.private, sign=own.sign, no_join=again or local,
            reach=(own.origin_allow, own.origin_deny), roots=(parse(bucket.url).key,) if local else (),
            open_retry_time=OPEN_RETRY_SECONDS,
        )  # fmt: skip

    def close(self) -> None:
        """Stop all, when the process ends."""
        self._head_reader.cut()
        self._cancel.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
