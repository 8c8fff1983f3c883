"""Decodes a chunked response body for `http_client` and pieces. Imported only when a response is chunked."""

from __future__ import annotations

import time

from dfengine.errors import ProtocolViolation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.net._receive import Receiver
    from dfengine.net.tls import TlsReceiver

MAX_CHUNKS = 16384
"""Maximum number of chunks in one body: a small chunk costs its reader more than the bytes in it."""

TRAILERS = 64

_HEX = b"0123456789abcdefABCDEF"
_ENDS = (b"\r\n", b"\n")


class Chunks:
    """Decode one chunked body: `read` and `into` as a receiver's, over the chunks of one body; then `end`. `read_all` reads it at once.

    Raises SourceGone, TooSlow, ProtocolViolation.
    """

    def __init__(self, receiver: Receiver | TlsReceiver) -> None:
        self._receiver = receiver
        self._remaining = 0
        self._count = 0

    def _next(self, deadline: float) -> bool:
        """Begin the next chunk. False: the body has ended, including its trailers."""
        if self._count and self._receiver.line(deadline) not in _ENDS:
            raise ProtocolViolation("a chunk is longer than its header says")
        self._count += 1
        digits = self._receiver.line(deadline).partition(b";")[0].rstrip(b" \t\r\n")
        if not 1 <= len(digits) <= 8 or digits.translate(None, _HEX):
            raise ProtocolViolation("a chunk's size is malformed")
        if self._count > MAX_CHUNKS:
            raise ProtocolViolation("chunks without end")
        self._remaining = int(digits, 16)
        if self._remaining:
            return True
        for _ in range(TRAILERS):
            if self._receiver.line(deadline) in _ENDS:
                return False
        raise ProtocolViolation("trailers without end")

    def _reserve(self, most: int, deadline: float) -> int:
        """Reserve up to `most` bytes of the current chunk; return how many."""
        if not self._remaining and not self._next(deadline):
            raise ProtocolViolation("the answer ends early")
        count = min(most, self._remaining)
        self._remaining -= count
        return count

    def read(self, length: int, deadline: float) -> bytes:
        parts = []
        while length:
            count = self._reserve(length, deadline)
            parts.append(self._receiver.read(count, deadline))
            length -= count
        return b"".join(parts)

    def into(
        self, buffer: memoryview, offset: int, length: int, *, silence: float, floor: float, grace: float, started: float = 0.0,
        before: int = 0, after: int = 0,
    ) -> float:
        got, began = 0, started or time.monotonic()  # the rate is judged over all chunks
        started = began
        while got < length:
            count = self._reserve(length - got, time.monotonic() + silence)
            started += self._receiver.into(
                buffer, offset + got, count, silence=silence, floor=floor, grace=grace, started=started, before=before + got,
                after=length - got - count + after,
            )
            got += count
        return started - began

    def end(self, deadline: float) -> None:
        """Check that the body has ended. Raises ProtocolViolation."""
        if self._remaining or self._next(deadline):
            raise ProtocolViolation("the answer is longer than it should be")

    def read_all(self, deadline: float, limit: int) -> bytes:
        """Read the remaining body, at most `limit` bytes."""
        parts: list[bytes] = []
        while self._next(deadline):
            limit -= self._remaining
            if limit < 0:
                raise ProtocolViolation("the answer is longer than the limit")
            parts.append(self._receiver.read(self._remaining, deadline))
        return b"".join(parts)
