"""Memory of `Layout`: arrays by the number of a file, in the order of the concatenation.

    names    the paths, each ended by a NUL, one after the other; `name_at[i]` is the start of file i's
    at       `count + 1` offsets in the concatenation: file i is the bytes [at[i], at[i + 1])
"""

from libc.stdint cimport int64_t


cdef class Layout:
    cdef readonly Py_ssize_t count
    cdef readonly int64_t content_size
    cdef char *names
    cdef int64_t *name_at
    cdef int64_t *at

    cdef Py_ssize_t find(self, int64_t offset) noexcept nogil
    cdef bint split(self, Py_ssize_t n) noexcept nogil
