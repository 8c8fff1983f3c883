"""The first of many bitsets, in the order of their seats, that shares a piece with another: a tree of unions over them.

    sets        [ a | b | None | c | ... ]            seat -> a Bitset, read in place; None: nobody sits there
    nodes[0]    [ a|b|c|... of FAN seats | ... ]      uint64[nwords] each
    nodes[1]    [ FAN of nodes[0]        | ... ]
      ...       up to the level that is one node

`endless` ones: what lies beyond a set's end counts as in it, so that a set that has all pieces but some of the first is short.

Laws. A node claims each piece that a set below it has, and each that a node below it claims. It may claim more: what was taken from a seat
or cleared in a set since. A search that looked at all below a node in vain makes that node anew. So a search costs about FAN tests a level,
a new piece one bit a level, and what goes costs nothing until it misleads somebody.
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

    cdef int reserve(self, Py_ssize_t seats) except -1
    cdef void put(self, Py_ssize_t seat, Bitset bits) noexcept
    cdef void take(self, Py_ssize_t seat) noexcept
    cdef void move(self, Py_ssize_t seat, Py_ssize_t to) noexcept
    cdef void gain(self, Py_ssize_t seat, Py_ssize_t n) noexcept
    cdef Py_ssize_t first(self, Bitset want, Py_ssize_t start, Py_ssize_t past) noexcept
    cdef int widen(self, Py_ssize_t size) except -1
    cdef Py_ssize_t find(self, int level, Py_ssize_t i, Bitset want, Py_ssize_t start, Py_ssize_t past) noexcept
    cdef void remake(self, int level, Py_ssize_t i) noexcept
    cdef bint unite(self, uint64_t* node, Bitset bits) noexcept
    cdef bint shares(self, Bitset bits, Bitset want) noexcept


cdef bint meet(Bitset a, Bitset b) noexcept nogil
