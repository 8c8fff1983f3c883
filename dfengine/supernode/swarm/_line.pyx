"""A line of parked pulls, of which the first that lacks something offered is found by word operations. The layout stands in the `.pxd`."""

cimport cython

from dfengine._bitset cimport Bitset
from dfengine.supernode.swarm._bitset_tree cimport FAN, BitsetTree


@cython.final
cdef class Line:
    def __cinit__(self, Py_ssize_t size):
        self.seats = {}
        self.waiting = []
        self.lacks = BitsetTree(size)
        self.endless = BitsetTree(size, True)
        self.size = size

    def __len__(self):
        return len(self.seats)

    def __iter__(self):
        return iter(self.seats)

    def __contains__(self, download):
        return download in self.seats

    def __getitem__(self, download):
        """(What it lacks, whether it lacks all beyond the set's end, too.)"""
        cdef Py_ssize_t seat = self.seats[download]
        cdef object bits = self.lacks.sets[seat]
        return (self.endless.sets[seat], True) if bits is None else (bits, False)

    def grow(self, Py_ssize_t size):
        """There may be pieces up to `size`. A smaller size changes nothing."""
        self.size = max(self.size, size)
        self.lacks.widen(size)
        self.endless.widen(size)

    def put(self, download not None, Bitset lack not None, bint endless=False):
        """It waits, at the end of the line, or where it waits already; `lack` replaces what it lacked.

        endless: it lacks all beyond the set's end, too.
        """
        cdef object seat = self.seats.get(download)
        if seat is None:
            seat = len(self.waiting)
            self.lacks.reserve(<Py_ssize_t> seat + 1)
            self.endless.reserve(<Py_ssize_t> seat + 1)
            self.waiting.append(download)
            self.seats[download] = seat
        (self.lacks if endless else self.endless).take(seat)
        (self.endless if endless else self.lacks).put(seat, lack)

    def drop(self, download not None):
        """It waits no longer; not in the line: nothing happens."""
        cdef object seat = self.seats.pop(download, None)
        if seat is not None:
            self.waiting[seat] = None
            self.lacks.take(seat)
            self.endless.take(seat)
            if len(self.waiting) > 2 * len(self.seats) + FAN:
                self._move_up()

    def first(self, Bitset offer not None, dict passed not None, after=None):
        """The first behind `after` (None: of all), of those not in `passed`, that lacks a piece of `offer`; None: none does."""
        cdef Py_ssize_t seat = -1 if after is None else self.seats[after], past = len(self.waiting), other
        while True:
            other = self.endless.first(offer, seat + 1, past)
            seat = self.lacks.first(offer, seat + 1, past if other < 0 else other)
            if seat < 0:
                seat = other
            if seat < 0:
                return None
            if self.waiting[seat] not in passed:
                return self.waiting[seat]

    cdef int _move_up(self) except -1:
        cdef BitsetTree lacks = BitsetTree(self.size), endless = BitsetTree(self.size, True)
        cdef Py_ssize_t seat, before
        lacks.reserve(len(self.seats))
        endless.reserve(len(self.seats))
        self.waiting = list(self.seats)
        for seat, download in enumerate(self.waiting):
            before = self.seats[download]
            if self.lacks.sets[before] is not None:
                lacks.put(seat, <Bitset> self.lacks.sets[before])
            else:
                endless.put(seat, <Bitset> self.endless.sets[before])
            self.seats[download] = seat
        self.lacks, self.endless = lacks, endless
        return 0

    def check_invariant(self):
        """Raises AssertionError unless each waits at its seat, in the order of the seats."""
        assert len(self.waiting) <= 2 * len(self.seats) + FAN, "vacant seats"
        assert [download for download in self.waiting if download is not None] == list(self.seats), "order"
        assert all(self.waiting[seat] is download for download, seat in self.seats.items()), "seats"
        for seat, who in enumerate(self.waiting):
            found = sum([bits.sets[seat] is not None for bits in (self.lacks, self.endless)])
            assert found == (who is not None), f"seat {seat}: lacks"
        self.lacks.check_invariant()
        self.endless.check_invariant()
