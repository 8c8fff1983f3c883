"""Dead URLs are remembered for a while."""

from __future__ import annotations

import pytest

from dfengine.errors import OriginError
from dfengine.supernode import refusals
from dfengine.supernode.refusals import Refusals


def refused(dead: Refusals, task: str, now: float) -> bool:
    try:
        dead.check(task, now, "cache ")
    except OriginError as error:
        return str(error).startswith("cache taskID: ")
    return False


def test_for_an_interval_but_not_for_other_credentials() -> None:
    dead = Refusals(10.0)
    assert "http://o/f" in dead.remember("a", "http://o/f", 404, 5.0)
    dead.remember("b", "http://o/f", 403, 5.0)
    assert [refused(dead, task, now) for task, now in (("a", 14.9), ("a", 15.0), ("b", 6.0), ("c", 6.0))] == [True, False, False, False]
    dead.forget("a")
    assert not refused(dead, "a", 6.0)


def test_the_oldest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MOST", 2)
    dead = Refusals(10.0)
    for task in "ababc":
        dead.remember(task, "u", 0, 1.0)
    assert [refused(dead, task, 2.0) for task in "abc"] == [False, True, True]
    assert len(dead) == 2
