# Words of a bitset, in memory of its own or in a given buffer (little-endian, 8-byte aligned):
#
#     words[0]                     words[1]                        words[nwords-1]
#     | bit 63 ... bit 1 bit 0 |   | bit 127 ... bit 65 bit 64 |   | 0 0 0 ... size-1 ... |
#
# Bit n is bit n % 64 of word n // 64. Bits past `size` are never set by this module, and are ignored in a given buffer.

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #define df_load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define df_or(p, m) __atomic_fetch_or((p), (m), __ATOMIC_ACQ_REL)
    #define df_and(p, m) __atomic_fetch_and((p), (m), __ATOMIC_ACQ_REL)
    #define df_ctz(w) __builtin_ctzll(w)
    #define df_clz(w) __builtin_clzll(w)
    #define df_popcount(w) __builtin_popcountll(w)
    #define df_prefetch(p) __builtin_prefetch(p)
    """
    uint64_t df_load(const uint64_t *p) noexcept nogil
    uint64_t df_or(uint64_t *p, uint64_t mask) noexcept nogil
    uint64_t df_and(uint64_t *p, uint64_t mask) noexcept nogil
    int df_ctz(uint64_t word) noexcept nogil
    int df_clz(uint64_t word) noexcept nogil
    int df_popcount(uint64_t word) noexcept nogil
    void df_prefetch(const void *p) noexcept nogil

cdef inline bint bit_test(const uint64_t *words, Py_ssize_t n) noexcept nogil:
    return (df_load(words + (n >> 6)) >> (n & 63)) & 1

cdef inline bint bit_set(uint64_t *words, Py_ssize_t n) noexcept nogil:
    cdef uint64_t mask = <uint64_t>1 << (n & 63)
    return not (df_or(words + (n >> 6), mask) & mask)

cdef inline bint bit_clear(uint64_t *words, Py_ssize_t n) noexcept nogil:
    cdef uint64_t mask = <uint64_t>1 << (n & 63)
    return (df_and(words + (n >> 6), ~mask) & mask) != 0

cdef class Bitset:
    cdef uint64_t *words
    cdef readonly Py_ssize_t size
    cdef Py_ssize_t nwords
    cdef bint given            # the words belong to a buffer. `owner` cannot show it: the garbage collector may clear it first
    cdef object owner          # the given buffer's memoryview, which keeps it alive
    cdef uint64_t word(self, Py_ssize_t i) noexcept nogil
    cdef Py_ssize_t _check(self, object n) except -1
    cdef Py_ssize_t _first(self, uint64_t flip, object start) except -2
