"""Worker for supernodes: fetches blobs that a preheat assigns to this proxy into its cache, before any client requests them.

    one thread for each supernode   requests work, parked there, and reports results in the next request
    the event loop                  fetches each blob as for a client, from permitted registries only

A registry must first confirm that the credentials open the blob, as for clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from dfengine.client.download_dialer import DownloadDialer
from dfengine.errors import DfengineError, LocalError, OriginError, OriginForbidden, ProtocolViolation, RemoteError, StorageError
from dfengine.net import work_messages
from dfengine.net.http_client import JSON_HEADERS
from dfengine.net.node_names import cached
from dfengine.nodes import has_dns_names
from dfengine.proxy import reference
from dfengine.proxy.blobs import pins
from dfengine.proxy.blobs.blob import Blob, Reader
from dfengine.proxy.blobs.blobs import Source
from dfengine.task import redacted
from dfengine.wire import MAX_WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine.net.http_client import Connection
    from dfengine.proxy.blobs.blobs import Blobs
    from dfengine.proxy.header_fields import Fields
    from dfengine.proxy.registries import Registries, Registry
    from dfengine.proxy.registry.tokens import Tokens
    from dfengine.settings import ProxySettings, SupernodeAddress
    from dfengine.storage.piece_file import PieceFile

AT_ONCE = 4
"""Maximum number of concurrent blobs for one supernode."""

BUSY = 1.0
"""Seconds for which a request is parked while work is in progress, because it cannot report that work's end."""

MIN_PAUSE = 0.05
"""Seconds between a response and the next request."""

PAUSE, MAX_PAUSE = 1.0, 60.0
"""Seconds until the next try at a supernode that does not respond, doubled each time. It may be one without work for proxies."""

REFRESH = 2.0
"""Seconds between two resolutions of the supernodes' names."""

ANSWER = 15.0
"""Seconds for a response in addition to the time that it is parked."""

EMPTY = f"sha256:{hashlib.sha256().hexdigest()}"
"""The digest of an empty blob."""


class PreheatWorker:
    """settings: of the proxy. tokens: for its own users."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, settings: ProxySettings, blobs: Blobs, registries: Registries, tokens: Tokens
    ) -> None:
        """Raises BadValue if files of secrets or certificates cannot be used."""
        self._loop = loop
        self._settings = settings
        self._blobs = blobs
        self._registries = registries
        self._tokens = tokens
        self._dialer = self._new_dialer()
        self._name = secrets.token_hex(16)
        self._stopped = threading.Event()
        self._queues: list[_WorkQueue] = []

    def _new_dialer(self) -> DownloadDialer:
        settings = self._settings
        return DownloadDialer(settings.secret_file, (settings.tls_cert, settings.tls_key, settings.tls_ca))

    def reload(self) -> Callable[[], None]:
        """Read secrets and certificates again; the returned function applies them to new connections. Raises BadValue."""
        made = self._new_dialer()

        def apply() -> None:
            self._dialer, before = made, self._dialer
            before.shutdown(RemoteError("the secret was read again"))  # open connections have authenticated with the former secret

        return apply

    def start(self) -> None:
        self._follow(dict.fromkeys(self._settings.nodes) if not has_dns_names(self._settings.nodes) else cached(self._settings.nodes))

    def _follow(self, nodes: Iterable[SupernodeAddress]) -> None:
        """Work for these supernodes only; repeated while names may resolve to others. On the loop's thread."""
        if self._stopped.is_set():
            return
        before = {str(queue.node): queue for queue in self._queues if not queue.gone}
        now = {text: before.pop(text) if text in before else _WorkQueue(node) for text, node in ((str(node), node) for node in nodes)}
        for queue in before.values():
            queue.gone = True
        served = [queue for queue in now.values() if queue in self._queues or self._start(queue)]
        self._queues = [*served, *(queue for queue in self._queues if queue.gone and queue.tasks)]
        if has_dns_names(self._settings.nodes) or len(served) < len(now):
            self._loop.call_later(REFRESH, lambda: self._follow(cached(self._settings.nodes)))

    def _start(self, queue: _WorkQueue) -> bool:
        """Start its thread. False: there are too many threads now."""
        try:
            threading.Thread(target=self._serve, args=(queue,), name="work", daemon=True).start()
        except RuntimeError:
            return False
        return True

    def close(self) -> None:
        """Stop all, when the process ends."""
        self._stopped.set()
        self._dialer.shutdown(LocalError("the proxy ends"))
        for queue in self._queues:
            for task in list(queue.tasks.values()):
                task.cancel()

    # In one thread for each supernode.

    def _serve(self, queue: _WorkQueue) -> None:
        pause = PAUSE
        while not self._stopped.wait(MIN_PAUSE) and not queue.gone:
            try:
                response = self._request_work(queue)
                pause = PAUSE
            except RemoteError:
                queue.close()
                self._stopped.wait(pause)
                pause = min(MAX_PAUSE, pause * 2)
                continue
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._accept_work, queue, response)
        queue.close()

    def _request_work(self, queue: _WorkQueue) -> work_messages.WorkResponse:
        """Request work from a supernode. Raises RemoteError."""
        connection = queue.connection
        if connection is None or not connection.usable:
            queue.close()
            connection = queue.connection = self._dialer.connect(queue.node.host, queue.node.port, named=queue.node.certified)
        with queue.lock:
            done = queue.done[: work_messages.MAX_LIST]
            under_way = list(queue.in_progress)[: work_messages.MAX_LIST]
        asking = work_messages.WorkRequest(
            worker=self._name, host_name=socket.gethostname()[:255], ip=self._settings.ip, want=AT_ONCE,
            wait=BUSY if under_way else MAX_WAIT, under_way=under_way, done=done,
        )  # fmt: skip
        encoded = msgspec.json.encode(asking)
        status, _, body = connection.request("POST", "/swarm/work", JSON_HEADERS, encoded, timeout=asking.wait + ANSWER)
        if status != 200:
            raise ProtocolViolation(f"supernode {queue.node} answers {status}")
        response = work_messages.decode_response(body)
        with queue.lock:
            del queue.done[: len(done)]
            queue.in_progress |= {item.number for item in response.work}
        return response

    # On the loop's thread.

    def _accept_work(self, queue: _WorkQueue, response: work_messages.WorkResponse) -> None:
        for number in response.over:
            task = queue.tasks.get(number)
            if task is not None:
                task.cancel()
            else:
                queue.end(number, None)
        for item in response.work:
            if item.number not in queue.tasks and not self._stopped.is_set():
                task = queue.tasks[item.number] = self._loop.create_task(self._fetch(item))
                task.add_done_callback(partial(self._ended, queue, item.number))

    def _ended(self, queue: _WorkQueue, number: int, task: asyncio.Task[None]) -> None:
        queue.tasks.pop(number, None)
        if task.cancelled():
            queue.end(number, None)
            return
        error = task.exception()
        queue.end(number, redacted(" ".join(str(error).split()))[:500] or "it failed" if error is not None else "")
        if error is not None and not isinstance(error, DfengineError | OSError):
            raise error

    async def _fetch(self, item: work_messages.WorkItem) -> None:
        """Fetch one blob. Raises DfengineError, OSError."""
        registry, asked = self._registry_and_reference(item)
        credentials: Fields = [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in item.headers]
        if registry.user and not any(name.lower() == b"authorization" for name, _ in credentials):
            credentials += await self._tokens.fields(registry, asked.target)
        blobs = self._blobs
        fields = [(b"Host", registry.authority.encode()), *credentials]
        permit = blobs.permissions.cached(registry, asked.target, fields) or await blobs.permissions.ask(registry, asked.target, fields)
        if not permit.allowed:
            raise OriginError(f"{registry.authority} answers {permit.status}", permit.status)
        if item.digest == EMPTY:
            return  # nothing to fetch, and an empty download on demand does not end
        names = blobs.local_names(item.digest, registry, credentials)
        found = await blobs.find_stored(names)
        if found is None:
            if blobs.full:
                raise StorageError("the disk has no room")
            blob = blobs.get_or_fetch(Source(asked.target, item.digest), registry, credentials)
            file = await blob.opened()
            if file.geometry.length <= 0:
                raise OriginError(f"{registry.authority} has no bytes of {item.digest}, or does not say how many")
            if not blobs.has_room(blob):
                raise StorageError("the disk has no room")
            await _whole(blob, file)
            found = await blobs.find_stored(names)
            if found is None:
                raise StorageError("the blob cannot be kept")
        blobs.mark_used(found[0], sent=False)
        if item.pinned:
            pins.pin(self._settings.home, found[0], True)

    def _registry_and_reference(self, item: work_messages.WorkItem) -> tuple[Registry, reference.Reference]:
        """The registry and reference of an item. Raises OriginForbidden if a client could not request it from this proxy."""
        try:
            parts = urlsplit(item.url)
            asked = reference.parse(parts.path.encode(), parts.netloc, hosts_in_paths=False)
        except ValueError:
            asked = None
        if asked is None or parts.query or parts.fragment or asked.kind != reference.BLOBS or asked.digest != item.digest:
            raise OriginForbidden(f"{item.digest}: no URL of a registry's blob")
        registry = self._registries.find(asked.registry)
        if registry.scheme != parts.scheme.lower():
            raise OriginForbidden(f"{registry.authority} is asked by {registry.scheme} here, not by {parts.scheme[:8]}")
        return registry, asked


class _WorkQueue:
    """Work in progress for one supernode. lock: guards `under_way` and `done`, which its thread reads."""

    def __init__(self, node: SupernodeAddress) -> None:
        self.node = node
        self.gone = False
        """Whether no name resolves to it any more, so that no more work is requested."""
        self.connection: Connection | None = None
        """Used by its thread only."""
        self.lock = threading.Lock()
        self.in_progress: set[int] = set()
        self.done: list[work_messages.WorkResult] = []
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def close(self) -> None:
        """Close the connection, so that the next request makes another one."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def end(self, number: int, error: str | None) -> None:
        """Record the end of an item. error: None if its supernode has cancelled it."""
        with self.lock:
            self.in_progress.discard(number)
            if error is not None:
                self.done.append(work_messages.WorkResult(number, error))


async def _whole(blob: Blob, file: PieceFile) -> None:
    """Wait until the blob is complete and verified. Raises DfengineError."""
    on_written, at = asyncio.Event(), 0
    reader = Reader(blob, file, (0, file.geometry.length), on_written.set)
    try:
        while not blob.finished:
            on_written.clear()
            if ready := reader.ready(at):
                at += ready
            else:
                await on_written.wait()
    finally:
        reader.close()
    if not blob.verified:
        raise blob.failure
