from collections.abc import Collection
from typing import Final, Self, final

from typing_extensions import disjoint_base

from dfengine._bitset import Bitset
from dfengine._window import Window
from dfengine.supernode.swarm._holders import Holders
from dfengine.supernode.swarm._line import Line
from dfengine.supernode.swarm._rarity import Rarity
from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.task_state import TaskState
from dfengine.wire import Source

ABSENT: Final[int]
"""`place` of a download that is no source."""

UNKNOWN: Final[int]
FIRST_SIZE: Final[int]
"""Pieces that a task of unknown length has room for at first."""



@final
class PeerState:
    """A peer as the supernode sees it: a host's piece server (ip:port), its upload slots and how far it is trusted.

    Several CIDs, of several tasks, belong to one peer: slots and isolation are the peer's, holdings are the CID's.
    A CID that serves nobody (port 0) has a peer of its own, so that two of them on one host are not taken for one.

    `used` of `slots` uploads are leased; it `sends` so many pieces, those that hold no slot too.
    `isolated`: no source for anybody, until the deadline in `bucket`.
    `unproved`: no source for anybody either, until its address has proved that a peer server of this swarm is there (`reachability`).
    seen: seconds; how long that was ago is looked at when the deadline in `silence` is due.
    failures: client address -> its share of the consecutive failures. accusers: client addresses that found wrong bytes.
    proven: isolated for wrong bytes. cleared: it sent the supernode itself the right bytes.
    blocked_by: CIDs that no longer get this source, with their failures counted in `Download.charged`.
    """

    slots: int
    used: int
    sends: int
    seen: float
    downloads: Collection[Download]
    failures: dict[str, int] | None
    accusers: dict[str, None] | None
    blocked_by: dict[Download, None] | None
    isolated: bool
    unproved: bool
    proven: bool
    cleared: bool
    bucket: int
    silence: int
    def __new__(cls, key: tuple[str, int, str], slots: int, now: float) -> PeerState: ...
    def locate(self, location: str) -> None:
        """What it says of its place (`locality`), "" nothing."""
    @property
    def key(self) -> tuple[str, int, str]: ...
    @property
    def address(self) -> str:
        """Whom what it says is counted as (`task.client_of`): where the supernode saw it register from."""

@final
class Lease:
    """Piece n goes from `source` (None: the supernode) to `download`. started: seconds.

    ending: its last bytes are about to come, it takes no room of its download any more. freed: nor its source's slot.    """

    ending: bool
    def names(self, other: Download | None) -> bool:
        """The download was told of it beside the source."""
    def unname(self, other: Download) -> None:
        """As if it had not been."""
    @property
    def download(self) -> Download: ...
    @property
    def n(self) -> int: ...
    @property
    def source(self) -> Download | None: ...
    @property
    def started(self) -> float: ...
    @property
    def freed(self) -> bool: ...

@final
class Term:
    """Leases of which something is due at one time; see `leases`."""

@final
class Download:
    """State of one CID. `seen` is seconds. rotation: where its search for pieces starts, not negative.

    serves: it may become a source. legacy: it speaks 1.x. window: None for a regular download.
    place: where it stands among the task's holders, ABSENT unless it is a source.
    sending: leases of pieces that others get from it, the newest last. charged: failures of sources towards it.
    early: pieces acknowledged inside the window and evicted again. limit: pieces from this one on are not wanted yet, -1 = no such.
    pending_want: pieces a parked pull asks for, 0 when none is parked. lags, best, pace: see `stragglers`.
    """

    place: int
    charged: dict[PeerState, int] | None
    early: dict[int, None] | None
    arrived: dict[int, Lease | None]
    limit: int
    got: int
    pending_want: int
    seen: float
    lags: bool
    best: float
    pace: float
    def __new__(
        cls, task: TaskState, source: Source, peer: PeerState, window: Window | None, legacy: bool, serves: bool, rotation: int, now: float
    ) -> Download: ...
    @property
    def task(self) -> TaskState: ...
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
    def rotation(self) -> int: ...
    @property
    def running(self) -> dict[int, Lease]: ...
    @property
    def sending(self) -> list[Lease]: ...
    def has(self, n: int) -> bool:
        """Piece n is here, servable."""
    @property
    def has_slot(self) -> bool:
        """Its peer has an upload slot free for this task."""
    @property
    def has_room(self) -> bool:
        """It may have one piece more under way."""
    def lease(self, n: int) -> Lease | None:
        """The lease under which piece n is coming, or has arrived."""

@disjoint_base
class Task:
    """What the decisions read of one task; `task_state.TaskState` is what the events change. Raises BadPiece for a count that cannot be.

    count: pieces, -1 unknown. size: pieces there is room for. lease: seconds a piece may take. pace: mean seconds a piece takes, 0 unknown.
    sends, seeds, takes: pieces that a peer sends, the supernode sends, a native CID gets at once: few while pieces are `slow`. mixed: a 1.x
    CID takes part, which does not say when a piece ends, so that few would leave links idle. beats: what was told of links since
    it was looked at who lags (`stragglers`); laggards: how many did; reviewed: where among its downloads the next look begins.
    """

    count: int
    size: int
    highest: int
    unfinished: int
    supernode_used: int
    sent_by_supernode: int
    sent_by_peers: int
    lease: float
    pace: float
    beats: int
    reviewed: int
    laggards: int
    rarity: Rarity
    mixed: bool
    def __new__(cls, task_id: str, count: int, limits: Limits, lease: float, seed: int, wakeable: dict[str, None]) -> Self: ...
    @property
    def id(self) -> str: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def down(self) -> int: ...
    @property
    def native_down(self) -> int: ...
    @property
    def sends(self) -> int: ...
    @property
    def seeds(self) -> int: ...
    @property
    def takes(self) -> int: ...
    @property
    def slow(self) -> bool: ...
    @property
    def slow_from(self) -> float: ...
    def begin(self) -> None:
        """A crowd begins: how long pieces take is not known."""
    def retune(self, slow: bool) -> None:
        """Pieces take long, or do not: few or many are under way at once from now on."""
    def bound(self, count: int) -> list[Download]:
        """Of a task that ends after `count` pieces the downloads that must be told: with a window, or with something beyond, or parked."""
    def let_go(self) -> None:
        """It was dropped, and its last download has left."""
    def count_unfinished(self) -> None:
        """Count anew the downloads that are not finished."""
    def cache_all(self, pieces: Bitset) -> None:
        """The supernode has these pieces, for which there is room, and their digests."""
    @property
    def alternates(self) -> int: ...
    @property
    def patience(self) -> float: ...
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
    def in_flight_claims(self) -> list[Lease | None]: ...
    @property
    def downloads(self) -> dict[str, Download]: ...
    @property
    def parked(self) -> Line: ...
    @property
    def freed_sources(self) -> dict[Download | None, None]: ...
    @property
    def recheck(self) -> dict[Download, None]: ...
    wakeable: dict[str, None]
    dropped: bool
    """It is no task any more; its downloads leave one after another."""
    def in_flight_claim(self, lease: Lease) -> None:
        """A piece that the supernode has is on its way to a source: others are to wait for that one."""
    def end_promise(self, n: int) -> None:
        """The piece has a holder more, or will not have one soon: the supernode may send it again."""
    def wanted(self, download: Download) -> bool:
        """Fill `want` with the pieces that may be offered to the download and that it lacks, by digests known; True if there is any."""
    def lack(self, download: Download) -> tuple[Bitset, bool]:
        """What the download lacks, offered or not; True: and all beyond the end of that set, which is as short as can be."""
    def finished(self, download: Download) -> bool:
        """Every piece is here or has arrived."""
    def count_got(self, download: Download, by: int) -> None:
        """The download got `by` pieces more (or less)."""
    def offer(self, download: Download) -> None:
        """A source has a piece or a slot more than before."""
    def opened(self, source: Download | None) -> None:
        """`source` (None: the supernode) can give something that it could not before."""
    def changed(self, download: Download) -> None:
        """The download's own state changed: if it is parked it has to be looked at again."""
