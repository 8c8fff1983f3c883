"""The sliding window over a task's pieces: what is wanted, asked for, here, acknowledged.

Laws
1. una moves over contiguous acknowledged pieces only, and never back.
2. Only pieces in [una, una + wnd) may be asked for or arrive; a window made smaller takes no piece back that was inside.
3. An acknowledgement may come out of order and more than once; only the first one counts.
4. wnd = -1 is the regular mode: the window reaches to the end of the file.
5. Memory is one byte a piece of the window (regular: of what was touched past una), whatever the file's length.

Transitions; a dash is illegal and raises IllegalEvent:

             ask      fail     arrive   ack
    WANTED   ASKED    -        HERE     ACKED
    ASKED    ASKED    WANTED   HERE     ACKED
    HERE     -        HERE     HERE     ACKED
    ACKED    -        ACKED    ACKED    ACKED      (every piece below una is ACKED)

A piece asked for twice (a hedge) may fail once and still arrive: fail of what is HERE or ACKED changes nothing.
"""

cimport cython

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport int64_t, uint8_t

from dfengine.errors import BadPiece, BadValue, IllegalEvent

cdef enum:
    ASK = 0
    FAIL = 1
    ARRIVE = 2
    ACK = 3
    ILLEGAL = 255

cdef uint8_t[4][4] TABLE  # by state, then event, in the order of the table above
TABLE[0][:] = [ASKED, ILLEGAL, HERE, ACKED]
TABLE[1][:] = [ASKED, WANTED, HERE, ACKED]
TABLE[2][:] = [ILLEGAL, HERE, HERE, ACKED]
TABLE[3][:] = [ILLEGAL, ACKED, ACKED, ACKED]

_EVENTS = ("ask", "fail", "arrive", "ack")
_STATES = ("wanted", "asked", "here", "acknowledged")
_MOST = 1 << 31
_SMALLEST = 64


@cython.final
cdef class Window:
    """A window of `wnd` pieces (-1: regular) over a task of `count` pieces (-1: unknown yet). Raises BadValue."""

    def __cinit__(self, wnd, count=-1):
        if not (wnd == -1 or 1 <= wnd < _MOST) or not -1 <= count < _MOST:
            raise BadValue(f"a window of {wnd} over {count} pieces cannot be")
        self.wnd = wnd
        self.count = count
        self.una = self.promised = self.high = 0
        self.mask = 0
        self.states = NULL
        self._room(0)

    def __dealloc__(self):
        PyMem_Free(self.states)

    cdef int64_t _end(self) noexcept nogil:
        cdef int64_t end = _most() if self.wnd < 0 else self.una + self.wnd
        if end < self.promised:
            end = self.promised
        if 0 <= self.count < end:
            end = self.count
        return end

    @property
    def end(self):
        return self._end()

    @property
    def done(self):
        return self.count >= 0 and self.una >= self.count

    cdef int64_t _inside(self, object n) except -2:
        """n, or -1 when it lies below una; raises BadPiece past the window's end."""
        if n < 0 or n >= self._end():
            raise BadPiece(f"piece {n} is not in the window {self.una}..{self._end()}")
        return -1 if n < self.una else n

    cdef int _room(self, int64_t n) except -1:
        """Grow the ring until it holds una..n."""
        cdef int64_t capacity = self.mask + 1 if self.states != NULL else 0
        if n - self.una < capacity:
            return 0
        cdef int64_t fresh = max(capacity, _SMALLEST), i
        while n - self.una >= fresh:
            fresh *= 2
        cdef uint8_t *states = <uint8_t *>PyMem_Calloc(fresh, 1)
        if states == NULL:
            raise MemoryError()
        for i in range(self.una, self.high):
            states[i & (fresh - 1)] = self.states[i & self.mask]
        PyMem_Free(self.states)
        self.states = states
        self.mask = fresh - 1
        return 0

    cdef int _step(self, object n, int event) except -1:
        """Apply `event` to piece n; returns its former state."""
        cdef int64_t number = self._inside(n)
        cdef int state = ACKED
        cdef uint8_t after
        if number >= 0:
            self._room(number)
            state = self.states[number & self.mask]
        after = TABLE[state][event]
        if after == ILLEGAL:
            raise IllegalEvent(f"piece {n} is {_STATES[state]}: it cannot {_EVENTS[event]}")
        if number >= 0:
            self.states[number & self.mask] = after
            if number >= self.high:
                self.high = number + 1
        return state

    def ask(self, n):
        self._step(n, ASK)

    def fail(self, n):
        self._step(n, FAIL)

    def arrive(self, n):
        return self._step(n, ARRIVE) < HERE

    def ack(self, n):
        cdef int64_t before = self.una
        if self._step(n, ACK) == ACKED or n != before:
            return 0
        if self.wnd >= 0:
            self.promised = self._end()
        while self.una < self.high and self.states[self.una & self.mask] == ACKED:
            self.states[self.una & self.mask] = WANTED  # the slot of the piece that comes into the ring for it
            self.una += 1
        return self.una - before

    def state(self, n):
        cdef int64_t number = self._inside(n)
        return _STATES[ACKED if number < 0 else WANTED if number >= self.high else self.states[number & self.mask]]

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

    def first_wanted(self, start=0):
        cdef int64_t i = max(start, self.una), end = self._end()
        while i < self.high and self.states[i & self.mask] != WANTED:
            i += 1
        return i if i < end else -1

    def pending(self):
        """Pieces of the window that are not acknowledged, ascending; regular with an unknown count: of those touched."""
        end = self._end() if self.wnd >= 0 or self.count >= 0 else self.high
        return [n for n in range(self.una, end) if not self.acked(n)]

    def set_count(self, count):
        if not 0 <= count < _MOST or (self.count >= 0 and count != self.count) or count < self.high:
            raise BadValue(f"{count} pieces in all cannot be: {self.high} were seen, {self.count} were told")
        self.count = count

    def resize(self, wnd):
        if not 1 <= wnd < _MOST or self.wnd < 0:
            raise BadValue(f"a window of {self.wnd} cannot become {wnd}")
        self.promised = self._end()
        self.wnd = wnd

    def __repr__(self):
        return f"Window(una={self.una}, wnd={self.wnd}, count={self.count})"


cdef inline int64_t _most() noexcept nogil:
    return <int64_t>1 << 31
