"""Eviction of delivered pieces, against a list."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.streaming.cache import Cache


def was_used(used: set[int], n: int) -> bool:
    """Whether the piece was requested since the last call."""
    if n not in used:
        return False
    used.discard(n)
    return True


def used_never(n: int) -> bool:
    return False


def test_the_least_recently_used_piece_is_evicted_first_and_a_used_one_gets_a_second_chance() -> None:
    used = {0}
    cache = Cache(4, lambda n: was_used(used, n))
    for n in range(4):
        assert cache.add(n, 4) == []
    assert cache.to_report() == []
    assert cache.add(4, 0) == [1], "piece 0 was requested"
    assert cache.add(5, 0) == [2]


def test_evictions_are_reported_before_they_happen_while_there_is_room() -> None:
    cache = Cache(8, used_never)
    gone = [cache.add(n, 0) for n in range(8)]
    assert gone == [[]] * 8
    assert len(cache) == 2, "pieces are evicted ahead of need"
    assert cache.to_report() == [0, 1]
    assert len(cache) == 0
    assert cache.pieces == 8
    assert cache.confirmed([0, 1]) == [0, 1]
    assert cache.pieces == 6


def test_urgent_evictions_happen_at_once_and_only_once() -> None:
    cache = Cache(8, used_never)
    for n in range(8):
        cache.add(n, 0)
    told = cache.to_report()
    assert cache.add(8, 0) == [0]
    assert cache.confirmed(told) == [1]


def test_without_a_cache_no_piece_stays() -> None:
    cache = Cache(0, used_never)
    assert [cache.add(n, 0) for n in range(3)] == [[0], [1], [2]]


@given(
    most=st.integers(0, 12),
    events=st.lists(st.one_of(st.tuples(st.just("keep"), st.integers(0, 6)), st.just(("tell", 0)), st.just(("answer", 0)),
                              st.tuples(st.just("use"), st.integers(0, 60))), max_size=80),
)
@settings(max_examples=300, deadline=None)
def test_every_piece_is_evicted_once_and_the_capacity_is_kept(most: int, events: list[tuple[str, int]]) -> None:
    used: set[int] = set()
    cache = Cache(most, lambda n: was_used(used, n))
    here: list[int] = []
    telling: list[list[int]] = []
    count = 0
    for event, value in events:
        if event == "keep":
            here.append(count)
            for n in cache.add(count, value):
                here.remove(n)
            assert len(here) <= most + value
            count += 1
        elif event == "use":
            used.add(value)
        elif event == "tell":
            told = cache.to_report()
            assert set(told) <= set(here)
            telling.append(told)
        elif telling:
            for n in cache.confirmed(telling.pop(0)):
                here.remove(n)
        assert cache.pieces == len(here)
