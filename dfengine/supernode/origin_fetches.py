"""Starts fetches from origins, has registrations wait for the head of the origin's response, passes the fetches' events to the swarm."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from copy import copy
from dataclasses import replace

from dfengine._bitset import Bitset
from dfengine.copy_states import FAILED, RUNNING, SUCCESS, UNENDED
from dfengine.errors import DigestMismatch, DiskFull, OriginBusy, OriginChanged, OriginError, OriginForbidden, RemoteError
from dfengine.net import tracing
from dfengine.net.event_log import NO_EVENTS, EventLog
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.origin_settings import OriginPermissions
from dfengine.settings import SupernodeSettings
from dfengine.supernode import cluster_pauses, cluster_pins
from dfengine.supernode.cluster.membership import Cluster
from dfengine.supernode.cluster_names import ClusterNames
from dfengine.supernode.content_sources import ContentSources
from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.copies.copy_store import CopyStore
from dfengine.supernode.copies.eviction import DiskSpace
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_pool import FetchPool
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.copies.repair import missing_runs
from dfengine.supernode.copies.retention import Retention
from dfengine.supernode.copies.write_behind import WriteBehind
from dfengine.supernode.download_registry import DownloadRegistry
from dfengine.supernode.negative_cache import NegativeCache
from dfengine.supernode.origin_counts import OriginCounts
from dfengine.supernode.registration_quota import TaskQuota
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.supernode.task_names import TaskNames
from dfengine.supernode.timings import Timings
from dfengine.tree import MANIFEST

MIN_RATE = 64 << 10
"""Lowest rate, in bytes per second, at which a client completes a piece within its lease."""

MIN_LEASE = 30.0
"""Shortest lease of a piece, in seconds."""

REFUSED_RETRY = 5.0
"""Seconds after which refused files of a tree are requested from the origin again, when a client requests the tree."""

FULL_RETRY = 5.0
"""Seconds for which a task whose fetch found the disk full is not started again, if another supernode may have space for it."""

HEAD_SECONDS = 20.0
"""Longest wait of one registration for the origin's head, in seconds; less than a client waits for a response. It may register again."""


class OriginFetches:
    """Implements the `Events` of fetches, and the `Usage` that eviction consults. Used on the loop's thread.

    home: the supernode's directory. wake: called after an event that may make pulls answerable. counts, timings: updated by events. names:
    public names of tasks, for clients and logs.
    """

    def __init__(
        self, settings: SupernodeSettings, home: str, cache: Cache, loop: asyncio.AbstractEventLoop, swarm: Swarm,
        registry: DownloadRegistry, wake: Callable[[], None], counts: dict[str, int], timings: Timings, names: TaskNames,
        events: EventLog = NO_EVENTS,
    ) -> None:
        self._loop = loop
        self._cache = cache
        self._swarm = swarm
        self._registry = registry
        self._wake = wake
        self._counts = counts
        self._timings = timings
        self._names, self._events = names, events
        self._started: dict[str, float] = {}
        """Task -> the start of its fetch (loop time), until the fetch has ended."""
        self._spans: dict[str, tracing.Span] = {}
        """The spans of these fetches, if they are traced."""
        self.revalidate_interval = settings.revalidate_interval
        self.kept = Retention(home)
        self.room = DiskSpace(cache, self, loop, settings.disk_low, settings.disk_high, events)
        self.store = CopyStore.from_settings(settings, events) if settings.store else None
        self.written = WriteBehind(self.store, events) if self.store is not None else None
        self.fetch_pool = FetchPool(
            cache, loop.call_soon_threadsafe, self, self.room, access=OriginAccess(settings.origin_allow, settings.origin_deny),
            share=settings.client_share, connections=settings.origin_connections,
            own=OriginPermissions.parse(settings.origin_root, settings.origin_sign), store=self.store)
        self.cluster: Cluster | None = None
        self.cluster_names: ClusterNames | None = None
        """Names of tasks in the cluster."""
        self.quota = TaskQuota(settings.client_share, loop.call_soon_threadsafe, self._drop)
        self.sources = ContentSources()
        self.origin_counts = OriginCounts()
        self.refusals = NegativeCache(settings.fail_access_interval)
        self.validated: dict[str, float] = {}
        """Task -> the last time that its origin confirmed its version (loop time)."""
        self._full_until: dict[str, float] = {}
        """Failed task -> the time until which it is not started again (loop time), because the disk was full."""
        self._heads: dict[str, asyncio.Future[None]] = {}
        """Task -> a future that is done once its origin has responded, or is no longer requested."""

    async def ensure(self, task: str, wanted: FetchRequest, address: str = "", until: float = math.inf) -> Fetch:
        """Return the fetch of a task once its head is known, starting it for the client at `address`. until: loop time at which waiting for
        the head ends, if that is before HEAD_SECONDS. Raises DfengineError."""
        now = self._loop.time()
        fetch = self.fetch_pool.fetches.get(task)
        if fetch is not None:
            if fetch.state == FAILED:
                self.fetch_failed(fetch)  # its thread is about to report the failure
            self._registry.used[task] = now
            fetch.extend_retry_limits(wanted.retry_limits)
        self.refusals.check(task, now, "cache ")
        if wanted.content:
            self.sources.note(task, wanted, address)
        if now < self._full_until.get(task, 0.0) and fetch is not None and fetch.error is not None and self.cluster and self.cluster.others:
            raise copy(fetch.error)
        if fetch is not None and fetch.state == FAILED:
            # The failed copy takes disk space as long as it is referenced. The file may be longer now.
            fetch = None
            self._drop(task)
            self.quota.release(task)
        if fetch is None:
            if wanted.content:
                wanted = replace(self.sources.choose(task, wanted, address, now), wrong_fetches=self.sources.wrong(task))
            self.quota.admit(task, wanted, address)
            self._names.add(task, wanted)
            self._counts["triggered"] += 1
            if (span := self._spans.pop(task, None)) is not None:
                span.end()
            span = tracing.begin("dfengine-supernode", "fetch", wanted.traceparent, tracing.CLIENT, task=self._names.public_name(task),
                                 url=wanted.url)
            if span is not tracing.NONE:
                self._spans[task], wanted = span, replace(wanted, traceparent=span.traceparent)
            try:
                fetch = self.fetch_pool.start(task, wanted, address)
            except BaseException:  # else the fetch would stay WAITING for ever, with its charge
                self.forget(task)
                raise
            self._started[task] = now
            self._events.info("fetch_started", task=task, url=wanted.url, client=address)
            self._registry.used[task] = self.validated[task] = now
            self._heads[task] = self._loop.create_future()
        elif fetch.state == SUCCESS and not fetch.request.content and not fetch.revalidating and self._is_old(fetch, now):
            self.validated[task] = now
            self._heads[task] = self._loop.create_future()
            self.fetch_pool.revalidate(fetch, self._validated, address)
        if (head := self._heads.get(task)) is not None:
            try:
                await asyncio.wait_for(asyncio.shield(head), min(HEAD_SECONDS, until - self._loop.time()))
            except TimeoutError:
                if fetch.state == SUCCESS and task in self._swarm.tasks:
                    return fetch  # a long comparison with the origin's version: the task's downloads continue during it
                raise OriginBusy(fetch.retry_reason or "the origin has not answered yet") from None
        given_up = RemoteError("the task was dropped in the meantime: register again")
        if fetch.stopped and self.fetch_pool.fetches.get(task) is not fetch:
            raise given_up
        if fetch.state == FAILED:
            assert fetch.error is not None
            # Raise a copy: a raised exception references the frames it passes, and so the fetch and its file on a disk that may be full.
            raise copy(fetch.error)
        self.refusals.check(task, self._loop.time())
        if task not in self._swarm.tasks:
            raise given_up
        return fetch

    def _is_old(self, fetch: Fetch, now: float) -> bool:
        """Whether the copy has to be revalidated at its origin."""
        interval = self.revalidate_interval * fetch.revalidate_factor
        if fetch.last_listing.refused:
            interval = min(interval, REFUSED_RETRY)
        return now - self.validated.get(fetch.task, -math.inf) > interval

    def _validated(self, fetch: Fetch) -> None:
        self._head_received(fetch.task)
        self.mend(fetch)

    def _head_received(self, task: str) -> None:
        if (head := self._heads.pop(task, None)) is not None and not head.done():
            head.set_result(None)

    def mend(self, fetch: Fetch) -> None:
        """Fetch the pieces that an otherwise finished copy lacks."""
        if not (fetch.claim or fetch.revalidating) and fetch.state == SUCCESS and fetch.file is not None and missing_runs(fetch.file):
            self.fetch_pool.refetch_lost(fetch)

    def forget(self, task: str) -> None:
        """Remove the task from memory; its copy stays on disk."""
        self._end(task, "the task was removed: register again")
        self._head_received(task)
        fetch = self.fetch_pool.fetches.get(task)
        self._drop(task)
        if fetch is not None and fetch.claim is not None and task not in self.kept:
            self._cache.remove(task)
        self.quota.release(task)
        self.refusals.forget(task)

    def _drop(self, task: str) -> None:
        fetch = self.fetch_pool.fetches.get(task)
        self.fetch_pool.forget(task)
        if self.cluster is not None and fetch is not None and fetch.request.cluster_name:
            self.cluster.release(fetch.request.cluster_name)
        self._names.remove(task)
        if fetch is not None and fetch.claim is None:
            self.origin_counts.add_fetch(fetch.current_url, fetch.origin_requests, fetch.origin_bytes)
        self._registry.used.pop(task, None)
        self.validated.pop(task, None)
        self._started.pop(task, None)
        self._full_until.pop(task, None)
        if (span := self._spans.pop(task, None)) is not None:
            span.end("the task was removed")

    def _end(self, task: str, reason: str) -> None:
        if self._registry.end_task(task, reason):
            self._wake()

    def join(self, cluster: Cluster) -> None:
        """Follow the cluster's leaders of tasks, and share pauses and pins with the cluster."""
        self.cluster, self.cluster_names = cluster, ClusterNames(cluster.key, self.fetch_pool.own.may_sign)
        self.fetch_pool.cluster = cluster
        cluster_pauses.share(self.fetch_pool.pauses, cluster)
        cluster_pins.share(self.kept, cluster, self._loop.call_soon_threadsafe)
        cluster.on_lead_taken(lambda *lead: self._loop.call_soon_threadsafe(self.fetch_pool.lead_taken, *lead))
        cluster.start()

    def close(self) -> None:
        """Close at the end of the process; wait for the threads of fetches."""
        if self.cluster is not None:
            self.cluster.close()
        self.room.close()
        if self.written is not None:
            self.written.close()
        self.fetch_pool.close()

    # `copies.fetch.Events`, which describes each method

    def fetch_head(self, fetch: Fetch) -> None:
        self._counts["cache_hits"] += fetch.from_cache
        self._counts["cdn_downloads"] += fetch.reads_origin
        if fetch.reads_origin or fetch.from_cache:
            started = self._started.get(fetch.task)
            self._events.info("origin_responded" if fetch.reads_origin else "copy_revalidated", task=fetch.task, url=fetch.current_url,
                              length=fetch.geometry.length, seconds=self._loop.time() - started if started is not None else None)
        if fetch.leader:
            self._events.info("fetch_from_leader", task=fetch.task, leader=fetch.leader, length=fetch.geometry.length)
        self.refusals.forget(fetch.task)
        count = -1 if fetch.geometry.length < 0 else fetch.geometry.count
        if fetch.task not in self._swarm.tasks:
            lease = max(MIN_LEASE, fetch.geometry.piece_size / MIN_RATE)
            self._swarm.add_task(fetch.task, count, self._loop.time(), lease=lease)
        self._head_received(fetch.task)

    def fetch_took_lead(self, fetch: Fetch, before: str, rate: float, slower: float) -> None:
        self._events.info("leadership_taken", task=fetch.task, old_leader=before, rate=round(rate), old_leader_rate=round(slower))

    def fetch_redirects_hosts(self, fetch: Fetch, why: str) -> None:
        if self.cluster is None or not self.cluster.others:
            fetch.on_registered_again()
        elif fetch.task in self._swarm.tasks:
            self._events.info("hosts_redirected", task=fetch.task, reason=why)
            self._registry.redirect(fetch.task, fetch.on_registered_again)
            self._wake()

    def fetch_responded(self, fetch: Fetch, seconds: float) -> None:
        self._timings.first_bytes.observe(seconds)

    def fetch_piece(self, fetch: Fetch, n: int, seconds: float = -1) -> None:
        if seconds >= 0:
            self._timings.from_origin.observe(seconds)
        if fetch.task in self._swarm.tasks:
            self._swarm.cached(fetch.task, n, self._loop.time())
            self._wake()

    def fetch_pieces(self, fetch: Fetch, pieces: Bitset) -> None:
        if fetch.task in self._swarm.tasks:
            self._swarm.cached_all(fetch.task, pieces, self._loop.time())
            self._wake()

    def fetch_md5(self, fetch: Fetch, n: int) -> None:
        if fetch.task in self._swarm.tasks:
            self._swarm.legacy_ready(fetch.task, n, self._loop.time())
            self._wake()

    def _end_span(self, fetch: Fetch, error: object = None) -> None:
        span = self._spans.pop(fetch.task, None)
        if span is not None:
            span.add_attributes(from_origin=fetch.origin_bytes, requests=fetch.origin_requests, revalidated=fetch.from_cache)
            span.end(error)

    def fetch_ended(self, fetch: Fetch) -> None:
        self._end_span(fetch)
        started = self._started.pop(fetch.task, None)
        if started is not None:
            self._events.info("fetch_finished", task=fetch.task, url=fetch.current_url, length=fetch.geometry.length,
                              from_origin=fetch.origin_bytes, requests=fetch.origin_requests, seconds=self._loop.time() - started)
        if self.written is not None:
            self.written.enqueue(fetch)
        if fetch.task in self._swarm.tasks:
            geometry = fetch.geometry

            def conclude() -> None:
                self._swarm.set_count(fetch.task, geometry.count)
                self._wake()

            if self._swarm.tasks[fetch.task].count < 0:
                self._registry.end_length_mismatches(fetch.task, geometry.length, conclude)
            else:
                conclude()

    def fetch_damaged(self, fetch: Fetch, n: int) -> None:
        """Events: have piece n fetched again, by the running thread if there is one."""
        self._counts["damaged_pieces"] += 1
        self._events.warning("piece_damaged", task=fetch.task, piece=n)
        if fetch.task in self._swarm.tasks and n < self._swarm.tasks[fetch.task].size:
            self._swarm.uncached(fetch.task, n, self._loop.time())
        self.mend(fetch)

    def fetch_failed(self, fetch: Fetch) -> None:
        """Events: fail the task for all its downloads; a second call does nothing."""
        if fetch.failure_reported:
            return
        fetch.failure_reported = True
        self._end_span(fetch, error := fetch.error)
        self._counts["cdn_failed"] += 1
        self._started.pop(fetch.task, None)
        self._events.warning("fetch_failed", task=fetch.task, url=fetch.current_url, reason=str(error), from_origin=fetch.origin_bytes)
        self._counts["cdn_downloads_failed"] += fetch.file is not None
        self.origin_counts.failed(fetch.current_url, str(error), time.time())
        if isinstance(error, DiskFull):
            self._full_until[fetch.task] = self._loop.time() + FULL_RETRY
            if self.cluster is not None and fetch.request.cluster_name:
                self.cluster.release(fetch.request.cluster_name)  # a supernode with space for the file may read its origin
        if fetch.request.content and isinstance(error, DigestMismatch):
            self.sources.report_wrong_digest(fetch.task, fetch.current_url, fetch.address, self._loop.time())
        self.quota.mark_failed(fetch.task)
        if isinstance(error, OriginError) and not isinstance(error, OriginForbidden | OriginChanged) and fetch.file is None:
            fetch.error = copy(error)
            fetch.error.args = (self._refused(fetch, error),)
        if fetch.request.tree is not None and isinstance(error, OriginError) and (error.path or isinstance(error, OriginChanged)):
            self._outdate(fetch.request, error)
        self._end(fetch.task, str(error))
        self._head_received(fetch.task)

    def _outdate(self, wanted: FetchRequest, error: OriginError) -> None:
        """Have the next request for a tree's manifest make a new one: the data is not as the manifest states."""
        for each in self.fetch_pool.fetches.values():
            tree = each.request.tree
            if tree is not None and tree.part == MANIFEST and each.request.url == wanted.url:
                self.validated[each.task] = -math.inf
                if error.path and error.status and each.request.headers == wanted.headers:
                    each.last_listing.report_refusal(error.path, error.status)

    def fetch_refused(self, fetch: Fetch, error: OriginError) -> None:
        """Let running downloads finish from the copy; refuse new ones while the refusal is cached, then ask the origin again."""
        self.validated.pop(fetch.task, None)
        self._events.warning("origin_refused", task=fetch.task, url=fetch.request.url, reason=str(error))
        self.origin_counts.failed(fetch.request.url, str(error), time.time())
        self._refused(fetch, error, fetch.request.same_for_all)

    def _refused(self, fetch: Fetch, error: OriginError, for_all: bool = False) -> str:
        return self.refusals.remember(fetch.task, fetch.request.url, error.status, str(error), self._loop.time(), for_all)

    def fetch_renewed(self, fetch: Fetch) -> None:
        self._started[fetch.task] = self._loop.time()
        self._events.info("origin_changed", task=fetch.task, url=fetch.request.url)
        self._end(fetch.task, "the file changed at its origin: download it again")
        if fetch.task not in self._heads:
            self._heads[fetch.task] = self._loop.create_future()  # new registrations wait for the head of the new generation

    # `copies.eviction.Usage`, which describes each method

    def eviction_rank(self, task: str) -> int:
        """0: no download uses the copy. 1: all its downloads have the whole file, or it is kept for a time. 2: it must stay."""
        fetch = self.fetch_pool.fetches.get(task)
        if (fetch is not None and fetch.state in UNENDED) or self.kept.is_pinned(task):
            return 2
        state = self._swarm.tasks.get(task)
        # A failed copy serves no pieces, even to downloads that are registered for it.
        if state is None or not state.downloads or (fetch is not None and fetch.state == FAILED):
            return 1 if task in self.kept else 0
        return 2 if state.unfinished else 1

    def running(self, task: str) -> bool:
        return (fetch := self.fetch_pool.fetches.get(task)) is not None and fetch.state == RUNNING

    def drop(self, task: str) -> bool:
        """Usage: remove the task from memory and disk, unless it must stay by now."""
        if self.eviction_rank(task) == 2:
            return False
        if task in self.fetch_pool.fetches:
            self.forget(task)
        self.remove(task)
        return True

    def remove(self, task: str) -> None:
        """Remove a task's copy from the disk, even if it is pinned or kept for a time."""
        self.kept.drop(task)
        self._cache.remove(task)
