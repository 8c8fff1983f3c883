# An answer being sent: parts in order, each either bytes or a slice of a file.
#
#     parts   | head (bytes) | frame head (bytes) | content (file slice) | tail (bytes) |
#                  send, MSG_MORE while parts follow   sendfile              send
#
# `at` is the part being sent, `done` the number of its bytes that the socket has accepted.

from dfengine._bitset cimport Bitset

cdef class FileSlice:
    cdef readonly int fd
    cdef readonly long long offset   # bytes
    cdef readonly long long length   # bytes
    cdef readonly object owner       # keeps fd open
    cdef Bitset bits                 # None, or a bitset whose bit n says that the slice's memory is not evicted
    cdef Py_ssize_t n
    cdef object check                # None, or a function that compares the bytes with their digest
    cdef bint must, wrong            # the check must run before the bytes are sent; the check failed

cdef class Upload:
    cdef readonly object parts       # tuple of bytes | FileSlice
    cdef readonly long long left     # bytes still to send, all parts
    cdef readonly long long sends, sendfiles   # system calls made
    cdef readonly FileSlice cold     # the slice to be loaded before the next call; None: none
    cdef Py_ssize_t at
    cdef long long done
