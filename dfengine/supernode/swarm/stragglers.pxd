"""Stragglers: downloads on slow links, detected while pieces take long, and how they are treated.

A download's best_piece_time (s) is a decayed minimum of its piece times: it estimates the link's capacity and hardly depends on how many
pieces arrived at once or on slow sources. The last piece, which may be short, is not counted. The reference is the lower quartile of
best_piece_time among unfinished downloads, once three have one. A straggler's own is twice the reference; it stays a straggler until its
time is below 1.6 times. A download that sent no message for long while a piece is in progress is one too: for twice the reference before
its first piece, for four times later, since it may be dead. A swarm of equal hosts therefore has no stragglers.

Before its first piece is complete a download may report claimed_piece_time (s), its own estimate. Until it has three pieces the claim is
used instead of best_piece_time, which then reflects how many downloads shared the source: 2.5 times the lower quartile of claims makes a
straggler. A download that is silent when the claim of a piece in flight to it ends (Limits.reseed_delay) is a straggler until the next
review; this frees slots even when all pulls are parked and no report arrives.

    seeding  the supernode sends to a straggler only while it sends nothing else: pieces of a straggler spread late
    slots    a piece from a fast source to a straggler uses no slot of it, and a download that becomes a straggler frees the slots it uses:
             it uses a slow link's share of the source's rate
    claims   other downloads do not wait for a piece that a straggler is receiving
    room     for a download that is no straggler, one piece from a straggler uses no room
    sources  sources of the same speed are preferred, before locality: pieces that fast hosts need soon are sent by fast hosts. A fast
             download gets one piece at once from stragglers, or four while no other source sends: they take long and are not repeated
"""

from dfengine.supernode.swarm._state cimport Download, Lease, Task
from dfengine.supernode.swarm.leases cimport Leases


cpdef int begin(Task task) except -1
cpdef int retune(Task task, bint slow) except -1
cdef int record_piece_time(Task task, double took) except -1
cdef int record_link_time(Download download, Lease lease, Leases leases, double now) except -1
