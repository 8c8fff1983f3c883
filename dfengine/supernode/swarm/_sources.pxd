"""Source choice: whom to ask for a piece.

A source has a free upload slot and is not blocked for the asker. Of a small sample, stragglers are chosen for stragglers and others for
others (`stragglers`), of these the nearest (`locality`), of these the one with the fewest uploads, those without a slot included. The
piece is chosen before its source, so a rare piece is fetched from far away.

Isolated peers are not sources (they are not enlisted). So the checks here are the slot, the pair, and that a download is not its own
source; another CID of the same host may be.
"""

from cpython.object cimport PyObject

from dfengine.supernode.swarm._state cimport Download, PeerState

cdef enum:
    SAMPLE_MAX = 16  # RECENT + SAMPLES of _holders


cdef bint is_blocked(Download asker, PeerState source) except -1
cdef struct Sample:  # holders of a piece, borrowed; bits of `open` mark those with a free slot
    Py_ssize_t number
    PyObject* holders[SAMPLE_MAX]
    unsigned int open


cdef int sample_sources(Download asker, Py_ssize_t n, Sample* sample) except -1
cdef bint has_enough_from_stragglers(Download asker) except -1
cdef Py_ssize_t best_source(Download asker, const Sample* sample, bint same_speed_only) noexcept
cdef Download open_source(Download asker, bint same_speed_only)
cpdef bint supernode_has_slot(Download asker) noexcept
