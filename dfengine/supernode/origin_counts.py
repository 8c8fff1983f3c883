"""Requests, bytes and errors per origin, of fetches that are no longer in memory, and the latest error of each origin. Pure.

An origin is named by the start of its URLs: scheme, host and port, or the bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

from dfengine.task import redacted, shown

MAX_ORIGINS = 1000
"""Origins in memory; the least recently changed one is dropped first."""

MAX_TEXT = 300
"""Characters of an error, and of an origin's name."""


def origin_name(url: str) -> str:
    """Return `scheme://host:port` of a URL, without user name and password."""
    scheme, colons, rest = url.partition("://")
    found = shown(f"{scheme}{colons}{rest.partition('/')[0].partition('?')[0].partition('#')[0]}") if colons else scheme
    return found[:MAX_TEXT]


@dataclass(slots=True)
class OriginTotals:
    """Sums over fetches that left memory. errors: of all fetches. at: Unix seconds of the last error, 0 for none."""

    requests: int = 0
    bytes: int = 0
    errors: int = 0
    error: str = ""
    at: float = 0.0


class OriginCounts:
    """Counts by the name of the origin."""

    def __init__(self) -> None:
        self.origins: dict[str, OriginTotals] = {}

    def failed(self, url: str, reason: str, at: float) -> None:
        """Count a failed fetch, or a file that the origin refused. at: Unix seconds."""
        totals = self._of(url)
        totals.errors, totals.error, totals.at = totals.errors + 1, redacted(reason)[:MAX_TEXT], at

    def add_fetch(self, url: str, requests: int, count: int) -> None:
        """Add a fetch that leaves memory, which sent `requests` requests and read `count` bytes."""
        totals = self._of(url)
        totals.requests += requests
        totals.bytes += count

    def _of(self, url: str) -> OriginTotals:
        name = origin_name(url)
        totals = self.origins.pop(name, None) or OriginTotals()
        self.origins[name] = totals
        while len(self.origins) > MAX_ORIGINS:
            self.origins.pop(next(iter(self.origins)))
        return totals
