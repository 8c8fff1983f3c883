"""Refusals of origins are remembered for an interval."""

from __future__ import annotations

import pytest

from dfengine.errors import OriginError
from dfengine.supernode import negative_cache
from dfengine.supernode.negative_cache import NegativeCache, without_reason


def refused(dead: NegativeCache, task: str, now: float) -> bool:
    try:
        dead.check(task, now, "cache ")
    except OriginError as error:
        return str(error).startswith("cache taskID: ")
    return False


def test_a_404_is_remembered_for_the_interval_and_a_403_is_not() -> None:
    dead = NegativeCache(10.0)
    said = dead.remember("a", "http://o/f", 404, "o:80 answers 404 Not Found", 5.0)
    assert "http://o/f" in said
    assert "url not reachable" in said, "the text of 1.x"
    assert said.endswith("o:80 answers 404 Not Found"), "the reason is included"
    assert without_reason(said) == 'taskID: a, url: http://o/f: {"Code":12,"Msg":"url not reachable"}', "exactly the text of 1.x"
    assert without_reason("of no refusal") == "of no refusal"
    dead.remember("b", "http://o/f", 403, "", 5.0)
    assert [refused(dead, task, now) for task, now in (("a", 14.9), ("a", 15.0), ("b", 6.0), ("c", 6.0))] == [True, False, False, False]
    dead.forget("a")
    assert not refused(dead, "a", 6.0)


@pytest.mark.parametrize("status", [404, 405, 410, 416, 451])
def test_final_statuses_are_remembered(status: int) -> None:
    dead = NegativeCache(10.0)
    dead.remember("a", "u", status, "", 1.0)
    assert refused(dead, "a", 2.0)


@pytest.mark.parametrize(
    "status", [0, 200, 206, 310, 400, 401, 402, 403, 406, 407, 408, 414, 421, 425, 429, 431, 500, 501, 502, 503, 504, 505]
)
def test_transient_statuses_and_those_of_one_client_are_not_remembered(status: int) -> None:
    dead = NegativeCache(10.0)
    dead.remember("a", "u", status, "", 1.0)
    assert not refused(dead, "a", 1.0)
    assert not dead._by_task


def test_a_transient_failure_does_not_replace_a_final_status() -> None:
    dead = NegativeCache(10.0)
    dead.remember("a", "u", 404, "", 1.0)
    dead.remember("a", "u", 503, "", 2.0)
    assert refused(dead, "a", 3.0)


def test_the_oldest_entry_is_evicted_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(negative_cache, "MAX_REFUSALS", 2)
    dead = NegativeCache(10.0)
    for task in "ababc":
        dead.remember(task, "u", 404, "", 1.0)
    assert [refused(dead, task, 2.0) for task in "abc"] == [False, True, True]
    assert len(dead._by_task) == 2


@pytest.mark.parametrize(("status", "holds"), [(0, False), (304, False), (400, True), (401, True), (403, True), (429, True), (500, False)])
def test_a_client_error_on_a_shared_request_is_remembered_briefly(status: int, holds: bool) -> None:
    dead = NegativeCache(600.0)
    dead.remember("a", "u", status, "", 1.0, for_all=True)
    assert [refused(dead, "a", now) for now in (1.0, 3.9, 4.0)] == [holds, holds, False]
    dead.remember("a", "u", 404, "", 5.0, for_all=True)
    assert refused(dead, "a", 600.0)
