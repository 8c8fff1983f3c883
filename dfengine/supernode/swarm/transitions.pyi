from collections.abc import Iterable

from dfengine.supernode.swarm._state import Download, Lease, Task
from dfengine.supernode.swarm.leases import Leases
from dfengine.supernode.swarm.peers import Peers

def ending(download: Download, n: int, leases: Leases) -> int:
    """Free the slots of piece n, whose last bytes are about to arrive. 1.x does not report this."""

def arrive(download: Download, n: int, leases: Leases) -> int:
    """Piece n is received, but not servable yet: the download slot is free.

    The source's slot stays in use, unless the download serves no pieces.
    """

def complete(download: Download, n: int, leases: Leases, now: float) -> int:
    """Piece n is written and servable."""

def find(tasks: dict[str, Task], task_id: str, cid: str, now: float) -> Download:
    """Return the download, marked as seen. Raises UnknownTask, UnknownDownload."""

def done(
    tasks: dict[str, Task], task_id: str, cid: str, n: int, source_cid: str | None, leases: Leases, peers: Peers, now: float
) -> int:
    """Apply `complete`, and record the sender's success. source_cid: see Swarm.done."""

def hold(download: Download, pieces: Iterable[int | tuple[int, int]], leases: Leases, now: float) -> None:
    """The download has these pieces, single or as [first, past) runs. Raises BadPiece or BadRange before any change.

    Pieces outside the task's reach are ignored: the download reports them again when they are offered.
    """

def fail(download: Download, n: int, leases: Leases) -> int:
    """Piece n was not received, or was wrong: it is wanted again."""

def drop(lease: Lease, leases: Leases) -> int:
    """End a lease under which the piece will not arrive: it is wanted again, unless its content has arrived."""

def unassign(download: Download, leases: Leases) -> int:
    """Drop the leases of all pieces that the download is receiving."""

def leave(download: Download, leases: Leases) -> int:
    """Delist the download as a source, and drop the leases of all pieces that it is receiving and sending."""

def move(download: Download, una: int, end: int, leases: Leases) -> int:
    """Apply a stream's window: it has delivered the pieces below una, and wants none from `end` on yet (-1: up to its window's end).

    Delivered pieces need not be stored any more, and are unknown to a restarted supernode. Leases of delivered pieces are dropped.
    Without a window nothing happens.
    """

def evict(download: Download, n: int) -> int:
    """Piece n was evicted. With a window it stays acknowledged; without one it is wanted again."""

def conclude(task: Task, count: int) -> list[Download]:
    """Set the task's number of pieces: remove reported pieces beyond it, and have parked downloads rechecked.

    Returns the downloads that acknowledged a piece beyond it in a window.
    """

def enlist(download: Download) -> int:
    """Make the download a source of its pieces."""

def delist(download: Download) -> int:
    """Stop using the download as a source; it may continue downloading."""

__pyx_capi__: dict[str, object]
