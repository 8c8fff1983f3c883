"""The decision: which pieces a download gets now, and from which source. The code is `_piece_picker.pyx`.

Order, for each piece of an answer:

0. for a stream, the first pieces after una, in order: from a holder as in 2, else from the supernode, unless the piece is in flight
   to a source;
1. a piece that no source has or is receiving, from the supernode: new pieces enter the swarm first, each at a different peer;
2. the rarest piece that an open source has, from a sample of its holders: one of the same speed, of these the nearest, of
   these the least loaded;
3. the rarest piece the supernode may send again. Not a piece that was assigned to a source less than Limits.reseed_delay ago: that source
   will have it sooner than the supernode could send it again, and the supernode's uplink limits the swarm. Nor for a download with enough
   pieces in progress: a native client requests more only to keep its connections busy. Nor while the supernode sends other files to hosts
   of this task (`reseed_deferral`).

A pull may select its pieces, in order of preference; then `selections` has the order.
Other pieces of a stream are ordered by rarity inside its window, so that streams at the same position can exchange pieces.
For a download that will not be a source, 2 precedes 1: pieces that the supernode sends to it do not spread.
A follower (a download of another supernode) gets the rarest of the spread pieces that an open source has before all else, and its
parked pull precedes those of others at a source that has one (`parking`), because its hosts get each piece only after it does. A piece is
spread when it has as many copies as there are such downloads unfinished. With fewer copies, sending it to all of them would occupy its
holders for several times as long as one transfer, so it is sent first to downloads that pass it on in this swarm. For the same reason such
downloads have no precedence at the supernode's own slots.
Equally rare pieces are taken in order from the download's own rotation, so new downloads start at different pieces; copies in flight count,
so they continue with different pieces.
An answer uses at most the download's share of the supernode's slots while others are unfinished.
For a fast download stragglers come after the supernode (3, then 2 again): near the end the supernode has no other pieces to send.
A straggler is sent new pieces only when the supernode sends nothing else, and fast downloads do not wait for it (`stragglers`).
The search is exact: an answer without pieces means that no source could send one.
"""

from __future__ import annotations

from dfengine.supernode.swarm._scheduler import pull
from dfengine.supernode.swarm.pull_result import CDN, FINISHED, Assignment, PullResult, SupernodeSource

__all__ = ["CDN", "FINISHED", "Assignment", "PullResult", "SupernodeSource", "pull"]
