"""Figures of origins, summed over their fetches, including those that are no longer in memory."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dfengine.copy_states import RUNNING
from dfengine.supernode.console.api_types import OriginRow
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.origin_counts import MAX_ORIGINS, OriginTotals, origin_name
from dfengine.task import redacted

if TYPE_CHECKING:
    from dfengine.supernode.console.queries import OriginQuery
    from dfengine.supernode.console.rates import Rates
    from dfengine.supernode.copies.origin_pauses import Pause


class OriginFigures:
    """The figures of one walk over all fetches. totals: by name. Origins beyond MAX_ORIGINS are left out."""

    def __init__(self, totals: Mapping[str, OriginTotals], rates: Rates) -> None:
        self._rates = rates
        self._rows: dict[str, OriginRow] = {}
        for name, each in totals.items():
            row = self._row(name)
            row.requests, row.bytes, row.errors = each.requests, each.bytes, each.errors
            row.last_error, row.last_error_at = each.error, each.at

    def _row(self, name: str) -> OriginRow:
        return self._rows.setdefault(name, OriginRow(
            origin=name, tasks=0, reading=0, requests=0, bytes=0, rate=None, errors=0, retries=0, last_error="", last_error_at=0.0,
            waits="", asks_at=0.0, direct=0,
        ))  # fmt: skip

    def add(self, fetch: Fetch) -> None:
        """Add a fetch, unless it is of shared content, which has no origin."""
        name = origin_name(fetch.current_url)
        if fetch.claim is not None or (name not in self._rows and len(self._rows) >= MAX_ORIGINS):
            return
        row = self._row(name)
        row.tasks += 1
        row.reading += fetch.state == RUNNING or fetch.revalidating
        row.requests += fetch.origin_requests
        row.bytes += fetch.origin_bytes
        row.retries += fetch.origin_errors
        if fetch.retry_reason and fetch.retry_at > row.asks_at and fetch.retry_at > time.time():
            row.waits, row.asks_at = redacted(fetch.retry_reason)[:300], fetch.retry_at

    def rows(self, now: float, direct: Mapping[str, int], pauses: Mapping[str, Pause]) -> list[OriginRow]:
        """Return all rows. now: loop seconds. direct: `host:port` -> downloads that may read that origin themselves. pauses: of paused
        origins."""
        for key, pause in pauses.items():
            name = key if key in self._rows else re.sub("^(http://.*):80$|^(https://.*):443$", r"\1\2", key)
            if name in self._rows or len(self._rows) < MAX_ORIGINS:
                row = self._row(name)
                row.waits, row.asks_at = redacted(pause.reason)[:300], time.time() + pause.until - now
        for name, row in self._rows.items():
            row.rate = self._rates.rate(("at", name), row.bytes, now)
            scheme, _, place = name.partition("://")
            port = {"http": 80, "https": 443}.get(scheme)
            row.direct = direct.get(place, 0) or (direct.get(f"{place}:{port}", 0) if port else 0)
        return list(self._rows.values())


def matches(query: OriginQuery, found: OriginRow) -> bool:
    """Whether an origin matches the query."""
    return query.q.lower() in found.origin.lower()
