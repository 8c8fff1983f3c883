"""Other places that preheats fetch to: other supernodes, which receive requests as from any client, and proxies that take work."""

from __future__ import annotations

import asyncio
import math
import random
from base64 import b64encode
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from dfengine.copy_states import FAILED, RUNNING, SUCCESS
from dfengine.errors import DfengineError, LocalError, RemoteError, SupernodeFull
from dfengine.net import work_messages
from dfengine.net.node_names import resolved
from dfengine.net.node_preheats import NodePreheats
from dfengine.nodes import has_dns_names
from dfengine.origin.request import is_private
from dfengine.settings import SupernodeAddress
from dfengine.supernode.preheat_job import Job, Part
from dfengine.supernode.preheat_request import PEERS, SEEDS, SINGLE_SEED, PreheatRequest
from dfengine.supernode.proxy_workers import Worker

if TYPE_CHECKING:
    from dfengine.supernode.supernode_state import SupernodeState

Result = TypeVar("Result")

REQUEST_THREADS = 8
"""Threads that send requests to other supernodes, one at a time each; as many that begin preheats there."""

BEGIN_AT_ONCE = 4
"""Preheats that one other supernode is asked to begin at the same time: its answer may wait for its origins, up to 20 s."""

FULL_PAUSE, FULL_SECONDS = 2.0, 3600.0
"""Seconds before a supernode that is full is asked again, and for how long it may stay full."""

POLL = 0.2, 2.0
"""Seconds between two requests for another supernode's progress: first and longest interval."""

LOST = 60.0
"""Seconds for which requests to a supernode that does not respond are repeated."""


class PreheatTargets:
    """Other places of preheats. Used on the loop's thread. token: sent to other supernodes as proof of permission, "" for none."""

    def __init__(self, state: SupernodeState, token: Callable[[], str]) -> None:
        self._state = state
        self._token = token
        self._threads = ThreadPoolExecutor(REQUEST_THREADS, "preheat-node")
        self._begin_threads = ThreadPoolExecutor(REQUEST_THREADS, "preheat-begin")
        self._begin_slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """Other supernode -> its slots for preheats that it is asked to begin."""

    def choose_proxies(self, request: PreheatRequest) -> list[Worker]:
        """Return the proxies that are to fetch an image's blobs. Raises RemoteError without any, or when a named one takes no work."""
        if request.scope != PEERS:
            return []
        workers = list(self._state.workers)
        if request.ips:
            missing = set(request.ips) - {worker.ip for worker in workers}
            if missing:
                raise RemoteError(f"no proxy that takes work is at {', '.join(sorted(missing)[:20])}")
            return [worker for worker in workers if worker.ip in request.ips]
        if not workers:
            raise RemoteError("no proxy takes work here: start `dfengine proxy` with this supernode as its -n")
        most = request.count or math.ceil(len(workers) * request.percentage / 100) or len(workers)
        return random.sample(workers, min(most, len(workers)))

    def proxy_parts(self, part: Part, hosts: list[Worker]) -> list[Part]:
        """Return parts for the same blob at each of these hosts."""
        return [Part(part.url, part.digest, part.length, worker.host, worker.ip) for worker in hosts]

    async def prefetch(self, worker: Worker, part: Part, headers: tuple[tuple[str, str], ...], pinned: bool) -> None:
        """Have a proxy fetch a blob that this supernode has. Credentials are sent only to members of a swarm that has a secret."""
        part.state, part.fetched = RUNNING, 0
        trusted = self._state.workers.trusted
        sent = [header for header in headers if trusted or not is_private(header[0])]
        item = work_messages.WorkItem(number=0, url=part.url, digest=part.digest, headers=sent, pinned=pinned)
        error = await self._state.workers.assign(worker, item)
        if error and len(sent) < len(headers):
            error += "; credentials are sent to proxies only in a swarm with a secret"
        part.fetched = 0 if error else part.length
        part.end(error)

    async def forward(self, job: Job, request: PreheatRequest, group: asyncio.TaskGroup) -> None:
        """Have the other supernodes, of `--node` and of the cluster, fetch the same, as tasks of this group.

        Raises SupernodeError when a name of `--node` resolves to none."""
        if request.scope != SEEDS:
            return
        nodes: Iterable[SupernodeAddress] = self._state.settings.nodes
        if has_dns_names(nodes):
            nodes = await self._in_thread(partial(resolved, nodes))
        cluster = self._state.fetches.cluster
        others = [SupernodeAddress.parse(each.address) for each in cluster.others] if cluster is not None else []
        for address in dict.fromkeys((*nodes, *others)):
            for url in request.urls:
                part = Part(url, host=str(address), ip=address.host)
                job.parts.append(part)
                node = NodePreheats(self._state.dialer, address, self._token())
                group.create_task(self._run_forwarded(job, part, node, _fields(request, url)))

    async def _run_forwarded(self, job: Job, part: Part, node: NodePreheats, fields: dict[str, Any]) -> None:
        part.state, part.fetched = RUNNING, 0
        until = self._state.loop.time() + FULL_SECONDS
        slots = self._begin_slots.setdefault(str(node.node), asyncio.Semaphore(BEGIN_AT_ONCE))
        try:
            async with slots:
                started = await self._begin(node, fields, until)
            try:
                part.end(await self._wait_ended(part, node, started.result()))
            except asyncio.CancelledError:
                self._cancel_started(node, started)
                raise
        except DfengineError as error:
            part.end(str(error))

    async def _begin(self, node: NodePreheats, fields: dict[str, Any], until: float) -> Future[str]:
        """Begin a preheat at another supernode, once that has room for it; return its id as a result. until: loop time.

        Raises SupernodeFull after `until`, RemoteError, LocalError.
        """
        while True:
            started = submit(self._begin_threads, partial(node.begin, fields))
            try:
                await asyncio.wrap_future(started)
            except SupernodeFull:
                if self._state.loop.time() > until:
                    raise
            except asyncio.CancelledError:
                started.add_done_callback(partial(self._cancel_started, node))  # the other supernode may be about to begin it
                raise
            else:
                return started
            finally:
                del started  # its error references this frame, which has the credentials
            await asyncio.sleep(FULL_PAUSE)

    def _cancel_started(self, node: NodePreheats, started: Future[str]) -> None:
        """Have the other supernode cancel the preheat. In any thread."""
        if not started.cancelled() and started.exception() is None:
            with suppress(RuntimeError):  # the process ends
                self._threads.submit(_cancel, node, started.result())

    async def _wait_ended(self, part: Part, node: NodePreheats, name: str) -> str:
        """Wait for the end; return the reason of a failure, "" for success. Raises RemoteError."""
        pause, answered = POLL[0], self._state.loop.time()
        while True:
            try:
                found = await self._in_thread(partial(node.find, name))
            except (RemoteError, LocalError):
                if self._state.loop.time() - answered > LOST:
                    raise
            else:
                answered = self._state.loop.time()
                if found is None:
                    return f"supernode {node.node} does not have this preheat any more"
                part.fetched, part.length = found["here"], found["length"] if found["count"] else -1
                if found["status"] == SUCCESS:
                    return ""
                if found["status"] == FAILED:
                    return f"supernode {node.node}: {found.get('errorMsg') or 'it failed'}"
            await asyncio.sleep(pause)
            pause = min(POLL[1], pause * 1.3)

    async def _in_thread(self, call: Callable[[], Result]) -> Result:
        return await asyncio.wrap_future(submit(self._threads, call))

    def close(self) -> None:
        """Shut down at the end of the process."""
        for threads in (self._threads, self._begin_threads):
            threads.shutdown(wait=False, cancel_futures=True)


def submit(threads: ThreadPoolExecutor, call: Callable[[], Result]) -> Future[Result]:
    """Begin a call in a thread. Raises LocalError when none can be started."""
    try:
        return threads.submit(call)
    except RuntimeError as error:
        raise LocalError(str(error)) from None


def _cancel(node: NodePreheats, name: str) -> None:
    with suppress(RemoteError):
        node.cancel(name)


def _fields(request: PreheatRequest, url: str) -> dict[str, Any]:
    """Return the request to another supernode: the same preheat, for that supernode alone."""
    return {
        "type": request.kind, "url": url, "headers": dict(request.headers), "filter": request.unwanted, "md5": request.md5,
        "identifier": request.identifier, "username": request.user, "password": request.password, "platforms": list(request.platforms),
        "scope": SINGLE_SEED, "pin": request.pinned, "concurrent_task_count": request.at_once,
        "insecure": request.insecure, "root_cas": [b64encode(each).decode() for each in request.cacerts],
    }  # fmt: skip
