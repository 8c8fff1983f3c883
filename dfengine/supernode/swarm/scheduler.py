"""The decision: which pieces a download gets now, and from whom. It is taken in `_scheduler.pyx`.

Order, for each piece of an answer:

0. for a stream, the first pieces after una, in order: from the least loaded holder, else from the supernode, unless the piece is on
   its way to a source;
1. a piece that no source has or is getting, from the supernode: new pieces enter the swarm first, and each at a different peer;
2. the rarest piece that an open source has, from the nearest of a sample of its holders, and the least loaded of these;
3. the rarest piece the supernode may send once more. Not one that is on its way to a source, for as long as the swarm has patience:
   that source will have it sooner than the supernode has sent it twice, and the supernode's uplink is what bounds the swarm.
   Nor for a download that has pieces enough under way: a native one asks for more only to keep its connections full.

A stream's further pieces go by rarity inside its window, so that streams at the same position have something to trade.
A download that will not be a source asks its peers before 1: what the supernode sends to it does not spread.
Equally rare pieces are taken in order from the download's own rotation, so newcomers start apart; copies in flight count,
so they stay apart.
An answer takes at most the download's share of the supernode's slots while others are unfinished.
A download that keeps up asks those that lag after the supernode (3, then 2 again): near the end that has nothing else to do.
A download that lags is sent new pieces only when the supernode has nothing else to send, and quick ones need not wait for it
(`stragglers`).
The search is exact: an answer without pieces means that nobody who may be asked could give one.
"""

from __future__ import annotations

from dfengine.supernode.swarm._scheduler import pull
from dfengine.supernode.swarm.assignment import CDN, FINISHED, Assignment, Pull, Supernode

__all__ = ["CDN", "FINISHED", "Assignment", "Pull", "Supernode", "pull"]
