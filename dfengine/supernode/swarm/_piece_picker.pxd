"""The decision on one piece; `scheduler.py` has the order.

Within one answer only the granted pieces change, so the rarest pieces are searched for once and tried in order:

    found    [ 17 | 63 | 4 | 90 | ... ]     rarest first, `number` of them; more may exist when `number` is BATCH
                      next                  earlier pieces were granted, or their sampled holders had no slot

Sources. A source has a free upload slot and is not blocked for the asker. Of a small sample, stragglers are chosen for stragglers and other
downloads for others (`stragglers`), of these the nearest (`locality`), of these the one with the fewest uploads, counting those without a
slot. The piece is chosen before its source, so a rare piece is fetched even from a distant source.

Isolated peers are not sources (they are not enlisted). The remaining checks are the slot, the pair, and that a download is not its own
source; another CID of the same host may be its source.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from dfengine._bitset cimport Bitset
from dfengine.supernode.swarm._state cimport Download, PeerState, Task

cdef enum:
    BATCH = 16
    SAMPLE_MAX = 16  # RECENT + SAMPLES of _holders


cdef struct RarestPieces:
    uint32_t found[BATCH]
    Py_ssize_t number
    Py_ssize_t next


cdef struct Sample:  # holders of a piece, borrowed references; bits of `open` mark those with a free slot
    Py_ssize_t number
    PyObject* holders[SAMPLE_MAX]
    unsigned int open


cdef struct Choice:
    Py_ssize_t n
    Py_ssize_t first  # index of the source among the sample's holders, -1 = the supernode
    Sample sample


cdef inline bint has(Bitset bits, Py_ssize_t n) noexcept:  # n is a piece of the bits' task
    return (bits.words[n >> 6] >> (n & 63)) & 1


cdef bint choose(Download download, Choice* choice, RarestPieces* rarest, bint supernode_share_left, double now) except -1
cdef bint is_blocked(Download asker, PeerState source) except -1
cdef int sample_sources(Download asker, Py_ssize_t n, Sample* sample) except -1
cdef bint has_enough_from_stragglers(Download asker) except -1
cdef Py_ssize_t best_source(Download asker, const Sample* sample, bint same_speed_only) noexcept
cdef Download open_source(Download asker, bint same_speed_only)
cpdef bint supernode_has_slot(Download asker) except -1
