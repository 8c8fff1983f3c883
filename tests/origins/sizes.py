"""Sizes: zero, one byte, and around the ends of pieces, in each framing."""

from __future__ import annotations

from functools import partial

from tests.origins.answers import serve
from tests.origins.behaviour import PIECE, Behaviour, content


def _named() -> dict[str, int]:
    return {"0": 0, "1": 1, "piece-less-1": PIECE - 1, "piece": PIECE, "piece-and-1": PIECE + 1, "2-pieces": 2 * PIECE,
        "2-pieces-and-1": 2 * PIECE + 1}


SIZES = tuple(
    Behaviour(f"size-{name}-{framing}", partial(serve, framing=framing), versions=(content(size, 7),), resumed="must" if size > 1 else "no")
    for name, size in _named().items()
    for framing in ("length", "chunked", "close")
    if framing == "length" or name not in ("piece-less-1", "2-pieces-and-1")
)
