"""Shares of a limited quantity: how much each client holds, so that no client gets all of it. Pure."""

from __future__ import annotations

from dfengine.task import client_of

SHARE = 75
"""Percent of what there is that one client has at most, by default: hosts behind one address are many, but others come as well."""


class Quota:
    """total: how much there is. percent: of it, for one client; at least one for each. An address is counted as `task.client_of` says."""

    def __init__(self, total: int, percent: int = SHARE) -> None:
        self.most = max(1, total * percent // 100)
        """What one client may have."""
        self._taken: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def largest(self) -> str:
        """The client that has most; "" if none has any."""
        return max(self._taken, key=self._taken.__getitem__, default="")

    def of(self, address: str) -> int:
        """What its client has."""
        return self._taken.get(client_of(address), 0)

    def full(self, address: str) -> bool:
        """Its client has all it may have."""
        return self._taken.get(client_of(address), 0) >= self.most

    def acquire(self, address: str, amount: int = 1) -> bool:
        """So much more for its client; False, and nothing taken: that is more than it may have."""
        client = client_of(address)
        taken = self._taken.get(client, 0) + amount
        if taken > self.most:
            return False
        if taken:
            self._taken[client] = taken
        return True

    def add(self, address: str, amount: int) -> None:
        """So much more for its client, which the caller found not `full`."""
        client = client_of(address)
        self._taken[client] = self._taken.get(client, 0) + amount

    def change(self, address: str, before: int, now: int) -> int:
        """`now` in place of the `before` that its client took: `now`, or 0 where that is more than it may have and nothing is left."""
        self.release(address, before)
        return now if self.acquire(address, now) else 0

    def release(self, address: str, amount: int = 1) -> None:
        """What `acquire` gave."""
        client = client_of(address)
        left = self._taken.get(client, 0) - amount
        if left:
            self._taken[client] = left
        else:
            self._taken.pop(client, None)
