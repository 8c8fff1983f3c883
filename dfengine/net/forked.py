"""What a process that forks has open for a download is not open in its child.

The child has no thread of the download, and must not hold its locks on files, its memory, or the ends of its connections: the others would
not see them end. Each such descriptor becomes one of /dev/null there. Its number stays taken, so that closing it later harms nothing.
"""

from __future__ import annotations

import contextlib
import os
from _weakrefset import WeakSet  # as threading imports it: the module weakref takes a millisecond

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Open(Protocol):
        """What has one descriptor or several."""

        @property
        def descriptors(self) -> list[int]: ...

_kept: WeakSet[Open] = WeakSet()


def keep(opened: Open) -> None:
    """No forked child may have the descriptors of `opened`. It is forgotten with its last other reference."""
    _kept.add(opened)


def _in_child() -> None:
    kept = [*_kept]
    if not kept:
        return
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for opened in kept:
        for fd in opened.descriptors:
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.dup2(null, fd, inheritable=False)
    os.close(null)
    _kept.clear()


os.register_at_fork(after_in_child=_in_child)
