"""One supernode's view of its cluster: the latest answers of Redis, and their age. Pure.

Rules, while Redis does not lose its data:

1. No two supernodes lead a task at the same time. A supernode leads the tasks granted to it as long as it is a member. It counts itself a
   member for TTL seconds from before it sent its last record, and Redis does so for TTL from after. A supernode that was no member for a
   while, or may have been none when Redis processed its last request, has lost all earlier grants. There is one exception: a lead that is
   taken from a supernode that reads too slowly, or is unreachable to the one that takes it (`copies/slow_leader.py`,
   `copies/following.py`). The notice of the new leader arrives within two heartbeats, and both supernodes read the origin until then. A
   lead that was taken cannot be taken again for a while.
2. TTL seconds after the last record of a task's leader, the next request for the leader appoints a new one.
3. Every request is answered, whatever Redis does: if it fails, the last answer applies. Without one, or if the leader is unreachable, the
   last known members are tried in an order that depends on the task and is the same at all members. Each tries only the members before
   itself, so no two follow each other, and the first reachable one reads the origin. Its lead is granted as soon as Redis allows it. The
   origin may be read more than once in this case; no download fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container

from dfengine.value import Value

LEASE = 3600.0
"""Seconds for which the lead of a task is granted."""

TTL = 6.0
"""Seconds for which a supernode is a member after it sent its record."""

HEARTBEAT_PERIOD = 1.5
"""Seconds between two records of a supernode."""

BACKOFF, MAX_BACKOFF = 2.0, 15.0
"""Seconds without requests to Redis after it failed: the first time, and at most; doubled after each failure."""

MAX_LEADERS = 100_000
"""Tasks whose leaders are in memory."""


class ClusterMember(Value):
    """Another supernode. id: of its process. address: HOST:PORT of its control port. leads: number of tasks, as it reports."""

    id: str
    address: str
    leads: int = 0


class ClusterView:
    """The view of one supernode. `now`, `began`: monotonic seconds; a request was sent at `began`, and its answer received at `now`."""

    def __init__(self) -> None:
        self.members: dict[str, ClusterMember] = {}
        """Members by id, of the last answer."""
        self.reached = False
        """Whether Redis answered the last request."""
        self._member_until = 0.0
        self._granted: dict[str, float] = {}
        """Task -> the end of the grant."""
        self._leaders: dict[str, ClusterMember] = {}
        self._backoff, self._paused_at, self._retry_at = BACKOFF, 0.0, 0.0

    def is_member(self, now: float) -> bool:
        """Whether the others see this supernode as a member."""
        return now < self._member_until

    def leads(self, task: str, now: float) -> bool:
        """Whether this supernode leads the task, and no other does."""
        return now < self._granted.get(task, 0.0) and self.is_member(now)

    def count(self, now: float) -> int:
        """Return the number of tasks that this supernode leads, including grants that have just ended."""
        return len(self._granted) if self.is_member(now) else 0

    def may_request(self, now: float) -> bool:
        """Whether Redis may be requested: the pause after its last failure is over."""
        return now >= self._retry_at

    def heartbeat_acked(self, others: list[ClusterMember], began: float, now: float) -> None:
        """Apply the answer to this supernode's record: the members."""
        self._answered(began, now)
        self.members = {other.id: other for other in others}

    def granted(self, task: str, began: float, now: float) -> None:
        """Apply a grant: this supernode leads the task, and its record was renewed."""
        self._answered(began, now)
        self._leaders.pop(task, None)
        if now < began + TTL:  # a later answer is no grant: another supernode may have been granted the task in between
            self._make_room(self._granted)
            self._granted[task] = began + LEASE

    def refused(self, task: str, leader: ClusterMember | None, began: float, now: float) -> None:
        """Apply a refusal: another supernode leads the task. leader: None if its record is invalid; the last known leader remains."""
        self._answered(began, now)
        self._granted.pop(task, None)
        if leader is not None:
            self._make_room(self._leaders)
            self._leaders[task] = leader

    def lead_taken(self, task: str, leader: ClusterMember) -> None:
        """Apply a notice: another supernode has taken the lead of the task."""
        self._granted.pop(task, None)
        self._make_room(self._leaders)
        self._leaders[task] = leader

    def released(self, task: str) -> bool:
        """Give up the lead of a task and forget its leader. Return whether this supernode led it."""
        self._leaders.pop(task, None)
        return self._granted.pop(task, None) is not None

    def failed(self, began: float, now: float) -> bool:
        """Note a missing or invalid answer of Redis. Return False, without effect, if a failure after `began` counts already: requests that
        were sent together fail together."""
        if began < self._paused_at:
            return False
        self.reached = False
        self._paused_at, self._retry_at = now, now + self._backoff
        self._backoff = min(MAX_BACKOFF, 2 * self._backoff)
        return True

    def last_leader(self, task: str) -> ClusterMember | None:
        """Return the task's leader of the last answer; None for this supernode or no answer."""
        return self._leaders.get(task)

    def fallback_leader(self, task: str, own: ClusterMember, unreachable: Container[str]) -> ClusterMember | None:
        """Return the supernode that reads the task's origin while the leader is unknown or unreachable; None: this one.

        unreachable: addresses. A task granted to this supernode stays its own until Redis names another leader.
        """
        if task in self._granted:
            return None
        there = [other for other in self.members.values() if other.address not in unreachable and other.id != own.id]
        first = max([*there, own], key=lambda other: hashlib.sha256(f"{task}\n{other.id}".encode()).digest())
        return first if first.id != own.id else None

    def _answered(self, began: float, now: float) -> None:
        # Redis may have processed the request as late as `now`: after the end of the membership, and after it granted these to others.
        if now >= self._member_until:
            self._granted.clear()
        self._member_until = max(self._member_until, began + TTL)
        self.reached, self._backoff, self._retry_at = True, BACKOFF, 0.0

    @staticmethod
    def _make_room(held: dict[str, float] | dict[str, ClusterMember]) -> None:
        if len(held) >= MAX_LEADERS:
            held.clear()
