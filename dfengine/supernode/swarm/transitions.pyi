from collections.abc import Iterable

from dfengine.supernode.swarm._state import Download, Lease, Task
from dfengine.supernode.swarm.leases import Leases
from dfengine.supernode.swarm.peers import Peers

def ending(download: Download, n: int, leases: Leases) -> int:
    """The last bytes of piece n are about to arrive: its slots are free. 1.x does not report it."""

def arrive(download: Download, n: int, leases: Leases) -> int:
    """Piece n is received, but not servable yet: the download slot is free.

    The source's slot stays in use, unless the download serves nobody.
    """

def complete(download: Download, n: int, leases: Leases, now: float) -> int:
    """Piece n is written and servable."""

def find(tasks: dict[str, Task], task_id: str, cid: str, now: float) -> Download:
    """The download, marked as seen. Raises UnknownTask, UnknownDownload."""

def done(
    tasks: dict[str, Task], task_id: str, cid: str, n: int, source_cid: str | None, leases: Leases, peers: Peers, now: float
) -> int:
    """`complete`, counted for its sender, whose success is recorded. source_cid: see Swarm.done."""

def hold(download: Download, pieces: Iterable[int | tuple[int, int]], leases: Leases, now: float) -> None:
    """These pieces, single or as [first, past) runs, are here. Raises BadPiece or BadRange before any change.

    Pieces outside the task's reach are ignored: the download reports them again when they are offered.
    """

def fail(download: Download, n: int, leases: Leases) -> int:
    """Piece n did not come, or was wrong: it is wanted again."""

def drop(lease: Lease, leases: Leases) -> int:
    """The piece will not come under this lease: it is wanted again, unless its content has arrived."""

def unassign(download: Download, leases: Leases) -> int:
    """Drop the leases of all pieces that the download is getting."""

def leave(download: Download, leases: Leases) -> int:
    """The download is no source any more; drop the leases of all pieces that it is getting and sending."""

def move(download: Download, una: int, end: int, leases: Leases) -> int:
    """A stream has delivered the pieces below una, and wants none from `end` on yet (-1: up to its window's end).

    Delivered pieces need not be here any more, and a restarted supernode does not know of them. Leases of delivered pieces are dropped.
    Without a window nothing happens.
    """

def evict(download: Download, n: int) -> int:
    """Piece n is no longer here. With a window it stays acknowledged; without one it is wanted again."""

def conclude(task: Task, count: int) -> list[Download]:
    """The task has `count` pieces: remove those reported beyond, and have parked downloads rechecked.

    Returns the downloads that acknowledged a piece beyond in a window.
    """

def enlist(download: Download) -> int:
    """The download becomes a source of what it has."""

def delist(download: Download) -> int:
    """The download stops being a source; it may go on downloading."""

__pyx_capi__: dict[str, object]
