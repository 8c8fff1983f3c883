"""The note on a finished output, from which `client.finished` learns whether the file was changed since.

A later ctime than that of the note means a change. The removal of another link of the file, the peer server's, also sets the ctime: the
note is then written again.
"""

from __future__ import annotations

import contextlib
import json
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ATTRIBUTE = b"user.dfengine"
"""Extended attribute that has the note, in JSON."""

SOON = 5.0
"""Longest time in seconds between the note and the rename to the output's name; a later ctime means that the file was changed."""

NOTE_END_SECONDS = 0.5
"""The same between the removal of a link and the end of its note: a later change is noticed."""


def is_unchanged(data: os.stat_result, note: Any) -> bool:
    """Whether the file with this status was not changed since its note. Raises TypeError, ValueError or LookupError for an invalid note.

    A writer can reset a file's mtime, but not its ctime.
    """
    same = (note["length"], note["mtime"]) == (data.st_size, data.st_mtime_ns)
    return same and data.st_ctime <= float(note["noted"]) + SOON


def unlink(path: str) -> None:
    """Remove a link of a file that may be a finished output, whose note stays valid if it is. Errors are ignored.

    The boot in the note stays: data of an earlier boot is not known to be on the disk.
    """
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            note = _valid_note(fd)
            os.unlink(path)
            data = os.fstat(fd)
            if note is not None and data.st_nlink and (data.st_size, data.st_mtime_ns) == (note["length"], note["mtime"]):
                os.setxattr(fd, ATTRIBUTE, json.dumps({**note, "noted": time.time() - SOON + NOTE_END_SECONDS}).encode())
            return
        finally:
            os.close(fd)
    with contextlib.suppress(OSError):  # it cannot be opened
        os.unlink(path)


def _valid_note(fd: int) -> dict[str, Any] | None:
    try:
        note = json.loads(os.getxattr(fd, ATTRIBUTE))
        return note if type(note) is dict and is_unchanged(os.fstat(fd), note) else None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
