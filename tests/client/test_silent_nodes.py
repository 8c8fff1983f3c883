"""Which supernode is tried, and when, after one did not respond; on a virtual clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfengine.client.silent_nodes import FIRST_PAUSE, MAX_NODES, MAX_PAUSE, PROBE, SKIP, TRIAL, USE, SilentNodes


def test_one_download_probes_a_silent_node_at_growing_intervals_and_others_skip_it() -> None:
    nodes, now, pause = SilentNodes(), 100.0, FIRST_PAUSE
    assert nodes.next_action("a", now) == USE
    for _ in range(8):
        nodes.silent("a", now)
        nodes.silent("a", now + 0.5)  # another download was in the same silence
        assert nodes.next_action("a", now + pause - 0.1) == SKIP
        now += pause
        assert nodes.next_action("a", now) == PROBE
        assert nodes.next_action("a", now) == SKIP, "two downloads probe at once"
        assert nodes.is_silent("a")
        pause = min(MAX_PAUSE, pause * 2)


def test_a_response_ends_the_silence() -> None:
    nodes = SilentNodes()
    nodes.silent("a", 0.0)
    assert nodes.next_action("b", 0.0) == USE
    assert nodes.next_action("a", FIRST_PAUSE) == PROBE
    nodes.answered("a")
    assert nodes.next_action("a", FIRST_PAUSE) == USE
    assert not nodes.is_silent("a")
    nodes.silent("a", 100.0)
    assert nodes.next_action("a", 100.0 + FIRST_PAUSE) == PROBE, "the intervals do not start anew"


def test_an_unfinished_probe_is_repeated() -> None:
    nodes = SilentNodes()
    nodes.silent("a", 0.0)
    assert nodes.next_action("a", FIRST_PAUSE) == PROBE
    assert nodes.next_action("a", FIRST_PAUSE + TRIAL - 0.1) == SKIP
    assert nodes.next_action("a", FIRST_PAUSE + TRIAL) == PROBE


@given(st.lists(st.tuples(st.sampled_from(["silent", "heard", "ask"]), st.sampled_from("ab"), st.floats(0, 50)), max_size=60))
def test_no_node_is_skipped_forever(events: list[tuple[str, str, float]]) -> None:
    nodes, now = SilentNodes(), 0.0
    for event, node, passed in events:
        now += passed
        if event == "silent":
            nodes.silent(node, now)
        elif event == "heard":
            nodes.answered(node)
        elif nodes.next_action(node, now) == PROBE:
            assert nodes.next_action(node, now) == SKIP
    assert SKIP not in (nodes.next_action("a", now + MAX_PAUSE), nodes.next_action("b", now + MAX_PAUSE))


def test_the_number_of_remembered_nodes_is_bounded() -> None:
    nodes = SilentNodes()
    for n in range(MAX_NODES + 10):
        nodes.silent(str(n), 0.0)
    assert not nodes.is_silent("9")
    assert nodes.is_silent("10")
