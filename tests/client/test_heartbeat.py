"""When a leader counts as stopped."""

from __future__ import annotations

from dfengine.client.heartbeat import SILENT, STOPPED, Heartbeat, Stall


def look(pulse: Heartbeat, beats: list[int], now: float, step: float = 0.5) -> list[bool]:
    """Results for these beats, one each `step` seconds."""
    return [pulse.silent(beat, now + step * i) for i, beat in enumerate(beats, 1)]


def test_a_beating_leader_is_not_silent() -> None:
    assert not any(look(Heartbeat(0.0), list(range(100)), 0.0))


def test_a_leader_without_beats_becomes_silent() -> None:
    found = look(Heartbeat(0.0), [1] * 20, 0.0)
    assert found.index(True) == int(SILENT / 0.5) + 1
    assert all(found[found.index(True) :])


def test_time_in_which_no_process_ran_does_not_count() -> None:
    pulse = Heartbeat(0.0)
    assert not pulse.silent(1, 0.5)
    assert not pulse.silent(1, 0.5 + STOPPED + 1000.0)
    assert not pulse.silent(1, 1003.0)
    assert pulse.silent(2, 1004.0) is False


def test_a_wait_without_progress_is_a_stall() -> None:
    stall = Stall(0.0)
    assert not any(stall.exceeds(now // 5, True, float(now), 4.0) for now in range(1, 100)), "there is progress each 5 s"
    assert not any(stall.exceeds(0, False, float(now), 4.0) for now in range(100, 200)), "no piece is waited for"
    found = [stall.exceeds(0, True, float(now), 4.0) for now in range(200, 210)]
    assert found.index(True) == 4


def test_time_in_which_the_waiting_process_did_not_run_does_not_count() -> None:
    stall = Stall(0.0)
    assert not stall.exceeds(1, True, 1.0, 10.0)
    assert not stall.exceeds(1, True, 1000.0, 10.0)
    assert stall.waited == STOPPED
