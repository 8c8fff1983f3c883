"""The swarm's state as C structures: tasks, downloads, peers, leases.

    Task ---- downloads: cid -> Download ---- peer: PeerState (slots, trust), shared by the CIDs of one ip:port
     |                          |
     |                          +-- running, arrived: piece -> Lease        sent -> Lease <-> Lease: leases of pieces it sends, newest first
     |                                                          |
     +-- in_flight_claims: piece -> Lease                               +-- download, n, source (None: the supernode)

`transitions` has the states of a piece at a download.

Fields of a task:

    known         pieces whose native digest the supernode knows: only these are offered to native clients
    legacy_known  the same with md5, for 1.x clients
    cached        pieces that the supernode itself can send
    in_flight_claims  piece -> the latest lease that sends it to a source, for Limits.reseed_delay
    seedable      cached and not claimed: pieces that the supernode may send again
    used_elsewhere  slots of the supernode that its hosts use in other tasks; reseed_state, reseed_bucket: their effect (`reseed_deferral`)
    overdue       pieces that a parked pull selects and whose claim is older than that pull waits for (`selections`)
    holders       finished copies and their holders            rarity   finished copies and those in flight

Parked pulls. `parked` is the queue of parked downloads, with the pieces that each lacks. freed_sources are sources with a new piece or
slot (None: the supernode), recheck are parked downloads whose own state changed: either may make a parked pull answerable, and the task is
in `wakeable`. selected is piece -> the parked downloads whose pull selects it, in the order of parking.

Fields that a pull reads of many peers are first, in one or two cache lines: a download's peer, encoded_source and is_straggler, its peer's
slots and location.

encoded_source (a download's source in an answer) and cached_reply (the part that all answers of a task have in common) are set by
`_pulls`, None until then.
"""

from libc.stdint cimport int64_t, uint32_t

from dfengine._bitset cimport Bitset
from dfengine._window cimport Window
from dfengine.supernode.swarm._holders cimport Holders
from dfengine.supernode.swarm._bitset_tree cimport ParkedQueue
from dfengine.supernode.swarm._rarity cimport Rarity

cdef enum:
    NOWHERE = -1
    UNKNOWN = -1
    ALLOWED = 0
    DEFERRED = 1
    ONCE = 2
    LABEL_PARTS = 4  # of `locality`
    SAME_HOST = 2 + LABEL_PARTS


cdef struct Location:  # hashes of `locality`
    uint32_t host
    uint32_t subnet  # 0: its address is no IP
    uint32_t label[LABEL_PARTS]
    int levels


cdef class PeerState:
    cdef public Py_ssize_t slots
    cdef public Py_ssize_t used
    cdef public Py_ssize_t uploads
    cdef public Py_ssize_t receiving
    cdef public Download last_extra_download
    cdef Location location
    cdef readonly tuple key
    cdef readonly str address
    cdef public double seen
    cdef public Py_ssize_t silence
    cdef public object downloads
    cdef public dict failures
    cdef public dict accusers
    cdef public dict blocked_by
    cdef public bint isolated
    cdef public bint unproved
    cdef public bint wrong_bytes_proven
    cdef public bint cleared
    cdef public Py_ssize_t bucket


cdef class Lease:
    cdef readonly Download download
    cdef readonly Py_ssize_t n
    cdef readonly Download source
    cdef Download alternate_1, alternate_2
    cdef readonly double started
    cdef public bint ending
    cdef readonly bint freed
    cdef readonly bint late
    cdef readonly tuple also_in
    cdef bint is_claim
    cdef readonly bint receives
    cdef bint awaits_claim_end, awaits_check
    cdef LeaseBucket bucket
    cdef Lease before, after
    cdef Lease older, newer


cdef class LeaseBucket:
    cdef Py_ssize_t number
    cdef Lease first, last


cdef class Download:
    cdef readonly PeerState peer
    cdef bytes encoded_source
    cdef public bint is_straggler
    cdef public int holder_index
    cdef Lease sent
    cdef readonly Task task
    cdef readonly str cid
    cdef readonly object source
    cdef readonly Bitset have
    cdef readonly Window window
    cdef readonly bint legacy
    cdef readonly bint serves
    cdef readonly bint is_follower
    cdef readonly int rotation
    cdef readonly dict running
    cdef public dict arrived
    cdef public dict source_failures
    cdef public dict early
    cdef public tuple selected
    cdef public Py_ssize_t limit
    cdef public Py_ssize_t got
    cdef public Py_ssize_t given
    cdef public Py_ssize_t pending_want
    cdef public double seen
    cdef public float best_piece_time, claimed_piece_time

    cpdef bint has(self, Py_ssize_t n) noexcept
    cpdef bint has_slot(self) noexcept
    cpdef Py_ssize_t room(self) noexcept


cdef class Task:
    cdef readonly str id
    cdef public Py_ssize_t count
    cdef public Py_ssize_t size
    cdef public Py_ssize_t highest
    cdef public Py_ssize_t unfinished, unfinished_followers
    cdef public Py_ssize_t supernode_used, used_elsewhere
    cdef public Py_ssize_t from_supernode, from_peers
    cdef public int reseed_state
    cdef public Py_ssize_t reseed_bucket
    cdef readonly Py_ssize_t excess_late_slots, client_share
    cdef readonly dict late_slots
    cdef readonly object limits
    cdef readonly Py_ssize_t down, native_down, slow_slots, ahead, alternates
    cdef readonly Py_ssize_t upload_slots, seed_slots, download_slots
    cdef readonly bint slow
    cdef public bint mixed
    cdef readonly double reseed_delay, select_delay, slow_from
    cdef public double lease
    cdef public double piece_time, usual_time
    cdef public Py_ssize_t timings_since_review, straggler_count, review_from
    cdef readonly Bitset known
    cdef readonly Bitset legacy_known
    cdef readonly Bitset cached
    cdef readonly Bitset seedable
    cdef readonly Bitset want
    cdef readonly Holders holders
    cdef readonly Rarity rarity
    cdef readonly list in_flight_claims
    cdef readonly dict selected, overdue
    cdef readonly dict downloads
    cdef readonly ParkedQueue parked
    cdef readonly dict freed_sources
    cdef readonly dict recheck
    cdef public dict wakeable
    cdef readonly object selections
    cdef public object same_hosts
    cdef public bint dropped
    cdef object cached_reply

    cdef int set_slots(self, bint slow) except -1
    cdef int count_late(self, str client, Py_ssize_t by) except -1
    cpdef Py_ssize_t used_by_others(self, Download asker) except -1
    cpdef Py_ssize_t check(self, Py_ssize_t n) except -1
    cpdef bint admits(self, Py_ssize_t n) except -1
    cdef int grow(self, Py_ssize_t n) except -1
    cdef int add_digest(self, Bitset digests, Py_ssize_t n) except -1
    cdef bint lacking(self, Bitset into, Bitset offered, Download download) except -1
    cpdef int claim(self, Lease lease) except -1
    cpdef int end_claim(self, Py_ssize_t n) except -1
    cpdef bint claim_overdue(self, Py_ssize_t n, double now) except -1
    cpdef double patience(self) noexcept
    cpdef int add_got(self, Download download, Py_ssize_t by) except -1
    cpdef int reopen(self, Download download) except -1
    cpdef int note_freed(self, Download source) except -1
    cpdef int recheck_if_parked(self, Download download) except -1


cdef inline int between(const Location* a, const Location* b) noexcept nogil:
    """0 far; 1 the same subnet, where not both have a label; 1 + n where their labels agree in the first n levels; SAME_HOST."""
    cdef int shared = 0
    if a.host == b.host:
        return SAME_HOST
    if a.levels and b.levels:
        while shared < a.levels and shared < b.levels and a.label[shared] == b.label[shared]:
            shared += 1
        return 1 + shared if shared else 0
    return a.subnet != 0 and a.subnet == b.subnet


cdef inline void mark_seen(Download download, double now) noexcept:
    """Record that the download's client sent a message."""
    download.seen = download.peer.seen = now


cdef inline bint shares(Task task) noexcept:
    """Whether the task's pieces are slow and more than one, so that pieces its hosts receive of other tasks count (`reseed_deferral`)."""
    return task.slow and task.count != 1


cdef inline Py_ssize_t room_beside(Download download, Py_ssize_t live) noexcept:
    """Room of the host beside its other downloads, in pieces. live: the download's own pieces in progress, without ending ones."""
    cdef PeerState peer = download.peer
    cdef Task task = download.task
    if not shares(task) or peer.receiving <= live or download.window is not None:
        return task.native_down
    if live == 0 and peer.receiving >= task.slow_slots and peer.last_extra_download is not download:
        return task.slow_slots + 1 - peer.receiving
    return task.slow_slots - peer.receiving
