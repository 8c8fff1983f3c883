"""Counters of a proxy. Pure; `proxy/metrics.py` exports them to Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0
"""Buckets of the time of a file, from the first request for it until it is complete and verified."""

SOURCES = "from_peers", "from_supernode", "from_origin", "from_host"
"""Fields of a finished download's result: bytes by source."""


class Counts:
    """Counters of one proxy. Used on the loop's thread."""

    def __init__(self) -> None:
        self.answers: dict[int, int] = {}
        """Responses by HTTP status."""
        self.started = self.failed = self.sent_from_disk = self.passed_on = self.changed = self.refused = 0
        """Files whose fetch began; whose fetch failed; that were sent from the disk; that were passed on to their server, past the swarm;
        that another program changed; requests without the proxy's token.
        """
        self.bytes = dict.fromkeys(SOURCES, 0)
        self.fetched = Histogram(SECONDS)
        """Files that were fetched and verified."""

    def answered(self, status: int) -> None:
        """Count a response at its beginning."""
        self.answers[status] = self.answers.get(status, 0) + 1

    def finished(self, transferred: Mapping[str, int | float]) -> None:
        """Count a complete, verified file. transferred: `seconds`, and bytes by source."""
        self.fetched.observe(transferred.get("seconds", 0))
        for source in SOURCES:
            self.bytes[source] += int(transferred.get(source, 0))
