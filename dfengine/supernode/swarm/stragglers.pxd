"""Stragglers: downloads on slow links, found while pieces take long, and how they are treated.

A download's best_piece_time (s) is a decayed minimum of its piece times: it estimates the link's capacity and hardly depends on how many
pieces came at once or on slow sources. The last piece, which may be short, is not counted. The reference is the lower quartile of
best_piece_time among unfinished downloads, once three have one. A straggler's own is twice the reference; it stays one until it is below
1.6 times. A download that was not seen for long while a piece is under way is one too: for twice the reference before its first piece, for
four times later, since it may be dead. So a swarm of equal hosts has no stragglers.

Before its first piece is complete a download may report claimed_piece_time (s), its own estimate. Until three pieces have come it is used
instead of best_piece_time, which then shows how many downloads shared the source: 2.5 times the lower quartile of claims makes a straggler.
A download that is silent when the claim of a piece on its way to it ends (Limits.reseed_delay) is a straggler until the next review; this
frees slots even when all pulls are parked and nothing is reported.

    seeding  the supernode sends to a straggler only while it sends nothing else: pieces of a straggler spread late
    slots    a piece from a fast source to a straggler uses no slot of it, and a download that becomes a straggler frees the slots it uses:
             it takes a slow link's share of the source's rate
    claims   other downloads do not wait for a piece that a straggler is getting
    room     of a download that is no straggler one piece from a straggler uses no room
    sources  sources of the same speed are preferred, before locality: pieces that fast hosts need soon come from fast hosts. A fast
             download gets one piece at once from stragglers, or four while nothing else comes: they take long and are not requested twice
"""

from dfengine.supernode.swarm._state cimport Download, Lease, Task
from dfengine.supernode.swarm.leases cimport Leases


cpdef int begin(Task task) except -1
cpdef int retune(Task task, bint slow) except -1
cdef int record_piece_time(Task task, double took) except -1
cdef int record_link_time(Download download, Lease lease, Leases leases, double now) except -1
