"""BitsetTree of bitsets, searched for the first that shares a piece with another. Layout and laws stand in the `.pxd`."""

cimport cython

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from dfengine._bitset cimport Bitset

from dfengine.errors import BadPiece, BadValue


cdef extern from "Python.h":
    PyObject* PyList_GET_ITEM(list items, Py_ssize_t i) noexcept
    Py_ssize_t PyList_GET_SIZE(list items) noexcept


cdef bint meet(Bitset a, Bitset b) noexcept nogil:
    """True if the two have a piece in common."""
    return share(a.words, b.words, min(a.nwords, b.nwords))


cdef inline bint share(const uint64_t* a, const uint64_t* b, Py_ssize_t nwords) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(nwords):
        if a[i] & b[i]:
            return True
    return False


cdef inline bint join(uint64_t* into, const uint64_t* words, Py_ssize_t nwords) noexcept nogil:
    """True if that made `into` more."""
    cdef Py_ssize_t i
    cdef uint64_t fresh = 0
    for i in range(nwords):
        fresh |= words[i] & ~into[i]
        into[i] |= words[i]
    return fresh != 0


cdef bint claims(const uint64_t* node, const uint64_t* words, Py_ssize_t nwords) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(nwords):
        if words[i] & ~node[i]:
            return False
    return True


@cython.final
cdef class BitsetTree:
    def __cinit__(self, Py_ssize_t size, bint endless=False):
        memset(self.nodes, 0, sizeof(self.nodes))
        memset(self.number, 0, sizeof(self.number))
        if size < 0:
            raise BadValue(f"{size} pieces")
        self.sets = []
        self.endless = endless
        self.widen(size)

    def __dealloc__(self):
        cdef int level
        cdef Py_ssize_t i
        for level in range(HEIGHT):
            for i in range(self.number[level]):
                PyMem_Free(self.nodes[level][i])
            PyMem_Free(self.nodes[level])

    def grow(self, Py_ssize_t size):
        """The sets may have pieces up to `size`. A smaller size changes nothing."""
        self.widen(size)

    def sit(self, Py_ssize_t seat, Bitset bits):
        """`bits` are at that seat from now on and read in place, None: nobody; whoever was there is not. Raises BadValue below 0."""
        if seat < 0:
            raise BadValue(f"seat {seat}")
        self.reserve(seat + 1)
        if bits is None:
            self.take(seat)
        else:
            self.put(seat, bits)

    def moved(self, Py_ssize_t seat, Py_ssize_t to):
        """Who is at `seat` goes to another, in the place of whoever is there; to its own: it goes.

        Raises BadValue where nobody is, or where there is no such other.
        """
        self._at(seat)
        if not 0 <= to < len(self.sets):
            raise BadValue(f"no seat {to}")
        self.move(seat, to)

    def gained(self, Py_ssize_t seat, Py_ssize_t n):
        """Piece n has become one of theirs; its bit is set already. Raises BadValue where nobody is, BadPiece outside the sets."""
        if not 0 <= n < self.nwords << 6:
            raise BadPiece(f"piece {n}")
        self._at(seat)
        self.gain(seat, n)

    def _at(self, Py_ssize_t seat):
        if not 0 <= seat < len(self.sets) or self.sets[seat] is None:
            raise BadValue(f"nobody at seat {seat}")

    def search(self, Bitset want not None, Py_ssize_t start, Py_ssize_t past):
        """The first seat of start..past-1 whose set has a piece of `want`, -1: none."""
        return self.first(want, max(start, 0), past)

    def check_invariant(self):
        """Raises AssertionError unless every node claims whatever is below it."""
        cdef int level
        cdef Py_ssize_t i, seat, word
        cdef Bitset bits
        assert self.number[max(self.height - 1, 0)] == (len(self.sets) > 0), "one root"
        for seat, bits in enumerate(self.sets):
            if bits is not None:
                for level in range(self.height):
                    i = seat >> SHIFT * (level + 1)
                    assert claims(self.nodes[level][i], bits.words, min(bits.nwords, self.nwords)), f"seat {seat}, level {level}"
                    for word in range(bits.nwords if self.endless else self.nwords, self.nwords):
                        assert self.nodes[level][i][word] == ~(<uint64_t> 0), f"seat {seat}, level {level}: beyond"
        for level in range(1, self.height):
            for i in range(self.number[level - 1]):
                assert claims(self.nodes[level][i >> SHIFT], self.nodes[level - 1][i], self.nwords), f"node {i}, level {level}"

    cdef int widen(self, Py_ssize_t size) except -1:
        """grow."""
        cdef Py_ssize_t nwords = (size + 63) >> 6, i
        cdef int level
        cdef void* moved
        if nwords <= self.nwords:
            return 0
        for level in range(HEIGHT):
            for i in range(self.number[level]):
                moved = PyMem_Calloc(nwords, sizeof(uint64_t))  # fresh: pages of a node that claims nothing there are not touched
                if moved is NULL:
                    raise MemoryError
                memcpy(moved, self.nodes[level][i], self.nwords * sizeof(uint64_t))
                PyMem_Free(self.nodes[level][i])
                self.nodes[level][i] = <uint64_t*> moved
                if self.endless:  # any of them may reach there
                    memset(self.nodes[level][i] + self.nwords, 0xFF, (nwords - self.nwords) * sizeof(uint64_t))
        self.nwords = nwords
        return 0

    cdef int reserve(self, Py_ssize_t seats) except -1:
        """Make room for so many seats."""
        cdef Py_ssize_t below = seats, needed, i
        cdef int level = 0
        cdef void* moved
        while below > 1 or level == 0:
            needed = (below + FAN - 1) >> SHIFT
            if needed > self.number[level]:
                moved = PyMem_Realloc(self.nodes[level], needed * sizeof(uint64_t*))
                if moved is NULL:
                    raise MemoryError
                self.nodes[level] = <uint64_t**> moved
                for i in range(self.number[level], needed):
                    self.nodes[level][i] = <uint64_t*> PyMem_Calloc(max(self.nwords, 1), sizeof(uint64_t))
                    if self.nodes[level][i] is NULL:
                        raise MemoryError
                    self.number[level] = i + 1
            if level == self.height:
                for i in range(needed):
                    self.remake(level, i)
                self.height = level + 1
            below = needed
            level += 1
        # Last: where memory is short there is no seat without its nodes.
        while PyList_GET_SIZE(self.sets) < seats:
            self.sets.append(None)
        return 0

    cdef void put(self, Py_ssize_t seat, Bitset bits) noexcept:  # room for the seat was reserved
        """`bits` sit there from now on."""
        cdef int level
        self.sets[seat] = bits
        for level in range(self.height):
            seat >>= SHIFT
            if not self.unite(self.nodes[level][seat], bits):
                break

    cdef void take(self, Py_ssize_t seat) noexcept:  # room for the seat was reserved
        """Nobody sits there any more."""
        self.sets[seat] = None

    cdef void move(self, Py_ssize_t seat, Py_ssize_t to) noexcept:  # both are reserved, and somebody sits at the first
        """Who sits at `seat` goes to another, in the place of whoever is there; to its own: it goes."""
        cdef Bitset bits = <Bitset> self.sets[seat]
        self.sets[seat] = None
        if to != seat:
            self.put(to, bits)

    cdef void gain(self, Py_ssize_t seat, Py_ssize_t n) noexcept:  # somebody sits there, and n is a piece
        """Their set has piece n more."""
        cdef int level
        cdef uint64_t bit = <uint64_t> 1 << (n & 63)
        cdef uint64_t* word
        for level in range(self.height):
            seat >>= SHIFT
            word = self.nodes[level][seat] + (n >> 6)
            if word[0] & bit:
                break
            word[0] |= bit

    cdef Py_ssize_t first(self, Bitset want, Py_ssize_t start, Py_ssize_t past) noexcept:  # bounds are checked here
        """search, for start >= 0."""
        past = min(past, PyList_GET_SIZE(self.sets))
        if start >= past:
            return -1
        return self.find(self.height - 1, 0, want, start, past)

    # Calls nothing that raises: sets are Bitsets or None, and a node's children are those that there are.
    cdef Py_ssize_t find(self, int level, Py_ssize_t i, Bitset want, Py_ssize_t start, Py_ssize_t past) noexcept:  # of a node that is there
        """The same below one node."""
        cdef Py_ssize_t below = self.number[level - 1] if level else PyList_GET_SIZE(self.sets)
        cdef Py_ssize_t first = i << SHIFT, last = min(first + FAN, below) - 1, child, found
        cdef int span = SHIFT * level
        cdef bint all_of_it = start >> span <= first and past - 1 >> span >= last
        if not share(self.nodes[level][i], want.words, min(self.nwords, want.nwords)):
            return -1
        for child in range(max(first, start >> span), min(last, past - 1 >> span) + 1):
            if level:
                found = self.find(level - 1, child, want, start, past)
                if found >= 0:
                    return found
            elif PyList_GET_ITEM(self.sets, child) is not <PyObject*> None and self.shares(
                <Bitset> PyList_GET_ITEM(self.sets, child), want
            ):
                return child
        if all_of_it:
            self.remake(level, i)
        return -1

    cdef void remake(self, int level, Py_ssize_t i) noexcept:  # of a node that is there; reads what `find` reads
        """A node claims what is below it and no more."""
        cdef Py_ssize_t below = self.number[level - 1] if level else PyList_GET_SIZE(self.sets)
        cdef Py_ssize_t child
        cdef uint64_t* node = self.nodes[level][i]
        memset(node, 0, self.nwords * sizeof(uint64_t))
        for child in range(i << SHIFT, min((i + 1) << SHIFT, below)):
            if level:
                join(node, self.nodes[level - 1][child], self.nwords)
            elif PyList_GET_ITEM(self.sets, child) is not <PyObject*> None:
                self.unite(node, <Bitset> PyList_GET_ITEM(self.sets, child))

    cdef bint unite(self, uint64_t* node, Bitset bits) noexcept:  # words of both, none past the shorter: nothing can raise
        """The node claims what the set has; True if that made it more."""
        cdef Py_ssize_t i, nwords = min(bits.nwords, self.nwords)
        cdef bint more = join(node, bits.words, nwords)
        if self.endless:
            for i in range(nwords, self.nwords):
                more |= node[i] != ~(<uint64_t> 0)
                node[i] = ~(<uint64_t> 0)
        return more

    cdef bint shares(self, Bitset bits, Bitset want) noexcept:  # words of `want` alone are read past `bits`: nothing can raise
        """The set has a piece of `want`."""
        cdef Py_ssize_t i
        if meet(bits, want):
            return True
        for i in range(bits.nwords if self.endless else want.nwords, want.nwords):
            if want.words[i]:
                return True
        return False
