"""Preheats of other supernodes: the order of their notices, and preheats whose supernode is gone."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.copy_states import FAILED, RUNNING, STATES, SUCCESS, WAITING
from dfengine.errors import BadValue
from dfengine.supernode import remote_preheats
from dfengine.supernode.negative_cache import NegativeCache
from dfengine.supernode.preheat_job import Part, Totals
from dfengine.supernode.remote_preheats import SETTLE, SILENCE, RemoteJobs, notice_of, removal_notice

A, B = "aa" * 16, "bb" * 16


def test_the_error_of_a_part_is_short_and_shows_no_secrets() -> None:
    part = Part("http://o/f")
    part.end("cache " + NegativeCache(1.0).remember("7" * 64, "http://u:p@o/f?sig=S", 404, "o answers 404 to http://o/f?sig=S", 0.0))
    assert part.error == "o answers 404 to http://o/f?..."
    part.end("something else")
    assert part.error == "something else"


def job(state: str = RUNNING, id: str = "ab" * 32, parts: int = 2, url: str = "http://u:p@h/f?sign=secret") -> Any:
    made = [Part(f"{url}&n={n}", "", 10) for n in range(parts)]
    for part in made:
        part.state = RUNNING
    return SimpleNamespace(id=id, state=state, number=7, kind="file", scope="single_seed_peer", platforms=(), url=url, error="",
                           created=100.0, updated=101.0, parts=made, previous_owners=(), resume_fields="",
                           ended=state in (SUCCESS, FAILED))  # fmt: skip


def message(given: Any) -> dict[str, Any]:
    return notice_of(given, "h:8002", Totals(len(given.parts), 0, 20, 5), lambda part: 3)


def test_a_notice_carries_the_state_of_a_preheat_without_secrets() -> None:
    remote = RemoteJobs()
    body = message(job())
    assert "secret" not in str(body)
    assert "u:p" not in str(body)
    remote.received(body, A, 1.0, 50.0)
    [found] = remote.all({A}, 50.0)
    assert (found.id, found.number, found.state, found.supernode, found.ended) == ("ab" * 32, 7, RUNNING, "h:8002", False)
    assert found.remote_totals == Totals(2, 0, 20, 5)
    assert [(part.fetched, part.length, part.state) for part in found.parts] == [(3, 10, RUNNING)] * 2


def test_a_preheat_of_a_gone_or_silent_supernode_fails_in_bounded_time() -> None:
    remote = RemoteJobs()
    remote.received(message(job()), A, 1.0, 50.0)
    remote.received(message(job(SUCCESS, "cd" * 32)), A, 1.0, 50.0)
    assert {each.state for each in remote.all((), 50.0 + SETTLE)} == {RUNNING, SUCCESS}, "its heartbeat may arrive after its notice"
    assert {each.state for each in remote.all({A}, 50.0 + SILENCE)} == {RUNNING, SUCCESS}
    gone, ended = remote.all((), 51.0 + SETTLE)
    assert (gone.state, ended.state) == (FAILED, SUCCESS)
    assert "h:8002 is gone" in gone.error
    assert all(part.ended for part in gone.parts)
    remote.received(message(job()), A, 2.0, 60.0)
    assert remote.all({A}, 60.0)[-1].state == RUNNING, "its supernode is back"
    assert "sent nothing" in remote.all({A}, 61.0 + SILENCE)[-1].error


@given(st.permutations([(1.0, WAITING), (2.0, RUNNING), (3.0, SUCCESS)]))
def test_an_older_notice_is_ignored(order: list[tuple[float, str]]) -> None:
    remote = RemoteJobs()
    for at, state in order:
        remote.received(message(job(state)), A, at, 0.0)
    assert [each.state for each in remote.all({A}, 0.0)] == [SUCCESS]


def test_removed_preheats_disappear_and_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_preheats, "MAX_PREHEATS", 10)
    remote = RemoteJobs()
    for n in range(30):
        remote.received(message(job(id=f"{n:064x}")), A, 1.0, 0.0)
    remote.received(message(job(id=f"{29:064x}")), B, 1.0, 0.0)
    assert len(remote.all({A}, 0.0)) == 10
    remote.received(removal_notice(f"{29:064x}"), A, 2.0, 0.0)
    assert [each.owner for each in remote.all({A, B}, 0.0) if each.id == f"{29:064x}"] == [B]
    remote.drop(remote.all({A, B}, 0.0)[-1])
    assert len(remote.all({A, B}, 0.0)) == 8


def test_a_notice_of_many_long_parts_fits() -> None:
    large = job(parts=5000, url="http://h/" + "x" * 4000)
    large.parts[4].end("it failed")
    body = message(large)
    assert len(str(body)) < 16_000
    assert body["parts"][0][7] == FAILED


@pytest.mark.parametrize("wrong", [
    {}, {"id": 5, "state": RUNNING}, {"id": "a", "state": "x"}, {"id": "a/b", "state": RUNNING}, {"id": "", "state": RUNNING},
    {"id": "a", "state": RUNNING, "parts": [["u", "", 1, 1, "", "", "", "odd", ""]]}, {"id": "a", "state": RUNNING, "totals": [1]},
])  # fmt: skip
def test_invalid_notices_are_rejected(wrong: dict[str, Any]) -> None:
    remote = RemoteJobs()
    with pytest.raises(BadValue):
        remote.received(wrong, A, 1.0, 0.0)
    assert remote.all((), 0.0) == []


def test_a_running_preheat_is_not_shown_longer_than_the_silence_limit() -> None:
    """On a virtual clock supernodes send notices at random and die: a preheat is shown as ended at most SILENCE seconds later."""
    chance = random.Random(5)
    remote, now, alive = RemoteJobs(), 0.0, {A, B}
    running = {A: True, B: True}
    last = {A: 0.0, B: 0.0}
    for _ in range(2000):
        now += chance.choice((0.5, 1.0, 20.0))
        for owner in list(alive):
            if chance.random() < 0.01:
                alive.discard(owner)
            elif chance.random() < 0.3:
                running[owner] = chance.random() < 0.9
                remote.received(message(job(RUNNING if running[owner] else SUCCESS)), owner, now, now)
                last[owner] = now
        for each in remote.all(alive, now):
            assert each.state in STATES
            if each.state == RUNNING:
                assert now - last[each.owner] <= (SILENCE if each.owner in alive else SETTLE)
        if not alive:
            alive = {A, B}
