"""Which copies are to stay: pinned ones until they are unpinned, others for a time. HOME/kept.json holds it, for the next process.

A copy that is kept for a time leaves after all others that nobody uses when the disk fills up; a pinned one never does.
"""

from __future__ import annotations

import contextlib
import os

import msgspec


class Keep(msgspec.Struct, omit_defaults=True):
    """url: of the task. until: unix seconds, 0: no time. pinned: whatever the time is."""

    url: str
    until: float = 0.0
    pinned: bool = False


class Kept:
    """By task. Used on the loop's thread. home: the supernode's directory."""

    def __init__(self, home: str) -> None:
        self._path = os.path.join(home, "kept.json")
        self._kept: dict[str, Keep] = {}
        with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError), open(self._path, "rb") as file:
            self._kept = msgspec.json.decode(file.read(), type=dict[str, Keep])

    def __contains__(self, task: str) -> bool:
        return task in self._kept

    def get(self, task: str) -> Keep | None:
        """None: nobody wishes it to stay."""
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

    def pin(self, task: str, url: str, pinned: bool) -> None:
        """It stays until this is called with False."""
        known = self._kept.setdefault(task, Keep(url))
        known.pinned = pinned
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
