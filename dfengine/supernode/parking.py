"""Pulls that wait for something to happen.

Law: between events no parked pull can be answered. It was answered without pieces when it was parked, by an exact search, and since
then whatever came up has been noted in `openings` and `again`. So an event costs what it makes possible: one look at each download that
lacks something the opened source has, in the order of parking, until the source is full again; the many that lack nothing of it are
not looked at.
"""

from __future__ import annotations

from dfengine.supernode import scheduler
from dfengine.supernode._state import Download
from dfengine.supernode.leases import Leases
from dfengine.supernode.scheduler import FINISHED, Pull
from dfengine.supernode.task_state import TaskState


def park(download: Download, k: int) -> None:
    """Remember that a pull of k pieces waits. Again: k is replaced, the place in line is kept."""
    task = download.task
    download.wish = k
    task.parked.put(download, task.lack(download))


def unpark(download: Download) -> None:
    """Forget it; not parked: nothing happens."""
    task = download.task
    download.wish = 0
    task.parked.drop(download)
    task.again.pop(download, None)
    if not task.parked:
        task.openings.clear()


def answer(task: TaskState, leases: Leases, now: float) -> list[tuple[str, Pull]]:
    """The parked pulls that can be answered now, first parked first among those an opening serves; they are no longer parked."""
    answers: list[tuple[str, Pull]] = []
    passed: dict[Download, None] = {}

    def look(download: Download) -> None:
        pull = scheduler.pull(download, download.wish, leases, now)
        if pull.pieces or pull is FINISHED:
            unpark(download)
            answers.append((download.cid, pull))
        else:
            passed[download] = None

    task.wakeable.pop(task.id, None)
    for download in list(task.again):
        look(download)
        if download in passed:
            task.parked.put(download, task.lack(download))
    task.again.clear()
    while task.openings:
        source = next(iter(task.openings))
        del task.openings[source]
        offer = task.seedable if source is None else source.have
        while (task.supernode_used < task.seeds) if source is None else source.has_slot:
            first = task.parked.first(offer, passed)
            if first is None:
                break
            look(first)
    return answers
