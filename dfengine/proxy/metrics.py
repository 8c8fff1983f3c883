"""The proxy's `/metrics` in Prometheus's format. prometheus_client is imported at the first request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dfengine.about import VERSION

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from dfengine.proxy.blobs.blobs import Blobs
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.requests import Head

PATH = b"/metrics"
OURS = "dfengine_proxy_"
TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def answer(client: ClientConnection, head: Head, blobs: Blobs, connections: int) -> bool:
    """Answer a request for the metrics; False for any other request. connections: open connections of clients."""
    if head.target != PATH or head.method not in ("GET", "HEAD"):
        return False
    client.send_response(200, exposition(blobs, connections), [(b"Content-Type", TYPE)])
    return True


def exposition(blobs: Blobs, connections: int) -> bytes:
    """All metric families in the exposition format."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    class Families:
        def collect(self) -> Iterator[Metric]:
            return _families(blobs, connections)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Families())
    ProcessCollector(registry=registry)
    return generate_latest(registry)


def _families(blobs: Blobs, connections: int) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    counts = blobs.counts
    build = GaugeMetricFamily(OURS + "build_info", "The running version", labels=["version"])
    build.add_metric([VERSION], 1)
    yield build
    answers = CounterMetricFamily(OURS + "responses", "Responses whose head was sent", labels=["code"])
    for status, count in counts.answers.items():
        answers.add_metric([str(status)], count)
    yield answers
    received = CounterMetricFamily(OURS + "received_bytes", "Bytes of files fetched completely and verified, by source", labels=["source"])
    for source, count in counts.bytes.items():
        received.add_metric([source.removeprefix("from_")], count)
    yield received
    for name, text, value in (
        ("fetches_started", "Files whose fetch began", counts.started),
        ("fetches_failed", "Files whose fetch failed, or whose digest was wrong", counts.failed),
        ("cache_hits", "Responses with a file that was complete on the disk", counts.sent_from_disk),
        ("passed_through", "Files that were requested from their server, past the swarm", counts.passed_on),
        ("damaged_files", "Files on the disk that another program changed, or that the disk damaged", counts.changed),
        ("tokens_refused", "Requests without the token of this proxy", counts.refused),
    ):
        yield CounterMetricFamily(OURS + name, text, value)
    for name, text, gauge in (
        ("connections", "Connections of clients", connections),
        ("fetches_in_progress", "Files that are being fetched, or were until a moment ago", blobs.open_count),
        ("disk_full", "1 while no file is fetched because the disk is full", int(blobs.full)),
        ("disk_free_bytes", "Free space on the disk of files", blobs.store.free_bytes()),
    ):
        yield GaugeMetricFamily(OURS + name, text, gauge)
    fetched = counts.fetched
    yield HistogramMetricFamily(OURS + "fetch_duration_seconds", "Seconds until a file is verified", fetched.buckets(), fetched.total)
