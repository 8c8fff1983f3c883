"""Preheats: files and images that are fetched before any client requests them, each a job with one part for each file or blob.

A job reads its image's manifests in a thread, has `origin_fetches` fetch each blob as the task that later downloads of it have, and waits.
The credentials of its request are dropped when it ends.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from dfengine.copy_states import FAILED, RUNNING, SUCCESS, UNENDED
from dfengine.errors import BadValue, DfengineError, LocalError, OriginBusy, RemoteError
from dfengine.location import CONTENT
from dfengine.net.client_quota import BoundedQuota, Quota
from dfengine.net.origin_access import OriginAccess
from dfengine.nodes import order
from dfengine.origin.container_image import ImageReader
from dfengine.origin.image_manifest import platform_of
from dfengine.origin.image_name import of_url
from dfengine.supernode import preheat_takeover
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.preheat_job import Job, Part
from dfengine.supernode.preheat_request import FILE, PreheatRequest
from dfengine.supernode.preheat_targets import PreheatTargets, submit
from dfengine.supernode.registration import ensure_fetch
from dfengine.supernode.registration_check import OVERHEAD
from dfengine.supernode.remote_preheats import RemoteJob
from dfengine.task import client_of, task_id, task_url

if TYPE_CHECKING:
    from dfengine.supernode.copies.fetch import Fetch
    from dfengine.supernode.preheat_notices import PreheatNotices
    from dfengine.supernode.proxy_workers import Worker
    from dfengine.supernode.supernode_state import SupernodeState

Result = TypeVar("Result")
Headers = tuple[tuple[str, str], ...]

CANCELLED = "it was cancelled"

MAX_UNDER_WAY = 1024
"""Jobs that have not ended, waiting ones included."""

MAX_JOBS = 1024
MAX_PARTS = 1 << 16
"""Jobs, and parts of all jobs, in memory; beyond these, ended jobs are dropped, the oldest first."""

MAX_CHARACTERS = 16 << 20
"""Characters of URLs and errors of ended jobs and their parts in memory; beyond these, the oldest are dropped as well."""

EACH = 1 << 14
"""Parts of one job, at most."""

MAX_SECONDS = 86400.0
"""Longest time that a job runs, in seconds."""

AT_ONCE = 16
"""Jobs whose own parts run at the same time, of which one client has its share; the others wait."""

MANIFEST_THREADS = 4
"""Threads that read manifests."""

POLL = 0.05, 1.0
"""Seconds between two checks whether a file is complete: first and longest interval."""


class Preheats:
    """The preheats of one supernode. Used on the loop's thread. token: sent to other supernodes as proof of permission, "" for none."""

    def __init__(self, state: SupernodeState, token: Callable[[], str] = str) -> None:
        self.state = state
        self._jobs: dict[str, Job] = {}
        self._shares = BoundedQuota(MAX_UNDER_WAY, state.settings.client_share)
        self._job_slots = asyncio.Semaphore(AT_ONCE)
        self._client_slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """Client -> its share of the slots, while it has jobs."""
        self._threads = ThreadPoolExecutor(MANIFEST_THREADS, "preheat")
        self._numbers = itertools.count(time.time_ns() // 1000)
        """Numbers do not repeat those of an earlier process, and hardly ever those of another supernode."""
        self.notices: PreheatNotices | None = None
        """Preheats of the other supernodes."""
        self._targets = PreheatTargets(state, token)
        self._own_platform = platform_of(os.uname().machine)

    def __iter__(self) -> Iterator[Job]:
        """Iterate from the oldest."""
        return iter(self._jobs.values())

    def all(self) -> list[Job | RemoteJob]:
        """Return all preheats, also those of the cluster's other supernodes, in the order in which they began."""
        remote = self.notices.remote() if self.notices is not None else []
        return sorted([*self, *remote], key=lambda job: job.created) if remote else list(self)

    def find(self, name: str) -> Job | RemoteJob | None:
        """Find a preheat by its id or number; of several with this id at other supernodes, preferably one that has not ended."""
        own = self._jobs.get(name) or self._jobs.get(self.state.names.alias(name))
        if own is not None:
            return own
        found = [job for job in self.all() if name in (job.id, str(job.number))]
        return min(found, key=lambda job: job.ended, default=None)

    def take_over(self, remote: RemoteJob, address: str, request: PreheatRequest) -> Job | None:
        """Resume a preheat of a supernode that is gone, which had the host `address`, under its id. Return None at the limit of jobs.
        Raises as `begin`."""
        known = self._jobs.get(remote.id)
        job = self.begin(request, address)
        if job is not None:
            job.previous_owners = tuple(dict.fromkeys((*job.previous_owners, *remote.previous_owners, remote.owner)))
            if job is not known:
                job.number, job.created = remote.number, remote.created
        return job

    def hand_over(self, job: Job) -> None:
        """Drop a job that another supernode runs; files that the job pinned stay pinned."""
        self._jobs.pop(job.id, None)
        if job.task is not None and not job.ended:
            job.handed_over = True
            job.change(FAILED, "another supernode of the cluster resumed it")
            job.cancel.set()
            job.task.cancel()

    def begin(self, request: PreheatRequest, client: str) -> Job | None:
        """Start a job for the client at this address, or return the running job for the same file. Return None at the limit of jobs.
        Raises LocalError, and BadValue when the id is that of another preheat."""
        name = request.id or secrets.token_hex(32)
        if not request.id and request.kind == FILE and len(request.urls) == 1:
            [url] = request.urls
            wanted = _wanted_file(self.state, request, url)
            name = self._public_name(self._task_id(wanted, task_url(url, request.unwanted), request.md5 or request.identifier), wanted)
        known = self._jobs.get(name)
        if known is not None and not known.ended:
            if (known.kind, known.url) != (request.kind, request.urls[0]):
                raise BadValue(f"id: {name} is that of another preheat")
            return known
        if not self._shares.acquire(client):
            return None
        try:
            job = Job(name, next(self._numbers), request, client, self.state.loop.create_future())
        except OSError as error:
            self._shares.release(client)
            raise LocalError(f"the supernode has no descriptor for the preheat: {error.strerror}") from None
        self._jobs.pop(name, None)
        self._jobs[name] = job
        job.resume_fields = preheat_takeover.resume_fields(request, self._own_platform)
        job.task = self.state.loop.create_task(self._run(job, request))
        job.task.add_done_callback(partial(self._ended, job))
        self.state.events.info("preheat_started", preheat=name, kind=request.kind, url=request.urls[0], client=client)
        self._trim()
        return job

    def cancel(self, job: Job | RemoteJob) -> None:
        """End a job and the fetches that run for it alone, or remove an ended job. Raises RemoteError when it is another supernode's and
        that supernode cannot be notified."""
        if isinstance(job, RemoteJob):
            if self.notices is not None:
                self.notices.cancel(job)
        elif job.ended:
            self._jobs.pop(job.id, None)
        elif job.task is not None:
            job.cancel.set()
            job.task.cancel()
            job.change(FAILED, CANCELLED)
            if self.notices is not None:
                self.notices.cancelled(job)

    def _task_id(self, wanted: FetchRequest, url: str, sign: str) -> str:
        """Return the id of the task to fetch. Raises LocalError."""
        return [*self.state.credentials.tasks(wanted, url, sign)][-1][0]

    def _public_name(self, task: str, wanted: FetchRequest) -> str:
        """Return the public name of a task, which need not be in memory yet."""
        return task if wanted.open else self.state.names.alias(task)

    def _ended(self, job: Job, task: asyncio.Task[None]) -> None:
        if not job.ended:
            job.change(FAILED, CANCELLED if task.cancelled() else _reason(task.exception()))
        log = self.state.events.warning if job.state == FAILED else self.state.events.info
        log("preheat_ended", preheat=job.id, state=job.state, reason=job.error, parts=len(job.parts), seconds=job.updated - job.created)
        self._stop(job)
        job.cancel.set()  # a thread that still reads a manifest ends at once
        reading, job.reading, cancel = job.reading, None, job.cancel  # an image's read has the credentials of its registry
        if reading is None:
            cancel.close()
        else:
            # It may be about to wait for the descriptor, whose number a close would free for another use.
            reading.add_done_callback(lambda _: cancel.close())
        self._shares.release(job.client)
        job.kept_characters = len(job.url) + len(job.error) + sum(part.characters for part in job.parts)
        self._trim()

    def _stop(self, job: Job) -> None:
        """Stop the job's fetches that neither downloads nor other jobs use."""
        left = {part.task for part in job.parts if part.started and not part.ended}
        others = {part.task for other in self if other is not job and not other.ended for part in other.parts}
        for task in left - others:
            swarm, fetch = self.state.swarm.tasks.get(task), self.state.fetch_pool.fetches.get(task)
            if fetch is not None and fetch.state in UNENDED and (swarm is None or not swarm.downloads):
                self.state.fetches.forget(task)
        for part in job.parts:
            if not part.ended:
                part.end(job.error)

    def _trim(self) -> None:
        parts, characters = sum(len(job.parts) for job in self), sum(job.kept_characters for job in self)
        for job in list(self):
            if len(self._jobs) <= MAX_JOBS and parts <= MAX_PARTS and characters <= MAX_CHARACTERS:
                return
            if job.ended:
                parts -= len(job.parts)
                characters -= job.kept_characters
                del self._jobs[job.id]

    async def _run(self, job: Job, request: PreheatRequest) -> None:
        try:
            with self.state.quota.registering(job.client, OVERHEAD + request.texts):
                async with job.slots, asyncio.timeout(None) as limit:
                    await job.slots.enter_async_context(self._slots_of(job.client))
                    await job.slots.enter_async_context(self._job_slots)
                    limit.reschedule(self.state.loop.time() + MAX_SECONDS)
                    job.change(RUNNING)
                    request = request.replace(cacerts=self.state.quota.shared(request.cacerts, job.client))
                    await self._work(job, request)
        except (DfengineError, TimeoutError) as error:
            job.change(FAILED, str(error) or f"it took longer than {MAX_SECONDS / 3600:.0f} h")
            return
        failed = [part for part in job.parts if part.error]
        if failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            job.change(FAILED, failed[0].error + more)
        else:
            job.change(SUCCESS)

    def _slots_of(self, address: str) -> asyncio.Semaphore:
        share = Quota(AT_ONCE, self.state.settings.client_share).limit
        return self._client_slots.setdefault(client_of(address), asyncio.Semaphore(share))

    async def _work(self, job: Job, request: PreheatRequest) -> None:
        """Run a job. Raises DfengineError when it cannot be started; errors of its parts are stored in the parts.

        The job leaves its slots when its own parts have ended: forwarded parts wait for slots of another supernode, whose jobs may wait
        for slots of this one.
        """
        slots = asyncio.Semaphore(request.at_once)
        if request.kind == FILE:
            job.parts = [Part(url) for url in request.urls]
            async with asyncio.TaskGroup() as forwarded:
                async with asyncio.TaskGroup() as group:
                    for part in list(job.parts):
                        group.create_task(self._fetch_file(job, request, part, slots))
                    await self._targets.forward(job, request, forwarded)
                await job.slots.aclose()
            return
        hosts = self._targets.choose_proxies(request)
        image = of_url(request.urls[0])
        access = OriginAccess(self.state.settings.origin_allow, self.state.settings.origin_deny)
        reader = ImageReader(image, request.headers, request.user, request.password, job.cancel, access=access, insecure=request.insecure,
                             cacerts=request.cacerts)
        blobs = await self._in_thread(job, partial(reader.blobs, request.platforms or (self._own_platform,)))
        job.parts = [Part(image.blob(blob.digest), blob.digest, blob.size) for blob in blobs if _is_own(request, blob.digest)]
        if len(job.parts) * (1 + len(hosts)) > EACH:
            raise RemoteError(f"{len(job.parts)} blobs at {len(hosts)} hosts are more than {EACH}: name fewer hosts")
        turn = asyncio.Lock()

        async def opened() -> Headers:
            async with turn:
                return await self._in_thread(job, reader.headers)

        async with asyncio.TaskGroup() as forwarded:
            async with asyncio.TaskGroup() as group:
                for part in list(job.parts):
                    others = self._targets.proxy_parts(part, hosts)
                    job.parts += others
                    group.create_task(self._fetch_blob(job, request, part, opened, slots, list(zip(hosts, others, strict=True))))
                await self._targets.forward(job, request, forwarded)
            await job.slots.aclose()

    async def _in_thread(self, job: Job, call: Callable[[], Result]) -> Result:
        """Return the result of a read for the job. Raises LocalError when no thread can be started."""
        job.reading = submit(self._threads, call)
        try:
            return await asyncio.wrap_future(job.reading)
        finally:
            if job.reading.done():
                job.reading = None  # its error would reference the job by the frames that it passed

    async def _fetch_file(self, job: Job, request: PreheatRequest, part: Part, slots: asyncio.Semaphore) -> None:
        async with slots:
            wanted = _wanted_file(self.state, request, part.url)
            await self._fetch(job, part, wanted, task_url(part.url, request.unwanted), request.md5 or request.identifier, request.pinned)

    async def _fetch_blob(
        self, job: Job, request: PreheatRequest, part: Part, opened: Callable[[], Awaitable[Headers]], slots: asyncio.Semaphore,
        others: list[tuple[Worker, Part]],
    ) -> None:
        """Fetch a blob to this supernode, then to the hosts of `others`."""
        headers: Headers = ()
        async with slots:
            try:
                headers = await opened()
            except DfengineError as error:
                part.end(str(error))
            else:
                hex = part.digest.partition(":")[2]
                wanted = FetchRequest(part.url, headers, request.insecure, request.cacerts, content=hex)
                await self._fetch(job, part, wanted, f"{CONTENT}:{part.digest}", "", request.pinned)
        if part.error:
            for _, other in others:
                other.end("the supernode does not have it")
        else:
            await asyncio.gather(*(self._targets.prefetch(worker, other, headers, request.pinned) for worker, other in others))

    async def _fetch(self, job: Job, part: Part, wanted: FetchRequest, url: str, sign: str, pinned: bool) -> None:
        """Have the task of a part fetched, and wait until its file is complete."""
        part.state = RUNNING
        unpinned = False
        try:
            part.task = self._task_id(wanted, url, sign)
            part.name = self._public_name(part.task, wanted)
            part.started = part.task not in self.state.fetch_pool.fetches
            fetch = await self._head(job, wanted, url, sign)
            part.task, part.name = fetch.task, self._public_name(fetch.task, wanted)
            unpinned = pinned and not self.state.fetches.kept.is_pinned(fetch.task)
            if unpinned:
                self.state.fetches.kept.pin(fetch.task, wanted.url, True, wanted.open)
            self._origins_responded(job)
            part.length = fetch.file.geometry.length if fetch.file is not None else -1
            await self._wait_complete(part, fetch)
            part.end()
        except (DfengineError, asyncio.CancelledError) as error:
            if unpinned and not job.handed_over:
                self.state.fetches.kept.pin(part.task, wanted.url, False, wanted.open)
            if not isinstance(error, DfengineError):
                raise
            part.end(str(error))

    async def _head(self, job: Job, wanted: FetchRequest, url: str, sign: str) -> Fetch:
        """Return the task's fetch, once its origin has responded."""
        while True:
            try:
                return await ensure_fetch(self.state, wanted, url, sign, job.client)
            except OriginBusy:
                self._origins_responded(job)
                await asyncio.sleep(POLL[1])

    def _origins_responded(self, job: Job) -> None:
        if job.kind == FILE and len(job.parts) == 1:
            job.origins_responded()

    async def _wait_complete(self, part: Part, fetch: Fetch) -> None:
        """Wait until the file is complete. Raises DfengineError when its fetch fails."""
        pause = POLL[0]
        while fetch.state in UNENDED and not fetch.stopped:
            await asyncio.sleep(pause)
            pause = min(POLL[1], pause * 1.5)
        if fetch.state != SUCCESS:
            raise copy(fetch.error) if fetch.error is not None and not fetch.stopped else RemoteError("its task was removed")
        part.length = fetch.geometry.length

    def close(self) -> None:
        """Cancel all jobs at the end of the process."""
        for job in self:
            if not job.ended and job.task is not None:
                job.cancel.set()
                job.task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._targets.close()
        if self.notices is not None:
            self.notices.close()


def _reason(error: BaseException | None) -> str:
    """Return the reason of a failure that the job did not expect, or that ended the tasks of its parts."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, DfengineError) else f"it failed: {error!r}"


def _is_own(request: PreheatRequest, digest: str) -> bool:
    """Whether, of the supernodes that divide the image, downloads of this blob turn to this one first."""
    return not request.nodes or order(request.nodes, task_id(f"{CONTENT}:{digest}"))[0] == request.nodes[request.node]


def _wanted_file(state: SupernodeState, request: PreheatRequest, url: str) -> FetchRequest:
    named = task_url(url, request.unwanted)
    return FetchRequest(url, request.headers, request.insecure, request.cacerts, md5=request.md5, task_url=named if named != url else "",
                  split=state.settings.private != "share")
