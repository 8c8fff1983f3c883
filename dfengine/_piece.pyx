"""Piece arithmetic: geometry of a task, ranges on the wire, and framing. No other module has any.

Source of every rule: the 1.x wire, docs/protocol.md. Indices are validated here, at the boundary, once.
"""

cimport cython

import re

from dfengine.errors import BadFrame, BadPiece, BadRange, BadValue

from libc.stdint cimport int64_t

FRAME_HEAD = 4
FRAME_TAIL = 1
FRAME = FRAME_BYTES
TAIL = b"\x7f"
MIN_PIECE_SIZE = 4 << 20
MAX_PIECE_SIZE = 15 << 20
UNKNOWN = -1

_MAX = (1 << 62)
_RANGE = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")


def piece_size(length: int) -> int:
    """Bytes of a full framed piece of a file of `length` bytes (-1: unknown): 4 MiB up to 200 MiB, then a MiB more per 100, at most 15."""
    if length <= 200 << 20:
        return MIN_PIECE_SIZE
    return min((length // (100 << 20) - 2 << 20) + MIN_PIECE_SIZE, MAX_PIECE_SIZE)


def frame_head(content_length: int, piece_size: int) -> bytes:
    """The 4 bytes before `content_length` bytes of content. Raises BadFrame outside 0..piece_size-5 or 2**28 - 1."""
    if not 5 <= piece_size < 1 << 28 or not 0 <= content_length <= piece_size - 5:
        raise BadFrame(f"no frame for {content_length} bytes in a piece of {piece_size}")
    return (content_length | piece_size << 4).to_bytes(4, "big")


def frame_content(head: bytes) -> int:
    """Bytes of content that a frame's head announces, if the piece size is in whole MiB as in 1.x: the bits below the size."""
    return int.from_bytes(head, "big") & 0xFFFFFF


def parse_range(text: str) -> tuple:
    """Parse `a-b` into (start, end): digits only, a < b < 2**63. Raises BadRange."""
    match = _RANGE.fullmatch(text) if isinstance(text, str) and text.isascii() else None
    if match is None:
        raise BadRange(f"invalid range: {str(text)[:60]}")
    start, end = int(match[1]), int(match[2])
    if start >= end or end >= 1 << 63:
        raise BadRange(f"invalid range: {text}")
    return start, end


@cython.final
cdef class Geometry:
    """Length and piece size of a task, and all values derived from them. Immutable.

    length: bytes, -1 unknown. piece_size: bytes, 0: by the rule (`piece_size`). Raises BadValue if either is invalid.
    """

    def __cinit__(self, length, piece_size=0):
        if not -1 <= length < _MAX or not (piece_size == 0 or 5 < piece_size < 1 << 28):
            raise BadValue(f"a file of {length} bytes in pieces of {piece_size} cannot be")
        self.length = length
        self.piece_size = piece_size or globals()["piece_size"](length)
        cdef int64_t content = self.piece_size - FRAME_BYTES
        if length < 0:
            self.count = -1
        else:
            self.count = max(1, (self.length + content - 1) // content)

    @property
    def content_size(self):
        return self.piece_size - FRAME_BYTES

    @property
    def framed_length(self):
        return -1 if self.length < 0 else self.length + FRAME_BYTES * self.count

    cdef int64_t _check(self, object n) except -1:
        limit = self.count if self.count >= 0 else 1 << 31
        if not 0 <= n < limit:
            raise BadPiece(f"piece {n} is not one of {limit}")
        return n

    def check(self, n):
        return self._check(n)

    def range(self, n):
        cdef int64_t number = self._check(n)
        return number * self.piece_size, (number + 1) * self.piece_size - 1

    def range_text(self, n):
        cdef int64_t number = self._check(n)
        return f"{number * self.piece_size}-{(number + 1) * self.piece_size - 1}"

    def number(self, start, end):
        if start % self.piece_size or end - start != self.piece_size - 1:
            raise BadRange(f"{start}-{end} is no piece's range")
        try:
            return self._check(start // self.piece_size)
        except BadPiece:
            raise BadRange(f"{start}-{end} lies outside the task") from None

    def content(self, n):
        cdef int64_t number = self._check(n), content = self.piece_size - FRAME_BYTES
        cdef int64_t offset = content_offset(number, self.piece_size)
        if self.length >= 0 and self.length - offset < content:
            content = self.length - offset
        return offset, content

    def framed(self, n):
        return self.content(n)[1] + FRAME_BYTES

    def head(self, n):
        return frame_head(self.content(n)[1], self.piece_size)

    def covering(self, offset, length):
        if offset < 0 or length < 0 or offset + length >= _MAX:
            raise BadRange(f"{length} bytes at {offset} cannot be")
        content = self.piece_size - FRAME_BYTES
        first = offset // content
        return first, (first if length == 0 else (offset + length - 1) // content + 1)

    def segments(self, start, end):
        if self.length < 0:
            raise BadRange("the file's length is not known yet")
        if not 0 <= start <= end:
            raise BadRange(f"{start}-{end} is no range")
        if start >= self.framed_length:
            raise BadRange(f"{start}-{end} lies past the end, {self.framed_length}")
        past = min(end + 1, self.framed_length)
        parts = []
        while start < past:
            n = start // self.piece_size
            offset, content = self.content(n)
            at, stop = start - n * self.piece_size, min(past - n * self.piece_size, content + FRAME_BYTES)
            if at < 4:
                parts.append(self.head(n)[at:min(stop, 4)])
            low, high = max(at, 4), min(stop, 4 + content)
            if low < high:
                parts.append((offset + low - 4, high - low))
            if stop == content + FRAME_BYTES:
                parts.append(b"\x7f")
            start = n * self.piece_size + stop
        return parts

    def __eq__(self, other):
        return isinstance(other, Geometry) and (self.length, self.piece_size) == (other.length, other.piece_size)

    def __hash__(self):
        return hash((self.length, self.piece_size))

    def __repr__(self):
        return f"Geometry({self.length}, {self.piece_size})"
