"""Histograms of durations: pieces by the kind of their source, pulls, responses of origins, downloads by size. Pure.

Events of each piece or pull are counted where they are decided (`swarm/leases`, `parked_pulls`); this module has the buckets and names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import HistogramMetricFamily, Metric

from dfengine.histogram import Histogram, cumulative
from dfengine.supernode.swarm.leases import PIECE_BOUNDS, Leases

if TYPE_CHECKING:
    from collections.abc import Sequence

PULLS = 0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0
"""Seconds until a pull is answered; pulls that are answered at once count as 0."""

FIRST_BYTES = 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0
"""Seconds until the head of an origin's response."""

DOWNLOADS = 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0
"""Seconds of a successful download."""

SIZES = {"1MiB": 1 << 20, "16MiB": 16 << 20, "256MiB": 256 << 20, "4GiB": 4 << 30}
"""Class of a file's length -> the largest length in it."""

LARGER = "larger"
"""The class of all larger files."""


class Timings:
    """The histograms of one supernode. Used on the loop's thread."""

    def __init__(self) -> None:
        self.parked = Histogram(PULLS)
        """Parked pulls."""
        self.first_bytes = Histogram(FIRST_BYTES)
        self.from_origin = Histogram(PIECE_BOUNDS)
        """Pieces that were written to copies."""
        self.downloads = {name: Histogram(DOWNLOADS) for name in (*SIZES, LARGER)}

    def downloaded(self, length: float, seconds: float) -> None:
        """Note a successful download of `length` bytes."""
        self.downloads[next((name for name, most in SIZES.items() if length <= most), LARGER)].observe(seconds)

    def families(self, leases: Leases, at_once: int) -> Iterator[Metric]:
        """Yield the metrics for an exposition. leases: of the swarm. at_once: pulls that were answered without being parked."""
        pieces = HistogramMetricFamily(
            "dfengine_piece_duration_seconds",
            "From a piece's assignment until its receiver reports it; from an origin: until the supernode has it",
            labels=["source"],
        )
        for source, (counts, seconds) in (("supernode", leases.times(False)), ("peer", leases.times(True)),
                                          ("origin", (self.from_origin.counts, self.from_origin.total))):  # fmt: skip
            pieces.add_metric([source], cumulative(PIECE_BOUNDS, counts), seconds)
        yield pieces
        pulls = [self.parked.counts[0] + at_once, *self.parked.counts[1:]]
        yield _plain("pull_duration_seconds", "Until a pull is answered", PULLS, pulls, self.parked.total)
        first = self.first_bytes
        yield _plain("origin_first_byte_seconds", "Until an origin's response begins", FIRST_BYTES, first.counts, first.total)
        downloads = HistogramMetricFamily("dfengine_download_duration_seconds", "Successful downloads by length", labels=["size"])
        for name, each in self.downloads.items():
            downloads.add_metric([name], each.buckets(), each.total)
        yield downloads


def _plain(name: str, text: str, bounds: Sequence[float], counts: Sequence[int], total: float) -> Metric:
    return HistogramMetricFamily(f"dfengine_{name}", text, cumulative(bounds, counts), total)
