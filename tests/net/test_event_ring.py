"""The latest events, by their ids."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.event_log import OFF, EventLog
from dfengine.net.event_ring import BURST, EventRing


def ring(most: int, *levels: str) -> EventRing:
    made = EventRing(most)
    for at, level in enumerate(levels):
        made.put(level, f"kind-{at}", {"n": at}, float(at), lambda: "now")
    return made


@given(st.lists(st.sampled_from(("debug", "info", "warning", "error")), max_size=30), st.integers(1, 10))
def test_both_orders_return_the_same_events_with_ascending_ids(levels: list[str], most: int) -> None:
    made = ring(most, *levels)
    kept = made.after(0)
    assert kept == list(made.newest())[::-1]
    ids = [event[0] for event in kept]
    assert ids == sorted(set(ids))
    assert made.newest_id == sum(level != "debug" for level in levels)
    assert sum(event[2] in ("warning", "error") for event in kept) == min(most, sum(level in ("warning", "error") for level in levels))
    for cut in ids:
        assert made.after(cut) == [event for event in kept if event[0] > cut]
        assert made.after(cut - 1, 1)[0][0] == cut


def test_an_id_of_another_process_is_ignored() -> None:
    assert len(ring(5, "info", "error").after(1 << 60)) == 2


def test_frequent_events_do_not_displace_other_kinds() -> None:
    made = EventRing(BURST + 1)
    made.put("info", "ready", {}, 0.0, lambda: "")
    for _ in range(10 * BURST):
        made.put("info", "registered", {}, 0.0, lambda: "")
    assert made.after(0)[0][3] == "ready"


def test_events_are_stored_at_any_log_level_and_without_credentials() -> None:
    log = EventLog(level=OFF, ring=EventRing())
    log.info("registered", url="http://user:secret@host/f?sign=secret", none=None, long="x" * 9999)
    [(number, when, level, kind, fields)] = log.newest()
    assert (number, level, kind, when[:2]) == (1, "info", "registered", "20")
    assert "secret" not in str(fields)
    assert set(fields) == {"url", "long"}
    assert len(str(fields)) < 1000
