"""The piece that a leader names for a follower's probe of the origin."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dfengine._bitset import Bitset
from dfengine._piece import Geometry
from dfengine.supernode.api_origin_progress import latest

GEOMETRY = Geometry((12 << 20) + 77)


@pytest.mark.parametrize(("here", "piece"), [((), 2), ((3,), 2), ((2,), 1), ((1, 2), 0), ((0, 1, 2), -1), ((0, 1, 2, 3), -1)])
def test_the_probed_piece_is_the_latest_missing_one_but_not_the_last_of_the_file(here: tuple[int, ...], piece: int) -> None:
    assert GEOMETRY.count == 4
    bits = Bitset(4)
    for n in here:
        bits.set(n)
    file: Any = SimpleNamespace(geometry=GEOMETRY, available=bits)
    assert latest(file) == piece
