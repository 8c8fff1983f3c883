"""Prometheus metrics: 1.x's names and ours. Counted as plain integers elsewhere and collected when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from dfengine.settings import VERSION
from dfengine.supernode.node import Node

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
THEIRS = "dragonfly_supernode_"
OURS = "dfengine_"


class _Collector:
    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        node, counts = self._node, self._node.counts
        build = GaugeMetricFamily(THEIRS + "build_info", "The running version", labels=["version"])
        build.add_metric([VERSION], 1)
        yield build
        tasks = GaugeMetricFamily(THEIRS + "tasks", "Tasks by the state of their copy", labels=["cdnstatus"])
        for state, count in Counter(fetch.state for fetch in node.cdn.fetches.values()).items():
            tasks.add_metric([state], count)
        yield tasks
        yield GaugeMetricFamily(THEIRS + "peers", "Peer servers that are known", node.swarm.totals().peers)
        downloads = GaugeMetricFamily(THEIRS + "dfgettasks", "Registered downloads", labels=["callsystem"])
        for system, count in Counter(member.call_system for member in node.members.values()).items():
            downloads.add_metric([system], count)
        yield downloads
        for name, text, value in (
            ("dfgettasks_registered", "Registrations", counts["registered"]),
            ("dfgettasks_failed", "Downloads that reported a failure", counts["failed_downloads"]),
            ("trigger_cdn", "Fetches that were begun", counts["triggered"]),
            ("trigger_cdn_failed", "Fetches that failed", counts["cdn_failed"]),
            ("cdn_cache_hit", "Fetches that found a copy", counts["cache_hits"]),
        ):
            yield CounterMetricFamily(THEIRS + name, text, value)
        requests = CounterMetricFamily(THEIRS + "http_requests", "Answers of the control port", labels=["code", "handler"])
        for (handler, code), count in (Counter(node.answers) + Counter({("/swarm/pull", 200): node.plain_pulls()})).items():
            requests.add_metric([str(code), handler], count)
        yield requests
        yield from self._ours()

    def _ours(self) -> Iterator[Metric]:
        node, counts, totals = self._node, self._node.counts, self._node.swarm.totals()
        for name, text, value in (
            ("pulls", "Pulls, native and 1.x", counts["pulls"] + node.plain_pulls()),
            ("back_to_source", "Downloads that went back to the origin", counts["back_to_source"]),
            ("downloads_finished", "Downloads that reported success", counts["finished_downloads"]),
            ("origin_requests", "Requests to origins", node.cdn.origin_requests),
            ("origin_bytes", "Bytes from origins", node.cdn.origin_bytes),
            ("sent_bytes", "Bytes that the download port sent", node.sent_bytes()),
            ("loaded_slices", "Pieces that came from the disk before the download port sent them", node.loaded_slices()),
            ("pieces_from_supernode", "Pieces that downloads had from the supernode", totals.sent_by_supernode),
            ("pieces_from_peers", "Pieces that downloads had from peers", totals.sent_by_peers),
        ):
            yield CounterMetricFamily(OURS + name, text, value)
        for name, text, value in (
            ("parked_pulls", "Pulls that wait for pieces", len(node.parked)),
            ("leases", "Pieces under way", totals.leases),
            ("origin_leases", "Downloads that may be at an origin by themselves", len(node.origins.leases)),
            ("origin_waiting", "Downloads that wait for it", len(node.origins)),
            ("isolated_peers", "Peers that are nobody's source", totals.isolated),
            ("free_bytes", "Room left for copies", node.cache.free()),
        ):
            yield GaugeMetricFamily(OURS + name, text, value)


def exposition(node: Node) -> bytes:
    """What a scrape gets."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(node))
    return generate_latest(registry)
