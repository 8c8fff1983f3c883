"""Holders of pieces and the open ones among them. The `.pxd` shows the layout."""

cimport cython

from cpython.mem cimport PyMem_Free
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from dfengine._bitset cimport Bitset, df_ctz, df_prefetch
from dfengine._memory cimport resized, zeroed
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
        self.random_state = seed
        self.scan_budget = SCAN_BUDGET
        self.grow(size)

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.nchunks):
            PyMem_Free(self.chunks[i])
        PyMem_Free(self.chunks)
        PyMem_Free(self.open_list)
        PyMem_Free(self.open_index)

    def grow(self, Py_ssize_t size):
        cdef Py_ssize_t nchunks = (size + CHUNK - 1) >> CHUNK_SHIFT
        if size <= self.size:
            return
        self.chunks = <Cell**> resized(self.chunks, nchunks * sizeof(Cell*))
        memset(self.chunks + self.nchunks, 0, (nchunks - self.nchunks) * sizeof(Cell*))
        self.nchunks = nchunks
        self.held.grow(size)
        self.offers.grow(size)
        self.size = size

    cdef Cell* cell(self, Py_ssize_t n) noexcept nogil:  # its callers pass an existing piece
        """Return the cell of piece n; NULL while no piece of its chunk ever had a holder."""
        cdef Cell* chunk = self.chunks[n >> CHUNK_SHIFT]
        return NULL if chunk is NULL else chunk + (n & (CHUNK - 1))

    cdef Cell* make_cell(self, Py_ssize_t n) except NULL:
        """Return the cell of piece n, allocated if necessary."""
        cdef Cell* chunk = self.chunks[n >> CHUNK_SHIFT]
        cdef Py_ssize_t i
        if chunk is NULL:
            chunk = <Cell*> zeroed(CHUNK, sizeof(Cell))
            for i in range(CHUNK):
                memset(chunk[i].recent, 0xFF, sizeof(chunk[i].recent))
            self.chunks[n >> CHUNK_SHIFT] = chunk
        return chunk + (n & (CHUNK - 1))

    cdef bint holds(self, uint32_t index, Py_ssize_t n) noexcept:  # bounds are checked here
        cdef Bitset have
        if index >= <uint32_t> PyList_GET_SIZE(self.haves):
            return False
        if PyList_GET_ITEM(self.haves, index) is <PyObject*> None:
            return False
        have = <Bitset> PyList_GET_ITEM(self.haves, index)
        return n < have.size and (have.words[n >> 6] >> (n & 63)) & 1

    cdef void prefetch(self, uint32_t index, Py_ssize_t n) noexcept:  # bounds are checked here
        """Load the word that `holds` will test into the cache."""
        cdef PyObject* have
        if index < <uint32_t> PyList_GET_SIZE(self.haves):
            have = PyList_GET_ITEM(self.haves, index)
            if have is not <PyObject*> None:
                df_prefetch((<Bitset> have).words + (n >> 6))

    cpdef int gain(self, Py_ssize_t index, Py_ssize_t n) except -1:
        cdef Cell* cell
        self.check(index)
        if not 0 <= n < self.size:
            raise BadPiece(f"piece {n} is outside 0..{self.size - 1}")
        cell = self.make_cell(n)
        cell.count += 1
        cell.recent[cell.turn] = <uint32_t> index
        cell.turn = (cell.turn + 1) % RECENT
        if cell.count == 1:
            self.held.words[n >> 6] |= <uint64_t> 1 << (n & 63)
        if self.open_index[index] >= 0:
            self.offers.gain(self.open_index[index], n)
        return 0

    cpdef int gain_all(self, Py_ssize_t index, Bitset pieces) except -1:
        cdef Py_ssize_t i
        cdef uint64_t word
        for i in range(pieces.nwords):
            word = pieces.words[i]
            while word:
                self.gain(index, (i << 6) + df_ctz(word))
                word &= word - 1
        return 0

    cpdef int lose(self, Py_ssize_t index, Py_ssize_t n) except -1:
        cdef Cell* cell
        self.check(index)
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
        cdef Py_ssize_t index, room
        if self.vacant:
            index = self.vacant.pop()
            self.members[index] = member
            self.haves[index] = have
        else:
            index = len(self.members)
            if index == self.capacity:
                room = max(8, 2 * self.capacity)
                self.open_list = <uint32_t*> resized(self.open_list, room * sizeof(uint32_t))
                self.open_index = <int32_t*> resized(self.open_index, room * sizeof(int32_t))
                self.capacity = room
            self.offers.reserve(index + 1)
            self.members.append(member)
            self.haves.append(have)
        self.open_index[index] = -1
        self.gain_all(index, have)
        return index

    def leave(self, Py_ssize_t index):
        cdef Bitset have
        cdef Py_ssize_t i
        cdef uint64_t word
        self.close(index)
        have = self.haves[index]
        for i in range(have.nwords):
            word = have.words[i]
            while word:
                self.lose(index, (i << 6) + df_ctz(word))
                word &= word - 1
        self.members[index] = None
        self.haves[index] = None
        self.vacant.append(index)

    cdef int check(self, Py_ssize_t index) except -1:
        """Raise BadValue unless a member is at `index`."""
        if not 0 <= index < PyList_GET_SIZE(self.members) or PyList_GET_ITEM(self.members, index) is <PyObject*> None:
            raise BadValue(f"no member at index {index}")
        return 0

    def cut(self, Py_ssize_t size):
        cdef Py_ssize_t n
        cdef Cell* cell
        for n in range(max(size, 0), self.size):
            cell = self.cell(n)
            if cell is not NULL:
                cell.count = 0
            self.held.words[n >> 6] &= ~(<uint64_t> 1 << (n & 63))

    cpdef int open(self, Py_ssize_t index) except -1:
        self.check(index)
        if self.open_index[index] < 0:
            self.open_list[self.nopen] = <uint32_t> index
            self.open_index[index] = <int32_t> self.nopen
            self.offers.put(self.nopen, <Bitset> self.haves[index])
            self.nopen += 1
        return 0

    cpdef int close(self, Py_ssize_t index) except -1:
        cdef int32_t open_index
        cdef uint32_t last
        self.check(index)
        open_index = self.open_index[index]
        if open_index >= 0:
            self.nopen -= 1
            last = self.open_list[self.nopen]
            self.open_list[open_index] = last
            self.open_index[last] = open_index
            self.open_index[index] = -1
            self.offers.move(self.nopen, open_index)
        return 0

    cpdef bint is_open(self, Py_ssize_t index) except -1:
        self.check(index)
        return self.open_index[index] >= 0

    def copies(self, Py_ssize_t n):
        cdef Cell* cell
        if not 0 <= n < self.size:
            raise BadPiece(f"piece {n} is outside 0..{self.size - 1}")
        cell = self.cell(n)
        return 0 if cell is NULL else cell.count

    cdef int refill(self, Cell* cell, Py_ssize_t n) except -1:
        """Find all holders of a rare piece again, by a scan of the members; the loss that made it rare causes one scan."""
        cdef uint32_t index
        cdef int found = 0
        memset(cell.recent, 0xFF, sizeof(cell.recent))
        for index in range(<uint32_t> len(self.members)):
            if self.holds(index, n):
                cell.recent[found] = index
                found += 1
                if found == RECENT:
                    break
        cell.turn = <uint8_t> (found % RECENT)
        return 0

    cdef Py_ssize_t sample_into(self, Py_ssize_t n, uint32_t* found) except -1:
        """Write the holder indexes of some holders of piece n to `found`, open or not, without duplicates; return their number.

        All of them when they are at most RECENT, else up to RECENT + SAMPLES.
        """
        cdef uint32_t drawn[SAMPLES]
        cdef uint32_t index
        cdef Py_ssize_t number = 0, i
        cdef Cell* cell = self.cell(n)
        cdef bint common
        cdef int turn
        if cell is NULL:
            return 0
        common = cell.count > RECENT and self.nopen
        for i in range(RECENT):
            self.prefetch(cell.recent[i], n)
        if common:
            for i in range(SAMPLES):
                self.random_state = self.random_state * 1664525 + 1013904223
                drawn[i] = self.open_list[<Py_ssize_t> ((<uint64_t> self.random_state * <uint64_t> self.nopen) >> 32)]
                self.prefetch(drawn[i], n)
        for turn in range(2):
            number = 0
            for i in range(RECENT):
                index = cell.recent[i]
                if self.holds(index, n) and not among(found, number, index):
                    found[number] = index
                    number += 1
            if number >= min(cell.count, <uint32_t> RECENT) or self.scan_budget <= 0:
                break
            self.scan_budget -= PyList_GET_SIZE(self.members)
            self.refill(cell, n)
        if common:
            for i in range(SAMPLES):
                if self.holds(drawn[i], n) and not among(found, number, drawn[i]):
                    found[number] = drawn[i]
                    number += 1
        return number

    def useful(self, Bitset want not None, Py_ssize_t first, Py_ssize_t step=0):
        cdef Py_ssize_t begin, start, open_index = -1
        step = max(step, 0)
        if step >= self.nopen:
            return None
        begin = <Py_ssize_t> (<size_t> first % <size_t> self.nopen)
        start = begin + step
        if start < self.nopen:
            open_index = self.offers.first(want, start, self.nopen)
            start = self.nopen
        if open_index < 0:
            open_index = self.offers.first(want, start - self.nopen, begin)
        if open_index < 0:
            return None
        return self.members[self.open_list[open_index]], open_index - begin if open_index >= begin else open_index + self.nopen - begin

    def open_holders(self, Py_ssize_t n):
        cdef Py_ssize_t i
        return [self.members[self.open_list[i]] for i in range(self.nopen) if self.holds(self.open_list[i], n)]


cdef inline bint among(uint32_t* indexes, Py_ssize_t number, uint32_t index) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(number):
        if indexes[i] == index:
            return True
    return False
