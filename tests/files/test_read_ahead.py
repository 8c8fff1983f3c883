"""Read-ahead: a growing distance for sequential readers, none for random ones."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from dfengine.files.read_ahead import BEGINNINGS, MAX_BYTES, STREAMS, ReadAhead

PIECE = 1000
BLOCK = 100


def sequential(ahead: ReadAhead, offset: int, length: int, times: int) -> list[tuple[int, int]]:
    """Sequential reads; the runs of pieces that were read ahead."""
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


def test_streams_of_several_threads_are_distinguished() -> None:
    ahead = ReadAhead(PIECE)
    ends = [0] * STREAMS
    for turn in range(60):
        for at in range(STREAMS):
            offset = at * 1000 * PIECE + turn * PIECE
            _, past = ahead.read(offset, PIECE)
            ends[at] = past
    assert [end - at * 1000 for at, end in enumerate(ends)] == [60 + 16] * STREAMS


def test_a_sequential_reader_among_random_ones_is_recognized() -> None:
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
def test_the_distance_is_at_most_the_length_read_sequentially(reads: list[tuple[int, int]]) -> None:
    """The model is the longest chain of earlier reads, each of which begins where the previous one ended."""
    ahead = ReadAhead(10, most_bytes=100, most_pieces=8)
    chains: dict[int, int] = {}
    for offset, length in reads:
        end = offset + length
        chain = chains.get(offset, -length) + length
        chains[end] = max(chains.get(end, 0), chain)
        first, past = ahead.read(offset, length)
        assert first <= past
        assert first >= -(-end // 10), "pieces of the read itself are read ahead"
        if first < past:
            assert (past - 1) * 10 < end + min(max(chain, 0), 80)


def test_bytes_read_ahead_are_bounded_for_any_piece_size() -> None:
    told = sequential(ReadAhead(15 << 20), 0, 15 << 20, 30)
    assert max(past - first for first, past in told) <= 2
    assert told[-1][1] <= 30 + -(-MAX_BYTES // (15 << 20))
