"""Which runs of pieces are asked of the origin, and how a version of its file is named."""

from __future__ import annotations

import random
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine._bitset import Bitset
from dfengine._piece import Geometry
from dfengine._window import Window
from dfengine.client.from_origin import FromOrigin, Runs, missing
from dfengine.client.plan import Plan
from dfengine.client.tally import Tally
from dfengine.client.transfer import Transfer
from dfengine.settings import GetSettings
from dfengine.storage.piece_file import PieceFile
from dfengine.task import generation


@given(st.sets(st.integers(0, 99)), st.integers(1, 100))
def test_missing_is_what_is_not_here(here: set[int], count: int) -> None:
    bits = Bitset(100)
    for n in here:
        bits.set(n)
    runs = missing(bits, count)
    assert [n for first, past in runs for n in range(first, past)] == [n for n in range(count) if n not in here]
    assert all(first < past for first, past in runs)


@given(st.sets(st.integers(0, 99)), st.integers(1, 40), st.integers(0, 1000))
def test_every_missing_piece_is_handed_out_once(here: set[int], longest: int, seed: int) -> None:
    chance = random.Random(seed)
    bits = Bitset(100)
    for n in here:
        bits.set(n)
    runs, fetched = Runs(missing(bits, 100), longest), []
    while (run := runs.take()) is not None:
        first, past = run
        assert 0 < past - first <= longest
        broken_off = chance.randint(first, past) if chance.random() < 0.5 else past
        fetched += range(first, broken_off)
        runs.give_back(broken_off, past)
    assert sorted(fetched) == [n for n in range(100) if n not in here]


def test_lowest_first() -> None:
    runs = Runs([(0, 3), (10, 12)], 2)
    assert runs.take() == (0, 2)
    runs.give_back(1, 2)
    assert [runs.take() for _ in range(4)] == [(1, 2), (2, 3), (10, 12), None]


def test_a_version_is_named_by_its_validators() -> None:
    names = [
        generation('"a"', "", 5),
        generation('"b"', "", 5),
        generation('"a"', "", 6),
        generation("", '"a"', 5),
        generation('"a"', "Tue, 01 Jan 2026 00:00:00 GMT", 5),
    ]
    assert len(set(names)) == len(names)
    assert all(len(name) == 16 for name in names)
    assert generation('"a"', "", 5) == names[0]
    assert generation("", "", 5) == "", "without a validator nothing can be gone on from"


def test_the_length_is_known_before_the_last_piece_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer or a peer that takes the last piece would else take it for a full one."""
    file = PieceFile.create(str(tmp_path / "data"), str(tmp_path / "record"), Geometry(-1))
    transfer = Transfer(file, Plan(Window(-1, -1), 1), Tally())
    lengths: list[int] = []
    keep = transfer.keep

    def kept(n: int, buffer: memoryview, length: int) -> memoryview | None:
        lengths.append(file.geometry.length)
        return keep(n, buffer, length)

    class Body:
        parts: ClassVar[list[bytes]] = [b"abc"]

        def read_into(self, view: memoryview) -> int:
            part = self.parts.pop() if self.parts else b""
            view[: len(part)] = part
            return len(part)

    monkeypatch.setattr(transfer, "keep", kept)
    origin = FromOrigin(GetSettings(url="http://127.0.0.1/f", output="f"), None, None)  # type: ignore[arg-type]
    origin._whole(transfer, Body(), memoryview(bytearray(8 << 20)))  # type: ignore[arg-type]
    assert lengths == [3]
    assert transfer.plan.finished
    transfer.close()
    file.close()
