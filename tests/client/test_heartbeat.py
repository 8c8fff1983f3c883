"""When a leader counts as one that does not run."""

from __future__ import annotations

from dfengine.client.heartbeat import SILENT, STOPPED, Heartbeat, Stall


def look(pulse: Heartbeat, beats: list[int], now: float, step: float = 0.5) -> list[bool]:
    """What it says of these beats, one each `step` seconds."""
    return [pulse.silent(beat, now + step * i) for i, beat in enumerate(beats, 1)]


def test_one_that_beats_is_not_silent() -> None:
    assert not any(look(Heartbeat(0.0), list(range(100)), 0.0))


def test_one_that_beats_no_more_is_silent_in_the_end() -> None:
    found = look(Heartbeat(0.0), [1] * 20, 0.0)
    assert found.index(True) == int(SILENT / 0.5) + 1
    assert all(found[found.index(True) :])


def test_the_time_in_which_nobody_ran_does_not_count() -> None:
    pulse = Heartbeat(0.0)
    assert not pulse.silent(1, 0.5)
    assert not pulse.silent(1, 0.5 + STOPPED + 1000.0)
    assert not pulse.silent(1, 1003.0)
    assert pulse.silent(2, 1004.0) is False


def test_who_waits_and_sees_no_progress_waits_in_vain() -> None:
    stall = Stall(0.0)
    assert not any(stall.exceeds(now // 5, True, float(now), 4.0) for now in range(1, 100)), "there is progress each 5 s"
    assert not any(stall.exceeds(0, False, float(now), 4.0) for now in range(100, 200)), "nothing is waited for"
    found = [stall.exceeds(0, True, float(now), 4.0) for now in range(200, 210)]
    assert found.index(True) == 4


def test_the_time_in_which_one_that_waits_did_not_run_does_not_count() -> None:
    stall = Stall(0.0)
    assert not stall.exceeds(1, True, 1.0, 10.0)
    assert not stall.exceeds(1, True, 1000.0, 10.0)
    assert stall.waited == STOPPED
