# A sliding window over the pieces of a task, oldest first (RFC 793 names):
#
#          una              highest touched       end = una + wnd
#           |                      |                |
#     ------+----------------------+----------------+--------------
#     ACKED | WANTED HERE ACKED ...                 | not offered
#     ------+----------------------+----------------+--------------
#            states[una & mask] ... one byte a piece, a ring of mask + 1 >= end - una bytes
#
# una's own state is never ACKED: the window slides over contiguous acknowledged pieces at once.

from libc.stdint cimport int64_t, uint8_t

cdef enum State:
    WANTED = 0
    HERE = 1
    ACKED = 2

cdef class Window:
    cdef readonly int64_t una       # oldest piece not acknowledged
    cdef readonly int64_t wnd       # pieces, -1 = regular: everything is wanted
    cdef readonly int64_t count     # pieces of the task, -1 while unknown
    cdef int64_t high               # one past the highest piece touched
    cdef int64_t mask
    cdef uint8_t *states
    cdef int64_t _end(self) noexcept nogil
    cdef int64_t _inside(self, object n) except -2
    cdef int _room(self, int64_t n) except -1
    cdef int _become(self, object n, uint8_t state) except -1
