"""Recounts availability. The `.pxd` describes the algorithm."""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset

from dfengine._bitset cimport Bitset, df_popcount
from dfengine.supernode.swarm._rarity cimport EXACT, LEVELS, Rarity, level_of

from dfengine.errors import BadValue

cdef enum:
    PLANES = 16
    BLOCK = 256  # words: planes and rows of one stay in the first cache
    SIXTEEN = 16

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
    #define DF_WIDE __attribute__((target_clones("avx2", "default"), optimize("O3")))
    #else
    #define DF_WIDE
    #endif
    /* high, low = the two bits of low + a + b, for 64 pieces at once. */
    #define DF_ADD(high, low, a, b) do { \
        uint64_t x_ = (a), y_ = (b), half_ = (low) ^ x_; \
        (high) = ((low) & x_) | (half_ & y_); (low) = half_ ^ y_; } while (0)
    /* Add `carried` to a plane; what that carries stays in `carried`. */
    DF_WIDE static void df_ripple(uint64_t *restrict plane, uint64_t *restrict carried, Py_ssize_t width) {
        for (Py_ssize_t i = 0; i < width; i++) {
            uint64_t both = plane[i] & carried[i];
            plane[i] ^= carried[i];
            carried[i] = both;
        }
    }
    /* Add sixteen rows to planes 0..3, each `stride` words long; what they carry goes to `sixteens`. No two of these overlap. */
    DF_WIDE static void df_sixteen(uint64_t *planes, Py_ssize_t stride, uint64_t **row, uint64_t *sixteens, Py_ssize_t width) {
        uint64_t *restrict p1 = planes, *restrict p2 = p1 + stride, *restrict p4 = p2 + stride, *restrict p8 = p4 + stride;
        const uint64_t *r0 = row[0], *r1 = row[1], *r2 = row[2], *r3 = row[3], *r4 = row[4], *r5 = row[5], *r6 = row[6], *r7 = row[7];
        const uint64_t *r8 = row[8], *r9 = row[9], *r10 = row[10], *r11 = row[11], *r12 = row[12], *r13 = row[13], *r14 = row[14];
        const uint64_t *r15 = row[15];
    #pragma GCC ivdep
        for (Py_ssize_t i = 0; i < width; i++) {
            uint64_t one = p1[i], two = p2[i], four = p4[i], eight = p8[i], a, b, c, d, e, f;
            DF_ADD(a, one, r0[i], r1[i]);
            DF_ADD(b, one, r2[i], r3[i]);
            DF_ADD(c, two, a, b);
            DF_ADD(a, one, r4[i], r5[i]);
            DF_ADD(b, one, r6[i], r7[i]);
            DF_ADD(d, two, a, b);
            DF_ADD(e, four, c, d);
            DF_ADD(a, one, r8[i], r9[i]);
            DF_ADD(b, one, r10[i], r11[i]);
            DF_ADD(c, two, a, b);
            DF_ADD(a, one, r12[i], r13[i]);
            DF_ADD(b, one, r14[i], r15[i]);
            DF_ADD(d, two, a, b);
            DF_ADD(f, four, c, d);
            DF_ADD(a, eight, e, f);
            p1[i] = one; p2[i] = two; p4[i] = four; p8[i] = eight; sixteens[i] = a;
        }
    }
    """
    void df_sixteen(uint64_t* planes, Py_ssize_t stride, uint64_t** row, uint64_t* sixteens, Py_ssize_t width) noexcept nogil
    void df_ripple(uint64_t* plane, uint64_t* carried, Py_ssize_t width) noexcept nogil


def recount(Rarity rarity not None, list haves not None):
    cdef Py_ssize_t number = len(haves), first, i, level, allocated
    cdef Bitset have
    cdef uint64_t** words = <uint64_t**> PyMem_Calloc(number + SIXTEEN, sizeof(uint64_t*))
    cdef Py_ssize_t* lengths = <Py_ssize_t*> PyMem_Calloc(number + SIXTEEN, sizeof(Py_ssize_t))
    cdef uint64_t* planes = <uint64_t*> PyMem_Calloc(PLANES * BLOCK, sizeof(uint64_t))
    try:
        if words is NULL or lengths is NULL or planes is NULL:
            raise MemoryError
        if number >= 1 << PLANES:
            raise BadValue(f"{number} bitsets to count")
        for i in range(number):
            have = haves[i]
            words[i] = have.words
            lengths[i] = min(have.nwords, rarity.nwords)
        for level in range(LEVELS):
            rarity.members[level] = 0
            if rarity.sets[level] is NULL and level <= level_of(<uint32_t> number):
                rarity.sets[level] = <uint64_t*> PyMem_Calloc(max(rarity.nwords, 1), sizeof(uint64_t))
                if rarity.sets[level] is NULL:
                    raise MemoryError
            elif rarity.sets[level] is not NULL:
                memset(rarity.sets[level], 0, rarity.nwords * sizeof(uint64_t))
        with nogil:
            first = 0
            while first < rarity.nwords:
                i = min(<Py_ssize_t> BLOCK, rarity.nwords - first)
                add_up(planes, words, lengths, number, first, i)
                settle(rarity, planes, first, i)
                first += i
    finally:
        PyMem_Free(words)
        PyMem_Free(lengths)
        PyMem_Free(planes)


cdef void add_up(
    uint64_t* planes, uint64_t** words, Py_ssize_t* lengths, Py_ssize_t number, Py_ssize_t first, Py_ssize_t width
) noexcept nogil:
    """planes[p * BLOCK + i] = bit p of the counts in word first + i, over all bitsets."""
    cdef uint64_t[BLOCK] nothing
    cdef uint64_t* row[SIXTEEN]
    cdef uint64_t[BLOCK] sixteens
    cdef uint64_t[SIXTEEN][BLOCK] cut
    cdef Py_ssize_t turn, group, k, there
    cdef int p
    memset(nothing, 0, sizeof(nothing))
    memset(planes, 0, PLANES * BLOCK * sizeof(uint64_t))
    for turn in range((number + SIXTEEN - 1) // SIXTEEN):
        group = turn * SIXTEEN
        k = -1
        while k < SIXTEEN - 1:
            k += 1
            row[k] = nothing
            if group + k < number:
                there = lengths[group + k] - first
                if there >= width:
                    row[k] = words[group + k] + first
                elif there > 0:
                    memset(cut[k], 0, sizeof(cut[k]))
                    memcpy(cut[k], words[group + k] + first, there * sizeof(uint64_t))
                    row[k] = cut[k]
        df_sixteen(planes, BLOCK, row, sixteens, width)
        p = 4
        while p < PLANES and (turn + 1) >> (p - 4):
            df_ripple(planes + p * BLOCK, sixteens, width)
            p += 1


cdef uint64_t[256] SPREAD  # byte -> its bits, each as a byte of 0 or 1
for _byte in range(256):
    SPREAD[_byte] = sum([((_byte >> _bit) & 1) << (8 * _bit) for _bit in range(8)])


cdef void settle(Rarity rarity, uint64_t* planes, Py_ssize_t first, Py_ssize_t width) noexcept nogil:
    """Set the counts and levels of `width` words of pieces from word `first` on, from their planes."""
    cdef Py_ssize_t i, n, last = rarity.nwords - 1
    cdef uint64_t valid, seen, mine, half, low, high
    cdef int p, level, byte, top = PLANES - 1
    cdef uint32_t* counts
    while top > 0 and not any_of(planes + top * BLOCK, width):
        top -= 1
    for i in range(width):
        valid = ~(<uint64_t> 0)
        if first + i == last and rarity.size & 63:
            valid >>= 64 - (rarity.size & 63)
        seen = 0
        for p in range(top, 3, -1):
            mine = planes[p * BLOCK + i] & ~seen & valid
            if mine:
                half = planes[(p - 1) * BLOCK + i]
                level = EXACT + 2 * (p - 4)
                enter(rarity, level, first + i, mine & ~half)
                enter(rarity, level + 1, first + i, mine & half)
                seen |= mine
        mine = valid & ~seen
        if mine:
            for level in range(EXACT):
                half = mine
                for p in range(4):
                    half &= planes[p * BLOCK + i] if (level >> p) & 1 else ~planes[p * BLOCK + i]
                enter(rarity, level, first + i, half)
        n = (first + i) << 6
        for byte in range(8):
            low = high = 0
            for p in range(top + 1):
                if p < 8:
                    low |= SPREAD[(planes[p * BLOCK + i] >> (8 * byte)) & 0xFF] << p
                else:
                    high |= SPREAD[(planes[p * BLOCK + i] >> (8 * byte)) & 0xFF] << (p - 8)
            counts = rarity.counts + n + 8 * byte
            for p in range(min(8, <int> max(0, rarity.size - n - 8 * byte))):
                counts[p] = <uint32_t> (((low >> (8 * p)) & 0xFF) | (((high >> (8 * p)) & 0xFF) << 8))


cdef inline void enter(Rarity rarity, int level, Py_ssize_t word, uint64_t pieces) noexcept nogil:
    if pieces:
        rarity.sets[level][word] = pieces
        rarity.members[level] += df_popcount(pieces)


cdef bint any_of(uint64_t* words, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(width):
        if words[i]:
            return True
    return False
