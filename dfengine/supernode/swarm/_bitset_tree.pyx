"""A tree of bitsets, searched for the first that shares a piece with another, and the queue of parked pulls. Laws: see the `.pxd`."""

cimport cython

from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from dfengine._bitset cimport Bitset
from dfengine._memory cimport resized, zeroed

from dfengine.errors import BadPiece, BadValue


cdef extern from "Python.h":
    PyObject* PyList_GET_ITEM(list items, Py_ssize_t i) noexcept
    Py_ssize_t PyList_GET_SIZE(list items) noexcept


cdef bint intersects(Bitset a, Bitset b) noexcept nogil:
    """Whether the two have a piece in common."""
    return words_intersect(a.words, b.words, min(a.nwords, b.nwords))


cdef bint empty(Bitset bits) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(bits.nwords):
        if bits.words[i]:
            return False
    return True


cdef inline bint words_intersect(const uint64_t* a, const uint64_t* b, Py_ssize_t nwords) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(nwords):
        if a[i] & b[i]:
            return True
    return False


cdef inline bint merge(uint64_t* into, const uint64_t* words, Py_ssize_t nwords) noexcept nogil:
    """Merge `words` into `into`; True if that added a piece."""
    cdef Py_ssize_t i
    cdef uint64_t fresh = 0
    for i in range(nwords):
        fresh |= words[i] & ~into[i]
        into[i] |= words[i]
    return fresh != 0


@cython.final
cdef class BitsetTree:
    def __cinit__(self, Py_ssize_t size, bint endless=False):
        memset(self.nodes, 0, sizeof(self.nodes))
        memset(self.number, 0, sizeof(self.number))
        if size < 0:
            raise BadValue(f"{size} pieces")
        self.sets = []
        self.endless = endless
        self.grow(size)

    def __dealloc__(self):
        cdef int level
        cdef Py_ssize_t i
        for level in range(HEIGHT):
            for i in range(self.number[level]):
                PyMem_Free(self.nodes[level][i])
            PyMem_Free(self.nodes[level])

    cpdef int grow(self, Py_ssize_t size) except -1:
        cdef Py_ssize_t nwords = (size + 63) >> 6, i
        cdef int level
        cdef void* moved
        if nwords <= self.nwords:
            return 0
        for level in range(HEIGHT):
            for i in range(self.number[level]):
                moved = zeroed(nwords, sizeof(uint64_t))  # newly allocated: pages in which a node claims nothing are not touched
                memcpy(moved, self.nodes[level][i], self.nwords * sizeof(uint64_t))
                PyMem_Free(self.nodes[level][i])
                self.nodes[level][i] = <uint64_t*> moved
                if self.endless:  # any of the sets may extend that far
                    memset(self.nodes[level][i] + self.nwords, 0xFF, (nwords - self.nwords) * sizeof(uint64_t))
        self.nwords = nwords
        return 0

    cpdef int put(self, Py_ssize_t index, Bitset bits) except -1:
        cdef int level
        if index < 0:
            raise BadValue(f"index {index}")
        if index >= PyList_GET_SIZE(self.sets):
            self.reserve(index + 1)
        self.sets[index] = bits
        if bits is not None:
            for level in range(self.height):
                index >>= SHIFT
                if not self.add_to_node(self.nodes[level][index], bits):
                    break
        return 0

    cpdef int move(self, Py_ssize_t index, Py_ssize_t to) except -1:
        cdef Bitset bits = self.at(index)
        if not 0 <= to < PyList_GET_SIZE(self.sets):
            raise BadValue(f"no index {to}")
        self.sets[index] = None
        if to != index:
            self.put(to, bits)
        return 0

    cpdef int gain(self, Py_ssize_t index, Py_ssize_t n) except -1:
        cdef int level
        cdef uint64_t bit = <uint64_t> 1 << (n & 63)
        cdef uint64_t* word
        if not 0 <= n < self.nwords << 6:
            raise BadPiece(f"piece {n}")
        self.at(index)
        for level in range(self.height):
            index >>= SHIFT
            word = self.nodes[level][index] + (n >> 6)
            if word[0] & bit:
                break
            word[0] |= bit
        return 0

    cpdef Py_ssize_t first(self, Bitset want, Py_ssize_t start, Py_ssize_t past) except -2:
        start = max(start, 0)
        past = min(past, PyList_GET_SIZE(self.sets))
        if start >= past:
            return -1
        return self.find(self.height - 1, 0, want, start, past)

    cdef Bitset at(self, Py_ssize_t index):
        if not 0 <= index < PyList_GET_SIZE(self.sets) or self.sets[index] is None:
            raise BadValue(f"nothing at index {index}")
        return <Bitset> self.sets[index]

    cdef int reserve(self, Py_ssize_t length) except -1:
        """Make room for `length` indexes."""
        cdef Py_ssize_t below = length, needed, i
        cdef int level = 0
        while below > 1 or level == 0:
            needed = (below + FAN - 1) >> SHIFT
            if needed > self.number[level]:
                self.nodes[level] = <uint64_t**> resized(self.nodes[level], needed * sizeof(uint64_t*))
                for i in range(self.number[level], needed):
                    self.nodes[level][i] = <uint64_t*> zeroed(self.nwords, sizeof(uint64_t))
                    self.number[level] = i + 1
            if level == self.height:
                for i in range(needed):
                    self.rebuild(level, i)
                self.height = level + 1
            below = needed
            level += 1
        # Extended last: if memory runs out, no index is without its nodes.
        while PyList_GET_SIZE(self.sets) < length:
            self.sets.append(None)
        return 0

    # Calls nothing that raises: sets are Bitsets or None, and only existing children of a node are visited.
    cdef Py_ssize_t find(self, int level, Py_ssize_t i, Bitset want, Py_ssize_t start, Py_ssize_t past) noexcept:  # the node exists
        """Search below one node, as `first` does."""
        cdef Py_ssize_t below = self.number[level - 1] if level else PyList_GET_SIZE(self.sets)
        cdef Py_ssize_t first = i << SHIFT, last = min(first + FAN, below) - 1, child, found
        cdef int span = SHIFT * level
        cdef bint all_of_it = start >> span <= first and past - 1 >> span >= last
        if not words_intersect(self.nodes[level][i], want.words, min(self.nwords, want.nwords)):
            return -1
        for child in range(max(first, start >> span), min(last, past - 1 >> span) + 1):
            if level:
                found = self.find(level - 1, child, want, start, past)
                if found >= 0:
                    return found
            elif PyList_GET_ITEM(self.sets, child) is not <PyObject*> None and self.has_any(
                <Bitset> PyList_GET_ITEM(self.sets, child), want
            ):
                return child
        if all_of_it:
            self.rebuild(level, i)
        return -1

    cdef void rebuild(self, int level, Py_ssize_t i) noexcept:  # the node exists; reads what `find` reads
        """Make a node claim exactly the pieces below it."""
        cdef Py_ssize_t below = self.number[level - 1] if level else PyList_GET_SIZE(self.sets)
        cdef Py_ssize_t child
        cdef uint64_t* node = self.nodes[level][i]
        memset(node, 0, self.nwords * sizeof(uint64_t))
        for child in range(i << SHIFT, min((i + 1) << SHIFT, below)):
            if level:
                merge(node, self.nodes[level - 1][child], self.nwords)
            elif PyList_GET_ITEM(self.sets, child) is not <PyObject*> None:
                self.add_to_node(node, <Bitset> PyList_GET_ITEM(self.sets, child))

    cdef bint add_to_node(self, uint64_t* node, Bitset bits) noexcept:  # words of both, none past the shorter: nothing can raise
        """Make the node claim the set's pieces; True if that added a piece."""
        cdef Py_ssize_t i, nwords = min(bits.nwords, self.nwords)
        cdef bint more = merge(node, bits.words, nwords)
        if self.endless:
            for i in range(nwords, self.nwords):
                more |= node[i] != ~(<uint64_t> 0)
                node[i] = ~(<uint64_t> 0)
        return more

    cdef bint has_any(self, Bitset bits, Bitset want) noexcept:  # words of `want` alone are read past `bits`: nothing can raise
        """Whether the set has a piece of `want`."""
        cdef Py_ssize_t i
        if intersects(bits, want):
            return True
        for i in range(bits.nwords if self.endless else want.nwords, want.nwords):
            if want.words[i]:
                return True
        return False


@cython.final
cdef class ParkedQueue:
    def __cinit__(self, Py_ssize_t size):
        self.positions = {}
        self.entries = []
        self.lacks = BitsetTree(size)
        self.endless = BitsetTree(size, True)
        self.size = size

    def __len__(self):
        return len(self.positions)

    def __iter__(self):
        return iter(self.positions)

    def __contains__(self, download):
        return download in self.positions

    def __getitem__(self, download):
        """Return (the pieces it lacks, whether it also lacks all pieces beyond that set's end)."""
        cdef Py_ssize_t position = self.positions[download]
        cdef object bits = self.lacks.sets[position]
        return (self.endless.sets[position], True) if bits is None else (bits, False)

    @property
    def any_ahead(self):
        """Whether a download that was put `ahead` is parked."""
        return self.ahead is not None and len(self.ahead.positions) > 0

    def grow(self, Py_ssize_t size):
        """Extend the queue to pieces up to `size`. A smaller size changes nothing."""
        if self.ahead is not None:
            self.ahead.grow(size)
        self.size = max(self.size, size)
        self.lacks.grow(size)
        self.endless.grow(size)

    def put(self, download not None, Bitset lack not None, bint endless=False, bint ahead=False):
        """Append the download, or keep its position if it is parked already; `lack` replaces the pieces it lacked.

        endless: it also lacks all pieces beyond the set's end. ahead: until it is dropped it precedes all downloads that are put without
        that.
        """
        cdef object position = self.positions.get(download)
        if ahead and self.ahead is None:
            self.ahead = ParkedQueue(self.size)
        if ahead or (self.ahead is not None and download in self.ahead.positions):
            self.ahead.put(download, lack, endless)
        if position is None:
            position = len(self.entries)
            self.lacks.reserve(<Py_ssize_t> position + 1)
            self.endless.reserve(<Py_ssize_t> position + 1)
            self.entries.append(download)
            self.positions[download] = position
        (self.lacks if endless else self.endless).put(position, None)
        (self.endless if endless else self.lacks).put(position, lack)

    def drop(self, download not None):
        """Remove the download, if it is parked."""
        cdef object position = self.positions.pop(download, None)
        if self.ahead is not None:
            self.ahead.drop(download)
        if position is not None:
            self.entries[position] = None
            self.lacks.put(position, None)
            self.endless.put(position, None)
            if len(self.entries) > 2 * len(self.positions) + FAN:
                self._compact()

    def first(self, Bitset offer not None, dict skip not None, after=None, Bitset ahead=None):
        """Return the first download after `after` (None: of all) that is not in `skip` and lacks a piece of `offer`; None: no download.

        ahead: downloads put `ahead` that lack a piece of this set precede them; None: they have no precedence.
        """
        cdef Py_ssize_t position = -1, past = len(self.entries), other
        cdef object found
        if ahead is not None and self.ahead is not None:
            found = self.ahead.first(ahead, skip)
            if found is not None:
                return found
        if after is not None and (self.ahead is None or after not in self.ahead.positions):
            position = self.positions[after]
        while True:
            other = self.endless.first(offer, position + 1, past)
            position = self.lacks.first(offer, position + 1, past if other < 0 else other)
            if position < 0:
                position = other
            if position < 0:
                return None
            if self.entries[position] not in skip:
                return self.entries[position]

    cdef int _compact(self) except -1:
        cdef BitsetTree lacks = BitsetTree(self.size), endless = BitsetTree(self.size, True)
        cdef Py_ssize_t position, before
        lacks.reserve(len(self.positions))
        endless.reserve(len(self.positions))
        self.entries = list(self.positions)
        for position, download in enumerate(self.entries):
            before = self.positions[download]
            if self.lacks.sets[before] is not None:
                lacks.put(position, <Bitset> self.lacks.sets[before])
            else:
                endless.put(position, <Bitset> self.endless.sets[before])
            self.positions[download] = position
        self.lacks, self.endless = lacks, endless
        return 0
