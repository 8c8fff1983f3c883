"""Source choice: whom to ask for a piece.

Holders with a free upload slot, neither isolated nor shunned by the asker; of a small sample those that lag or keep up as the asker does
(`stragglers`), of these the nearest (`locality`), of these the one that sends least, what holds no slot included. Which piece is asked
for was decided before: what is rare is fetched from afar.

Isolated peers are no sources at all (they are not enlisted), so what is asked here is the slot, the pair, and that nobody asks itself.
Another CID of the same host may be asked like any other.
"""

from cpython.object cimport PyObject

from dfengine.supernode.swarm._state cimport Download, PeerState

cdef enum:
    MOST = 16  # RECENT + SAMPLES of _holders


cdef bint shunned(Download asker, PeerState source) except -1
cdef struct Sample:  # holders of a piece, borrowed; those with a free slot are marked by bits of `open`
    Py_ssize_t number
    PyObject* holders[MOST]
    unsigned int open


cdef int usable(Download asker, Py_ssize_t n, Sample* sample) except -1
cdef bint has_enough_of_laggards(Download asker) except -1
cdef Py_ssize_t best_source(Download asker, const Sample* sample, bint like_only) noexcept
cdef Download open_source(Download asker, bint like_only)
cdef bint supernode_open(Download asker) noexcept
