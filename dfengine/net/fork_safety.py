"""Detaches a forked child from its parent's downloads: the child does not share their open descriptors.

The child has no thread of the download, and must not hold its file locks, its memory, or the ends of its connections: the other sides would
not see the connections end. In the child each such descriptor is replaced by one of /dev/null. Its number stays in use, so that closing it
later is harmless.
"""

from __future__ import annotations

import contextlib
import os
from _weakrefset import WeakSet  # as threading imports it: the module weakref takes a millisecond

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Open(Protocol):
        """An object that owns one or more descriptors."""

        @property
        def descriptors(self) -> list[int]: ...

_registered: WeakSet[Open] = WeakSet()


def register(opened: Open) -> None:
    """Replace the descriptors of `opened` in any forked child. `opened` is only weakly referenced."""
    _registered.add(opened)


def _in_child() -> None:
    kept = [*_registered]
    if not kept:
        return
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for opened in kept:
        for fd in opened.descriptors:
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.dup2(null, fd, inheritable=False)
    os.close(null)
    _registered.clear()


os.register_at_fork(after_in_child=_in_child)
