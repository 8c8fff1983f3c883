"""The decision: which pieces a download gets now, and from whom.

Order, for each piece of an answer:

0. for a stream, the first pieces after una, in order: from the least loaded holder, else from the supernode, unless the piece is on
   its way to a source;
1. a piece that no source has or is getting, from the supernode: new pieces enter the swarm first, and each at a different peer;
2. the rarest piece that an open source has, from the least loaded of a sample of its holders;
3. the rarest piece the supernode may send once more. Not one that is on its way to a source, for as long as the swarm has patience:
   that source will have it sooner than the supernode has sent it twice, and the supernode's uplink is what bounds the swarm.
   Nor for a download that has pieces enough under way: a native one asks for more only to keep its connections full.

A stream's further pieces go by rarity inside its window, so that streams at the same position have something to trade.
A download that will not be a source asks its peers before 1: what the supernode sends to it does not spread.
Equally rare pieces are taken in order from the download's own rotation, so newcomers start apart; copies in flight count,
so they stay apart.
An answer takes at most the download's share of the supernode's slots while others are unfinished.
The search is exact: an answer without pieces means that nobody who may be asked could give one.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from dfengine.supernode.download import Download
from dfengine.supernode.leases import Leases
from dfengine.supernode.limits import Limits
from dfengine.supernode.sources import least_loaded, open_sources, supernode_open, usable
from dfengine.task import Source

URGENT: Final = 4
"""The part of a stream's window, counted from una, whose pieces go by deadline: one in so many, at least one piece."""

TRIES: Final = 4
"""Rarest pieces tried by sampling their holders, before the open sources are searched for whatever they have."""


class Supernode(NamedTuple):
    """The supernode as a source; it knows its own address."""

    cid: None = None
    ip: str = ""
    port: int = 0
    path: str = ""


CDN: Final = Supernode()


class Assignment(NamedTuple):
    """Piece n; the first source holds a slot for it, the others are alternates."""

    n: int
    sources: tuple[Source | Supernode, ...]


class Pull(NamedTuple):
    """What a pull is answered with.

    kind: "pieces"; "finished" all pieces are here or arrived; "busy" at its download limit; "wait" nothing it lacks is offered;
    "nosource" what it lacks is offered, but no source has a slot.
    """

    kind: str
    pieces: tuple[Assignment, ...] = ()


FINISHED: Final = Pull("finished")
BUSY: Final = Pull("busy")
WAIT: Final = Pull("wait")
NOSOURCE: Final = Pull("nosource")

Choice = tuple[int, Download | None, list[Download]]


def pull(download: Download, k: int, leases: Leases, limits: Limits, now: float) -> Pull:
    """Up to k pieces for the download, leased; or why there are none."""
    task = download.task
    if task.finished(download):
        return FINISHED
    room = min(k, (limits.down if download.legacy else limits.native_down) - len(download.running))
    if room <= 0:
        return BUSY
    if not task.wanted(download):
        return WAIT
    share = max(1, limits.supernode // max(1, task.unfinished))
    pieces: list[Assignment] = []
    while len(pieces) < room:
        choice = _choose(download, limits, share > 0)
        if choice is None:
            break
        n, source, others = choice
        share -= source is None
        alternates = () if download.legacy else tuple([other for other in others if other is not source][: limits.alternates])
        leases.grant(download, n, source, alternates, now)
        task.want.clear(n)
        named: list[Source | Supernode] = [CDN if source is None else source.source, *(other.source for other in alternates)]
        if source is not None and not download.legacy and len(named) <= limits.alternates and n in task.cached:
            named.append(CDN)
        pieces.append(Assignment(n, tuple(named)))
    if pieces:
        return Pull("pieces", tuple(pieces))
    offered = any(task.rarity.pick(task.want, where, 0) >= 0 for where in (task.cached, task.holders.held))
    return NOSOURCE if offered else WAIT


def _choose(download: Download, limits: Limits, may_seed: bool) -> Choice | None:
    task = download.task
    seed = may_seed and supernode_open(download, limits)
    if download.window is not None:
        choice = _urgent(download, limits, seed)
        if choice is not None:
            return choice
    start = download.rotation % task.size
    if seed and download.place >= 0:
        n = task.rarity.pick(task.want, task.cached, start, 0)
        if n >= 0:
            return n, None, []
    if task.holders.open_count:
        choice = _from_peers(download, start, limits)
        if choice is not None:
            return choice
    if seed and len(download.running) < limits.down:
        n = task.rarity.pick(task.want, task.seedable, start)
        if n >= 0:
            return n, None, usable(download, task.holders.sample(n), limits) if n in task.holders.held else []
    return None


def _urgent(download: Download, limits: Limits, seed: bool) -> Choice | None:
    task, window = download.task, download.window
    assert window is not None
    past = window.una + max(1, window.wnd // URGENT)
    n = task.want.first_set(window.una)
    while 0 <= n < past:
        holders = usable(download, task.holders.sample(n), limits) if n in task.holders.held else []
        source = least_loaded(holders)
        if source is not None or (seed and n in task.seedable):
            return n, source, holders
        n = task.want.first_set(n + 1)
    return None


def _from_peers(download: Download, start: int, limits: Limits) -> Choice | None:
    task = download.task
    for n in task.rarity.few(task.want, task.holders.held, start, TRIES):
        holders = usable(download, task.holders.sample(n), limits)
        source = least_loaded(holders)
        if source is not None:
            return n, source, holders
    for source in open_sources(download, limits):
        n = task.rarity.pick(task.want, source.have, start)
        return n, source, usable(download, task.holders.sample(n), limits)
    return None
