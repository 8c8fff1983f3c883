"""Limits the memory of running directory listings, in total per client: the number of entries that are held at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dfengine.errors import OriginBusy
from dfengine.net.client_quota import SHARE, Quota
from dfengine.origin.listing_names import Limits

MEMORY_MIB = 256
"""MiB that the entries of listings may use until their manifests are made; a client has a share of it."""

LIMITS = Limits(entries=200_000, pages=20_000, page_bytes=4 << 20)
"""Limits of one listing."""


class ListingBudget:
    """Memory of all running listings. share: percent of it for one client. In any thread."""

    def __init__(self, share: int = SHARE) -> None:
        self._lock = threading.Lock()
        self._quota = Quota(MEMORY_MIB, share)

    @contextmanager
    def listing(self, address: str) -> Iterator[Limits]:
        """Yield limits of a listing for the client at `address`; they raise OriginBusy when its listings use too much."""
        taken = spent = 0

        def spend(count: int) -> None:
            nonlocal taken, spent
            spent += count
            more = spent // (1 << 20) - taken
            with self._lock:
                if more > 0 and not self._quota.acquire(address, more):
                    raise OriginBusy("other directories are being listed for this client")
            taken += max(0, more)

        try:
            yield LIMITS.replace(spend=spend)
        finally:
            with self._lock:
                self._quota.release(address, taken)
