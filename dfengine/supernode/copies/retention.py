"""Copies that must be kept: pinned ones until they are unpinned, others until a time. Stored in HOME/kept.json across restarts.

When the disk fills up, a copy that is kept until a time is evicted after all other unused ones; a pinned copy is never evicted.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import msgspec

MAX_URL = 2000
"""Longest URL accepted from another supernode, in characters."""

MAX_REMOTE = 10_000
"""Maximum number of pins accepted from other supernodes, and of ended pins that are remembered."""


class RetentionEntry(msgspec.Struct, omit_defaults=True):
    """Retention of a copy. url: of the task. until: unix seconds, 0: no time. pinned: kept independent of `until`.

    changed: unix seconds of the last pin or unpin. open: the task's id may be disclosed to clients (`fetch_request.FetchRequest.open`).
    """

    url: str
    until: float = 0.0
    pinned: bool = False
    changed: float = 0.0
    open: bool = True


class Retention:
    """Kept copies by task. Used on the loop's thread. home: the supernode's directory."""

    def __init__(self, home: str) -> None:
        self._path = os.path.join(home, "kept.json")
        self._entries: dict[str, RetentionEntry] = {}
        self._ended: dict[str, float] = {}
        """Task -> when its pin was ended; older messages do not pin it again."""
        self.on_changed: Callable[[str, str, bool, float], None] | None = None
        """Called with each pin that is made or ended at this supernode, of a task whose id may be disclosed."""
        with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError), open(self._path, "rb") as file:
            self._entries = msgspec.json.decode(file.read(), type=dict[str, RetentionEntry])

    def __contains__(self, task: str) -> bool:
        return task in self._entries

    def get(self, task: str) -> RetentionEntry | None:
        """Return the task's entry; None: no client has requested to keep it."""
        return self._entries.get(task)

    def is_pinned(self, task: str) -> bool:
        """Whether the copy is pinned."""
        return task in self._entries and self._entries[task].pinned

    def keep(self, task: str, url: str, until: float) -> None:
        """Keep the task's copy at least until that time, unix seconds."""
        known = self._entries.setdefault(task, RetentionEntry(url))
        # Announcements repeat this every few seconds.
        if until > known.until + 60.0 or not known.until:
            known.until = until
            self._write()

    def pin(self, task: str, url: str, pinned: bool, open: bool = True) -> None:
        """Pin or unpin the task's copy. open: see `RetentionEntry`."""
        changed = max(time.time(), self._changed(task) + 0.001)  # later than a change from another supernode whose clock is ahead
        self._pin(task, url, pinned, changed, open)
        if self.on_changed is not None and open:
            self.on_changed(task, url, pinned, changed)

    def apply_remote(self, task: str, url: str, pinned: bool, changed: float) -> None:
        """Apply a pin or unpin by another supernode at unix time `changed`; the latest change counts. The copy need not be here."""
        if changed > self._changed(task) and (not pinned or task in self._entries or len(self._entries) < MAX_REMOTE):
            self._pin(task, url, pinned, changed)

    def pins(self) -> list[tuple[str, RetentionEntry]]:
        """All pinned entries that may be disclosed, the latest first."""
        pins = [(task, entry) for task, entry in self._entries.items() if entry.pinned and entry.open]
        return sorted(pins, key=lambda each: -each[1].changed)

    def _changed(self, task: str) -> float:
        known = self._entries.get(task)
        return max(known.changed if known is not None else 0.0, self._ended.get(task, 0.0))

    def _pin(self, task: str, url: str, pinned: bool, changed: float, open: bool = True) -> None:
        self._ended.pop(task, None)
        if not pinned:
            self._ended[task] = changed
            if len(self._ended) > MAX_REMOTE:
                del self._ended[next(iter(self._ended))]
        known = self._entries.setdefault(task, RetentionEntry(url))
        known.pinned, known.changed, known.open = pinned, changed, open
        if not pinned and not known.until:
            del self._entries[task]
        self._write()

    def drop(self, task: str) -> None:
        """Remove the entry of a copy that no longer exists."""
        if self._entries.pop(task, None) is not None:
            self._write()

    def expired(self, now: float) -> list[str]:
        """Return the tasks whose time has ended at `now`, unix seconds."""
        return [task for task, keep in self._entries.items() if not keep.pinned and keep.until <= now]

    def _write(self) -> None:
        # If the write fails, entries are lost when this process ends: their copies then stay in the cache as any others.
        with contextlib.suppress(OSError):
            with open(self._path + ".new", "wb") as file:
                file.write(msgspec.json.encode(self._entries))
            os.rename(self._path + ".new", self._path)
