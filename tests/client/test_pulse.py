"""When a leader counts as one that does not run."""

from __future__ import annotations

from dfengine.client.pulse import SILENT, STOPPED, Pulse


def look(pulse: Pulse, beats: list[int], now: float, step: float = 0.5) -> list[bool]:
    """What it says of these beats, one each `step` seconds."""
    return [pulse.silent(beat, now + step * i) for i, beat in enumerate(beats, 1)]


def test_one_that_beats_is_not_silent() -> None:
    assert not any(look(Pulse(0.0), list(range(100)), 0.0))


def test_one_that_beats_no_more_is_silent_in_the_end() -> None:
    found = look(Pulse(0.0), [1] * 20, 0.0)
    assert found.index(True) == int(SILENT / 0.5) + 1
    assert all(found[found.index(True) :])


def test_the_time_in_which_nobody_ran_does_not_count() -> None:
    pulse = Pulse(0.0)
    assert not pulse.silent(1, 0.5)
    assert not pulse.silent(1, 0.5 + STOPPED + 1000.0)
    assert not pulse.silent(1, 1003.0)
    assert pulse.silent(2, 1004.0) is False
