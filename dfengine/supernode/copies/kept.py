"""Which copies are to stay: pinned ones until they are unpinned, others for a time. HOME/kept.json holds it, for the next process.

A copy that is kept for a time leaves after all others that nobody uses when the disk fills up; a pinned one never does.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

import msgspec

LONGEST_URL = 2000
"""Characters of a URL that another supernode tells."""

MOST_REMOTE = 10_000
"""Pins of other supernodes that are taken over, and pins that were ended and are remembered."""


class Keep(msgspec.Struct, omit_defaults=True):
    """url: of the task. until: unix seconds, 0: no time. pinned: whatever the time is; changed: unix seconds when that was said.

    open: its id may be told to others (`wanted.Wanted.open`).
    """

    url: str
    until: float = 0.0
    pinned: bool = False
    changed: float = 0.0
    open: bool = True


class Kept:
    """By task. Used on the loop's thread. home: the supernode's directory."""

    def __init__(self, home: str) -> None:
        self._path = os.path.join(home, "kept.json")
        self._kept: dict[str, Keep] = {}
        self._ended: dict[str, float] = {}
        """Task -> when its pin was ended: what is older does not begin it again."""
        self.changed_here: Callable[[str, str, bool, float], None] | None = None
        """Called with each pin that is made or ended here, of a task whose id may be told."""
        with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError), open(self._path, "rb") as file:
            self._kept = msgspec.json.decode(file.read(), type=dict[str, Keep])

    def __contains__(self, task: str) -> bool:
        return task in self._kept

    def get(self, task: str) -> Keep | None:
        """None: no client wants it to stay."""
        return self._kept.get(task)

    def is_pinned(self, task: str) -> bool:
        """It must not leave."""
        return task in self._kept and self._kept[task].pinned

    def keep(self, task: str, url: str, until: float) -> None:
        """It stays until then at least, unix seconds."""
        known = self._kept.setdefault(task, Keep(url))
        # An announcement says it again every few seconds.
        if until > known.until + 60.0 or not known.until:
            known.until = until
            self._write()

    def pin(self, task: str, url: str, pinned: bool, open: bool = True) -> None:
        """It stays until this is called with False. open: see `Keep`."""
        changed = max(time.time(), self._changed(task) + 0.001)  # what another supernode said by a clock that is ahead is over, too
        self._pin(task, url, pinned, changed, open)
        if self.changed_here is not None and open:
            self.changed_here(task, url, pinned, changed)

    def changed_elsewhere(self, task: str, url: str, pinned: bool, changed: float) -> None:
        """Another supernode says that it was pinned or unpinned then, unix seconds; the latest word counts. Its copy need not be here."""
        if changed > self._changed(task) and (not pinned or task in self._kept or len(self._kept) < MOST_REMOTE):
            self._pin(task, url, pinned, changed)

    def pins(self) -> list[tuple[str, Keep]]:
        """All that are pinned and may be told, the latest first."""
        return sorted(((task, keep) for task, keep in self._kept.items() if keep.pinned and keep.open), key=lambda each: -each[1].changed)

    def _changed(self, task: str) -> float:
        known = self._kept.get(task)
        return max(known.changed if known is not None else 0.0, self._ended.get(task, 0.0))

    def _pin(self, task: str, url: str, pinned: bool, changed: float, open: bool = True) -> None:
        self._ended.pop(task, None)
        if not pinned:
            self._ended[task] = changed
            if len(self._ended) > MOST_REMOTE:
                del self._ended[next(iter(self._ended))]
        known = self._kept.setdefault(task, Keep(url))
        known.pinned, known.changed, known.open = pinned, changed, open
        if not pinned and not known.until:
            del self._kept[task]
        self._write()

    def drop(self, task: str) -> None:
        """Its copy is gone."""
        if self._kept.pop(task, None) is not None:
            self._write()

    def over(self, now: float) -> list[str]:
        """Tasks whose time has ended at `now`, unix seconds."""
        return [task for task, keep in self._kept.items() if not keep.pinned and keep.until <= now]

    def _write(self) -> None:
        # What cannot be written is forgotten with this process: the copies are in the cache still, as all others.
        with contextlib.suppress(OSError):
            with open(self._path + ".new", "wb") as file:
                file.write(msgspec.json.encode(self._kept))
            os.rename(self._path + ".new", self._path)
