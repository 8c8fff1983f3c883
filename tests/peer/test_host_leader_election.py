"""Leaders of a host's downloads and those that join them: the table, and any order of joins, deaths and complaints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.peer.host_leader_election import (
    ALONE,
    DONE,
    FILE,
    FOLLOW,
    KEPT,
    KINDS,
    LEAD,
    OPEN,
    OPENED,
    STREAM,
    HostLeaderElection,
    Instruction,
)


def test_the_first_download_leads_and_later_ones_follow() -> None:
    joins = HostLeaderElection()
    assert joins.join(1, "a", FILE) == [Instruction(1, LEAD)]
    assert joins.join(2, "a", FILE) == [Instruction(2, FOLLOW, 1)]
    assert joins.join(3, "b", FILE) == [Instruction(3, LEAD)]
    assert joins.open(1) == [Instruction(2, OPEN, 1)]
    assert joins.join(4, "a", STREAM) == [Instruction(4, FOLLOW, 1), Instruction(4, OPEN, 1)]
    assert joins.done(1) == [Instruction(2, DONE), Instruction(4, DONE)]
    assert joins.join(5, "a", FILE) == [Instruction(5, LEAD)]


def test_a_download_into_a_file_does_not_follow_a_stream() -> None:
    joins = HostLeaderElection()
    assert joins.join(1, "a", STREAM) == [Instruction(1, LEAD)]
    assert joins.join(2, "a", FILE) == [Instruction(2, LEAD)]
    assert joins.join(3, "a", STREAM) == [Instruction(3, FOLLOW, 2)]
    assert joins.leave(2) == [Instruction(3, FOLLOW, 1)], "a leaderless stream follows the leading stream"


@pytest.mark.parametrize("kind", [OPENED, KEPT])
def test_open_files_of_one_kind_follow_one_leader_that_copies_from_a_file(kind: str) -> None:
    joins = HostLeaderElection()
    joins.join(1, "a", FILE)
    joins.open(1)
    assert joins.join(2, "a", kind) == [Instruction(2, LEAD, 1), Instruction(2, OPEN, 1)]
    assert joins.join(3, "a", kind) == [Instruction(3, FOLLOW, 2)]
    assert joins.open(2) == [Instruction(3, OPEN, 2)]
    assert joins.join(4, "a", FILE) == [Instruction(4, FOLLOW, 1), Instruction(4, OPEN, 1)]
    assert joins.leave(1) == [Instruction(4, LEAD, -1, 1), Instruction(2, LEAD, 4)]
    assert joins.silent(2, 4) == [Instruction(2, LEAD)], "no file is left to copy from: it fetches"
    assert joins.leave(2) == [Instruction(3, LEAD, -1, 2)]
    assert joins.join(5, "a", FILE) == [Instruction(5, LEAD)], "a file follows no open file"


def test_open_files_of_different_kinds_lead_separately() -> None:
    joins = HostLeaderElection()
    assert joins.join(1, "a", OPENED) == [Instruction(1, LEAD)]
    assert joins.join(2, "a", KEPT) == [Instruction(2, LEAD)]


@pytest.mark.parametrize("word", [DONE, ALONE])
def test_an_open_file_continues_to_lead_when_its_source_has_ended(word: str) -> None:
    joins = HostLeaderElection()
    for download, kind in enumerate((FILE, OPENED, OPENED, FILE)):
        joins.join(download, "a", kind)
    assert (joins.done(0) if word == DONE else joins.failed(0)) == [Instruction(1, word), Instruction(3, word)]
    assert joins.leads(1)
    assert joins.leader(1) == -1
    assert joins.leader(2) == 1
    assert not joins.leads(3)


def test_an_open_file_detaches_from_its_source_and_continues_to_lead() -> None:
    joins = HostLeaderElection()
    for download, kind in enumerate((FILE, OPENED, OPENED)):
        joins.join(download, "a", kind)
    assert joins.detach(1) == []
    assert joins.leads(1)
    assert joins.leave(0) == []
    assert joins.detach(2) == []
    assert joins.open(1) == []


@pytest.mark.parametrize("gone", ["leave", "resign"])
def test_when_a_leader_leaves_a_download_into_a_file_leads_next(gone: str) -> None:
    joins = HostLeaderElection()
    for download, kind in ((1, FILE), (2, STREAM), (3, FILE), (4, FILE)):
        joins.join(download, "a", kind)
    left = gone == "leave"
    assert getattr(joins, gone)(1) == [Instruction(3, LEAD, -1, 1 if left else -1), Instruction(4, FOLLOW, 3), Instruction(2, FOLLOW, 3)]
    assert getattr(joins, gone)(3) == [Instruction(4, LEAD, -1, 3 if left else -1), Instruction(2, FOLLOW, 4)]
    assert getattr(joins, gone)(4) == [Instruction(2, LEAD, -1, 4 if left else -1)]
    assert getattr(joins, gone)(2) == []


def test_a_follower_that_reports_its_leader_silent_leads() -> None:
    joins = HostLeaderElection()
    for download in (1, 2, 3):
        joins.join(download, "a", FILE)
    assert joins.silent(3, 1) == [Instruction(3, LEAD), Instruction(2, FOLLOW, 3)]
    assert joins.silent(2, 1) == [], "it has another leader already"
    assert joins.open(1) == [], "it has no followers any more"
    assert joins.silent(1, 3) == []
    assert joins.silent(3, 3) == []
    assert joins.done(1) == []
    assert joins.leave(1) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_follower_that_reports_its_leader_outdated_leads_later_downloads(kind: str) -> None:
    joins = HostLeaderElection()
    for download in (1, 2, 3, 4):
        joins.join(download, "a", kind)
    joins.open(1)
    assert joins.outdated(3, 1) == [Instruction(3, LEAD)]
    assert joins.join(5, "a", kind) == [Instruction(5, FOLLOW, 3)]
    assert joins.outdated(4, 1) == [Instruction(4, FOLLOW, 3)], "it reported the same leader"
    assert joins.outdated(4, 1) == [], "it has another leader already"
    assert joins.outdated(3, 3) == []
    assert joins.open(3) == [Instruction(5, OPEN, 3), Instruction(4, OPEN, 3)]
    assert joins.leader(2) == 1, "its pieces are of the old version, too"
    assert joins.leave(1) == [Instruction(2, LEAD, -1, 1)]
    assert joins.join(6, "a", kind) == [Instruction(6, FOLLOW, 3), Instruction(6, OPEN, 3)]
    assert joins.leave(2) == []


def test_open_files_do_not_copy_from_an_outdated_file() -> None:
    joins = HostLeaderElection()
    joins.join(1, "a", FILE)
    joins.join(2, "a", OPENED)
    joins.join(3, "a", KEPT)
    assert joins.outdated(2, 1) == [Instruction(2, LEAD)]
    assert joins.leader(3) == 1
    assert joins.join(4, "a", FILE) == [Instruction(4, LEAD)]
    assert joins.outdated(3, 1) == [Instruction(3, LEAD, 4)]
    assert joins.join(5, "a", OPENED) == [Instruction(5, FOLLOW, 2)]


def test_after_a_leaders_failure_its_followers_are_alone() -> None:
    joins = HostLeaderElection()
    for download in (1, 2, 3):
        joins.join(download, "a", FILE)
    assert joins.failed(2) == [], "it does not lead"
    assert joins.failed(1) == [Instruction(2, ALONE), Instruction(3, ALONE)]
    assert joins.leave(2) == []
    assert joins.join(4, "a", FILE) == [Instruction(4, LEAD)]


def test_a_freed_slot_is_given_to_the_next_follower() -> None:
    joins = HostLeaderElection()
    for download in (1, 2, 3, 4):
        joins.join(download, "a", FILE)
    assert [joins.slot(download) for download in (1, 2, 3, 4, 9)] == [-1, 0, 1, 2, -1]
    joins.leave(3)
    joins.join(5, "a", FILE)
    assert joins.slot(5) == 1


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "join", "open", "done", "failed", "silent", "outdated", "resign", "detach", "leave", "leave"]),
        st.integers(0, 9),
    ),
    max_size=80,
)


class Model:
    """The state that the downloads know, from their instructions alone."""

    def __init__(self) -> None:
        self.joins = HostLeaderElection()
        self.leads: set[int] = set()
        self.takes: dict[int, int] = {}
        """Download -> the leader that it follows or copies from."""
        self.kinds: dict[int, tuple[str, str]] = {}

    def hear(self, told: list[Instruction]) -> None:
        """Apply instructions, in this order."""
        for download, word, leader, before in told:
            assert download in self.kinds, "an instruction to a download that has left"
            assert before not in self.kinds, "a download reported as ended has not left"
            if word == LEAD:
                self.leads.add(download)
            if word == OPEN:
                assert self.takes[download] == leader
            elif leader >= 0:
                self.takes[download] = leader
            else:
                self.takes.pop(download, None)

    def step(self, event: str, number: int) -> None:
        """Apply one event of download `number`; if it is unknown nothing happens, except for join."""
        if event == "join":
            if number not in self.kinds:
                self.kinds[number] = ("ab"[number % 2], KINDS[number % 4 if number < 8 else 0])
                self.hear(self.joins.join(number, *self.kinds[number]))
            else:
                assert self.joins.join(number, "z", FILE) == []
            return
        before = self.takes.get(number, -1)
        if event in ("done", "failed", "resign", "leave"):
            if number in self.leads or event in ("resign", "leave"):
                self.takes.pop(number, None)
            self.leads.discard(number)
        if event == "detach":
            self.takes.pop(number, None)
        if event == "silent" and before >= 0:
            self.leads.discard(before)
            self.takes.pop(before, None)
        if event == "outdated" and before >= 0:
            self.set_apart(number, before)
        if event == "leave":
            self.kinds.pop(number, None)
        named = event in ("silent", "outdated")
        self.hear(getattr(self.joins, event)(number, before) if named else getattr(self.joins, event)(number))

    def set_apart(self, number: int, leader: int) -> None:
        """Move that leader and its followers to a key of their own; `number` keeps its key, unless it leads others."""
        self.takes.pop(number)
        key = self.kinds[leader][0]
        followers = [each for each, whom in self.takes.items() if whom == leader and each not in self.leads]
        for each in (leader, *followers) if len(key) == 1 else ():
            self.kinds[each] = f"{key}{leader}", self.kinds[each][1]
        if number not in self.leads:
            self.kinds[number] = self.kinds[number][0][0], self.kinds[number][1]

    def check(self) -> None:
        """Check the invariants, and that HostLeaderElection and the model agree."""
        leaders: dict[tuple[str, str], int] = {}
        slots: set[tuple[int, int]] = set()
        for download, kind in self.kinds.items():
            assert self.joins.leads(download) == (download in self.leads)
            if download in self.leads:
                assert kind not in leaders, "two leaders of one kind"
                leaders[kind] = download
            leader = self.takes.get(download, -1)
            assert self.joins.leader(download) == leader
            if leader >= 0:
                assert leader in self.leads, "a follower's leader does not lead"
                assert self.kinds[leader][0] == kind[0] or (download in self.leads and self.kinds[leader][0][0] == kind[0][0])
                own, its = kind[1], self.kinds[leader][1]
                assert its == (FILE if download in self.leads else own) or (own, its) == (STREAM, FILE)
                assert own not in (FILE, STREAM) or download not in self.leads, "a leader of this kind fetches"
                assert (leader, self.joins.slot(download)) not in slots
                slots.add((leader, self.joins.slot(download)))
        assert len(self.joins) == len(self.kinds)


@given(EVENTS)
def test_each_kind_of_a_task_has_at_most_one_leader_after_any_events(events: list[tuple[str, int]]) -> None:
    model = Model()
    for event, number in events:
        model.step(event, number)
        model.check()
    for number in list(model.kinds):
        model.step("leave", number)
        model.check()
    assert not model.joins._groups
