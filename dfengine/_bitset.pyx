"""Packed bits in memory of their own or in a buffer that processes share.

`set` is a release and `test` an acquire: a process that reads a set bit also sees everything written before it was set.
"""

cimport cython

from cpython.mem cimport PyMem_Free
from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport memcpy

from dfengine._bitset cimport bit_clear, bit_set, bit_test, df_and, df_clz, df_ctz, df_load, df_or, df_popcount
from dfengine._memory cimport zeroed
from dfengine.errors import BadValue

_LIMIT = 1 << 40


def words(size: int) -> int:
    """Number of 64-bit words for `size` bits."""
    return (size + 63) // 64


cdef inline uint64_t _mask(Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    """Bits low..high-1 of a word, 0 <= low < high <= 64."""
    cdef uint64_t mask = <uint64_t>-1 if high == 64 else ((<uint64_t>1 << high) - 1)
    return mask & (<uint64_t>-1 << low)


cdef Py_ssize_t _scan(const uint64_t *words, Py_ssize_t count, uint64_t flip, Py_ssize_t start) noexcept nogil:
    """First set bit of words ^ flip from `start` on; -1 if none."""
    cdef Py_ssize_t i = start >> 6
    cdef uint64_t value, mask = <uint64_t>-1 << (start & 63)
    while i < count:
        value = (df_load(words + i) ^ flip) & mask
        if value:
            return (i << 6) + df_ctz(value)
        mask = <uint64_t>-1
        i += 1
    return -1


@cython.final
cdef class Bitset:
    """`size` bits, all zero. Raises BadValue for an invalid size."""

    def __cinit__(self, size):
        if not 0 <= size < _LIMIT:
            raise BadValue(f"a bitset of {size} bits cannot be")
        self.size = size
        self.nwords = (self.size + 63) // 64
        self.words = <uint64_t *>zeroed(self.nwords, 8)
        self.given = False
        self.owner = None

    def __dealloc__(self):
        if not self.given:
            PyMem_Free(self.words)

    @staticmethod
    def over(buffer, size):
        cdef Bitset bits
        cdef unsigned char[::1] view = memoryview(buffer).cast("B")
        if not 0 <= size < _LIMIT or view.shape[0] < words(size) * 8:
            raise BadValue(f"{view.shape[0]} bytes have no room for {size} bits")
        bits = Bitset.__new__(Bitset, 0)
        if size == 0:
            PyMem_Free(bits.words)
            bits.words = NULL  # no word is ever read
            bits.given, bits.owner = True, view
            return bits
        if <uintptr_t>&view[0] % 8:
            raise BadValue("a bitset's buffer is not aligned to 8 bytes")
        PyMem_Free(bits.words)
        bits.words = <uint64_t *>&view[0]
        bits.size = size
        bits.nwords = words(size)
        bits.given, bits.owner = True, view
        if bits.size & 63:
            df_and(bits.words + bits.nwords - 1, _mask(0, bits.size & 63))
        return bits

    cdef uint64_t word(self, Py_ssize_t i) noexcept nogil:
        cdef uint64_t value = df_load(self.words + i)
        if i == self.nwords - 1 and self.size & 63:
            value &= _mask(0, self.size & 63)
        return value

    cdef Py_ssize_t _check(self, object n) except -1:
        if not 0 <= n < self.size:
            raise IndexError(f"bit {n} of {self.size}")
        return n

    def set(self, n):
        return bit_set(self.words, self._check(n))

    def clear(self, n):
        return bit_clear(self.words, self._check(n))

    def test(self, n):
        return bit_test(self.words, self._check(n))

    def __contains__(self, n):
        return bit_test(self.words, self._check(n))

    def __len__(self):
        return self.size

    def _ends(self, a, b):
        if not 0 <= a <= b <= self.size:
            raise IndexError(f"bits {a}..{b} of {self.size}")
        return a, b

    def set_range(self, a, b):
        cdef Py_ssize_t low, high, i
        low, high = self._ends(a, b)
        while low < high:
            i = low >> 6
            df_or(self.words + i, _mask(low & 63, min(high - (i << 6), 64)))
            low = (i + 1) << 6

    def all_in_range(self, a, b):
        cdef Py_ssize_t low, high, i
        cdef uint64_t mask
        low, high = self._ends(a, b)
        while low < high:
            i = low >> 6
            mask = _mask(low & 63, min(high - (i << 6), 64))
            if df_load(self.words + i) & mask != mask:
                return False
            low = (i + 1) << 6
        return True

    def count(self):
        cdef Py_ssize_t i, total = 0
        for i in range(self.nwords):
            total += df_popcount(self.word(i))
        return total

    cdef Py_ssize_t _first(self, uint64_t flip, object start) except -2:
        """First set bit of this ^ flip from `start` on, flip being all ones or zero; -1 if none."""
        if start < 0:
            raise IndexError(f"bit {start} of {self.size}")
        if start >= self.size:
            return -1
        cdef Py_ssize_t n, begin = start
        with nogil:
            n = _scan(self.words, self.nwords, flip, begin)
        # Only the last word of a given buffer can have a set bit past the end.
        return n if n < self.size else -1

    def first_set(self, start=0):
        return self._first(0, start)

    def first_clear(self, start=0):
        return self._first(~<uint64_t>0, start)

    def last_set(self):
        cdef Py_ssize_t i
        cdef uint64_t value
        for i in range(self.nwords - 1, -1, -1):
            value = self.word(i)
            if value:
                return (i << 6) + 63 - df_clz(value)
        return -1

    def update_or(self, Bitset other not None):
        cdef Py_ssize_t i
        if other.size > self.size:
            raise BadValue(f"{other.size} bits do not fit into {self.size}")
        for i in range(other.nwords):
            df_or(self.words + i, other.word(i))

    def __iter__(self):
        n = self.first_set()
        while n >= 0:
            yield n
            n = self.first_set(n + 1)

    def runs(self):
        found = []
        low = self.first_set()
        while low >= 0:
            high = self.first_clear(low)
            if high < 0:
                high = self.size
            found.append((low, high))
            low = self.first_set(high)
        return found

    def grow(self, size):
        if self.given:
            raise BadValue("a bitset over a given buffer cannot grow")
        if not self.size <= size < _LIMIT:
            raise BadValue(f"a bitset of {self.size} bits cannot grow to {size}")
        cdef Py_ssize_t count = words(size)
        cdef uint64_t *fresh = <uint64_t *>zeroed(count, 8)
        memcpy(fresh, self.words, self.nwords * 8)
        PyMem_Free(self.words)
        self.words, self.nwords, self.size = fresh, count, size

    def copy(self):
        cdef Bitset fresh = Bitset(self.size)
        cdef Py_ssize_t i
        for i in range(self.nwords):
            fresh.words[i] = self.word(i)
        return fresh

    def tobytes(self):
        return b"".join([int(self.word(i)).to_bytes(8, "little") for i in range(self.nwords)])

    def __eq__(self, other):
        if not isinstance(other, Bitset):
            return NotImplemented
        return self.size == len(other) and self.tobytes() == other.tobytes()

    __hash__ = None

    def __repr__(self):
        return f"Bitset({self.count()} of {self.size})"
