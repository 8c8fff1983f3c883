"""Pulls that wait for something to happen.

Law: between events no parked pull can be answered. It was answered without pieces when it was parked, by an exact search, and since
then whatever came up has been noted in `freed_sources` and `recheck`. So an event costs what it makes possible: one look at each download
that lacks something the opened source has, in the order of parking, until the source is full again; the many that lack nothing of it are
not looked at.
"""

from __future__ import annotations

from itertools import islice

from dfengine.supernode.swarm import scheduler
from dfengine.supernode.swarm._state import Download
from dfengine.supernode.swarm.leases import Leases
from dfengine.supernode.swarm.scheduler import FINISHED, Pull
from dfengine.supernode.swarm.task_state import TaskState

PATIENCE = 8
"""Parked pulls that are looked at for each that one call may answer; an opening that serves none of so many is left alone."""


def park(download: Download, k: int) -> None:
    """Remember that a pull of k pieces waits. Again: k is replaced, the place in line is kept."""
    task = download.task
    download.pending_want = k
    task.parked.put(download, *task.lack(download))


def unpark(download: Download) -> None:
    """Forget it; not parked: nothing happens."""
    task = download.task
    download.pending_want = 0
    task.parked.drop(download)
    task.recheck.pop(download, None)
    if not task.parked:
        task.freed_sources.clear()


def answer(task: TaskState, leases: Leases, now: float, most: int) -> list[tuple[str, Pull]]:
    """The parked pulls that can be answered now, first parked first among those an opening serves; they are no longer parked.

    About `most` of them: if there may be more the task is wakeable again.
    """
    answers: list[tuple[str, Pull]] = []
    passed: dict[Download, None] = {}

    def look(download: Download) -> None:
        pull = scheduler.pull(download, download.pending_want, leases, now)
        if pull.pieces or pull is FINISHED:
            unpark(download)
            answers.append((download.cid, pull))
        else:
            passed[download] = None

    looks = PATIENCE * most
    task.wakeable.pop(task.id, None)
    def serve(source: Download | None) -> bool:
        """Look at those that an opening may serve; False: there may be more of them than one call looks at."""
        nonlocal looks
        offer, last = task.seedable if source is None else source.have, None
        looks -= 1 + (len(passed) >> 4)
        while task.supernode_used < task.seeds if source is None else source.has_slot:
            first = task.parked.first(offer, passed, last)
            if first is None:
                return True
            if looks <= 0 or len(answers) >= most:
                return False
            looks -= 1
            look(first)
            last = first if first in passed else last
        return True

    for download in list(islice(task.recheck, looks)):
        if len(answers) >= most:
            break
        looks -= 1
        look(download)
        if download in passed:
            task.parked.put(download, *task.lack(download))
            del task.recheck[download]
    for source in [] if task.recheck else list(islice(task.freed_sources, looks)):
        if source not in task.freed_sources:
            break  # nobody waits any more
        alone = not passed and not answers
        if not serve(source) and (len(answers) >= most or not alone):
            break
        task.freed_sources.pop(source, None)
    if task.recheck or task.freed_sources:
        task.wakeable[task.id] = None
    return answers
