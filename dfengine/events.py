"""Events as lines for operators: their form, and how many of a kind are told. Pure: the time is an argument.

A line of text is `TIME LEVEL KIND NAME=VALUE ...`; one of JSON is an object with `time`, `level` and `event`. Whatever values hold, it is
one line of ASCII, and URLs are without what may open their files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from dfengine.task import redacted

LEVELS = ("debug", "info", "warning", "error")
"""From the least important on."""

LONGEST = 500
"""Characters of a value."""

_BARE = re.compile(r"[A-Za-z0-9_./:@+~*?&%;-]+")
"""What needs no quotes in a line of text."""

Value = str | int | float | bool | None


def line(form: str, when: str, level: str, kind: str, fields: Mapping[str, Value]) -> str:
    """One line without its end. form: `text` or `json`. when: the time as text. What is None or "" is left out."""
    values = printable(fields)
    if form == "json":
        return json.dumps({"time": when, "level": level, "event": kind, **values})
    return " ".join((when, level, kind, *(f"{name}={_written(value)}" for name, value in values.items())))


def printable(fields: Mapping[str, Value]) -> dict[str, Value]:
    """An event's fields for a log: those that are neither None nor "", no longer than LONGEST, without credentials of URLs."""
    return {name: _value(value) for name, value in fields.items() if value is not None and value != ""}


def _value(value: Value) -> Value:
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else str(value)
    if not isinstance(value, str):
        return value
    text = redacted(value) if "://" in value else value
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return str(value)
    # JSON escapes quotes, backslashes, control characters, and all that is no ASCII.
    return value if _BARE.fullmatch(value) else json.dumps(value)


class Throttle:
    """How many events of each kind are told: `burst` at once, and `rate` a second. Kinds are few. Times are seconds of any clock."""

    PERIOD = 10.0
    """Seconds between two lines that tell how many were held back."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._credits: dict[str, tuple[float, float]] = {}
        """Kind -> (events that may be told, when that was so)."""
        self._held: dict[str, int] = {}
        self._released_at = 0.0

    def allows(self, kind: str, now: float) -> bool:
        """One more event is told; False: it is held back, and counted."""
        credit, at = self._credits.get(kind, (float(self._burst), now))
        credit = min(self._burst, credit + max(0.0, now - at) * self._rate)
        if credit < 1:
            self._credits[kind] = credit, now
            self._held[kind] = self._held.get(kind, 0) + 1
            return False
        self._credits[kind] = credit - 1, now
        return True

    def held(self, now: float, all: bool = False) -> dict[str, int]:
        """Kind -> how many were held back since the last time; empty within a PERIOD of that, unless `all` is asked for."""
        if not self._held or not (all or now - self._released_at >= self.PERIOD):
            return {}
        held, self._held, self._released_at = self._held, {}, now
        return held
