"""Parked pulls, which wait until they can be answered.

Law: between events no parked pull can be answered. An exact search found no piece for it when it was parked, and since then `freed_sources`
and `recheck` have recorded every change that could matter. The cost of an event therefore depends on what it makes possible: one check of
each download that lacks a piece of the freed source, in the order of parking, until the source is full again. Other downloads are not
checked. A pull that selects its pieces lacks these alone. Downloads that feed others come first at a source that has a spread piece which
they lack (`scheduler`). A slot of the supernode is offered first to pulls that select an overdue piece.
"""

from __future__ import annotations

from itertools import islice

from dfengine.supernode.swarm import scheduler
from dfengine.supernode.swarm._state import Download, Task
from dfengine.supernode.swarm.leases import Leases
from dfengine.supernode.swarm.scheduler import FINISHED, PullResult

CHECKS_PER_ANSWER = 8
"""Parked pulls that are checked for each one that a call may answer; a source that serves none of so many is skipped."""


def park(download: Download, k: int) -> None:
    """Park a pull of k pieces. If one is parked already, k is replaced and the position in the queue stays."""
    task = download.task
    download.pending_want = k
    task.parked.put(download, *task.lack(download), ahead=download.is_follower)
    if download.selected is not None:
        task.selections.park(download)


def unpark(download: Download) -> None:
    """Remove the parked pull, if any."""
    task = download.task
    if download.pending_want and download.selected is not None:
        task.selections.unpark(download)
    download.pending_want = 0
    task.parked.drop(download)
    task.recheck.pop(download, None)
    if not task.parked:
        task.freed_sources.clear()


def answer(task: Task, leases: Leases, now: float, most: int) -> list[tuple[str, PullResult]]:
    """Answer the parked pulls that can be answered now, in the order of parking for each freed source; they are no longer parked.

    Answers about `most` pulls; if more may be answerable, the task is in `wakeable` again.
    """
    answers: list[tuple[str, PullResult]] = []
    unanswered: dict[Download, None] = {}

    def check(download: Download) -> None:
        pull = scheduler.pull(download, download.pending_want, leases, now)
        if pull.pieces or pull is FINISHED:
            unpark(download)
            answers.append((download.cid, pull))
        else:
            unanswered[download] = None

    checks = CHECKS_PER_ANSWER * most
    task.wakeable.pop(task.id, None)

    def serve_from(source: Download | None) -> bool:
        """Check the pulls that a freed source may serve; False: one call cannot check all of them."""
        nonlocal checks
        offer, last = task.seedable if source is None else source.have, None
        spread = task.rarity.at_least(source.have, task.unfinished_followers) if source is not None and task.parked.any_ahead else None
        checks -= 1 + (len(unanswered) >> 4)
        while task.supernode_used - task.excess_late_slots < task.seed_slots if source is None else source.has_slot():
            first = task.parked.first(offer, unanswered, last, spread)
            if first is None:
                return True
            if checks <= 0 or len(answers) >= most:
                return False
            checks -= 1
            check(first)
            last = first if first in unanswered else last
        return True

    def serve_overdue() -> bool:
        """Send overdue pieces to pulls that select them; False: one call cannot check all of them."""
        nonlocal checks
        for n in list(task.overdue):
            while n in task.overdue and task.supernode_used - task.excess_late_slots < task.seed_slots:
                first = next((download for download in task.selected.get(n, ()) if download not in unanswered), None)
                if first is None:
                    break
                if checks <= 0 or len(answers) >= most:
                    return False
                checks -= 1
                check(first)
        return True

    for download in list(islice(task.recheck, checks)):
        if len(answers) >= most:
            break
        checks -= 1
        check(download)
        if download in unanswered:
            task.parked.put(download, *task.lack(download), ahead=download.is_follower)
            del task.recheck[download]
    # Overdue pieces first: a check for another source may use the supernode's slot as well.
    ready = not task.recheck and (None not in task.freed_sources or serve_overdue())
    for source in list(islice(task.freed_sources, checks)) if ready else []:
        if source not in task.freed_sources:
            break  # no pull is parked any more
        alone = not unanswered and not answers
        if not serve_from(source) and (len(answers) >= most or not alone):
            break
        task.freed_sources.pop(source, None)
    if task.recheck or task.freed_sources:
        task.wakeable[task.id] = None
    return answers
