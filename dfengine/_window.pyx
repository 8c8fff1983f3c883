"""The sliding window over a task's pieces: which are wanted, received, acknowledged.

Laws
1. una moves over contiguous acknowledged pieces only, and never back.
2. Only pieces in [una, una + wnd) may arrive or be acknowledged.
3. Both may happen out of order and more than once; only the first time counts.
4. wnd = -1 is the regular mode: the window reaches to the end of the file.
5. Memory is one byte for each piece of the window (regular mode: of the touched pieces past una), whatever the file's length.

A piece is WANTED, then HERE after `arrive`, then ACKED after `ack`, and never returns to an earlier state. A piece may be acknowledged
without having arrived. Every piece below una is ACKED. Requests and their sources are kept in `client/plan.py` and the supernode's leases.
"""

cimport cython

from cpython.mem cimport PyMem_Free
from libc.stdint cimport int64_t, uint8_t

from dfengine._memory cimport zeroed

from dfengine.errors import BadPiece, BadValue

cdef int64_t MAX_COUNT = 1 << 31
cdef int64_t SMALLEST = 64


@cython.final
cdef class Window:
    """A window of `wnd` pieces (-1: regular) over a task of `count` pieces (-1: unknown yet). Raises BadValue."""

    def __cinit__(self, wnd, count=-1):
        if not (wnd == -1 or 1 <= wnd < MAX_COUNT) or not -1 <= count < MAX_COUNT:
            raise BadValue(f"a window of {wnd} over {count} pieces cannot be")
        self.wnd = wnd
        self.count = count
        self.una = self.high = 0
        self.mask = 0
        self.states = NULL
        self._room(0)

    def __dealloc__(self):
        PyMem_Free(self.states)

    cdef int64_t _end(self) noexcept nogil:
        cdef int64_t end = MAX_COUNT if self.wnd < 0 else self.una + self.wnd
        if 0 <= self.count < end:
            end = self.count
        return end

    @property
    def end(self):
        return self._end()

    cdef int64_t _inside(self, object n) except -2:
        """n, or -1 if it is below una. Raises BadPiece past the window's end."""
        if n < 0 or n >= self._end():
            raise BadPiece(f"piece {n} is not in the window {self.una}..{self._end()}")
        return -1 if n < self.una else n

    cdef int _room(self, int64_t n) except -1:
        """Grow the ring until it has room for una..n."""
        cdef int64_t capacity = self.mask + 1 if self.states != NULL else 0
        if n - self.una < capacity:
            return 0
        cdef int64_t fresh = max(capacity, SMALLEST), i
        while n - self.una >= fresh:
            fresh *= 2
        cdef uint8_t *states = <uint8_t *>zeroed(fresh, 1)
        for i in range(self.una, self.high):
            states[i & (fresh - 1)] = self.states[i & self.mask]
        PyMem_Free(self.states)
        self.states = states
        self.mask = fresh - 1
        return 0

    cdef int _become(self, object n, uint8_t state) except -1:
        """Raise piece n to `state`, if it is in an earlier one; return its former state."""
        cdef int64_t number = self._inside(n)
        cdef int former
        if number < 0:
            return ACKED
        self._room(number)
        former = self.states[number & self.mask]
        if former < state:
            self.states[number & self.mask] = state
            self.high = max(self.high, number + 1)
        return former

    def arrive(self, n):
        return self._become(n, HERE) == WANTED

    def ack(self, n):
        cdef int64_t before = self.una
        self._become(n, ACKED)
        while self.una < self.high and self.states[self.una & self.mask] == ACKED:
            self.states[self.una & self.mask] = WANTED  # the slot is reused for the piece that enters the ring
            self.una += 1
        return self.una - before

    def slide(self, past):
        cdef int64_t target, n, fresh
        if past < 0 or past > (self.count if self.count >= 0 else MAX_COUNT):
            raise BadPiece(f"a window of {self.count} pieces cannot begin at {past}")
        target = past
        if target <= self.una:
            return 0
        fresh = target - self.una
        for n in range(self.una, min(target, self.high)):
            fresh -= self.states[n & self.mask] == ACKED
            self.states[n & self.mask] = WANTED
        self.una = target
        self.high = max(self.high, target)
        while self.una < self.high and self.states[self.una & self.mask] == ACKED:
            self.states[self.una & self.mask] = WANTED
            self.una += 1
        return fresh

    def wanted(self, n):
        if n < self.una or n >= self._end():
            return False
        return n >= self.high or self.states[<int64_t>n & self.mask] == WANTED

    def acked(self, n):
        if n < self.una:
            return n >= 0
        return n < self.high and self.states[<int64_t>n & self.mask] == ACKED

    def here(self, n):
        return self.una <= n < self.high and self.states[<int64_t>n & self.mask] == HERE

    def set_count(self, count):
        if not 0 <= count < MAX_COUNT or (self.count >= 0 and count != self.count) or count < self.high:
            raise BadValue(f"{count} pieces in all cannot be: {self.high} were seen, {self.count} were told")
        self.count = count

    def __repr__(self):
        return f"Window(una={self.una}, wnd={self.wnd}, count={self.count})"
