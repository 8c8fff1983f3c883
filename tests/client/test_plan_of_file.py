"""A download into a file fetches pieces first that other downloads of its host wait for, without delaying others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfengine._window import Window
from dfengine.client.messages import Source
from dfengine.client.plan_of_file import PlanOfFile


def where(n: int) -> Source:
    return Source(f"h{n}", "10.0.0.1", 15001, "/peer/file/x")


def plan(count: int = 8, ordered: bool = False) -> PlanOfFile:
    return PlanOfFile(Window(-1, count), 4, order=int if ordered else None)


def test_without_waiting_downloads_no_piece_is_named() -> None:
    one = plan()
    assert one.wanted_pieces(64) is None
    assert one.wanted_pieces(64, filled=True) is None
    one.want_first([])
    assert one.wanted_pieces(64, filled=True) is None


def test_awaited_pieces_are_named_first_and_then_missing_ones() -> None:
    one = plan()
    one.add_stored([0, 5])
    one.want_first([6, 5, 3])
    assert one.wanted_pieces(64) == [6, 3]
    assert one.wanted_pieces(64, filled=True) == [6, 3, 1, 2, 4, 7]
    assert one.wanted_pieces(3, filled=True) == [6, 3, 1]
    assert one.wanted_pieces(1) == [6]
    one.offer(6, "d", [where(1)], 0.0)
    assert one.wanted_pieces(64) == [3]
    one.add_stored([3])
    assert one.wanted_pieces(64, filled=True) is None, "all awaited pieces are stored or offered"


def test_awaited_pieces_are_started_first() -> None:
    one = plan()
    for n in (1, 2, 7):
        one.offer(n, "d", [where(n)], 0.0)
    one.want_first([7])
    first = one.assign(0.0, ("10.0.0.1", 15001))
    assert first is not None
    assert first.piece == 7
    one.want_first([])
    second = one.assign(0.0)
    assert second is not None
    assert second.piece == 1


def test_invalid_pieces_are_ignored() -> None:
    one = plan()
    one.want_first([8, 1 << 31, 2])
    assert one.wanted_pieces(64) == [2]
    unknown = plan(-1)
    unknown.want_first([0, 1])
    assert unknown.wanted_pieces(64) is None, "supernodes refuse requests far beyond known pieces"


@given(st.integers(1, 40), st.sets(st.integers(0, 39)), st.lists(st.integers(0, 60)), st.integers(1, 64), st.booleans())
def test_a_pull_names_each_missing_piece_once(count: int, held: set[int], wanted: list[int], most: int, ordered: bool) -> None:
    one = plan(count, ordered)
    one.add_stored(n for n in held if n < count)
    one.want_first(wanted)
    missing = set(range(count)) - held
    first = [n for n in dict.fromkeys(wanted) if n in missing][:most]
    assert (one.wanted_pieces(most) or []) == first
    named = one.wanted_pieces(most, filled=True) or []
    assert named[: len(first)] == first
    assert len(set(named)) == len(named) == (min(most, len(missing)) if first else 0)
    assert set(named) <= missing
