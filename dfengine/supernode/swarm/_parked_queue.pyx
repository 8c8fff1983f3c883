"""The queue of parked pulls, in which the first that lacks an offered piece is found by word operations. Layout: see the `.pxd`."""

cimport cython

from dfengine._bitset cimport Bitset
from dfengine.supernode.swarm._bitset_tree cimport FAN, BitsetTree


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
        """(What it lacks, whether it lacks all beyond the set's end, too.)"""
        cdef Py_ssize_t position = self.positions[download]
        cdef object bits = self.lacks.sets[position]
        return (self.endless.sets[position], True) if bits is None else (bits, False)

    def grow(self, Py_ssize_t size):
        """There may be pieces up to `size`. A smaller size changes nothing."""
        self.size = max(self.size, size)
        self.lacks.grow(size)
        self.endless.grow(size)

    def put(self, download not None, Bitset lack not None, bint endless=False):
        """Append the download, or keep its position if it is parked already; `lack` replaces what it lacked.

        endless: it lacks all beyond the set's end, too.
        """
        cdef object position = self.positions.get(download)
        if position is None:
            position = len(self.entries)
            self.lacks.reserve(<Py_ssize_t> position + 1)
            self.endless.reserve(<Py_ssize_t> position + 1)
            self.entries.append(download)
            self.positions[download] = position
        (self.lacks if endless else self.endless).put(position, None)
        (self.endless if endless else self.lacks).put(position, lack)

    def drop(self, download not None):
        """Remove the download; not parked: nothing happens."""
        cdef object position = self.positions.pop(download, None)
        if position is not None:
            self.entries[position] = None
            self.lacks.put(position, None)
            self.endless.put(position, None)
            if len(self.entries) > 2 * len(self.positions) + FAN:
                self._compact()

    def first(self, Bitset offer not None, dict skip not None, after=None):
        """The first after `after` (None: of all), of those not in `skip`, that lacks a piece of `offer`; None: none does."""
        cdef Py_ssize_t position = -1 if after is None else self.positions[after], past = len(self.entries), other
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

    def check_invariant(self):
        """Raises AssertionError unless each download is at its position, in the order of the positions."""
        assert len(self.entries) <= 2 * len(self.positions) + FAN, "vacant positions"
        assert [download for download in self.entries if download is not None] == list(self.positions), "order"
        assert all(self.entries[position] is download for download, position in self.positions.items()), "positions"
        for position, entry in enumerate(self.entries):
            found = sum([bits.sets[position] is not None for bits in (self.lacks, self.endless)])
            assert found == (entry is not None), f"position {position}: lacks"
        self.lacks.check_invariant()
        self.endless.check_invariant()
