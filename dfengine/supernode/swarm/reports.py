"""Transitions of a download's pieces (`_state.pxd`), with the slots that each frees.

A report may come twice, late, or for a piece that was never assigned; none of these is an error.
"""

from __future__ import annotations

from collections.abc import Iterable

from dfengine._bitset import Bitset
from dfengine.errors import BadRange
from dfengine.supernode.swarm._exchange import complete, ending, slide
from dfengine.supernode.swarm._rarity import lacking
from dfengine.supernode.swarm._state import ABSENT, Download
from dfengine.supernode.swarm.leases import Leases

__all__ = ["arrived", "ending", "evicted", "failed", "holds", "moved"]

Run = tuple[int, int]


def moved(download: Download, una: int, end: int, leases: Leases) -> None:
    """A stream has delivered the pieces below una, and wants none from `end` on yet (-1: up to its window's end).

    Delivered pieces need not be here any more, and a restarted supernode does not know of them. Leases of delivered pieces are dropped.
    Without a window nothing happens.
    """
    window = download.window
    if window is None:
        return
    past = min(una, window.count) if window.count >= 0 else una
    for lease in [lease for n, lease in download.running.items() if n < past]:
        leases.drop(lease)
    download.task.add_got(download, slide(download, past))
    download.limit = end
    download.task.recheck_if_parked(download)


def arrived(download: Download, n: int, leases: Leases) -> None:
    """The content of piece n is here, but not servable yet: the download slot is free, the source's is not.

    For a download that serves nobody the source's slot is freed too: 1.x does not report such a piece again.
    """
    if n in download.arrived or download.has(n):
        return
    lease = download.running.pop(n, None)
    if not download.arrived:
        download.arrived = {}
    download.arrived[n] = lease
    if download.window is None:
        download.task.add_got(download, 1)
    if lease is not None and not download.serves:
        download.arrived[n] = None
        leases.release(lease)
    download.task.recheck_if_parked(download)


def failed(download: Download, n: int, leases: Leases) -> None:
    """Piece n did not come, or was wrong: it is wanted again."""
    lease = download.lease(n)
    if lease is not None:
        leases.drop(lease)
    if n in download.arrived:
        del download.arrived[n]
        if download.window is None:
            download.task.add_got(download, -1)
    download.task.recheck_if_parked(download)


def evicted(download: Download, n: int) -> None:
    """Piece n is no longer here. With a window it stays acknowledged; without one it is wanted again."""
    task, window = download.task, download.window
    if not download.has(n):
        return
    task.lose(download, n)
    if window is None:
        task.add_got(download, -1)
    elif window.una <= n < window.end:
        if download.early is None:
            download.early = {}
        download.early[n] = None
    task.recheck_if_parked(download)


def holds(download: Download, pieces: Iterable[int | Run], leases: Leases, now: float) -> None:
    """These pieces, single or as [first, past) runs, are here. Raises BadPiece or BadRange before any change.

    Pieces outside the task's reach are ignored: the download reports them again when they are offered.
    """
    task, window = download.task, download.window
    runs = [(item, item + 1) if isinstance(item, int) else item for item in pieces]
    last = -1
    for first, past in runs:
        if not 0 <= first < past:
            raise BadRange(f"a run of pieces from {first} to before {past}")
        task.check(past - 1)
        last = max(last, past - 1)
    reach = task.reach
    if last < 0 or not task.admits(min(last, reach - 1)):
        return
    held = Bitset(task.size)
    for first, past in runs:
        if first < reach:
            held.set_range(first, min(past, reach))
    for n in [n for n in (*download.running, *download.arrived) if n in held]:
        complete(download, n, leases, now)
    if window is not None:
        n = held.first_set(window.una)
        while 0 <= n < window.end:  # which moves on as they are acknowledged
            complete(download, n, leases, now)
            n = held.first_set(n + 1)
    fresh = Bitset(task.size)
    if not lacking(fresh, held, download.have, 0, task.size):
        return
    download.have.grow(task.size)
    download.have.update_or(fresh)
    if window is None:
        task.add_got(download, fresh.count())
    if download.holder_index != ABSENT:
        task.holders.gain_all(download.holder_index, fresh)
        task.rarity.add_all(fresh)
        task.offer(download)
    task.recheck_if_parked(download)
