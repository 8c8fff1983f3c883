"""A server's events on stderr: filtering by level, throttling, and the thread that writes them. See `events` for the format of lines.

A thread of its own writes the lines, because a slow reader of stderr must not block the server. With a slow reader, lines are dropped and
counted.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from dfengine.events import LEVELS, Throttle, Value, line
from dfengine.net.event_ring import Event, EventRing

BURST, RATE = 200, 50.0
"""Events of one kind that are written in a burst, and per second."""

MAX_WAITING = 10_000
"""Maximum number of lines that wait to be written."""

MAX_LINES = 1000
"""Maximum number of lines in one write."""

TOGETHER = 0.1
"""Seconds for which lines are gathered for one write."""

CLOSE = 0.2
"""Seconds to write the last lines when the process ends."""

OFF = "off"
"""The level at which nothing is written."""


class EventLog:
    """Event log of a server. form: of `events.line`. level: the lowest that is written, or OFF. fd: descriptor to write to. Thread-safe.

    ring: stores the latest events of any level in memory; None: they are not stored.
    """

    def __init__(self, form: str = "text", level: str = OFF, fd: int = 2, ring: EventRing | None = None) -> None:
        self._ring = ring
        self.mask: Callable[[dict[str, Value]], dict[str, Value]] = dict
        """Maps an event's fields to the fields that are written and stored. Called in any thread."""
        self._form = form
        self._min_level = LEVELS.index(level) if level in LEVELS else len(LEVELS)
        self._throttle = Throttle(BURST, RATE)
        self._lock = threading.Lock()
        self._writer = LineWriter(fd)

    def set_level(self, level: str) -> None:
        """Set the lowest level that is written from now on, or OFF."""
        self._min_level = LEVELS.index(level) if level in LEVELS else len(LEVELS)

    @property
    def as_json(self) -> bool:
        """Whether lines are JSON objects."""
        return self._form == "json"

    def writes(self, level: str) -> bool:
        """Whether events of this level are written."""
        return LEVELS.index(level) >= self._min_level

    def debug(self, kind: str, /, **fields: Value) -> None:
        self.log("debug", kind, fields)

    def info(self, kind: str, /, **fields: Value) -> None:
        self.log("info", kind, fields)

    def warning(self, kind: str, /, **fields: Value) -> None:
        self.log("warning", kind, fields)

    def error(self, kind: str, /, **fields: Value) -> None:
        self.log("error", kind, fields)

    def log(self, level: str, kind: str, fields: dict[str, Value]) -> None:
        """Log one event. kind: one of a small fixed set."""
        written = LEVELS.index(level) >= self._min_level
        if not written and self._ring is None:
            return
        fields, now = self.mask(fields), time.monotonic()
        with self._lock:
            if self._ring is not None:
                self._ring.put(level, kind, fields, now, _now)
            allowed = written and self._throttle.allows(kind, now)
        if allowed:
            self._writer.put(line(self._form, _now(), level, kind, fields))

    def after(self, last: int, most: int) -> list[Event]:
        """Return stored events with larger ids; see EventRing."""
        with self._lock:
            return self._ring.after(last, most) if self._ring is not None else []

    def newest(self) -> list[Event]:
        """Return all stored events, the newest first."""
        with self._lock:
            return list(self._ring.newest()) if self._ring is not None else []

    @property
    def newest_id(self) -> int:
        """The id of the newest stored event; 0: none."""
        return self._ring.newest_id if self._ring is not None else 0

    def access(self, **fields: Value) -> None:
        """Log an answered request. Written at any level and without throttling, because the access log is enabled explicitly."""
        self._writer.put(line(self._form, _now(), "info", "access", self.mask(fields)))

    def tick(self, all: bool = False) -> None:
        """Log the counts of suppressed events and of lost lines; call regularly. all: include every suppressed event, at the end."""
        with self._lock:
            held = self._throttle.suppressed(time.monotonic(), all)
        for kind, count in held.items():
            self._writer.put(line(self._form, _now(), "info", "events_suppressed", {"kind": kind, "count": count}))
        if lost := self._writer.take_lost():
            self._writer.put(line(self._form, _now(), "warning", "lines_dropped", {"count": lost}))

    def close(self) -> None:
        """Write the last lines before the process ends, if stderr is being read."""
        self.tick(all=True)
        self._writer.close()


class LineWriter:
    """Writes lines to a descriptor, in the order in which they were put."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: deque[str] = deque()
        self._lost = 0
        self._news = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(self, text: str) -> None:
        """Queue one line."""
        if len(self._lines) >= MAX_WAITING:
            self._lost += 1
            return
        self._lines.append(text)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="events", daemon=True)
                    with contextlib.suppress(RuntimeError):  # too many threads: the line waits for the next one
                        thread.start()
                        self._thread = thread
        if not self._news.is_set():
            self._news.set()

    def take_lost(self) -> int:
        """Return and reset the number of lines dropped because the queue was full."""
        lost, self._lost = self._lost, 0
        return lost

    def close(self) -> None:
        """Write the queued lines, for at most CLOSE seconds."""
        self._ended = True
        self._news.set()
        if self._thread is not None:
            self._thread.join(CLOSE)

    def _run(self) -> None:
        while True:
            self._news.wait()
            if not self._ended:
                time.sleep(TOGETHER)
            self._news.clear()
            taken: list[str] = []
            while self._lines and len(taken) < MAX_LINES:
                taken.append(self._lines.popleft())
            if taken:
                self._write(("\n".join(taken) + "\n").encode("ascii", "backslashreplace"))
            elif self._ended:
                return
            if self._ended or self._lines:
                self._news.set()

    def _write(self, data: bytes) -> None:
        """Write `data`; drop it when writing fails, because logging must not stop the server."""
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                time.sleep(TOGETHER)
            except OSError:
                return


def _now() -> str:
    """The time by RFC 3339, in milliseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


NO_EVENTS = EventLog()
"""Event log that writes nothing."""
