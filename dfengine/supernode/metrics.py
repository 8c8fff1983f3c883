"""Prometheus metrics with 1.x's names and dfengine's own. Events are counted in plain integers; a scrape collects them.

A supernode with many tasks and downloads is counted STEP objects at a time, with the loop's other work in between. All scrapes together
take at most SHARE of its time; beyond that they receive the result of the last scrape.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from time import monotonic
from typing import Any

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from dfengine.about import VERSION
from dfengine.copy_states import RUNNING, SUCCESS, WAITING
from dfengine.histogram import cumulative
from dfengine.net.loop_watch import BOUNDS, LoopWatch
from dfengine.net.piece_server import PieceServer
from dfengine.supernode.fastpath import Pulls
from dfengine.supernode.label_values import OTHER, label
from dfengine.supernode.legacy_metrics import SUPERNODE as THEIRS
from dfengine.supernode.legacy_metrics import handler
from dfengine.supernode.supernode_state import SupernodeState

OURS = "dfengine_"
STEP = 1000
"""Tasks, peers or downloads counted before the loop's other work runs."""

SAMPLES = 100
"""Samples of a family after which the loop's other work runs."""

SHARE, BURST = 0.05, 0.5
"""Share of the loop's time for all scrapes; seconds of that share that may accumulate."""

MAX_LABELS = 20
"""Values of the labels `callsystem` and `peer` in a gauge: those with the highest counts; all others are counted as OTHER."""

COUNTED = 1000
"""Values that are counted separately: those of the oldest downloads."""


@dataclass(frozen=True, slots=True)
class MetricSources:
    """Sources of figures besides the state. answers: (route, HTTP status) -> responses, without those that `plain` sent."""

    answers: dict[tuple[str, int], int]
    plain: Pulls
    pieces: PieceServer | None
    watch: LoopWatch | None


class _Walk:
    """Sums over all objects of the state, taken in steps; objects added or removed in between may be missing or included."""

    def __init__(self, state: SupernodeState) -> None:
        self.states: Counter[str] = Counter()
        self.systems: Counter[str] = Counter()
        self.downloads: Counter[tuple[str, str]] = Counter()
        """By callsystem and status."""
        self.peers: Counter[str] = Counter()
        self._state = state
        pool = state.fetch_pool
        self.origin_requests, self.origin_bytes = pool.past_requests, pool.past_bytes

    def _fetch(self, fetch: Any) -> None:
        self.states[fetch.state] += 1
        self.origin_requests += fetch.origin_requests
        self.origin_bytes += fetch.origin_bytes

    def _member(self, member: Any) -> None:
        system = _counted(self.systems, member.call_system)
        self.systems[system] += 1
        self.downloads[system, self._status(member)] += 1

    def _status(self, member: Any) -> str:
        """Return 1.x's status: WAITING for the first piece, SUCCESS with all pieces, else RUNNING."""
        task, cid = member.key
        state = self._state.swarm.tasks.get(task)
        download = state.downloads.get(cid) if state is not None else None
        if state is None or download is None or not (download.got or download.running):
            return WAITING
        return SUCCESS if download.got == state.count else RUNNING

    def _peer(self, key: Any) -> None:
        self.peers[_counted(self.peers, key[0])] += 1

    async def run(self) -> float:
        """Walk, and return the walk's own time in seconds, without the loop's other work."""
        state, spent = self._state, 0.0
        # Make all lists at one moment: the sums above already include the fetches that have left memory by then.
        walks: list[tuple[list[Any], Callable[[Any], None]]] = [
            (list(state.fetch_pool.fetches.values()), self._fetch), (list(state.members.values()), self._member),
            (list(state.swarm.peers.states), self._peer),
        ]
        for items, add in walks:
            for first in range(0, len(items), STEP):
                started = monotonic()
                for item in items[first : first + STEP]:
                    add(item)
                spent += monotonic() - started
                if len(items) > STEP:
                    await asyncio.sleep(0)
        return spent


class _Collector:
    def __init__(self, state: SupernodeState, served: MetricSources, walk: _Walk) -> None:
        self._state = state
        self._served = served
        self._walk = walk

    def collect(self) -> Iterator[Metric]:
        state, counts, walk, pieces = self._state, self._state.counts, self._walk, self._served.pieces
        system = os.uname()
        build = GaugeMetricFamily(THEIRS + "build_info", "The running version", labels=["version", "revision", "goversion", "arch", "os"])
        build.add_metric([VERSION, "", "", system.machine, system.sysname.lower()], 1)
        yield build
        yield _labelled("tasks", "Tasks by the state of their copy", "cdnstatus", walk.states.items())
        yield _labelled("peers", "Known peer servers", "peer", _most(walk.peers))
        downloads = GaugeMetricFamily(THEIRS + "dfgettasks", "Registered downloads", labels=["callsystem", "status"])
        for labels, count in _by_status(walk.systems, walk.downloads).items():
            downloads.add_metric(labels, count)
        yield downloads
        yield from state.legacy_counts.families()
        for name, text, value in (
            ("tasks_registered", "Registrations", counts["registered"]),
            ("cdn_trigger", "Fetches that were started", counts["triggered"]),
            ("cdn_trigger_failed", "Fetches that failed", counts["cdn_failed"]),
            ("trigger_cdn", "The same as cdn_trigger, by 1.x's former name", counts["triggered"]),
            ("trigger_cdn_failed", "The same as cdn_trigger_failed", counts["cdn_failed"]),
            ("cdn_cache_hit", "Fetches that found a copy", counts["cache_hits"]),
            ("cdn_download", "Fetches for which the origin sent pieces that the copy lacked", counts["cdn_downloads"]),
            ("cdn_download_failed", "Fetches of cdn_download that failed", counts["cdn_downloads_failed"]),
            ("gc_peers", "Downloads that were dismissed because they were silent", state.registry.silent),
            ("gc_tasks", "Idle tasks that were removed from memory", counts["idle_tasks"]),
            ("gc_disks", "Times that copies were removed to free disk space", state.fetches.room.evictions),
            ("pieces_downloaded_size_bytes", "The same as dfengine_sent_bytes", pieces.bytes_sent if pieces else 0),
        ):
            yield CounterMetricFamily(THEIRS + name, text, value)
        yield GaugeMetricFamily(THEIRS + "last_gc_disks_timestamp_seconds", "Time of the last gc_disks", state.fetches.room.evicted_at)
        requests = CounterMetricFamily(THEIRS + "http_requests", "Responses of the control port", labels=["code", "handler"])
        plain = Counter({("/swarm/pull", 200): self._served.plain.answered})
        for (route, code), count in (Counter(self._served.answers) + plain).items():
            requests.add_metric([str(code), handler(route)], count)
        yield requests
        yield from self._ours()
        yield from self._store()
        yield from self._cluster()
        # `pulls` counts a pull when it arrives, also one that is parked then.
        at_once = counts["pulls"] + self._served.plain.answered - state.parked.count
        yield from state.timings.families(state.swarm.leases, at_once)
        yield from self._loop()

    def _ours(self) -> Iterator[Metric]:
        state, counts, walk, pieces = self._state, self._state.counts, self._walk, self._served.pieces
        for name, text, value in (
            ("pulls", "Pulls, native and 1.x", counts["pulls"] + self._served.plain.answered),
            ("damaged_pieces", "Pieces of copies that were wrong on the disk, or unreadable, and were dropped", counts["damaged_pieces"]),
            ("back_to_source", "Downloads that fetched from the origin themselves", counts["back_to_source"]),
            ("downloads_finished", "Downloads that reported success", counts["finished_downloads"]),
            ("origin_requests", "Requests to origins", walk.origin_requests),
            ("origin_bytes", "Bytes from origins", walk.origin_bytes),
            ("sent_bytes", "Bytes that the download port sent", pieces.bytes_sent if pieces else 0),
            ("pieces_read_from_disk", "Pieces read from the disk before the download port sent them", pieces.loads if pieces else 0),
            ("pieces_from_supernode", "Pieces that downloads received from the supernode", state.swarm.leases.sent_by_supernode),
            ("pieces_from_peers", "Pieces that downloads received from peers", state.swarm.leases.sent_by_peers),
            ("internal_errors", "Requests that failed because of a defect of the supernode",
             counts["internal_errors"] + (pieces.failures if pieces else 0)),
        ):
            yield CounterMetricFamily(OURS + name, text, value)
        for name, text, value in (
            ("parked_pulls", "Pulls that wait for pieces", len(state.parked)),
            ("pieces_in_flight", "Pieces that are assigned and not yet reported", len(state.swarm.leases)),
            ("origin_leases", "Downloads with a lease of an origin", len(state.origins.leases)),
            ("origin_leases_pending", "Downloads that wait for a lease of an origin", len(state.origins)),
            ("origins_paused", "Paused origins: they asked for a pause, or refuse connections",
             len(state.fetch_pool.pauses.current(state.now()))),
            ("isolated_peers", "Peers that are not used as sources", len(state.swarm.peers.isolations)),
            ("unproved_peers", "Peers whose address is not verified yet", len(state.reachability)),
            ("disk_free_bytes", "Free space on the file system of the copies", state.cache.free_bytes()),
        ):
            yield GaugeMetricFamily(OURS + name, text, value)

    def _store(self) -> Iterator[Metric]:
        store, written = self._state.fetches.store, self._state.fetches.written
        if store is None or written is None:
            return
        for name, text, value in (
            ("store_read_bytes", "Bytes read from the object store", store.read_bytes),
            ("store_written_bytes", "Bytes of copies written to the object store", store.written_bytes),
            ("store_failures", "Failed requests to the object store", store.failures),
        ):
            yield CounterMetricFamily(OURS + name, text, value)
        yield GaugeMetricFamily(OURS + "store_writes_pending", "Copies that wait to be written to the object store", len(written))

    def _cluster(self) -> Iterator[Metric]:
        cluster = self._state.fetches.cluster
        if cluster is None:
            return
        yield GaugeMetricFamily(OURS + "cluster_members", "Other supernodes of the cluster, at the last update", len(cluster.others))
        yield GaugeMetricFamily(OURS + "cluster_redis_up", "1: Redis answered the last request", int(cluster.reached))
        yield GaugeMetricFamily(OURS + "cluster_tasks_led", "Tasks that this supernode leads", cluster.leads)
        yield CounterMetricFamily(OURS + "cluster_redis_failures", "Requests to Redis without a valid response", cluster.failures)
        yield GaugeMetricFamily(OURS + "cluster_notices_pending", "Notices not yet sent to the other supernodes", len(cluster.notices))
        yield CounterMetricFamily(OURS + "cluster_notices_refused", "Notices of others that are sealed by no known key, or old",
                                  cluster.notices.refused)

    def _loop(self) -> Iterator[Metric]:
        watch = self._served.watch
        if watch is None:
            return
        buckets = cumulative(BOUNDS, watch.counts)
        yield HistogramMetricFamily(OURS + "loop_blocked_seconds", "Times in which the loop did not poll its sockets", buckets, watch.total)
        for name, text, value in (
            ("loop_blocked_max_seconds", "Longest time of loop_blocked_seconds since the start", watch.longest),
            ("loop_blocked_max_cpu_seconds", "The same without the processor time of other processes", watch.longest_cpu),
        ):
            yield GaugeMetricFamily(OURS + name, text, value)


def _labelled(name: str, text: str, label: str, samples: Iterable[tuple[str, int]]) -> Metric:
    family = GaugeMetricFamily(THEIRS + name, text, labels=[label])
    for value, count in samples:
        family.add_metric([value], count)
    return family


def _counted(values: Counter[str], text: str) -> str:
    """Return the label value that `text` is counted as; bounded, since clients choose the text and each value is a series."""
    found = label(text)
    return found if found in values or len(values) < COUNTED else OTHER


def _most(counted: Counter[str]) -> list[tuple[str, int]]:
    """Return the largest MAX_LABELS counts, and OTHER for the rest."""
    most = counted.most_common(MAX_LABELS)
    rest = counted.total() - sum(count for _, count in most)
    found = Counter(dict(most))
    if rest:
        found[OTHER] += rest
    return list(found.items())


def _by_status(systems: Counter[str], downloads: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Return the counts by callsystem and status, bounded as in `_most`."""
    named = {system for system, _ in systems.most_common(MAX_LABELS)}
    found: Counter[tuple[str, str]] = Counter()
    for (system, status), count in downloads.items():
        found[system if system in named else OTHER, status] += count
    return found


class _Family:
    """One family as a registry: an exposition is the concatenation of its families' texts."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> Iterator[Metric]:
        yield self._family


class Scrapes:
    """Responses to `/metrics`. `clock`: monotonic seconds."""

    def __init__(self, state: SupernodeState, served: MetricSources, clock: Callable[[], float] = monotonic) -> None:
        self._state = state
        self._served = served
        self._clock = clock
        self._credit, self._at = BURST, clock()
        self._last = b""
        self._process = ProcessCollector(registry=None)
        self._rendering: asyncio.Task[bytes] | None = None

    def answer(self) -> bytes | asyncio.Future[bytes]:
        """Return the exposition, a new one while scrapes are within their share of the time, else the last. Never cancel the future."""
        now = self._clock()
        self._credit = min(BURST, self._credit + (now - self._at) * SHARE)
        self._at = now
        if self._rendering is None:
            if self._last and self._credit <= 0:
                return self._last
            self._rendering = self._state.loop.create_task(self._render())
        return self._rendering

    async def _render(self) -> bytes:
        try:
            walk = _Walk(self._state)
            spent, parts = await walk.run(), []
            families = chain(_Collector(self._state, self._served, walk).collect(), self._process.collect())
            started = self._clock()
            for family in families:
                parts.append(generate_latest(_Family(family)))
                spent += self._clock() - started
                if len(family.samples) > SAMPLES:
                    await asyncio.sleep(0)
                started = self._clock()
            self._last = b"".join(parts)
            self._credit -= spent
            return self._last
        finally:
            self._rendering = None
