"""Per-client shares of a limited quantity, so that no client gets all of it. Pure."""

from __future__ import annotations

from dfengine.task import client_of

SHARE = 75
"""Default percent of the total for one client: many hosts may be behind one address, but other clients need a share as well."""


class Quota:
    """Amounts by client. total: the quantity. percent: of it, for one client, at least 1. `task.client_of` maps addresses to clients."""

    def __init__(self, total: int, percent: int = SHARE) -> None:
        self.limit = max(1, total * percent // 100)
        """Maximum amount of one client."""
        self._amounts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._amounts)

    def largest(self) -> str:
        """The client with the largest amount; "" if no client has any."""
        return max(self._amounts, key=self._amounts.__getitem__, default="")

    def amount_of(self, address: str) -> int:
        """Amount of the client at `address`."""
        return self._amounts.get(client_of(address), 0)

    def full(self, address: str) -> bool:
        """Whether the client at `address` has its maximum."""
        return self._amounts.get(client_of(address), 0) >= self.limit

    def acquire(self, address: str, amount: int = 1) -> bool:
        """Add `amount` for the client at `address`. False, without a change, if that exceeds its maximum."""
        client = client_of(address)
        taken = self._amounts.get(client, 0) + amount
        if taken > self.limit:
            return False
        if taken:
            self._amounts[client] = taken
        return True

    def add(self, address: str, amount: int) -> None:
        """Add `amount` for the client at `address` without a limit; the caller has checked that it is not `full`."""
        client = client_of(address)
        self._amounts[client] = self._amounts.get(client, 0) + amount

    def replace(self, address: str, before: int, now: int) -> int:
        """Replace a client's amount `before` by `now` and return `now`; if that exceeds its maximum, only release `before` and return 0."""
        self.release(address, before)
        return now if self.acquire(address, now) else 0

    def release(self, address: str, amount: int = 1) -> None:
        """Release an amount that `acquire` added."""
        client = client_of(address)
        left = self._amounts.get(client, 0) - amount
        if left:
            self._amounts[client] = left
        else:
            self._amounts.pop(client, None)


class BoundedQuota(Quota):
    """A Quota whose amounts together are at most `total` as well: several clients, or addresses of one, do not exceed it."""

    def __init__(self, total: int, percent: int = SHARE) -> None:
        super().__init__(total, percent)
        self._total = max(1, total)
        self._sum = 0

    def full(self, address: str) -> bool:
        """Whether the client at `address`, or all clients together, have their maximum."""
        return self._sum >= self._total or super().full(address)

    def acquire(self, address: str, amount: int = 1) -> bool:
        """Add `amount` for the client at `address`. False, without a change, if that exceeds its maximum, or the total."""
        if self._sum + amount > self._total or not super().acquire(address, amount):
            return False
        self._sum += amount
        return True

    def add(self, address: str, amount: int) -> None:
        """See Quota."""
        super().add(address, amount)
        self._sum += amount

    def release(self, address: str, amount: int = 1) -> None:
        """See Quota."""
        super().release(address, amount)
        self._sum -= amount
