"""Finds the first of many bitsets, in the order of their indexes, that shares a piece with another: a tree of unions over them.

    sets        [ a | b | None | c | ... ]            index -> a Bitset, read in place; None: vacant
    nodes[0]    [ a|b|c|... of FAN indexes | ... ]     uint64[nwords] each
    nodes[1]    [ FAN of nodes[0]        | ... ]
      ...       up to the level with one node

With `endless`, all pieces beyond a set's end count as in it, so that a set that has all pieces but some of the first is short.

Laws. A node claims each piece that a set below it has, and each that a node below it claims. It may claim more: pieces of sets that were
removed from an index, or cleared in a set, since. Removal is lazy; a search that finds no set below a node rebuilds the node. A search
therefore costs about FAN tests per level, and a new piece one bit per level.

The parked pulls of one task, in the order of parking, and the pieces that each lacks.

    positions  dict        download -> its position
    entries    list        position -> the download, None: it was removed          [ a | None | c | d ]
    lacks      BitsetTree  position -> the pieces it lacks, if it lacks none beyond its window; else None
    endless    BitsetTree  position -> the pieces it lacks, all beyond the end included, for any other download; else None
    ahead      ParkedQueue  a second queue of the downloads that may precede all others; None until one is added

A new download is appended. When more positions are vacant than used, by more than FAN, the queue is compacted in its order.
"""

from libc.stdint cimport uint64_t

from dfengine._bitset cimport Bitset

cdef enum:
    SHIFT = 6
    FAN = 1 << SHIFT
    HEIGHT = 8


cdef class BitsetTree:
    cdef list sets
    cdef bint endless
    cdef Py_ssize_t nwords
    cdef int height
    cdef uint64_t** nodes[HEIGHT]
    cdef Py_ssize_t number[HEIGHT]

    cpdef int grow(self, Py_ssize_t size) except -1
    cpdef int put(self, Py_ssize_t index, Bitset bits) except -1
    cpdef int move(self, Py_ssize_t index, Py_ssize_t to) except -1
    cpdef int gain(self, Py_ssize_t index, Py_ssize_t n) except -1
    cpdef Py_ssize_t first(self, Bitset want, Py_ssize_t start, Py_ssize_t past) except -2
    cdef Bitset at(self, Py_ssize_t index)
    cdef int reserve(self, Py_ssize_t length) except -1
    cdef Py_ssize_t find(self, int level, Py_ssize_t i, Bitset want, Py_ssize_t start, Py_ssize_t past) noexcept
    cdef void rebuild(self, int level, Py_ssize_t i) noexcept
    cdef bint add_to_node(self, uint64_t* node, Bitset bits) noexcept
    cdef bint has_any(self, Bitset bits, Bitset want) noexcept


cdef class ParkedQueue:
    cdef dict positions
    cdef list entries
    cdef BitsetTree lacks, endless
    cdef ParkedQueue ahead
    cdef Py_ssize_t size

    cdef int _compact(self) except -1


cdef bint empty(Bitset bits) noexcept nogil
cdef bint intersects(Bitset a, Bitset b) noexcept nogil
