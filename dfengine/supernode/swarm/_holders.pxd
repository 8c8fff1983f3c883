"""Holders of each piece of one task, and which of them have a free upload slot.

    members  list        holder index -> download, None when vacant          haves  list  holder index -> its Bitset
    chunks   Cell*[size / CHUNK]    cells of CHUNK pieces, NULL until one of them has a holder: a merely announced length uses no memory
    Cell     count   finished copies                                          held   Bitset of pieces with any
             recent  holder indexes of the last holders, newest over oldest, NOBODY = empty
             turn    which of `recent` is written next

    open_list   uint32[capacity]  holder indexes of those with a free slot, dense, in any order     [ 7 | 2 | 9 | . | . ]
    open_index  int32[capacity]   holder index -> its index in `open_list`, -1 = closed               0   1   2
    offers      BitsetTree        open index -> the holder's haves: finds the next holder that has a wanted piece

A piece with up to RECENT holders is rare: all of them are found through `recent` (refilled from the members when losses have emptied
entries). For a common piece `recent` and a few samples of `open_list` are enough. `recent` is written on gain only; a reader tests the bit
in `haves`, so a loss needs no write. scan_budget: members that refills of one answer may still scan, SCAN_BUDGET at its start.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from dfengine._bitset cimport Bitset
from dfengine.supernode.swarm._bitset_tree cimport BitsetTree

cdef enum:
    CHUNK_SHIFT = 8
    CHUNK = 1 << CHUNK_SHIFT
    RECENT = 8
    SAMPLES = 8
    SCAN_BUDGET = 1 << 15
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
    cdef uint32_t* open_list
    cdef BitsetTree offers
    cdef int32_t* open_index
    cdef Py_ssize_t capacity, nopen
    cdef uint32_t random_state
    cdef Py_ssize_t scan_budget

    cdef bint holds(self, uint32_t index, Py_ssize_t n) noexcept
    cdef void prefetch(self, uint32_t index, Py_ssize_t n) noexcept
    cdef int check(self, Py_ssize_t index) except -1
    cpdef int gain(self, Py_ssize_t index, Py_ssize_t n) except -1
    cpdef int gain_all(self, Py_ssize_t index, Bitset pieces) except -1
    cpdef int lose(self, Py_ssize_t index, Py_ssize_t n) except -1
    cpdef int open(self, Py_ssize_t index) except -1
    cpdef int close(self, Py_ssize_t index) except -1
    cpdef bint is_open(self, Py_ssize_t index) except -1
    cdef int refill(self, Cell* cell, Py_ssize_t n) except -1
    cdef Cell* cell(self, Py_ssize_t n) noexcept nogil
    cdef Cell* make_cell(self, Py_ssize_t n) except NULL
    cdef Py_ssize_t sample_into(self, Py_ssize_t n, uint32_t* found) except -1
