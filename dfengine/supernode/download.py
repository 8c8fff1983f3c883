"""One CID of one task: what it has, what it is getting, what it is sending.

Laws. Of each piece a download is in exactly one of these:

    lacking   neither here nor on its way
    running   assigned; a lease holds its source's upload slot, and it takes one of this CID's download slots
    arrived   the content is here but not servable yet (1.x's 503); the lease lives on, the download slot is free
    here      in `have`: servable

    lacking -> running -> here            assigned, done          running -> lacking    failed, expired, source left
    running -> arrived -> here            503, then done          arrived -> lacking    failed
    any     -> here                       done without lease: resumed, from the origin, or later than its lease
    here    -> lacking                    evicted; with a window it stays acknowledged instead, and is not asked for again

`got` counts the pieces that arrived, are here, or were acknowledged in a window; it equals the task's count when the download is finished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine._bitset import Bitset
from dfengine._window import Window
from dfengine.supernode.peer_state import PeerState
from dfengine.task import Source

if TYPE_CHECKING:
    from dfengine.supernode.leases import Lease
    from dfengine.supernode.task_state import TaskState

ABSENT = -1
"""`place` of a download that is no source."""


class Download:
    """State of one CID. `seen` is seconds.

    serves: it may become a source. legacy: it speaks 1.x. window: None for a regular download.
    place: where it stands among the task's holders, ABSENT unless it is a source. rotation: where its search for pieces starts.
    sending: leases of pieces that others get from it. charged: failures of sources towards it.
    early: pieces acknowledged inside the window and evicted again. limit: pieces from this one on are not wanted yet, -1 = no such.
    wish: pieces a parked pull asks for, 0 when none is parked.
    """

    __slots__ = (
        "arrived",
        "charged",
        "cid",
        "early",
        "got",
        "have",
        "legacy",
        "limit",
        "peer",
        "place",
        "rotation",
        "running",
        "seen",
        "sending",
        "serves",
        "source",
        "task",
        "window",
        "wish",
    )

    def __init__(
        self, task: TaskState, source: Source, peer: PeerState, window: Window | None, legacy: bool, serves: bool, rotation: int, now: float
    ) -> None:
        self.task = task
        self.cid = source.cid
        self.source = source
        self.peer = peer
        self.have = Bitset(task.size)
        self.window = window
        self.legacy = legacy
        self.serves = serves
        self.rotation = rotation
        self.place = ABSENT
        self.running: dict[int, Lease] = {}
        self.arrived: dict[int, Lease | None] = {}
        self.sending: tuple[Lease, ...] = ()
        self.charged: dict[PeerState, int] | None = None
        self.early: dict[int, None] | None = None
        self.limit = -1
        self.got = 0
        self.wish = 0
        self.seen = now

    def has(self, n: int) -> bool:
        """Piece n is here, servable."""
        return n < len(self.have) and n in self.have

    def lease(self, n: int) -> Lease | None:
        """The lease under which piece n is coming, or has arrived."""
        return self.running.get(n) or self.arrived.get(n)

    def __repr__(self) -> str:
        return f"<download {self.cid} of {self.task.id[:8]}: {self.got} got, {len(self.running)} running, {len(self.sending)} sending>"
