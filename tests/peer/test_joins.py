"""Leaders of a host's downloads and those that join them: the table, and any order of joins, deaths and complaints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.peer.joins import ALONE, DONE, FOLLOW, LEAD, OPEN, Joins, Told


def test_the_first_leads_and_the_others_follow() -> None:
    joins = Joins()
    assert joins.join(1, "a", True) == [(1, LEAD, -1)]
    assert joins.join(2, "a", True) == [(2, FOLLOW, 1)]
    assert joins.join(3, "b", True) == [(3, LEAD, -1)]
    assert joins.open(1) == [(2, OPEN, 1)]
    assert joins.join(4, "a", False) == [(4, FOLLOW, 1), (4, OPEN, 1)]
    assert joins.done(1) == [(2, DONE, -1), (4, DONE, -1)]
    assert joins.join(5, "a", True) == [(5, LEAD, -1)]


def test_a_whole_download_follows_no_stream() -> None:
    joins = Joins()
    assert joins.join(1, "a", False) == [(1, LEAD, -1)]
    assert joins.join(2, "a", True) == [(2, LEAD, -1)]
    assert joins.join(3, "a", False) == [(3, FOLLOW, 2)]
    assert joins.leave(2) == [(3, FOLLOW, 1)], "streams that are left follow the stream that leads"


@pytest.mark.parametrize("gone", ["leave", "pass_on"])
def test_when_a_leader_goes_a_whole_one_leads(gone: str) -> None:
    joins = Joins()
    for download, whole in ((1, True), (2, False), (3, True), (4, True)):
        joins.join(download, "a", whole)
    left = gone == "leave"
    assert getattr(joins, gone)(1) == [(3, LEAD, 1 if left else -1), (4, FOLLOW, 3), (2, FOLLOW, 3)]
    assert getattr(joins, gone)(3) == [(4, LEAD, 3 if left else -1), (2, FOLLOW, 4)]
    assert getattr(joins, gone)(4) == [(2, LEAD, 4 if left else -1)]
    assert getattr(joins, gone)(2) == []


def test_who_finds_its_leader_silent_leads() -> None:
    joins = Joins()
    for download in (1, 2, 3):
        joins.join(download, "a", True)
    assert joins.silent(3, 1) == [(3, LEAD, -1), (2, FOLLOW, 3)]
    assert joins.silent(2, 1) == [], "it has another leader by now"
    assert joins.open(1) == [], "nobody follows it any more"
    assert joins.silent(1, 3) == []
    assert joins.silent(3, 3) == []
    assert joins.done(1) == []
    assert joins.leave(1) == []


def test_a_failure_that_is_everybodys_sets_all_free() -> None:
    joins = Joins()
    for download in (1, 2, 3):
        joins.join(download, "a", True)
    assert joins.failed(2) == [], "it does not lead"
    assert joins.failed(1) == [(2, ALONE, -1), (3, ALONE, -1)]
    assert joins.leave(2) == []
    assert joins.join(4, "a", True) == [(4, LEAD, -1)]


def test_who_leaves_gives_its_slot_to_the_next() -> None:
    joins = Joins()
    for download in (1, 2, 3, 4):
        joins.join(download, "a", True)
    assert [joins.slot(download) for download in (1, 2, 3, 4, 9)] == [-1, 0, 1, 2, -1]
    joins.leave(3)
    joins.join(5, "a", True)
    assert joins.slot(5) == 1


EVENTS = st.lists(
    st.tuples(st.sampled_from(["join", "join", "open", "done", "failed", "silent", "pass_on", "leave", "leave"]), st.integers(0, 7)),
    max_size=80,
)


class Model:
    """What the downloads themselves know: from what they were told alone."""

    def __init__(self) -> None:
        self.joins = Joins()
        self.follows: dict[int, int] = {}
        """Download -> whom it follows, itself: it leads, -1: alone."""
        self.kinds: dict[int, tuple[str, bool]] = {}

    def hear(self, told: list[Told]) -> None:
        """They are told, in this order."""
        for download, word, leader in told:
            assert download in self.kinds, "nobody is told anything who is gone"
            if word == LEAD:
                assert leader == -1 or leader not in self.kinds, "one that has ended is gone"
                self.follows[download] = download
            elif word == FOLLOW:
                self.follows[download] = leader
            elif word == OPEN:
                assert self.follows[download] == leader
            else:
                self.follows[download] = -1

    def step(self, event: str, number: int) -> None:
        """One event of download `number`; of one that is not there nothing happens, but for join."""
        if event == "join":
            if number not in self.kinds:
                self.kinds[number] = ("ab"[number % 2], number % 3 > 0)
                self.follows[number] = -1
                self.hear(self.joins.join(number, *self.kinds[number]))
            else:
                assert self.joins.join(number, "z", True) == []
            return
        before = self.follows.get(number, -1)
        if event in ("done", "failed", "pass_on", "leave") and before == number:
            self.follows[number] = -1
        if event == "pass_on":
            self.follows[number] = -1
        if event == "silent" and before not in (-1, number):
            self.follows[before] = -1
        if event == "leave":
            self.kinds.pop(number, None)
            self.follows.pop(number, None)
        self.hear(self.joins.silent(number, before) if event == "silent" else getattr(self.joins, event)(number))
        if number not in self.kinds:
            self.follows.pop(number, None)

    def check(self) -> None:
        """The law, and that the machine knows what the downloads know."""
        leaders: dict[tuple[str, bool], int] = {}
        slots: set[tuple[int, int]] = set()
        for download, kind in self.kinds.items():
            leader = self.follows[download]
            assert self.joins.leader(download) == leader
            if leader == download:
                assert kind not in leaders, "two leaders of one kind"
                leaders[kind] = download
            elif leader >= 0:
                assert self.follows[leader] == leader, "whom it follows does not lead"
                assert self.kinds[leader][0] == kind[0]
                assert self.kinds[leader][1] or not kind[1], "a whole one follows a stream"
                assert (leader, self.joins.slot(download)) not in slots
                slots.add((leader, self.joins.slot(download)))
        assert len(self.joins) == len(self.kinds)


@given(EVENTS)
def test_a_task_has_one_leader_whatever_happens(events: list[tuple[str, int]]) -> None:
    model = Model()
    for event, number in events:
        model.step(event, number)
        model.check()
    for number in list(model.kinds):
        model.step("leave", number)
        model.check()
    assert not model.joins._groups
