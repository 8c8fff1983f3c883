"""The metrics of Dragonfly 1.x that are counted per event, with the names, labels and buckets of its documentation.

`metrics` adds the metrics that are read from the state. Labels that a client chooses have few values (`label_values`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from dfengine.histogram import Histogram
from dfengine.supernode.label_values import OTHER, Count, Labels, Series, label, number

if TYPE_CHECKING:
    from dfengine.net.http import Request, Response

DFGET = "dragonfly_dfget_"
SUPERNODE = "dragonfly_supernode_"

MAX_DOWNLOADERS = 100
"""Pairs of callsystem and peer that have their own series."""

MAX_SYSTEMS = 20
"""Calling systems that have their own series."""

MAX_PEERS = 50
"""Peers that have their own histogram."""

EACH = 25
"""Percent of these series for one client."""

SIZES = tuple(100.0 * 10**n for n in range(8))
"""Bytes of requests and responses."""

LATENCIES = 0.1, 0.2, 0.4, 1.0, 3.0, 8.0, 20.0, 60.0, 120.0
"""Seconds until a response."""

DURATIONS = 10.0, 30.0, 60.0, 120.0, 300.0, 600.0
"""Seconds that a download takes."""

MAX_DOWNLOAD, MAX_FILE = 1e9, 1 << 62
"""Seconds and bytes: larger values in a download's report are ignored."""

SCHEDULES = tuple(0.02 * 2**n for n in range(6))
"""Milliseconds that a choice of pieces takes."""

EXCLUDED_ROUTES = frozenset(("/swarm/pull",))
"""Routes without histograms: most of these requests are answered without being decoded, or are parked on purpose."""


class Handler:
    """Histograms of one route: seconds, and bytes of its requests and responses."""

    __slots__ = ("answers", "requests", "seconds")

    def __init__(self) -> None:
        self.seconds, self.requests, self.answers = Histogram(LATENCIES), Histogram(SIZES), Histogram(SIZES)


class Downloader:
    """Downloads that reported their result; seconds and bytes are of the successful ones."""

    __slots__ = ("bytes", "downloads", "seconds")

    def __init__(self) -> None:
        self.seconds = Histogram(DURATIONS)
        self.downloads = self.bytes = 0.0


class LegacyCounts:
    """The per-event metrics of 1.x of one supernode."""

    def __init__(self) -> None:
        systems = Labels(MAX_SYSTEMS, EACH)
        downloaders = Labels(MAX_DOWNLOADERS, EACH)
        self._handlers: dict[str, Handler] = {}
        self._registered = Series(Count, systems)
        self._failed = Series(Count, systems)
        self._downloaders = Series(Downloader, downloaders)
        self._failures = Series(Count, Labels(MAX_DOWNLOADERS, EACH))
        self._schedules = Series(partial(Histogram, SCHEDULES), Labels(MAX_PEERS, EACH))

    def registered(self, call_system: str, client: str) -> None:
        """Count a registration. client: the address that it came from."""
        self._registered.at((call_system,), client).value += 1

    def scheduled(self, peer: str, seconds: float, client: str) -> None:
        """Note the time that the choice of pieces took for a 1.x pull of the peer at this address."""
        self._schedules.at((peer,), client).observe(seconds * 1000)

    def reported(self, fields: dict[str, Any], client: str) -> None:
        """Count a download's report. fields: of `POST /task/metrics`, names in lower case, unchecked."""
        peer, system = _text(fields.get("ip")) or client, _text(fields.get("callsystem"))
        who = self._downloaders.at((system, peer), client)
        who.downloads += 1
        if fields.get("success") is True:
            who.seconds.observe(number(fields.get("duration"), MAX_DOWNLOAD))
            who.bytes += number(fields.get("filelength"), MAX_FILE)
            return
        self._failed.at((system,), client).value += 1
        reason = _text(fields.get("backsourcereason")) or "0"
        # 1.x's reasons are small numbers; other clients send any text.
        reason = reason if reason.isascii() and reason.isdigit() and len(reason) < 4 else OTHER
        self._failures.at((system, peer, reason), client).value += 1

    def answered(self, route: str, seconds: float, request_size: int, answer: Response | None) -> None:
        """Note the response to a request of `request_size` bytes; None: the client disconnected before it."""
        if route in EXCLUDED_ROUTES:
            return
        handler = self._handlers.get(route)
        if handler is None:
            handler = self._handlers[route] = Handler()
        handler.seconds.observe(seconds)
        handler.requests.observe(request_size)
        handler.answers.observe(len(answer.body) if answer is not None else 0)

    def families(self) -> Iterator[Metric]:
        """Yield the metrics for an exposition."""
        for name, text, series in (
            ("dfgettasks_registered", "Registrations", self._registered), ("dfgettasks_failed", "Downloads that failed", self._failed),
        ):
            counter = CounterMetricFamily(SUPERNODE + name, text, labels=["callsystem"])
            for labels, count in series.items():
                counter.add_metric(labels, count.value)
            yield counter
        yield _histogram(SUPERNODE + "schedule_duration_milliseconds", "Time of a choice of pieces", ["peer"], self._schedules.items())
        for part, name, text in (
            ("seconds", "http_request_duration_seconds", "Time until the answer"),
            ("requests", "http_request_size_bytes", "Size of requests with their heads"),
            ("answers", "http_response_size_bytes", "Size of answers without their heads"),
        ):
            found = [((handler(route),), getattr(value, part)) for route, value in self._handlers.items()]
            yield _histogram(SUPERNODE + name, text, ["handler"], found)
        yield from self._downloads()

    def _downloads(self) -> Iterator[Metric]:
        who = ["callsystem", "peer"]
        found = self._downloaders.items()
        yield _histogram(DFGET + "download_duration_seconds", "Time of downloads that succeeded", who,
                         [(labels, each.seconds) for labels, each in found])
        for name, text, part in (
            ("download", "Downloads that reported their result", "downloads"),
            ("download_size_bytes", "Bytes of successful downloads", "bytes"),
        ):
            counter = CounterMetricFamily(DFGET + name, text, labels=who)
            for labels, each in found:
                counter.add_metric(labels, getattr(each, part))
            yield counter
        failed = CounterMetricFamily(DFGET + "download_failed", "Failed downloads", labels=[*who, "reason"])
        for labels, count in self._failures.items():
            failed.add_metric(labels, count.value)
        yield failed


def handler(route: str) -> str:
    """Return 1.x's name of a route: a route that is followed by an id ends in {id}."""
    return f"{route}{{id}}" if route.endswith("/") and route not in ("/", "/api/v1/") else route


def size_of(request: Request) -> int:
    """Return the approximate number of bytes of a request, including its head."""
    head = sum(len(name) + len(value) + 4 for name, value in request.headers.items())
    return len(request.method) + len(request.target) + 12 + head + len(request.body)


def _histogram(name: str, text: str, labels: list[str], found: Sequence[tuple[tuple[str, ...], Histogram]]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, each in found:
        family.add_metric(values, each.buckets(), each.total)
    return family


def _text(value: object) -> str:
    """Return a value as a label; "" for a value that is not text."""
    return label(value) if isinstance(value, str) else ""
