"""The parked pulls of one task, in the order of parking, and what each lacks.

    seats      dict     download -> its seat
    waiting    list     seat -> the download there, None: it waits no longer        [ a | None | c | d ]
    lacks      BitsetTree   seat -> what it lacks                       one that lacks nothing beyond its window, None: another one
    endless    BitsetTree   seat -> what it lacks, and all beyond       any other, None: as above

Who comes gets the seat after the last one. When more seats are vacant than taken, and FAN more, all move up in their order.
"""

from dfengine.supernode.swarm._bitset_tree cimport BitsetTree


cdef class Line:
    cdef dict seats
    cdef list waiting
    cdef BitsetTree lacks, endless
    cdef Py_ssize_t size

    cdef int _move_up(self) except -1
