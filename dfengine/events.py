"""Events as log lines for operators: their form, and a limit for each kind. Pure: the time is an argument.

A text line is `TIME LEVEL KIND NAME=VALUE ...`; a JSON line is an object with `time`, `level` and `event`. Each event is one line of
ASCII, whatever its values contain, and URLs are written without credentials.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from dfengine.task import redacted

LEVELS = ("debug", "info", "warning", "error")
"""In ascending order of importance."""

MAX_VALUE = 500
"""Maximum number of characters of a value."""

_BARE = re.compile(r"[A-Za-z0-9_./:@+~*?&%;-]+")
"""Values that need no quotes in a text line."""

Value = str | int | float | bool | None


def line(form: str, when: str, level: str, kind: str, fields: Mapping[str, Value]) -> str:
    """One line without a line break. form: `text` or `json`. when: the time as text. Fields that are None or "" are omitted."""
    values = printable(fields)
    if form == "json":
        return json.dumps({"time": when, "level": level, "event": kind, **values})
    return " ".join((when, level, kind, *(f"{name}={_written(value)}" for name, value in values.items())))


def printable(fields: Mapping[str, Value]) -> dict[str, Value]:
    """An event's fields for a log: without None and "", each value cut to MAX_VALUE, without the credentials of URLs."""
    return {name: _value(value) for name, value in fields.items() if value is not None and value != ""}


def _value(value: Value) -> Value:
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else str(value)
    if not isinstance(value, str):
        return value
    text = redacted(value) if "://" in value else value
    return text if len(text) <= MAX_VALUE else text[:MAX_VALUE] + "..."


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return str(value)
    # JSON escapes quotes, backslashes, control characters and all non-ASCII characters.
    return value if _BARE.fullmatch(value) else json.dumps(value)


class Throttle:
    """Limit of logged events of each kind: a burst of `burst`, then `rate` a second. For few kinds. Times are seconds of any clock."""

    PERIOD = 10.0
    """Seconds between two reports of the numbers of suppressed events."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._credits: dict[str, tuple[float, float]] = {}
        """Kind -> (events that may be logged, the time of that count)."""
        self._held: dict[str, int] = {}
        self._released_at = 0.0

    def allows(self, kind: str, now: float) -> bool:
        """Whether one more event may be logged. If not, it is counted as suppressed."""
        credit, at = self._credits.get(kind, (float(self._burst), now))
        credit = min(self._burst, credit + max(0.0, now - at) * self._rate)
        if credit < 1:
            self._credits[kind] = credit, now
            self._held[kind] = self._held.get(kind, 0) + 1
            return False
        self._credits[kind] = credit - 1, now
        return True

    def suppressed(self, now: float, all: bool = False) -> dict[str, int]:
        """Kind -> events suppressed since the last report. Empty within PERIOD of that report, unless `all` is set."""
        if not self._held or not (all or now - self._released_at >= self.PERIOD):
            return {}
        held, self._held, self._released_at = self._held, {}, now
        return held
