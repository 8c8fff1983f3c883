"""Counts requests that wait or are in progress: in total, per client, and apart those that may change something. On the loop's thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from dfengine.net.client_quota import SHARE, Quota
from dfengine.net.http import BadRequest


class Caller(NamedTuple):
    """Who sent a request. may_change: see ConsoleToken.changes."""

    address: str = ""
    may_change: bool = False


class RequestLimits:
    """most: requests in total. share: percent of these for one client. refusal: the text for further requests.

    Requests that may change something have as many places of their own: clients without the token cannot keep administrators out, not even
    from the same address.
    """

    def __init__(self, most: int, refusal: str, share: int = SHARE) -> None:
        self._most, self._refusal = most, refusal
        self._counts = {False: 0, True: 0}
        self._shares = {False: Quota(most, share), True: Quota(most, share)}

    @property
    def count(self) -> int:
        """Number of the requests of both kinds."""
        return sum(self._counts.values())

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Count a request until the end of the `with` block. Raises BadRequest if no place is left for it."""
        kind, quota = caller.may_change, self._shares[caller.may_change]
        if self._counts[kind] >= self._most or not quota.acquire(caller.address):
            raise BadRequest(429, self._refusal)
        self._counts[kind] += 1
        try:
            yield
        finally:
            self._counts[kind] -= 1
            quota.release(caller.address)
