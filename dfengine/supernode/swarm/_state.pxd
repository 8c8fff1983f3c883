"""What the swarm's decisions read and write, as C structures: tasks, downloads, peers, leases.

    Task ---- downloads: cid -> Download ---- peer: PeerState (slots, trust), shared by the CIDs of one ip:port
     |                          |
     |                          +-- running, arrived: piece -> Lease        sent -> Lease <-> Lease: what others get from it, newest first
     |                                                          |
     +-- in_flight_claims: piece -> Lease                               +-- download, n, source (None: the supernode)

Laws of a download. Of each piece it is in exactly one of these:

    lacking   neither here nor on its way
    running   assigned; a lease holds its source's upload slot, and it takes one of this CID's download slots. Once it is `ending`,
              by the client's word, both are free: others may have them while the last bytes come.
    arrived   the content is here but not servable yet (1.x's 503); the lease lives on, the download slot is free
    here      in `have`: servable

    lacking -> running -> here            assigned, done          running -> lacking    failed, expired, source left
    running -> arrived -> here            503, then done          arrived -> lacking    failed
    any     -> here                       done without lease: resumed, from the origin, or later than its lease
    here    -> lacking                    evicted; with a window it stays acknowledged instead, and is not asked for again

What a pull asks of many peers stands first, in one or two lines of the cache: a download's peer, text and `lags`, its peer's slots and
place.

`text` (a download's source as answers name it) and `said` (what they say of a task's copy) are kept by `_pulls`, None until then.

`got` counts the pieces that arrived, are here, or were acknowledged in a window; it equals the task's count when the download is finished.
"""

from libc.stdint cimport int64_t

from dfengine._bitset cimport Bitset
from dfengine._window cimport Window
from dfengine.supernode.swarm._holders cimport Holders
from dfengine.supernode.swarm._line cimport Line
from dfengine.supernode.swarm.locality cimport Place

cdef enum:
    NOWHERE = -1


cdef class PeerState:
    cdef public Py_ssize_t slots
    cdef public Py_ssize_t used
    cdef public Py_ssize_t sends
    cdef Place place
    cdef readonly tuple key
    cdef public double seen
    cdef public Py_ssize_t silence
    cdef public object downloads
    cdef public dict failures
    cdef public dict accusers
    cdef public dict blocked_by
    cdef public bint isolated
    cdef public bint unproved
    cdef public bint proven
    cdef public bint cleared
    cdef public Py_ssize_t bucket


cdef class Lease:
    cdef readonly Download download
    cdef readonly Py_ssize_t n
    cdef readonly Download source
    cdef Download one, two
    cdef readonly double started
    cdef public bint ending
    cdef readonly bint freed
    cdef bint promised
    cdef bint patient
    cdef Term term
    cdef Lease before, after
    cdef Lease older, newer


cdef class Term:
    cdef Py_ssize_t number
    cdef Lease first, last


cdef class Download:
    cdef readonly PeerState peer
    cdef bytes text
    cdef public bint lags
    cdef public int place
    cdef Lease sent
    cdef readonly Task task
    cdef readonly str cid
    cdef readonly object source
    cdef readonly Bitset have
    cdef readonly Window window
    cdef readonly bint legacy
    cdef readonly bint serves
    cdef readonly int rotation
    cdef readonly dict running
    cdef public dict arrived
    cdef public dict charged
    cdef public dict early
    cdef public Py_ssize_t limit
    cdef public Py_ssize_t got
    cdef public Py_ssize_t pending_want
    cdef public double seen
    cdef public float best, pace

    cdef bint holds(self, Py_ssize_t n) noexcept
    cdef bint open(self) noexcept
    cdef Py_ssize_t room(self) noexcept


cdef class Task:
    cdef readonly str id
    cdef public Py_ssize_t count
    cdef public Py_ssize_t size
    cdef public Py_ssize_t highest
    cdef public Py_ssize_t unfinished
    cdef public Py_ssize_t supernode_used
    cdef public Py_ssize_t sent_by_supernode
    cdef public Py_ssize_t sent_by_peers
    cdef readonly object limits
    cdef readonly Py_ssize_t down, native_down, alternates
    cdef readonly Py_ssize_t sends, seeds, takes
    cdef readonly bint slow
    cdef public bint mixed
    cdef readonly double patience, slow_from
    cdef public double lease
    cdef public double pace
    cdef public Py_ssize_t beats, laggards, reviewed
    cdef readonly Bitset known
    cdef readonly Bitset legacy_known
    cdef readonly Bitset cached
    cdef readonly Bitset seedable
    cdef readonly Bitset want
    cdef readonly Holders holders
    cdef public object rarity
    cdef readonly list in_flight_claims
    cdef readonly dict downloads
    cdef readonly Line parked
    cdef readonly dict freed_sources
    cdef readonly dict recheck
    cdef public dict wakeable
    cdef public bint dropped
    cdef object said

    cdef bint lacking(self, Bitset into, Bitset offered, Download download) except -1
    cdef int rarer(self, Py_ssize_t n, int by) except -1
    cpdef in_flight_claim(self, Lease lease)
    cdef int end(self, Py_ssize_t n) except -1
    cdef int got_more(self, Download download, Py_ssize_t by) except -1
    cdef int serve(self, Download download) except -1
    cdef int open_up(self, Download source) except -1
    cdef int differs(self, Download download) except -1
    cdef int timed(self, double took) except -1
