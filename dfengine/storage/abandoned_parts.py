"""Removes part files and records of abandoned downloads, also of trees, when their folder is written to again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time

ABANDONED = 7 * 86400.0
"""Seconds without a write after which a part and a record are removed."""

MAX_ENTRIES = 4096
"""Limit of names in a folder that are checked for abandoned files: a small download must not be slowed by a large folder."""

AGAIN = 60.0
"""Seconds for which a process does not read a folder again, since it may open thousands of files there."""

MAX_FOLDERS = 64
"""Limit of folders that a process remembers."""

_checked: dict[str, float] = {}
"""Folder -> when it was checked, monotonic seconds."""

TREE_NAME = re.compile(r"\.dfengine\.[0-9a-f]{12}")

PART_NAME = re.compile(r"(\..+\.[0-9a-f]{12}(?:\.\d{1,10})?)\.(?:part|record)", re.DOTALL)


def remove_abandoned_seldom(folder: str) -> None:
    """Call `remove_abandoned` at most once in AGAIN seconds per folder."""
    now = time.monotonic()
    if now - _checked.get(folder, -AGAIN) >= AGAIN:
        if len(_checked) >= MAX_FOLDERS:
            _checked.clear()
        _checked[folder] = now
        remove_abandoned(folder)


def remove_abandoned(folder: str) -> None:
    """Remove parts and records in `folder` without a write for a week, if they are this user's and no running process uses them."""
    old: dict[str, float] = {}
    me, now = os.geteuid(), time.time()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for _, entry in zip(range(MAX_ENTRIES), entries, strict=False):
            match = PART_NAME.fullmatch(entry.name) if entry.name.startswith(".") else None
            if match is None:
                continue
            with contextlib.suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and found.st_uid == me:
                    old[match[1]] = max(found.st_mtime, old.get(match[1], 0.0))
                else:
                    old[match[1]] = now
    for stem, changed in old.items():
        if now - changed > ABANDONED:
            with contextlib.suppress(OSError):
                remove_pair(os.path.join(folder, stem))


def remove_abandoned_trees(folder: str) -> None:
    """`remove_abandoned` for the directories of parts that downloads of trees have left in `folder`."""
    me, now = os.geteuid(), time.time()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for _, entry in zip(range(MAX_ENTRIES), entries, strict=False):
            if not TREE_NAME.fullmatch(entry.name):
                continue
            with contextlib.suppress(OSError):
                fd = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    found, names = os.fstat(fd), os.listdir(fd)
                    changed = [os.stat(name, dir_fd=fd, follow_symlinks=False).st_mtime for name in names]
                    if found.st_uid == me and now - max(changed, default=found.st_mtime) > ABANDONED:
                        for name in names:
                            os.unlink(name, dir_fd=fd)
                        os.rmdir(entry.path)
                finally:
                    os.close(fd)


def remove_pair(stem: str) -> None:
    """Remove part and record, unless a process holds the part's lock. A record without a part is guarded by a part made for it. Raises
    OSError."""
    part = f"{stem}.part"
    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its owner may have renamed it to the output between our open and our lock.
        if os.path.samestat(os.stat(part, follow_symlinks=False), os.fstat(fd)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{stem}.record")
            os.unlink(part)
    finally:
        os.close(fd)
