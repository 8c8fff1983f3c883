# The frame of a piece on the wire (1.x):
#
#     0        4                      4 + content   5 + content
#     +--------+----------------------+---+
#     |  head  |       content        | T |      T = 0x7f
#     +--------+----------------------+---+
#
#     head, big-endian uint32:   [31..24] MiB of piece size   [23..0] content length
#     (content_length | piece_size << 4; a piece size is a whole number of MiB, so the two do not overlap)

from libc.stdint cimport int64_t

cdef enum:
    FRAME_BYTES = 5

cdef inline int64_t content_offset(int64_t n, int64_t piece_size) noexcept nogil:
    return n * (piece_size - FRAME_BYTES)

cdef class Geometry:
    cdef readonly int64_t length       # raw bytes, -1 unknown
    cdef readonly int64_t piece_size   # bytes of a full framed piece
    cdef readonly int64_t count        # pieces, 1 for an empty file, -1 unknown
    cdef int64_t _check(self, object n) except -1
