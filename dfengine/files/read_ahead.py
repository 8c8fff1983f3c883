"""What is fetched before a reader asks for it: grows on sequential reads, stays away from random ones. Pure.

A read that begins where an earlier one ended continues its stream. A stream that has brought `run` bytes so is read ahead by as many, so
the distance doubles while the reader catches up with it, up to a bound in bytes and in pieces. A read that continues nothing begins a
stream of run 0, for which nothing is read ahead: random reads cost no byte beyond their own pieces.

Law: the bytes read ahead of a stream are never more than those that it has read in a row, rounded up to whole pieces.
"""

from __future__ import annotations

from collections import OrderedDict

MOST_BYTES = 64 << 20
"""Bytes that are read ahead of a stream at most: a second of a link of 500 Mbit/s."""

MOST_PIECES = 16
"""Pieces that are read ahead of a stream at most: four for each fetch thread."""

STREAMS = 16
"""Streams that are followed at once: readers of one file in different threads. The one that was read longest ago leaves."""

BEGINNINGS = 256
"""Reads that continued nothing, and whose ends are remembered: so many random reads may come between two sequential ones."""


class ReadAhead:
    """Of one file. content_size: bytes of a full piece's content."""

    def __init__(self, content_size: int, most_bytes: int = MOST_BYTES, most_pieces: int = MOST_PIECES) -> None:
        self._size = content_size
        self._most = min(most_bytes, most_pieces * content_size)
        self._first_reads: OrderedDict[int, None] = OrderedDict()  # end of a read that continued nothing
        self._streams: OrderedDict[int, tuple[int, int]] = OrderedDict()  # end of the last read -> (run, piece after those asked for)

    def read(self, offset: int, length: int) -> tuple[int, int]:
        """`length` bytes (at least 1) from `offset` on are read now: the pieces [first, past) to read ahead that were not returned before.

        They lie behind those of the read itself. first == past: none. They may lie beyond the end of the file.
        """
        end = offset + length
        own = -(-end // self._size)
        stream = self._streams.pop(offset, None)
        if stream is None and offset not in self._first_reads:
            self._first_reads[end] = None
            if len(self._first_reads) > BEGINNINGS:
                self._first_reads.popitem(last=False)
            return own, own
        self._first_reads.pop(offset, None)
        run, asked = stream or (0, 0)
        run += length
        first = max(own, asked)
        past = max(first, -(-(end + min(run, self._most)) // self._size))
        self._streams[end] = run, past
        if len(self._streams) > STREAMS:
            self._streams.popitem(last=False)
        return first, past
