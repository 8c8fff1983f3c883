# An answer on its way out: parts in order, each either bytes or a slice of a file.
#
#     parts   | head (bytes) | frame head (bytes) | content (file slice) | tail (bytes) |
#                  send, MSG_MORE while parts follow   sendfile              send
#
# `at` is the part under way, `done` the bytes of it that the socket took.

from dfengine._bitset cimport Bitset

cdef class FileSlice:
    cdef readonly int fd
    cdef readonly long long offset   # bytes
    cdef readonly long long length   # bytes
    cdef readonly object owner       # keeps fd open
    cdef Bitset bits                 # None, or where bit n says that the slice still holds what it held
    cdef Py_ssize_t n
    cdef object check                # None, or what compares the bytes with their digest
    cdef bint must, wrong            # it must be asked before they are sent; it said that they are wrong

cdef class Upload:
    cdef readonly object parts       # tuple of bytes | FileSlice
    cdef readonly long long left     # bytes still to go, all parts
    cdef readonly long long sends, sendfiles   # system calls made
    cdef readonly FileSlice cold     # the slice to be loaded before the next call, None: none
    cdef Py_ssize_t at
    cdef long long done
