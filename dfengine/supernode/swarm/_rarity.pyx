"""Piece order: rarest first over bitsets, one per level of rarity. The `.pxd` shows the layout."""

cimport cython

from cpython.mem cimport PyMem_Free
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from dfengine._bitset cimport Bitset, df_ctz
from dfengine._memory cimport resized, zeroed

from dfengine.errors import BadPiece, BadValue

cdef extern from *:
    int clz32 "__builtin_clz"(unsigned int) nogil


cdef int level_of(uint32_t copies) noexcept nogil:
    cdef int octave
    if copies < EXACT:
        return <int> copies
    octave = 31 - clz32(copies)
    return EXACT + 2 * (octave - 4) + <int> ((copies >> (octave - 1)) & 1)


cpdef bint lacking(Bitset into, Bitset offered, Bitset have, Py_ssize_t lo, Py_ssize_t hi) except -1:
    cdef Py_ssize_t i, first, last, both
    cdef uint64_t seen = 0
    cdef uint64_t* words = into.words
    if lo < 0:
        raise BadPiece(f"piece {lo} before the first")
    hi = min(hi, into.size) if offered is None else min(hi, into.size, offered.size)
    memset(words, 0, into.nwords * sizeof(uint64_t))
    if lo >= hi:
        return False
    first = lo >> 6
    last = (hi - 1) >> 6
    if offered is None:
        memset(words + first, 0xFF, (last + 1 - first) * sizeof(uint64_t))
    else:
        memcpy(words + first, offered.words + first, (last + 1 - first) * sizeof(uint64_t))
    both = min(last + 1, have.nwords)
    for i in range(first, both):
        words[i] &= ~have.words[i]
    words[first] &= ~(<uint64_t> 0) << (lo & 63)
    words[last] &= ~(<uint64_t> 0) >> (63 - ((hi - 1) & 63))
    for i in range(first, last + 1):
        seen |= words[i]
    return seen != 0


cdef int confine(Bitset bits, tuple pieces) except -1:
    """Clear all bits except these pieces; pieces beyond the bits are ignored."""
    cdef Py_ssize_t n
    cdef list kept = [n for n in pieces if n < bits.size and (bits.words[n >> 6] >> (n & 63)) & 1]
    memset(bits.words, 0, bits.nwords * sizeof(uint64_t))
    for n in kept:
        bits.words[n >> 6] |= <uint64_t> 1 << (n & 63)
    return 0


@cython.final
cdef class Rarity:
    def __cinit__(self, Py_ssize_t size):
        memset(self.sets, 0, sizeof(self.sets))
        memset(self.members, 0, sizeof(self.members))
        if size < 0:
            raise BadValue(f"{size} pieces")
        self.grow(size)

    def __dealloc__(self):
        cdef int level
        for level in range(LEVELS):
            PyMem_Free(self.sets[level])
        PyMem_Free(self.counts)
        PyMem_Free(self.hit_words)
        PyMem_Free(self.hit_at)

    def grow(self, Py_ssize_t size):
        """Make room for `size` pieces; the new ones have no copy. A smaller size changes nothing."""
        cdef Py_ssize_t nwords = (size + 63) >> 6
        cdef Py_ssize_t n
        cdef int level
        cdef void* moved
        if size <= self.size:
            return
        # Newly allocated and zero: pages without a counted piece are not touched.
        moved = zeroed(size, sizeof(uint32_t))
        if self.size:
            memcpy(moved, self.counts, self.size * sizeof(uint32_t))
        PyMem_Free(self.counts)
        self.counts = <uint32_t*> moved
        for level in range(LEVELS):
            if self.sets[level] is NULL:
                continue
            self.sets[level] = <uint64_t*> resized(self.sets[level], nwords * sizeof(uint64_t))
            memset(self.sets[level] + self.nwords, 0, (nwords - self.nwords) * sizeof(uint64_t))
        self.hit_words = <uint64_t*> resized(self.hit_words, (nwords + 1) * sizeof(uint64_t))
        self.hit_at = <uint32_t*> resized(self.hit_at, (nwords + 1) * sizeof(uint32_t))
        n = self.size
        self.nwords = nwords
        self.size = size
        for n in range(n, size):
            self.put_in_level(n, 0)

    cdef int put_in_level(self, Py_ssize_t n, int level) except -1:
        if self.sets[level] is NULL:
            self.sets[level] = <uint64_t*> zeroed(self.nwords, sizeof(uint64_t))
        self.sets[level][n >> 6] |= (<uint64_t> 1) << (n & 63)
        self.members[level] += 1
        return 0

    cpdef int change(self, Py_ssize_t n, int by) except -1:
        cdef uint32_t copies
        cdef int old, new
        if not 0 <= n < self.size:
            raise BadPiece(f"piece {n} is outside 0..{self.size - 1}")
        copies = self.counts[n]
        if by < 0 and copies == 0:
            raise BadValue(f"piece {n} has no copy to lose")
        old = level_of(copies)
        new = level_of(copies + by)
        if new != old:
            self.put_in_level(n, new)
            self.sets[old][n >> 6] &= ~((<uint64_t> 1) << (n & 63))
            self.members[old] -= 1
        self.counts[n] = copies + by
        return 0

    cpdef int change_all(self, Bitset pieces, int by) except -1:
        cdef Py_ssize_t i
        cdef uint64_t word
        for i in range(pieces.nwords):
            word = pieces.words[i]
            while word:
                self.change((i << 6) + df_ctz(word), by)
                word &= word - 1
        return 0

    def cut(self, Py_ssize_t size):
        """Remove all copies of pieces from `size` on."""
        cdef Py_ssize_t n
        for n in range(max(size, 0), self.size):
            if self.counts[n]:
                self.change(n, -<int> self.counts[n])

    def copies(self, Py_ssize_t n):
        """Number of copies of piece n, finished and in flight. Raises BadPiece outside 0..size-1."""
        if not 0 <= n < self.size:
            raise BadPiece(f"piece {n} is outside 0..{self.size - 1}")
        return self.counts[n]

    cpdef Bitset at_least(self, Bitset pieces, Py_ssize_t copies):
        cdef Bitset found = Bitset(pieces.size)
        cdef Py_ssize_t i
        cdef int level
        memcpy(found.words, pieces.words, pieces.nwords * sizeof(uint64_t))
        for level in range(level_of(<uint32_t> copies)):
            if self.members[level]:
                for i in range(min(found.nwords, self.nwords)):
                    found.words[i] &= ~self.sets[level][i]
        return found

    cdef Py_ssize_t search(self, Bitset want, Bitset offered, Py_ssize_t start, int most, uint32_t* found, Py_ssize_t limit) noexcept nogil:
        """Find up to `limit` pieces of want & offered by level, each level once around from `start`; return the number found.

        Nonzero words are gathered once. The word of `start` is visited twice: its upper bits first, its lower bits last.
        """
        cdef Py_ssize_t n = min(want.nwords, offered.nwords, self.nwords)
        cdef Py_ssize_t first = start >> 6, step, i, hit_words = 0, number = 0
        cdef uint64_t upper = ~(<uint64_t> 0) << (start & 63)
        cdef uint64_t word
        cdef uint64_t* level_set
        cdef int level = 0
        while level <= most and self.members[level] == 0:
            level += 1
        if n == 0 or level > most:
            return 0
        if start < 0 or first >= n:
            first = 0
            upper = ~(<uint64_t> 0)
        i = first
        for step in range(n + 1):
            word = want.words[i] & offered.words[i]
            if step == 0:
                word &= upper
            elif step == n:
                word &= ~upper
            if word:
                self.hit_words[hit_words] = word
                self.hit_at[hit_words] = <uint32_t> i
                hit_words += 1
            i += 1
            if i == n:
                i = 0
        while level <= most:
            level_set = self.sets[level]
            if self.members[level]:
                for i in range(hit_words):
                    word = level_set[self.hit_at[i]] & self.hit_words[i]
                    while word:
                        found[number] = (self.hit_at[i] << 6) + <uint32_t> df_ctz(word)
                        number += 1
                        if number == limit:
                            return number
                        word &= word - 1
            level += 1
        return number
