"""Read-ahead: pieces to fetch before a reader asks for them; it grows on sequential reads and is off for random ones. Pure.

A read that begins where an earlier one ended continues its stream. A stream of `run` sequential bytes is read ahead by the same number, so
the distance doubles while the reader catches up, up to a limit in bytes and in pieces. A read that continues no stream begins a stream
of run 0, for which no piece is read ahead: random reads cost no byte beyond their own pieces.

Invariant: the bytes read ahead of a stream are never more than its sequential bytes, rounded up to whole pieces.
"""

from __future__ import annotations

from collections import OrderedDict

MAX_BYTES = 64 << 20
"""Most bytes that are read ahead of a stream: a second of a link of 500 Mbit/s."""

MAX_PIECES = 16
"""Most pieces that are read ahead of a stream: four for each fetch thread."""

STREAMS = 16
"""Most streams that are tracked, such as readers of one file in different threads. The least recently read one is dropped."""

BEGINNINGS = 256
"""Most remembered ends of reads that continued no stream: the number of random reads that may come between two sequential ones."""


class ReadAhead:
    """Read-ahead of one file. content_size: bytes of a full piece's content."""

    def __init__(self, content_size: int, most_bytes: int = MAX_BYTES, most_pieces: int = MAX_PIECES) -> None:
        self._size = content_size
        self._most = min(most_bytes, most_pieces * content_size)
        self._first_reads: OrderedDict[int, None] = OrderedDict()  # end of a read that continued nothing
        self._streams: OrderedDict[int, tuple[int, int]] = OrderedDict()  # end of the last read -> (run, piece after those asked for)

    def read(self, offset: int, length: int) -> tuple[int, int]:
        """Note a read of `length` bytes (at least 1) at `offset`. Return pieces [first, past) to read ahead that were not returned before.

        They follow the pieces of the read itself. first == past: none. They may be beyond the end of the file.
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
