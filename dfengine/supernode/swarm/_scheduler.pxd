"""The decision on one pull; its order stands in `scheduler.py`.

Within one answer only the granted pieces change, so the rarest pieces are searched for once and taken in turn:

    found    [ 17 | 63 | 4 | 90 | ... ]     rarest first, `number` of them; more were not looked for when `number` is `limit`
                      next                  those before it were given out, or their sampled holders had no slot
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint32_t

from dfengine._bitset cimport Bitset
from dfengine.supernode.swarm.leases cimport Leases
from dfengine.supernode.swarm._state cimport Download, Task

cdef enum:
    BATCH = 16


cdef struct Order:
    uint32_t found[BATCH]
    Py_ssize_t number
    Py_ssize_t next


cdef struct Course:
    Order order
    Py_ssize_t room  # pieces that it may have still
    Py_ssize_t share  # of these, from the supernode


cdef struct Grant:  # a piece, leased; whom to ask for it, best first: source, one, two, the supernode. All borrowed
    Py_ssize_t n
    PyObject* source  # NULL: the supernode
    PyObject* one  # NULL: nobody
    PyObject* two
    bint supernode  # it is named at the end


cdef object begin(Download download, Py_ssize_t k, Course* course)
cdef bint grant(Download download, Course* course, Grant* given, Leases leases, double now) except -1
cdef object nothing(Download download)
cdef object decide(Download download, Py_ssize_t k, Leases leases, double now)
