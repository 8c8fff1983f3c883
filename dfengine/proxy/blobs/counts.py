"""What a proxy counts as things happen. Pure; `proxy/metrics.py` tells it to Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0
"""Of a file, from the first request for it until all of it is here and right."""

SOURCES = "from_peers", "from_supernode", "from_origin", "from_host"
"""Fields of what a finished download tells: bytes by source."""


class Counts:
    """Of one proxy. Used on the loop's thread."""

    def __init__(self) -> None:
        self.answers: dict[int, int] = {}
        """By HTTP status."""
        self.started = self.failed = self.given = self.passed_on = self.changed = self.refused = 0
        """Files whose fetch began; failed; that were whole on the disk and given away; that were asked of their server, past the swarm;
        that another program changed; requests without the proxy's token.
        """
        self.bytes = dict.fromkeys(SOURCES, 0)
        self.fetched = Histogram(SECONDS)
        """Those that came whole and right."""

    def answered(self, status: int) -> None:
        """An answer begins."""
        self.answers[status] = self.answers.get(status, 0) + 1

    def finished(self, transferred: Mapping[str, int | float]) -> None:
        """A file is whole and right. transferred: `seconds`, and bytes by source."""
        self.fetched.note(transferred.get("seconds", 0))
        for source in SOURCES:
            self.bytes[source] += int(transferred.get(source, 0))
