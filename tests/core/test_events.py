"""Lines of events: one line each, ASCII, without credentials; and limits per kind of event."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.events import MAX_VALUE, Throttle, line
from dfengine.task import redacted

NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(lambda name: name not in ("time", "level", "event"))
VALUES = st.one_of(st.text(max_size=40), st.integers(), st.booleans(), st.none(), st.floats())


def test_a_line_as_text_and_as_json() -> None:
    why = 'a "b"\n\x1b[31m\u202e'
    fields: Mapping[str, str | float | None] = {
        "task": "ab12", "client": "10.0.0.1", "why": why, "seconds": 1.23456, "native": True, "none": None, "url": "",
    }  # fmt: skip
    written = line("text", "T", "info", "finished", fields)
    assert written == r'T info finished task=ab12 client=10.0.0.1 why="a \"b\"\n\u001b[31m\u202e" seconds=1.235 native=yes'
    assert json.loads(line("json", "T", "info", "finished", fields)) == {
        "time": "T", "level": "info", "event": "finished", "task": "ab12", "client": "10.0.0.1", "why": why, "seconds": 1.235,
        "native": True,
    }  # fmt: skip


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.sampled_from(["text", "json"]))
def test_any_fields_yield_one_printable_ascii_line(fields: dict[str, str | int | float | bool | None], form: str) -> None:
    written = line(form, "T", "info", "kind", fields)
    assert written.isascii()
    assert written.isprintable()
    if form == "json":
        told = json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert told["event"] == "kind"
        assert set(told) <= {*fields, "time", "level", "event"}


def test_a_value_is_truncated() -> None:
    assert len(line("text", "T", "info", "k", {"a": "x" * 10**6})) < MAX_VALUE + 50


def test_credentials_in_urls_are_redacted() -> None:
    said = "https://me:pw@h/f?sig=secret answers 403 for http://o/g#token, and 'http://o/h?X-Amz-Signature=secret' too"
    written = line("text", "T", "info", "k", {"reason": said, "url": "https://user:pw@h/f?token=secret"})
    assert not {"secret", "token", "pw"} & set(written.replace("=", " ").replace("&", " ").replace(":", " ").replace("@", " ").split())
    assert "https://***@h/f?..." in written
    assert redacted("no URL? none") == "no URL? none"


@pytest.mark.parametrize("query", ["name='a'&sig=S", 'disposition=a;filename="x"&sig=S', "a=<b>&sig=S", "a=\xa0\u2003&sig=S", "#sig=S"])
@pytest.mark.parametrize("place", ["http://o/f", "http://o/a'b", 'http://o/"c"', "s3://b/\xa0k"])
@pytest.mark.parametrize("around", ["{}", "URL '{}' is bad", "url: {}: no", "({})", '{{"url":"{}"}}'])
def test_no_part_of_a_query_is_shown(query: str, place: str, around: str) -> None:
    said = redacted(around.format(f"{place}?{query}"))
    assert "S" not in said
    assert said == around.format(f"{place}?...") or (said.startswith(around.partition("{")[0]) and f"{place}?..." in said)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=80))
def test_a_throttle_counts_the_events_that_it_suppresses(events: list[tuple[str, float]]) -> None:
    throttle, now, told, held, first = Throttle(5, 2.0), 0.0, dict.fromkeys("ab", 0), dict.fromkeys("ab", 0), 0.0
    for kind, pause in events:
        now += pause
        told[kind] += throttle.allows(kind, now)
        for name, count in throttle.suppressed(now).items():
            held[name] += count
    for name, count in throttle.suppressed(now, all=True).items():
        held[name] += count
    for kind in "ab":
        assert told[kind] + held[kind] == sum(name == kind for name, _ in events)
        assert told[kind] <= 5 + 2.0 * (now - first) + 1


def test_a_throttle_works_after_the_clock_goes_back() -> None:
    throttle = Throttle(1, 1.0)
    assert throttle.allows("a", 100.0)
    assert not throttle.allows("a", 50.0)
    assert throttle.allows("a", 51.5)
