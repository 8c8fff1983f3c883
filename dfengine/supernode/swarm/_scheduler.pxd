"""The decision on one pull; its order stands in `scheduler.py`.

Within one answer only the granted pieces change, so the rarest pieces are searched for once and tried in order:

    found    [ 17 | 63 | 4 | 90 | ... ]     rarest first, `number` of them; there may be more when `number` is BATCH
                      next                  those before it were granted, or their sampled holders had no slot
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from dfengine._bitset cimport Bitset
from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.swarm._state cimport Download, Task

cdef enum:
    BATCH = 16


cdef struct RarestPieces:
    uint32_t found[BATCH]
    Py_ssize_t number
    Py_ssize_t next


cdef struct Answer:
    RarestPieces rarest
    Py_ssize_t room  # pieces that may still be granted
    Py_ssize_t seed_room  # of these, from the supernode


cdef struct Grant:  # a leased piece and its sources, best first: source, alternates, the supernode. All borrowed
    Py_ssize_t n
    PyObject* source  # NULL: the supernode
    PyObject* alternate_1  # NULL: none
    PyObject* alternate_2
    bint supernode  # it is the last alternate


cdef object begin_answer(Download download, Py_ssize_t k, Answer* answer)
cdef bint next_grant(Download download, Answer* answer, Grant* grant, Leases leases, double now) except -1
cdef object why_no_piece(Download download)
cpdef pull(Download download, Py_ssize_t k, Leases leases, double now)
