from collections.abc import Collection
from typing import Final, Self, final

from typing_extensions import disjoint_base

from dfengine._bitset import Bitset
from dfengine._window import Window
from dfengine.supernode.swarm._bitset_tree import ParkedQueue
from dfengine.supernode.swarm._holders import Holders
from dfengine.supernode.swarm._rarity import Rarity
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.reseed_deferral import ReseedDeferral
from dfengine.supernode.swarm.selections import Selections
from dfengine.wire import Source

ABSENT: Final[int]
"""`holder_index` of a download that is no source."""

FIRST_SIZE: Final[int]
"""Initial size of a task of unknown length, in pieces."""



@final
class PeerState:
    """A peer as the supernode sees it: a host's piece server (ip:port), its upload slots and how far it is trusted.

    Several CIDs, of several tasks, belong to one peer: slots and isolation are the peer's, pieces are the CID's.
    A CID that serves no pieces (port 0) has a peer of its own, so that two of them on one host are distinct.

    receiving: pieces that its downloads receive, of tasks of more than one piece. last_extra_download: the one that last
    got a piece beyond Limits.slow_slots.
    used: leased uploads, of `slots`. uploads: pieces it sends, including those without a slot.
    isolated: not a source until the deadline in `bucket`.
    unproved: not a source until a peer server of this swarm is found at its address (`reachability`).
    seen: seconds; compared with the time when the deadline in `silence` is due.
    failures: client address -> its share of the consecutive failures. accusers: client addresses that received wrong bytes.
    wrong_bytes_proven: isolated for wrong bytes. cleared: it sent the right bytes to the supernode itself.
    blocked_by: CIDs that failed to get pieces from it; the failures are counted in `Download.source_failures`.
    """


    slots: int
    used: int
    uploads: int
    receiving: int
    last_extra_download: Download | None
    seen: float
    downloads: Collection[Download]
    failures: dict[str, int] | None
    accusers: dict[str, None] | None
    blocked_by: dict[Download, None] | None
    isolated: bool
    unproved: bool
    wrong_bytes_proven: bool
    cleared: bool
    bucket: int
    silence: int
    def __new__(cls, key: tuple[str, int, str], slots: int, now: float) -> PeerState: ...
    def locate(self, location: str) -> None:
        """Set its location by its own label (`locality`), "" none."""
    @property
    def key(self) -> tuple[str, int, str]: ...
    @property
    def address(self) -> str:
        """The client that it counts as (`task.client_of`), by the address that it registered from."""

@final
class Lease:
    """Piece n is assigned from `source` (None: the supernode) to `download`. started: seconds.

    ending: its last bytes are about to arrive, so it uses no download slot. freed: it uses no upload slot.
    receives: it counts in its host's `PeerState.receiving`; not while its download is silent, or does not read.
    late: see `supernode_slots`; only while it uses a slot. also_in: the other tasks in which it counts (`reseed_deferral`), None: none.
    """

    ending: bool
    @property
    def also_in(self) -> tuple[Task, ...] | None: ...
    def has_alternate(self, other: Download | None) -> bool:
        """Whether `other` was named to the download as an alternate source."""
    def remove_alternate(self, other: Download) -> None:
        """Stop counting `other` as an alternate."""
    @property
    def download(self) -> Download: ...
    @property
    def n(self) -> int: ...
    @property
    def source(self) -> Download | None: ...
    @property
    def started(self) -> float: ...
    @property
    def receives(self) -> bool: ...
    @property
    def freed(self) -> bool: ...
    @property
    def late(self) -> bool: ...

@final
class LeaseBucket:
    """Leases with one deadline; see `leases`."""

@final
class Download:
    """State of one CID. seen: seconds. rotation: where its search for pieces starts, not negative.

    serves: it may become a source. legacy: its protocol is 1.x. window: None for a regular download.
    is_follower: it is a supernode, whose hosts wait for its pieces.
    holder_index: its index among the task's holders, ABSENT unless it is a source.
    sending: leases of pieces that it sends, the newest last. given: pieces that others reported as sent by it.
    source_failures: failures of sources towards it.
    early: pieces acknowledged inside the window and evicted again. limit: pieces from this one on are not wanted yet, -1 = no limit.
    pending_want: pieces that a parked pull requests, 0 when none is parked.
    selected: the only pieces that its latest pull may get, in order of preference; None: any.
    is_straggler, best_piece_time, claimed_piece_time: see `stragglers`.
    """

    holder_index: int
    source_failures: dict[PeerState, int] | None
    early: dict[int, None] | None
    selected: tuple[int, ...] | None
    arrived: dict[int, Lease | None]
    limit: int
    got: int
    given: int
    pending_want: int
    seen: float
    is_straggler: bool
    best_piece_time: float
    claimed_piece_time: float
    def __new__(
        cls, task: Task, source: Source, peer: PeerState, window: Window | None, legacy: bool, serves: bool, rotation: int, now: float,
        is_follower: bool = False,
    ) -> Download: ...
    @property
    def task(self) -> Task: ...
    @property
    def cid(self) -> str: ...
    @property
    def source(self) -> Source: ...
    @property
    def peer(self) -> PeerState: ...
    @property
    def have(self) -> Bitset: ...
    @property
    def window(self) -> Window | None: ...
    @property
    def legacy(self) -> bool: ...
    @property
    def serves(self) -> bool: ...
    @property
    def is_follower(self) -> bool: ...
    @property
    def rotation(self) -> int: ...
    @property
    def running(self) -> dict[int, Lease]: ...
    @property
    def sending(self) -> list[Lease]: ...
    def has(self, n: int) -> bool:
        """Whether the download has piece n and can serve it."""
    def has_slot(self) -> bool:
        """Whether its peer has an upload slot free for this task."""
    def room(self) -> int:
        """Number of further pieces that it may have in progress; zero or negative: none."""
    def lease(self, n: int) -> Lease | None:
        """Return the lease of piece n, in progress or arrived."""

@disjoint_base
class Task:
    """One task: the pieces offered to each kind of client, its downloads and parked pulls. Raises BadPiece for an impossible count.

    count: pieces, -1 unknown. size: pieces there is room for. lease: seconds a piece may take. piece_time: their mean, 0 unknown.
    usual_time: the mean of all tasks when its downloads began, 0 unknown.
    upload_slots, seed_slots, download_slots: pieces that a peer sends, the supernode sends, a native CID receives at once: few while pieces
    are `slow`. mixed: a 1.x CID takes part; it does not report when a piece is ending, so few slots would leave links idle.
    unfinished: downloads that lack pieces; unfinished_followers: those of them that are followers.
    from_supernode, from_peers: pieces reported as sent by the supernode and by downloads, since the task was added.
    supernode_used: the supernode's slots in use. used_elsewhere: those that its hosts use in other tasks. reseed_state,
    reseed_bucket: whether it may send pieces again meanwhile, and the bucket of its deadline (`reseed_deferral`).
    late_slots: slots of late leases, by client (`supernode_slots`). client_share: how many of them count against other clients.
    excess_late_slots: the others.
    timings_since_review: piece times reported since the last review of stragglers. straggler_count: stragglers then. review_from: where
    among its downloads the next review begins.
    """

    count: int
    size: int
    highest: int
    unfinished: int
    unfinished_followers: int
    supernode_used: int
    used_elsewhere: int
    from_supernode: int
    from_peers: int
    reseed_state: int
    reseed_bucket: int
    same_hosts: ReseedDeferral
    lease: float
    piece_time: float
    usual_time: float
    timings_since_review: int
    review_from: int
    straggler_count: int
    mixed: bool
    def __new__(
        cls, task_id: str, count: int, limits: Limits, lease: float, seed: int, wakeable: dict[str, None], selections: Selections
    ) -> Self: ...
    @property
    def id(self) -> str: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def down(self) -> int: ...
    @property
    def native_down(self) -> int: ...
    @property
    def slow_slots(self) -> int: ...
    @property
    def ahead(self) -> int: ...
    @property
    def upload_slots(self) -> int: ...
    @property
    def seed_slots(self) -> int: ...
    @property
    def download_slots(self) -> int: ...
    @property
    def slow(self) -> bool: ...
    @property
    def excess_late_slots(self) -> int: ...
    @property
    def client_share(self) -> int: ...
    @property
    def late_slots(self) -> dict[str, int]: ...
    def used_by_others(self, asker: Download) -> int:
        """The supernode's slots in use, without the excess late slots of clients other than the asker's."""
    @property
    def slow_from(self) -> float: ...
    @property
    def reach(self) -> int:
        """Number of pieces that a download may report: the supernode's, and Limits.ahead beyond, which bounds memory."""
    def check(self, n: int) -> int:
        """Return n; raises BadPiece outside the task, or outside `reach` for a task of unknown length."""
    def admits(self, n: int) -> bool:
        """Make room for piece n; False if it is outside `reach` and is ignored. Raises BadPiece as `check` does."""
    def check_count(self, count: int) -> None:
        """Raise IllegalEvent if `count` pieces contradict the known count or pieces."""
    def cache(self, n: int) -> None:
        """The supernode has piece n and its digest."""
    def uncache(self, n: int) -> None:
        """The supernode no longer has piece n; its digest stays known."""
    def cache_legacy(self, n: int) -> None:
        """The md5 of piece n is known."""
    def clear(self) -> None:
        """Break the reference cycles with downloads, once the last one has left."""
    def know_all(self) -> None:
        """Mark the digest of every piece as known, in a task without parked pulls; the supernode has none of the pieces."""
    def cache_all(self, pieces: Bitset) -> None:
        """Apply `cache` to each of these pieces, by words."""
    @property
    def alternates(self) -> int: ...
    @property
    def reseed_delay(self) -> float: ...
    @property
    def select_delay(self) -> float: ...
    @property
    def known(self) -> Bitset: ...
    @property
    def legacy_known(self) -> Bitset: ...
    @property
    def cached(self) -> Bitset: ...
    @property
    def seedable(self) -> Bitset: ...
    @property
    def want(self) -> Bitset: ...
    @property
    def holders(self) -> Holders: ...
    @property
    def rarity(self) -> Rarity: ...
    @property
    def in_flight_claims(self) -> list[Lease | None]: ...
    @property
    def selections(self) -> Selections: ...
    @property
    def selected(self) -> dict[int, dict[Download, None]]: ...
    @property
    def overdue(self) -> dict[int, None]: ...
    @property
    def downloads(self) -> dict[str, Download]: ...
    @property
    def parked(self) -> ParkedQueue: ...
    @property
    def freed_sources(self) -> dict[Download | None, None]: ...
    @property
    def recheck(self) -> dict[Download, None]: ...
    wakeable: dict[str, None]
    dropped: bool
    """Whether the task was dropped; its downloads are removed in batches."""
    def claim(self, lease: Lease) -> int:
        """Claim a cached piece that is in flight to a source: the supernode does not send it again until that claim ends."""
    def end_claim(self, n: int) -> int:
        """End the claim of piece n, which has one holder more, or will not have one soon: the supernode may send it again."""
    def claim_overdue(self, n: int, now: float) -> bool:
        """Whether the piece is in flight to a source for longer than a pull that selects it waits."""
    def patience(self) -> float:
        """Seconds for which such a pull waits for a piece that is in flight to a source (`Limits.select_delay`)."""
    def lack(self, download: Download) -> tuple[Bitset, bool]:
        """Return the pieces that the download lacks, offered or not, in a set as short as possible. True: and all beyond its end."""
    def finished(self, download: Download) -> bool:
        """Whether every piece is at the download or has arrived."""
    def add_got(self, download: Download, by: int) -> int:
        """Add `by` (may be negative) to the number of pieces that the download has got."""
    def reopen(self, download: Download) -> int:
        """Open a source that has one piece or slot more, and note that it may answer parked pulls."""
    def note_freed(self, source: Download | None) -> int:
        """Note that `source` (None: the supernode) has a new piece or slot and may answer parked pulls."""
    def recheck_if_parked(self, download: Download) -> int:
        """Retry the download's pull if it is parked, because the download's own state changed."""
