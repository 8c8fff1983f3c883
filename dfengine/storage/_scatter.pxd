"""Memory of `Scatter`: beside those of `_layout.Layout`, arrays by the number of a file.

    modes    permission bits, -1: as a new file has them
    mtimes   ns, -1: when it is written
    states   one byte each: see `State`
    marks    16 bytes each: identify a finished file (`Scatter.marked`); NULL: files are not marked
    boot     identifies the present boot; zeros: unknown
"""

from libc.stdint cimport int32_t, int64_t

from dfengine.storage._layout cimport Layout


cdef enum State:
    WANTED = 0
    DONE = 1
    LEFT = 2  # kept unchanged, or failed: its bytes are dropped
    STARTED = 3  # wanted, and its part has the file's size


cdef class Scatter(Layout):
    cdef readonly int root
    cdef readonly int parts
    cdef readonly Py_ssize_t present
    cdef int32_t *modes
    cdef int64_t *mtimes
    cdef unsigned char *states
    cdef unsigned char *marks
    cdef unsigned char boot[16]

    cdef int put_part(self, Py_ssize_t n, const char *content, int64_t length, int64_t offset) noexcept nogil
    cdef int make(self, Py_ssize_t n, int folder, const char *name, const char *content) noexcept nogil
    cdef void note(self, Py_ssize_t n, int fd, int64_t mtime) noexcept nogil
    cdef bint noted_unchanged(self, Py_ssize_t n, int fd) noexcept nogil
    cdef int seal(self, Py_ssize_t n, int fd) noexcept nogil
    cdef int open_from(self, Py_ssize_t n, int folder, const char *name) noexcept nogil
