"""Deadlines, compared with a dict of times."""

from __future__ import annotations

from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine.supernode.swarm.deadlines import GRAIN, Deadlines

times = st.floats(0, 100)


@settings(deadline=None)
@given(st.lists(times), st.sets(st.integers(0, 50)), st.lists(times))
def test_every_item_is_due_once_and_on_time(added: list[float], discarded: set[int], looks: list[float]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    buckets = [deadlines.add(item, when) for item, when in enumerate(added)]
    for item in discarded & set(range(len(added))):
        deadlines.discard(item, buckets[item])
        deadlines.discard(item, buckets[item])
    waiting = {item: when for item, when in enumerate(added) if item not in discarded}
    for now in sorted(looks):
        due = deadlines.due(now, 1000)
        assert set(due) <= set(waiting)
        for item in due:
            assert waiting.pop(item) <= now
        assert all(when > now - GRAIN for when in waiting.values())
        assert len(deadlines) == len(waiting)
        following = deadlines.soonest()
        if waiting:
            assert following > now
            assert 0 <= following - min(waiting.values()) <= GRAIN
        else:
            assert following == inf


def test_an_item_may_be_added_at_a_time_that_was_already_due() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.add("first", 5.0)
    assert deadlines.due(5.0, 1000) == ["first"]
    deadlines.add("late", 5.0)
    assert deadlines.due(5.0, 1000) == ["late"]
    deadlines.discard("gone", deadlines.add("gone", 9.0))
    assert deadlines.soonest() == inf
    deadlines.add("new", 9.0)
    assert deadlines.soonest() == 9.0
    assert deadlines.due(9.0, 1000) == ["new"]
