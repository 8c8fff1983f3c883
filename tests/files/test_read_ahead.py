"""Read-ahead: sequential readers get a growing lead, random ones nothing."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from dfengine.files.read_ahead import BEGINNINGS, MOST_BYTES, STREAMS, ReadAhead

PIECE = 1000
BLOCK = 100


def sequential(ahead: ReadAhead, offset: int, length: int, times: int) -> list[tuple[int, int]]:
    """Reads one behind the other; the runs of pieces that were told."""
    told = []
    for _ in range(times):
        run = ahead.read(offset, length)
        offset += length
        if run[0] < run[1]:
            told.append(run)
    return told


def test_a_single_read_reads_nothing_ahead() -> None:
    first, past = ReadAhead(PIECE).read(0, 50 * PIECE)
    assert first == past


def test_the_distance_grows_to_its_bounds() -> None:
    told = sequential(ReadAhead(PIECE, most_bytes=8 * PIECE, most_pieces=16), 0, PIECE, 40)
    assert [n for first, past in told for n in range(first, past)] == list(range(2, 48)), "each piece once, in order"
    told = sequential(ReadAhead(PIECE, most_bytes=1 << 40, most_pieces=4), 0, PIECE, 40)
    assert told[-1][1] == 44


def test_streams_in_several_threads_are_told_apart() -> None:
    ahead = ReadAhead(PIECE)
    ends = [0] * STREAMS
    for turn in range(60):
        for at in range(STREAMS):
            offset = at * 1000 * PIECE + turn * PIECE
            _, past = ahead.read(offset, PIECE)
            ends[at] = past
    assert [end - at * 1000 for at, end in enumerate(ends)] == [60 + 16] * STREAMS


def test_a_sequential_reader_among_random_ones() -> None:
    ahead, generator = ReadAhead(PIECE), random.Random(7)
    past = 0
    for turn in range(100):
        _, past = ahead.read(turn * BLOCK, BLOCK)
        for _ in range(BEGINNINGS // 2):
            offset = generator.randrange(10**9, 10**12)
            first, end = ahead.read(offset, BLOCK)
            assert first == end
    assert past == 20, "a run of ten pieces is read ahead by ten"


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 30)), max_size=80))
def test_no_more_is_read_ahead_than_was_read_in_a_row(reads: list[tuple[int, int]]) -> None:
    """By a model: the longest chain of earlier reads, each of which begins where the one before it ended."""
    ahead = ReadAhead(10, most_bytes=100, most_pieces=8)
    chains: dict[int, int] = {}
    for offset, length in reads:
        end = offset + length
        chain = chains.get(offset, -length) + length
        chains[end] = max(chains.get(end, 0), chain)
        first, past = ahead.read(offset, length)
        assert first <= past
        assert first >= -(-end // 10), "never what the read itself needs"
        if first < past:
            assert (past - 1) * 10 < end + min(max(chain, 0), 80)


def test_bytes_are_bounded_however_long_the_pieces() -> None:
    told = sequential(ReadAhead(15 << 20), 0, 15 << 20, 30)
    assert max(past - first for first, past in told) <= 2
    assert told[-1][1] <= 30 + -(-MOST_BYTES // (15 << 20))
