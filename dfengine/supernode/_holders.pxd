"""Who holds which piece of one task, and which of them have a free upload slot.

    members  list        place -> the download there, None when vacant       haves  list  place -> its Bitset
    counts   uint32[size]           piece -> finished copies                 held   Bitset of pieces with any
    recent   uint32[size][RECENT]   piece -> places of its last holders, newest over oldest, NOBODY = empty
    turn     uint8[size]            piece -> next of its RECENT cells to write

    open     uint32[places]   the places with a free slot, dense, in any order     [ 7 | 2 | 9 | . | . ]
    seat     int32[places]    place -> its index in `open`, -1 = closed               0   1   2
    offers   Unions           index in `open` -> the haves there: finds the next that has something wanted

A piece with up to RECENT holders is rare: all of them are found through `recent` (refilled from the members when losses have
left it short). For a common one `recent` and a few samples of `open` will do. A place is only written on gain; a reader tests the bit in
`haves`, so a loss costs nothing.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t

from dfengine._bitset cimport Bitset
from dfengine.supernode._unions cimport Unions

cdef enum:
    RECENT = 8
    SAMPLES = 8
    NOBODY = 0xFFFFFFFF

cdef class Holders:
    cdef list members
    cdef list haves
    cdef list vacant
    cdef readonly Py_ssize_t size
    cdef readonly Bitset held
    cdef uint32_t* counts
    cdef uint32_t* recent
    cdef uint8_t* turn
    cdef uint32_t* open_places
    cdef Unions offers
    cdef int32_t* seat
    cdef Py_ssize_t places, nopen
    cdef uint32_t dice

    cdef bint holds(self, uint32_t place, Py_ssize_t n) noexcept
    cdef void ask(self, uint32_t place, Py_ssize_t n) noexcept
    cdef int gain(self, uint32_t place, Py_ssize_t n) except -1
    cdef int lose(self, Py_ssize_t n) except -1
    cdef int refill(self, Py_ssize_t n) except -1
    cdef void unfold(self, Py_ssize_t place) noexcept
    cdef void fold(self, Py_ssize_t place) noexcept
    cdef Py_ssize_t some(self, Py_ssize_t n, uint32_t* found) except -1

