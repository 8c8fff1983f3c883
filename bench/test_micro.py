"""The core's hot operations under pytest-benchmark; `per` describes one round."""

from __future__ import annotations

from typing import Any

from dfengine._bitset import Bitset
from dfengine._piece import Geometry
from dfengine._window import Window

MILLION = 1_000_000


def test_first_of_a_million_bits(benchmark: Any) -> None:
    """The last bit only, so that every word is read."""
    bits = Bitset(MILLION)
    bits.set(MILLION - 1)
    benchmark.extra_info["per"] = "search of 1M bits"
    assert benchmark(bits.first_set) == MILLION - 1


def test_count_of_a_million_bits(benchmark: Any) -> None:
    bits = Bitset(MILLION)
    bits.set_range(17, MILLION - 3)
    benchmark.extra_info["per"] = "count of 1M bits"
    assert benchmark(bits.count) == MILLION - 20


def test_set_and_test_a_bit(benchmark: Any) -> None:
    bits = Bitset(MILLION)

    def touch() -> None:
        for n in range(0, 100_000, 100):
            bits.set(n)
            bits.test(n)

    benchmark.extra_info["per"] = "1,000 bits set and tested"
    benchmark(touch)
    assert bits.count() == 1000


def test_frame_a_piece(benchmark: Any) -> None:
    geometry = Geometry(1 << 30)

    def frame() -> bytes:
        head = b""
        for n in range(geometry.count):
            geometry.content(n)
            head = geometry.head(n)
        return head

    benchmark.extra_info["per"] = f"{geometry.count} pieces located and framed"
    assert benchmark(frame) == geometry.head(geometry.count - 1)


def test_slide_a_window_over_a_thousand_pieces(benchmark: Any) -> None:
    def slide() -> int:
        window = Window(64, 1000)
        for n in range(1000):
            window.arrive(n)
            window.ack(n)
        return window.una

    benchmark.extra_info["per"] = "1,000 pieces through a window of 64"
    assert benchmark(slide) == 1000
