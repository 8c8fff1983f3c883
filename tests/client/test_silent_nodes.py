"""Which supernode is asked, and when, after one did not answer; on a virtual clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfengine.client.silent_nodes import ASK, FIRST, LEAVE, LONGEST, MOST, TRIAL, TRY, SilentNodes


def test_one_tries_a_silent_node_in_growing_pauses_and_the_others_leave_it() -> None:
    nodes, now, pause = SilentNodes(), 100.0, FIRST
    assert nodes.ask("a", now) == ASK
    for _ in range(8):
        nodes.silent("a", now)
        nodes.silent("a", now + 0.5)  # another download found the same silence
        assert nodes.ask("a", now + pause - 0.1) == LEAVE
        now += pause
        assert nodes.ask("a", now) == TRY
        assert nodes.ask("a", now) == LEAVE, "it is tried by another"
        assert nodes.left("a")
        pause = min(LONGEST, pause * 2)


def test_what_it_answers_ends_its_silence() -> None:
    nodes = SilentNodes()
    nodes.silent("a", 0.0)
    assert nodes.ask("b", 0.0) == ASK
    assert nodes.ask("a", FIRST) == TRY
    nodes.answered("a")
    assert nodes.ask("a", FIRST) == ASK
    assert not nodes.left("a")
    nodes.silent("a", 100.0)
    assert nodes.ask("a", 100.0 + FIRST) == TRY, "the pauses begin anew"


def test_a_try_that_nobody_ended_is_made_again() -> None:
    nodes = SilentNodes()
    nodes.silent("a", 0.0)
    assert nodes.ask("a", FIRST) == TRY
    assert nodes.ask("a", FIRST + TRIAL - 0.1) == LEAVE
    assert nodes.ask("a", FIRST + TRIAL) == TRY


@given(st.lists(st.tuples(st.sampled_from(["silent", "heard", "ask"]), st.sampled_from("ab"), st.floats(0, 50)), max_size=60))
def test_no_node_is_left_for_ever(events: list[tuple[str, str, float]]) -> None:
    nodes, now = SilentNodes(), 0.0
    for event, node, passed in events:
        now += passed
        if event == "silent":
            nodes.silent(node, now)
        elif event == "heard":
            nodes.answered(node)
        elif nodes.ask(node, now) == TRY:
            assert nodes.ask(node, now) == LEAVE
    assert LEAVE not in (nodes.ask("a", now + LONGEST), nodes.ask("b", now + LONGEST))


def test_no_more_nodes_are_remembered_than_there_is_room_for() -> None:
    nodes = SilentNodes()
    for n in range(MOST + 10):
        nodes.silent(str(n), 0.0)
    assert not nodes.left("9")
    assert nodes.left("10")
