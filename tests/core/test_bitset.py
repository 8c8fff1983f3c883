"""Bitset against a set: alone, over external memory and between processes."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from dfengine._bitset import Bitset, words
from dfengine.errors import BadValue

SIZES = st.one_of(st.integers(0, 200), st.sampled_from([63, 64, 65, 127, 128, 129, 1000]))


class BitsetAgainstASet(RuleBasedStateMachine):
    """Random operations on a bitset and on a Python set as its model."""

    @initialize(size=SIZES, owned=st.booleans(), junk=st.integers(0, 255))
    def start(self, size: int, owned: bool, junk: int) -> None:
        self.model: set[int] = set()
        self.owned = owned
        if owned:
            self.bits = Bitset(size)
            return
        memory = bytearray([junk]) * (words(size) * 8 + 8)
        self.bits = Bitset.over(memory, size)
        self.model = {n for n in range(size) if junk >> n % 8 & 1}

    def ends(self, a: float, b: float) -> tuple[int, int]:
        low, high = sorted((int(a * len(self.bits)), int(b * len(self.bits))))
        return low, high

    @rule(at=st.floats(0, 1, exclude_max=True))
    def set(self, at: float) -> None:
        if len(self.bits):
            n = int(at * len(self.bits))
            assert self.bits.set(n) == (n not in self.model)
            self.model.add(n)

    @rule(at=st.floats(0, 1, exclude_max=True))
    def clear(self, at: float) -> None:
        if len(self.bits):
            n = int(at * len(self.bits))
            assert self.bits.clear(n) == (n in self.model)
            self.model.discard(n)

    @rule(a=st.floats(0, 1), b=st.floats(0, 1))
    def set_range(self, a: float, b: float) -> None:
        low, high = self.ends(a, b)
        self.bits.set_range(low, high)
        self.model |= set(range(low, high))

    @rule(a=st.floats(0, 1), b=st.floats(0, 1))
    def look_at_a_range(self, a: float, b: float) -> None:
        low, high = self.ends(a, b)
        assert self.bits.all_in_range(low, high) == (set(range(low, high)) <= self.model)

    @rule(start=st.integers(0, 1100))
    def search(self, start: int) -> None:
        size = len(self.bits)
        assert self.bits.first_set(start) == min((n for n in self.model if n >= start), default=-1)
        assert self.bits.first_clear(start) == min((n for n in range(start, size) if n not in self.model), default=-1)

    @rule(more=st.integers(0, 130))
    def grow(self, more: int) -> None:
        if self.owned:
            self.bits.grow(len(self.bits) + more)
        else:
            with pytest.raises(BadValue):
                self.bits.grow(len(self.bits) + more)

    @rule()
    def copy_is_equal_and_apart(self) -> None:
        copy = self.bits.copy()
        assert copy == self.bits
        if len(copy):
            (copy.clear if copy.test(0) else copy.set)(0)
            assert copy != self.bits

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "bits"):
            return
        assert list(self.bits) == sorted(self.model)
        assert self.bits.count() == len(self.model)
        assert {n for low, high in self.bits.runs() for n in range(low, high)} == self.model
        assert int.from_bytes(self.bits.tobytes(), "little") == sum(1 << n for n in self.model)


TestBitsetAgainstASet = BitsetAgainstASet.TestCase
TestBitsetAgainstASet.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@st.composite
def bitset(draw: st.DrawFn) -> tuple[Bitset, set[int]]:
    size = draw(SIZES)
    model = draw(st.sets(st.integers(0, size - 1))) if size else set()
    bits = Bitset(size)
    for n in model:
        bits.set(n)
    return bits, model


@given(bitset(), bitset())
@settings(deadline=None)
def test_update_or_of_bitsets_of_any_sizes(one: tuple[Bitset, set[int]], two: tuple[Bitset, set[int]]) -> None:
    a, a_model = one
    b, b_model = two
    if len(b) <= len(a):
        a.update_or(b)
        assert set(a) == a_model | b_model
    else:
        with pytest.raises(BadValue):
            a.update_or(b)


@pytest.mark.parametrize("n", [-1, 10, 11, 64, 1 << 63, 1 << 64, -(1 << 64)])
def test_bits_out_of_range_are_refused(n: int) -> None:
    bits = Bitset(10)
    for call in (bits.set, bits.clear, bits.test, bits.__contains__):
        with pytest.raises(IndexError):
            call(n)
    for ranged in (bits.set_range, bits.all_in_range):
        if n != 10:
            with pytest.raises(IndexError):
                ranged(0, n)
    with pytest.raises(IndexError):
        bits.set_range(5, 4)


@pytest.mark.parametrize("size", [-1, 1 << 41, 1 << 63, 1 << 80])
def test_invalid_sizes_are_rejected(size: int) -> None:
    with pytest.raises(BadValue):
        Bitset(size)
    with pytest.raises(BadValue):
        Bitset.over(bytearray(64), size)


def test_an_external_buffer_must_be_large_enough_aligned_and_writable() -> None:
    with pytest.raises(BadValue):
        Bitset.over(bytearray(15), 65)
    with pytest.raises(BadValue):
        Bitset.over(memoryview(bytearray(24))[1:17], 64)
    with pytest.raises((BufferError, ValueError)):
        Bitset.over(bytes(8), 64)  # type: ignore[arg-type]


def test_an_external_buffer_is_kept_alive_and_bits_past_the_size_are_ignored() -> None:
    memory = bytearray(b"\xff" * 16)
    bits = Bitset.over(memory, 70)
    assert bits.count() == 70
    assert list(bits)[-1] == 69
    with pytest.raises(BufferError):
        memory.extend(b"x")  # exported: a resize would move the words
    memory[8:] = b"\xff" * 8  # another process writes past the end
    assert bits.count() == 70
    assert bits.first_set(69) == 69
    assert bits.first_set(70) == -1
    assert bits.all_in_range(0, 70)


def test_a_child_process_sees_bits_after_the_data_written_before_them(tmp_path: Path) -> None:
    """A bit seen through the shared file guarantees that the data written before it is visible."""
    pieces = 2000
    path = tmp_path / "shared"
    path.write_bytes(bytes(words(pieces) * 8 + pieces))
    with open(path, "r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    bits = Bitset.over(memoryview(memory)[: words(pieces) * 8], pieces)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with open(path, "r+b") as file:
                mine = mmap.mmap(file.fileno(), 0)
            seen = Bitset.over(memoryview(mine)[: words(pieces) * 8], pieces)
            n = 0
            while n < pieces:
                if n in seen:
                    if mine[words(pieces) * 8 + n] != n % 251 + 1:
                        break
                    n += 1
            status = 0 if n == pieces else 2
        finally:
            os._exit(status)
    for n in range(pieces):
        memory[words(pieces) * 8 + n] = n % 251 + 1
        bits.set(n)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_empty_bitset_over_a_buffer_cannot_grow() -> None:
    empty = Bitset.over(bytearray(8), 0)
    with pytest.raises(BadValue):
        empty.grow(0)
    assert (empty.count(), empty.first_set(), empty.runs(), empty.tobytes()) == (0, -1, [], b"")
    assert empty.copy() == Bitset(0)


def test_the_garbage_collector_does_not_free_words_of_an_external_buffer() -> None:
    """In a cycle the collector clears the bitset's reference to its buffer before it frees the bitset."""
    code = (
        "import gc, mmap\n"
        "from dfengine._bitset import Bitset\n"
        "for _ in range(50):\n"
        "    cycle = [Bitset.over(memoryview(mmap.mmap(-1, 1 << 16)), 1 << 19)]\n"
        "    cycle.append(cycle)\n"
        "    del cycle\n"
        "    gc.collect()\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
