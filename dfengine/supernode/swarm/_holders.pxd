"""Who holds which piece of one task, and which of them have a free upload slot.

    members  list        place -> the download there, None when vacant       haves  list  place -> its Bitset
    chunks   Cell*[size / CHUNK]    CHUNK pieces' cells, NULL until one of them has a holder: a length that is only announced costs nothing
    Cell     count   finished copies                                          held   Bitset of pieces with any
             recent  places of the last holders, newest over oldest, NOBODY = empty
             turn    which of `recent` is written next

    open     uint32[places]   the places with a free slot, dense, in any order     [ 7 | 2 | 9 | . | . ]
    seat     int32[places]    place -> its index in `open`, -1 = closed               0   1   2
    offers   BitsetTree           index in `open` -> the haves there: finds the next that has something wanted

A piece with up to RECENT holders is rare: all of them are found through `recent` (refilled from the members when losses have
left it short). For a common one `recent` and a few samples of `open` will do. A place is only written on gain; a reader tests the bit in
`haves`, so a loss costs nothing. `looks` is how many members may still be looked at to refill: each answer has LOOKS of them.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from dfengine._bitset cimport Bitset
from dfengine.supernode.swarm._bitset_tree cimport BitsetTree

cdef enum:
    CHUNK_SHIFT = 8
    CHUNK = 1 << CHUNK_SHIFT
    RECENT = 8
    SAMPLES = 8
    LOOKS = 1 << 15
    NOBODY = 0xFFFFFFFF


cdef struct Cell:
    uint32_t count
    uint32_t[RECENT] recent
    uint8_t turn


cdef class Holders:
    cdef list members
    cdef list haves
    cdef list vacant
    cdef readonly Py_ssize_t size
    cdef readonly Bitset held
    cdef Cell** chunks
    cdef Py_ssize_t nchunks
    cdef uint32_t* open_places
    cdef BitsetTree offers
    cdef int32_t* seat
    cdef Py_ssize_t places, nopen
    cdef uint32_t dice
    cdef Py_ssize_t looks

    cdef bint holds(self, uint32_t place, Py_ssize_t n) noexcept
    cdef void ask(self, uint32_t place, Py_ssize_t n) noexcept
    cdef int gain(self, uint32_t place, Py_ssize_t n) except -1
    cdef int lose(self, Py_ssize_t n) except -1
    cdef int refill(self, Cell* cell, Py_ssize_t n) except -1
    cdef Cell* cell(self, Py_ssize_t n) noexcept nogil
    cdef Cell* make_cell(self, Py_ssize_t n) except NULL
    cdef void unfold(self, Py_ssize_t place) noexcept
    cdef void fold(self, Py_ssize_t place) noexcept
    cdef Py_ssize_t some(self, Py_ssize_t n, uint32_t* found) except -1

