"""Number of copies of each piece of a task, in bitsets by level, so that word operations find the rarest piece of any set.

    copies   uint32[size]        piece -> copies of it: finished and in flight
    sets     uint64*[LEVELS]     level -> its pieces as a bitset of `nwords` words, NULL until first used
    members  Py_ssize_t[LEVELS]  level -> number of its pieces

            word 0                      word 1
    level 0 [..1.....1..............]   [.1......]     no source has these or is receiving them
    level 1 [1..1..1................]   [1.......]     one copy
      ...                                              exact up to 15 copies
    level 16 = 16..23, 17 = 24..31, 18 = 32..47, ...   then two levels per octave

    hit_words  uint64[nwords + 1]   scratch of one search: the nonzero words of its pieces, in the order of the search
    hit_at     uint32[nwords + 1]   their indexes

Every piece is in exactly one level. One copy more or less moves a piece between two bitsets: O(1).
"""

from libc.stdint cimport uint32_t, uint64_t

from dfengine._bitset cimport Bitset

cdef enum:
    EXACT = 16
    LEVELS = 72

cdef class Rarity:
    cdef uint32_t* counts
    cdef uint64_t* sets[LEVELS]
    cdef Py_ssize_t members[LEVELS]
    cdef readonly Py_ssize_t size
    cdef Py_ssize_t nwords
    cdef uint64_t* hit_words
    cdef uint32_t* hit_at

    cpdef int change(self, Py_ssize_t n, int by) except -1
    cpdef int change_all(self, Bitset pieces, int by) except -1
    cpdef Bitset at_least(self, Bitset pieces, Py_ssize_t copies)
    cdef int put_in_level(self, Py_ssize_t n, int level) except -1
    cdef Py_ssize_t search(self, Bitset want, Bitset offered, Py_ssize_t start, int most, uint32_t* found, Py_ssize_t limit) noexcept nogil


cpdef bint lacking(Bitset into, Bitset offered, Bitset have, Py_ssize_t lo, Py_ssize_t hi) except -1
cdef int confine(Bitset bits, tuple pieces) except -1
cdef int level_of(uint32_t copies) noexcept nogil
