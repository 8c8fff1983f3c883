"""A line of parked pulls, of which the first that lacks something offered is found by word operations. The layout stands in the `.pxd`."""

cimport cython

from dfengine._bitset cimport Bitset
from dfengine.supernode._unions cimport FAN, Unions


@cython.final
cdef class Line:
    def __cinit__(self, Py_ssize_t size):
        self.seats = {}
        self.waiting = []
        self.lacks = Unions(size)
        self.size = size

    def __len__(self):
        return len(self.seats)

    def __iter__(self):
        return iter(self.seats)

    def __contains__(self, download):
        return download in self.seats

    def __getitem__(self, download):
        return self.lacks.sets[self.seats[download]]

    def grow(self, Py_ssize_t size):
        """There may be pieces up to `size`. A smaller size changes nothing."""
        self.size = max(self.size, size)
        self.lacks.widen(size)

    def put(self, download not None, Bitset lack not None):
        """It waits, at the end of the line, or where it waits already; `lack` replaces what it lacked."""
        cdef object seat = self.seats.get(download)
        if seat is None:
            seat = len(self.waiting)
            self.lacks.reserve(<Py_ssize_t> seat + 1)
            self.waiting.append(download)
            self.seats[download] = seat
        self.lacks.put(seat, lack)

    def drop(self, download not None):
        """It waits no longer; not in the line: nothing happens."""
        cdef object seat = self.seats.pop(download, None)
        if seat is not None:
            self.waiting[seat] = None
            self.lacks.take(seat)
            if len(self.waiting) > 2 * len(self.seats) + FAN:
                self._move_up()

    def first(self, Bitset offer not None, dict passed not None):
        """The first, of those not in `passed`, that lacks a piece of `offer`; None: none does."""
        cdef Py_ssize_t seat = -1, past = len(self.waiting)
        while True:
            seat = self.lacks.first(offer, seat + 1, past)
            if seat < 0:
                return None
            if self.waiting[seat] not in passed:
                return self.waiting[seat]

    cdef int _move_up(self) except -1:
        cdef Unions lacks = Unions(self.size)
        cdef Py_ssize_t seat
        lacks.reserve(len(self.seats))
        self.waiting = list(self.seats)
        for seat, download in enumerate(self.waiting):
            lacks.put(seat, <Bitset> self.lacks.sets[self.seats[download]])
            self.seats[download] = seat
        self.lacks = lacks
        return 0

    def check_invariant(self):
        """Raises AssertionError unless each waits at its seat, in the order of the seats."""
        assert len(self.waiting) <= 2 * len(self.seats) + FAN, "vacant seats"
        assert [download for download in self.waiting if download is not None] == list(self.seats), "order"
        assert all(self.waiting[seat] is download for download, seat in self.seats.items()), "seats"
        assert [bits is None for bits in self.lacks.sets[: len(self.waiting)]] == [who is None for who in self.waiting], "lacks"
        self.lacks.check_invariant()
