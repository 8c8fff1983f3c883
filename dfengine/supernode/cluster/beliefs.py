"""What a supernode may believe of its cluster, from what Redis told it and when. Pure.

Laws, while Redis keeps what is written to it:

1. No two supernodes lead a task at the same time. A supernode leads what was granted to it, as long as it is a member; it counts as one for
   TTL seconds from the moment before it last said so, and Redis for TTL from the moment after. A supernode that was no member for a while
   leads nothing that was granted before. A lead that is taken from a supernode that reads too slowly (`copies/slow_leader.py`) is an
   exception: the notice of it takes two beats at most, and both read the origin until then.
2. A task has a leader again TTL seconds after the last one fell silent, as soon as anybody asks.
3. Every question is answered, whatever Redis does: without it the last answer counts. Where there is none, or its leader cannot be reached,
   the members that were told last are tried in an order that is the task's, the same at all of them. Each tries those before itself alone,
   so no two follow each other by it, and the first that is there reads the origin. Who leads so has it granted as soon as Redis allows it.
   The origin may be read more than once then; no download fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container

from dfengine.value import Value

LEASE = 3600.0
"""Seconds for which a task is granted."""

TTL = 6.0
"""Seconds for which a supernode is a member after it said so."""

BEAT = 1.5
"""Seconds between two times that it says so."""

REST, LONGEST_REST = 2.0, 15.0
"""Seconds for which Redis is not asked after it failed: first, and at most; doubled each time."""

MOST = 100_000
"""Tasks whose leaders are remembered."""


class Other(Value):
    """Another supernode. id: of its process. address: HOST:PORT of its control port. leads: so many tasks, as it says."""

    id: str
    address: str
    leads: int = 0


class Beliefs:
    """Of one supernode. `now` and `began`: monotonic seconds; `began` is when the question was sent whose answer is told."""

    def __init__(self) -> None:
        self.others: dict[str, Other] = {}
        """By id, as they were told last."""
        self.reached = False
        """Redis answered the last question."""
        self._until = 0.0
        self._granted: dict[str, float] = {}
        """Task -> until when."""
        self._leaders: dict[str, Other] = {}
        self._rest, self._again = REST, 0.0

    def is_member(self, now: float) -> bool:
        """The others see it as one."""
        return now < self._until

    def leads(self, task: str, now: float) -> bool:
        """The task is this supernode's, and nobody else's."""
        return now < self._granted.get(task, 0.0) and self.is_member(now)

    def count(self, now: float) -> int:
        """Tasks that this supernode leads, with those whose lease has just ended."""
        return len(self._granted) if self.is_member(now) else 0

    def may_ask(self, now: float) -> bool:
        """Redis is not left alone."""
        return now >= self._again

    def beaten(self, others: list[Other], began: float) -> None:
        """It said that it is there, and was told who is."""
        self._answered(began)
        self.others = {other.id: other for other in others}

    def granted(self, task: str, began: float) -> None:
        """The task is this supernode's, which it said is there."""
        self._answered(began)
        self._bound(self._granted)
        self._granted[task] = began + LEASE
        self._leaders.pop(task, None)

    def refused(self, task: str, leader: Other, began: float) -> None:
        """The task is another one's."""
        self._answered(began)
        self._granted.pop(task, None)
        self._bound(self._leaders)
        self._leaders[task] = leader

    def taken(self, task: str, leader: Other) -> None:
        """Another supernode says that it leads the task from now on."""
        self._granted.pop(task, None)
        self._bound(self._leaders)
        self._leaders[task] = leader

    def released(self, task: str) -> bool:
        """It leads the task no longer, and forgets who does. True: it did lead it."""
        self._leaders.pop(task, None)
        return self._granted.pop(task, None) is not None

    def failed(self, now: float) -> None:
        """Redis did not answer, or not as it should."""
        self.reached = False
        self._again = now + self._rest
        self._rest = min(LONGEST_REST, 2 * self._rest)

    def last_leader(self, task: str) -> Other | None:
        """Who led it when that was last told; None: nobody else."""
        return self._leaders.get(task)

    def stand_in(self, task: str, own: Other, lost: Container[str]) -> Other | None:
        """Who reads the task's origin while nobody can tell, or who was told cannot be reached; None: this supernode.

        lost: addresses that cannot be reached. What was granted to this one is its own until another one is told.
        """
        if task in self._granted:
            return None
        there = [other for other in self.others.values() if other.address not in lost and other.id != own.id]
        first = max([*there, own], key=lambda other: hashlib.sha256(f"{task}\n{other.id}".encode()).digest())
        return first if first.id != own.id else None

    def _answered(self, began: float) -> None:
        if began >= self._until:
            self._granted.clear()  # others may have been granted these meanwhile
        self._until = max(self._until, began + TTL)
        self.reached, self._rest, self._again = True, REST, 0.0

    @staticmethod
    def _bound(held: dict[str, float] | dict[str, Other]) -> None:
        if len(held) >= MOST:
            held.clear()
