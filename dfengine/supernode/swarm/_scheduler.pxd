"""The answer to one pull: pieces are chosen (`_piece_picker`) and leased one after the other. Only the granted pieces change in between.

    room       pieces that may still be granted        seed_room   of these, from the supernode: the download's share of its slots
"""

from cpython.object cimport PyObject

from dfengine.supernode.swarm._piece_picker cimport RarestPieces
from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.swarm._state cimport Download


cdef struct Answer:
    RarestPieces rarest
    Py_ssize_t room
    Py_ssize_t seed_room


cdef struct Grant:  # a leased piece and its sources, best first: source, alternates, the supernode. All are borrowed references
    Py_ssize_t n
    PyObject* source  # NULL: the supernode
    PyObject* alternate_1  # NULL: none
    PyObject* alternate_2
    bint supernode  # the supernode is the last alternate


cdef object begin_answer(Download download, Py_ssize_t k, Answer* answer)
cdef bint next_grant(Download download, Answer* answer, Grant* grant, Leases leases, double now) except -1
cdef object why_no_piece(Download download)
cpdef pull(Download download, Py_ssize_t k, Leases leases, double now)
