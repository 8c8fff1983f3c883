"""Holders of pieces and the open ones among them. The layout is drawn in the `.pxd`."""

cimport cython

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from dfengine._bitset cimport Bitset, df_ctz, df_prefetch
from dfengine.supernode.swarm._bitset_tree cimport BitsetTree

from dfengine.errors import BadPiece, BadValue


cdef extern from "Python.h":
    PyObject* PyList_GET_ITEM(list items, Py_ssize_t i) noexcept
    Py_ssize_t PyList_GET_SIZE(list items) noexcept


@cython.final
cdef class Holders:
    def __cinit__(self, Py_ssize_t size, uint32_t seed=0):
        if size < 0:
            raise BadValue(f"{size} pieces")
        self.members = []
        self.haves = []
        self.vacant = []
        self.held = Bitset(0)
        self.offers = BitsetTree(0)
        self.dice = seed
        self.looks = LOOKS
        self.grow(size)

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.nchunks):
            PyMem_Free(self.chunks[i])
        PyMem_Free(self.chunks)
        PyMem_Free(self.open_places)
        PyMem_Free(self.seat)

    def grow(self, Py_ssize_t size):
        """Make room for `size` pieces, the new ones held by nobody. A smaller size changes nothing."""
        cdef Py_ssize_t nchunks = (size + CHUNK - 1) >> CHUNK_SHIFT
        cdef void* moved
        if size <= self.size:
            return
        moved = PyMem_Realloc(self.chunks, nchunks * sizeof(Cell*))
        if moved is NULL:
            raise MemoryError
        self.chunks = <Cell**> moved
        memset(self.chunks + self.nchunks, 0, (nchunks - self.nchunks) * sizeof(Cell*))
        self.nchunks = nchunks
        self.held.grow(size)
        self.offers.widen(size)
        self.size = size

    cdef Cell* cell(self, Py_ssize_t n) noexcept nogil:  # its callers give a piece
        """What is known of piece n; NULL while nobody ever had it or one beside it."""
        cdef Cell* chunk = self.chunks[n >> CHUNK_SHIFT]
        return NULL if chunk is NULL else chunk + (n & (CHUNK - 1))

    cdef Cell* make_cell(self, Py_ssize_t n) except NULL:
        """The same, made if it is not there."""
        cdef Cell* chunk = self.chunks[n >> CHUNK_SHIFT]
        cdef Py_ssize_t i
        if chunk is NULL:
            chunk = <Cell*> PyMem_Calloc(CHUNK, sizeof(Cell))
            if chunk is NULL:
                raise MemoryError
            for i in range(CHUNK):
                memset(chunk[i].recent, 0xFF, sizeof(chunk[i].recent))
            self.chunks[n >> CHUNK_SHIFT] = chunk
        return chunk + (n & (CHUNK - 1))

    cdef bint holds(self, uint32_t place, Py_ssize_t n) noexcept:  # bounds are checked here
        cdef Bitset have
        if place >= <uint32_t> PyList_GET_SIZE(self.haves):
            return False
        if PyList_GET_ITEM(self.haves, place) is <PyObject*> None:
            return False
        have = <Bitset> PyList_GET_ITEM(self.haves, place)
        return n < have.size and (have.words[n >> 6] >> (n & 63)) & 1

    cdef void ask(self, uint32_t place, Py_ssize_t n) noexcept:  # bounds are checked here
        """The word that `holds` will test is on its way into the cache."""
        cdef PyObject* have
        if place < <uint32_t> PyList_GET_SIZE(self.haves):
            have = PyList_GET_ITEM(self.haves, place)
            if have is not <PyObject*> None:
                df_prefetch((<Bitset> have).words + (n >> 6))

    cdef int gain(self, uint32_t place, Py_ssize_t n) except -1:
        cdef Cell* cell
        if not 0 <= n < self.size:
            raise BadPiece(f"piece {n} is outside 0..{self.size - 1}")
        cell = self.make_cell(n)
        cell.count += 1
        cell.recent[cell.turn] = place
        cell.turn = (cell.turn + 1) % RECENT
        if cell.count == 1:
            self.held.words[n >> 6] |= <uint64_t> 1 << (n & 63)
        if self.seat[place] >= 0:
            self.offers.gain(self.seat[place], n)
        return 0

    cdef int lose(self, Py_ssize_t n) except -1:
        cdef Cell* cell
        if not 0 <= n < self.size:
            raise BadPiece(f"piece {n} is outside 0..{self.size - 1}")
        cell = self.cell(n)
        if cell is NULL or cell.count == 0:
            raise BadValue(f"piece {n} has no holder to lose")
        cell.count -= 1
        if cell.count == 0:
            self.held.words[n >> 6] &= ~(<uint64_t> 1 << (n & 63))
        return 0

    def join(self, member not None, Bitset have not None):
        """Take `member` in with the pieces it has, closed; return its place. `have` is read as long as it is a member."""
        cdef Py_ssize_t place, i, room
        cdef uint64_t word
        cdef void* moved
        if self.vacant:
            place = self.vacant.pop()
            self.members[place] = member
            self.haves[place] = have
        else:
            place = len(self.members)
            if place == self.places:
                room = max(8, 2 * self.places)
                moved = PyMem_Realloc(self.open_places, room * sizeof(uint32_t))
                if moved is NULL:
                    raise MemoryError
                self.open_places = <uint32_t*> moved
                moved = PyMem_Realloc(self.seat, room * sizeof(int32_t))
                if moved is NULL:
                    raise MemoryError
                self.seat = <int32_t*> moved
                self.places = room
            self.offers.reserve(place + 1)
            self.members.append(member)
            self.haves.append(have)
        self.seat[place] = -1
        for i in range(have.nwords):
            word = have.words[i]
            while word:
                self.gain(<uint32_t> place, (i << 6) + df_ctz(word))
                word &= word - 1
        return place

    def leave(self, Py_ssize_t place):
        """The member at `place` goes, and everything it has. Raises BadValue when nobody is there."""
        cdef Bitset have = self._at(place)
        cdef Py_ssize_t i
        cdef uint64_t word
        self.close(place)
        for i in range(have.nwords):
            word = have.words[i]
            while word:
                self.lose((i << 6) + df_ctz(word))
                word &= word - 1
        self.members[place] = None
        self.haves[place] = None
        self.vacant.append(place)

    def _at(self, Py_ssize_t place):
        if not 0 <= place < len(self.members) or self.members[place] is None:
            raise BadValue(f"nobody at place {place}")
        return self.haves[place]

    def gained(self, Py_ssize_t place, Py_ssize_t n):
        """Piece n has become one of the member's; its bit is set already."""
        self._at(place)
        self.gain(<uint32_t> place, n)

    def gained_all(self, Py_ssize_t place, Bitset pieces not None):
        """The same for each of `pieces`."""
        cdef Py_ssize_t i
        cdef uint64_t word
        self._at(place)
        for i in range(pieces.nwords):
            word = pieces.words[i]
            while word:
                self.gain(<uint32_t> place, (i << 6) + df_ctz(word))
                word &= word - 1

    def lost(self, Py_ssize_t place, Py_ssize_t n):
        """Piece n has stopped being one of the member's; its bit is clear already."""
        self._at(place)
        self.lose(n)

    cdef void unfold(self, Py_ssize_t place) noexcept:  # `place` was checked; room for it was made by join
        """open, for a place that somebody is at."""
        if self.seat[place] < 0:
            self.open_places[self.nopen] = <uint32_t> place
            self.seat[place] = <int32_t> self.nopen
            self.offers.put(self.nopen, <Bitset> self.haves[place])
            self.nopen += 1

    cdef void fold(self, Py_ssize_t place) noexcept:  # `place` was checked
        """close, for a place that somebody is at."""
        cdef int32_t seat = self.seat[place]
        cdef uint32_t last
        if seat >= 0:
            self.nopen -= 1
            last = self.open_places[self.nopen]
            self.open_places[seat] = last
            self.seat[last] = seat
            self.seat[place] = -1
            self.offers.move(self.nopen, seat)

    def open(self, Py_ssize_t place):
        """The member has a free upload slot. Again: nothing changes."""
        self._at(place)
        self.unfold(place)

    def close(self, Py_ssize_t place):
        """The member has no free upload slot. Again: nothing changes."""
        self._at(place)
        self.fold(place)

    def is_open(self, Py_ssize_t place):
        self._at(place)
        return self.seat[place] >= 0

    @property
    def open_count(self):
        """Members with a free upload slot."""
        return self.nopen

    def copies(self, Py_ssize_t n):
        """Finished copies of piece n among the members. Raises BadPiece outside 0..size-1."""
        cdef Cell* cell
        if not 0 <= n < self.size:
            raise BadPiece(f"piece {n} is outside 0..{self.size - 1}")
        cell = self.cell(n)
        return 0 if cell is NULL else cell.count

    cdef int refill(self, Cell* cell, Py_ssize_t n) except -1:
        """Find all holders of a rare piece anew. A scan of the members, paid once by the loss that made it rare again."""
        cdef uint32_t place
        cdef int found = 0
        memset(cell.recent, 0xFF, sizeof(cell.recent))
        for place in range(<uint32_t> len(self.members)):
            if self.holds(place, n):
                cell.recent[found] = place
                found += 1
                if found == RECENT:
                    break
        cell.turn = <uint8_t> (found % RECENT)
        return 0

    cdef Py_ssize_t some(self, Py_ssize_t n, uint32_t* found) except -1:
        """The places of `sample`, at most RECENT + SAMPLES; their number."""
        cdef uint32_t drawn[SAMPLES]
        cdef uint32_t place
        cdef Py_ssize_t number = 0, i
        cdef Cell* cell = self.cell(n)
        cdef bint common
        cdef int turn
        if cell is NULL:
            return 0
        common = cell.count > RECENT and self.nopen
        for i in range(RECENT):
            self.ask(cell.recent[i], n)
        if common:
            for i in range(SAMPLES):
                self.dice = self.dice * 1664525 + 1013904223
                drawn[i] = self.open_places[<Py_ssize_t> ((<uint64_t> self.dice * <uint64_t> self.nopen) >> 32)]
                self.ask(drawn[i], n)
        for turn in range(2):
            number = 0
            for i in range(RECENT):
                place = cell.recent[i]
                if self.holds(place, n) and not among(found, number, place):
                    found[number] = place
                    number += 1
            if number >= min(cell.count, <uint32_t> RECENT) or self.looks <= 0:
                break
            self.looks -= PyList_GET_SIZE(self.members)
            self.refill(cell, n)
        if common:
            for i in range(SAMPLES):
                if self.holds(drawn[i], n) and not among(found, number, drawn[i]):
                    found[number] = drawn[i]
                    number += 1
        return number

    def sample(self, Py_ssize_t n):
        """Some holders of piece n, open or not, none twice: all of them when they are at most RECENT, else up to RECENT + SAMPLES."""
        cdef uint32_t found[RECENT + SAMPLES]
        cdef Py_ssize_t i
        if not 0 <= n < self.size:
            raise BadPiece(f"piece {n} is outside 0..{self.size - 1}")
        self.looks = LOOKS
        return [self.members[found[i]] for i in range(self.some(n, found))]

    def useful(self, Bitset want not None, Py_ssize_t first, Py_ssize_t step=0):
        """(member, step) of the next open member that has a piece of `want`, else None.

        The open ones are visited around from index `first`; `step` of them count as visited already.
        """
        cdef Py_ssize_t begin, start, seat = -1
        step = max(step, 0)
        if step >= self.nopen:
            return None
        begin = <Py_ssize_t> (<size_t> first % <size_t> self.nopen)
        start = begin + step
        if start < self.nopen:
            seat = self.offers.first(want, start, self.nopen)
            start = self.nopen
        if seat < 0:
            seat = self.offers.first(want, start - self.nopen, begin)
        if seat < 0:
            return None
        return self.members[self.open_places[seat]], seat - begin if seat >= begin else seat + self.nopen - begin

    def open_holders(self, Py_ssize_t n):
        """Every open member that has piece n: a scan of the open ones."""
        cdef Py_ssize_t i
        return [self.members[self.open_places[i]] for i in range(self.nopen) if self.holds(self.open_places[i], n)]

    def check_invariant(self):
        """Raises AssertionError unless counts are recounted right and open and seat agree."""
        cdef Py_ssize_t n, i
        live = [(m, h) for m, h in zip(self.members, self.haves, strict=True) if m is not None]
        assert len(self.members) - len(live) == len(self.vacant) == len(set(self.vacant)), "vacant places"
        for n in range(self.size):
            held = sum(1 for _, have in live if n < len(have) and n in have)
            assert held == self.copies(n), f"piece {n}: {held} holders, counted {self.copies(n)}"
            assert (n in self.held) == (held > 0), f"piece {n}: held"
        for i in range(self.nopen):
            assert self.seat[self.open_places[i]] == i and self.members[self.open_places[i]] is not None, "open places"
        assert sum(1 for i in range(len(self.members)) if self.seat[i] >= 0) == self.nopen, "seats"
        for i in range(len(self.offers.sets)):
            assert self.offers.sets[i] is (self.haves[self.open_places[i]] if i < self.nopen else None), f"seat {i}: offers"
        self.offers.check_invariant()


cdef inline bint among(uint32_t* places, Py_ssize_t number, uint32_t place) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(number):
        if places[i] == place:
            return True
    return False
