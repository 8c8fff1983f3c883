"""Offsets of a tree's files in their concatenation, and the paths, in plain arrays: for loops without the GIL."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from dfengine.errors import BadValue

cdef enum:
    MAX_PATH = 4096


cdef bint beneath(const char *path, Py_ssize_t length) noexcept nogil:
    """Whether the path is relative, without a NUL and without a segment that is empty, `.` or `..`."""
    cdef Py_ssize_t at, begin = 0
    for at in range(length + 1):
        if at == length or path[at] == b"/":
            if at == begin or (path[begin] == b"." and (at == begin + 1 or (at == begin + 2 and path[begin + 1] == b"."))):
                return False
            begin = at + 1
        elif path[at] == 0:
            return False
    return True


cdef class Layout:
    """Offsets and paths of a tree's files. paths: relative. sizes: bytes. content_size: bytes of the content of a piece. Raises BadValue.
    """

    def __cinit__(self, paths, sizes, int64_t content_size, *more, **named):
        cdef Py_ssize_t n, count = len(paths), length = 0
        cdef bytes path
        if len(sizes) != count or content_size <= 0:
            raise BadValue("paths and sizes of a tree do not belong together")
        self.count, self.content_size = count, content_size
        for path in paths:
            if not 0 < len(path) < MAX_PATH:
                raise BadValue(f"a path of {len(path)} bytes in a tree")
            if not beneath(PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path)):
                raise BadValue(f"the path {path[:200]!r} in a tree does not stay below its directory")
            length += len(path) + 1
        self.names = <char *>calloc(length + 1, 1)
        self.name_at = <int64_t *>calloc(count + 1, sizeof(int64_t))
        self.at = <int64_t *>calloc(count + 1, sizeof(int64_t))
        if self.names == NULL or self.name_at == NULL or self.at == NULL:
            raise MemoryError
        cdef int64_t here = 0, size
        length = 0
        for n, path in enumerate(paths):
            memcpy(self.names + length, PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path))
            self.name_at[n] = length
            length += PyBytes_GET_SIZE(path) + 1
            size = sizes[n]
            if size < 0 or here > (<int64_t>1 << 62) - size:
                raise BadValue(f"a file of {size} bytes in a tree")
            here += size
            self.at[n + 1] = here

    def __dealloc__(self):
        free(self.names)
        free(self.name_at)
        free(self.at)

    @property
    def length(self):
        """Bytes of the concatenation."""
        return self.at[self.count]

    cdef Py_ssize_t find(self, int64_t offset) noexcept nogil:
        """The first file that ends after `offset`; `count` if there is none."""
        cdef Py_ssize_t low = 0, high = self.count, middle
        while low < high:
            middle = (low + high) // 2
            if self.at[middle + 1] > offset:
                high = middle
            else:
                low = middle + 1
        return low

    cdef bint split(self, Py_ssize_t n) noexcept nogil:
        """Whether the file has bytes in several pieces, so that it is written into a part."""
        cdef int64_t first = self.at[n], past = self.at[n + 1]
        return past > first and first // self.content_size != (past - 1) // self.content_size

    def covered(self, int64_t offset, int64_t length):
        """(first, past): the numbers of the files that have bytes in [offset, offset + length)."""
        cdef Py_ssize_t first = self.find(offset), past
        past = first
        while past < self.count and self.at[past] < offset + length:
            past += 1
        return first, past

    def extent(self, Py_ssize_t n):
        """(offset, size) of file n in the concatenation."""
        self._check(n)
        return self.at[n], self.at[n + 1] - self.at[n]

    def path(self, Py_ssize_t n):
        """File n's path."""
        self._check(n)
        return <bytes>(self.names + self.name_at[n])

    def in_part(self, Py_ssize_t n):
        """Whether file n has bytes in several pieces, so that it is a part until it is complete."""
        self._check(n)
        return bool(self.split(n))

    def _check(self, Py_ssize_t n):
        if not 0 <= n < self.count:
            raise IndexError(f"file {n} of {self.count}")
