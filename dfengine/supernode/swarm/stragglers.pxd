"""Which downloads lag while pieces take long, and what follows.

A download's `best` is the seconds of its quickest piece of late: what its link can do, whoever sends; how many were at once and how slow
their sources were hardly shows in it. The last piece is not counted, which may be short. The measure is the best that every fourth of the
unfinished downloads stays below, once three have one. A download lags when its own is twice that, or when it was not heard of for so long
while something is under way: before its first piece twice the measure, later four times (it may be dead). So a crowd of equal hosts has no
laggards.

Before its first piece has come a download says how long one takes on its link (`pace`), as far as it can tell. Until three pieces are there
that counts instead of its `best`, which then shows how many shared the source: it lags by 2.5 times the pace that every fourth stays below.
Who is silent when the swarm's patience with a piece on its way to it ends (`Limits.patience`) lags until the next review, which gives the
slots back though everybody waits and nothing is reported.

    seeds    the supernode sends to a laggard only while it sends nothing else: what a laggard gets spreads late
    slots    a piece from a quick source to a laggard holds no slot of it, and what is under way to one that begins to lag gives its slots
             back: it takes a slow link's share, not one of few places
    promises nobody waits for a piece that a laggard is getting
    room     of a download that keeps up one piece from a laggard takes none
    sources  like asks like first, before locality: what quick hosts need soon comes from quick hosts. One that keeps up gets one piece at
             once from laggards, or four while nothing else comes: what they send is on its way long, and nobody else is asked for it
"""

from dfengine.supernode.swarm._state cimport Download, Lease
from dfengine.supernode.swarm.leases cimport Leases


cdef int beat(Download download, Lease lease, Leases leases, double now) except -1
"""A piece came under that lease."""
