"""Source choice: whom to ask for a piece.

Holders with a free upload slot, neither isolated nor shunned by the asker; of a small sample the least loaded.

Isolated peers are no sources at all (they are not enlisted), so what is asked here is the slot, the pair, and that nobody asks itself.
Another CID of the same host may be asked like any other.
"""

from __future__ import annotations

from collections.abc import Iterator

from dfengine.supernode.download import Download
from dfengine.supernode.isolation import shuns
from dfengine.supernode.limits import Limits


def usable(asker: Download, sample: list[Download], limits: Limits) -> list[Download]:
    """Those of `sample` that the asker may be told of."""
    if asker.charged:
        return [holder for holder in sample if holder is not asker and not shuns(asker, holder.peer, limits)]
    return [holder for holder in sample if holder is not asker]


def least_loaded(holders: list[Download]) -> Download | None:
    """The one with a free slot that sends least; of equals the first."""
    best: Download | None = None
    least = 0
    for holder in holders:
        peer = holder.peer
        if peer.used < peer.slots and (best is None or peer.used < least):
            best, least = holder, peer.used
            if least == 0:
                break
    return best


def open_sources(asker: Download, limits: Limits) -> Iterator[Download]:
    """Every open source that has something of `task.want`: the exact search behind the samples."""
    task = asker.task
    step = 0
    while (found := task.holders.useful(task.want, asker.rotation, step)) is not None:
        source, step = found
        step += 1
        if source is not asker and not shuns(asker, source.peer, limits):
            yield source


def supernode_open(asker: Download, limits: Limits) -> bool:
    """The supernode has a slot for the asker. 1.x's sends as many pieces at once as one of its clients receives: they are used to that."""
    return asker.task.supernode_used < (min(limits.supernode, limits.down) if asker.legacy else limits.supernode)
