"""Eviction of blobs: the least recently used ones are removed if there are more bytes than allowed, or if the disk is nearly full.

Parts of files of which only some ranges were read are removed too, in the order of their last write.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from dfengine.files.open_file_storage import FOLDER as PARTS
from dfengine.storage.abandoned_parts import remove_pair

LOW = 1 << 30
"""Free bytes, or LOW_PERCENT of a small disk, below which blobs are evicted."""

LOW_PERCENT = 5
DOWN_TO = 90
"""Percent of the limit to which eviction goes down, so that it does not run for each new blob."""


def leaving(found: list[tuple[float, int, str]], most: int, short: int, pinned: frozenset[str] = frozenset()) -> list[str]:
    """Names to remove, of blobs as (time of use, bytes, name). most: bytes allowed, 0: no limit. short: bytes that the disk lacks. Pure.

    pinned: names that are never removed; they count for the limit.
    """
    total = sum(size for _, size, _ in found)
    excess = max(short, total - most * DOWN_TO // 100 if 0 < most < total else 0)
    gone = []
    for _, size, name in sorted(found):
        if excess <= 0:
            break
        if name in pinned:
            continue
        gone.append(name)
        excess -= size
    return gone


def evict(home: str, folder: str, most: int, pinned: frozenset[str] = frozenset()) -> list[str]:
    """Evict blobs of `folder`, which is in `home`, and parts; return the blobs' names. pinned: see `leaving`.

    A part that is being fetched is not removed. In a thread.
    """
    found: list[tuple[float, int, str]] = []
    inodes = {}
    try:
        disk = os.statvfs(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_atime, status.st_blocks * 512, entry.name))
                    inodes[entry.name] = status.st_ino
    except OSError:
        return []
    parts = _parts(os.path.join(home, PARTS), set(inodes.values()))
    found += parts
    low = min(LOW, disk.f_blocks * disk.f_frsize * LOW_PERCENT // 100)
    short = max(0, low - disk.f_bavail * disk.f_frsize)
    while True:
        gone = leaving(found, most, short, pinned)
        fetched = frozenset(name for name in gone if name not in inodes and _is_fetched(name))
        if not fetched:
            break
        pinned |= fetched
    for name in gone:
        if name not in inodes:
            with contextlib.suppress(OSError):
                remove_pair(name)
    blobs = [name for name in gone if name in inodes]
    remove(home, folder, {name: inodes[name] for name in blobs})
    return blobs


def _is_fetched(stem: str) -> bool:
    """Whether a process holds the lock of this part."""
    try:
        fd = os.open(f"{stem}.part", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _parts(folder: str, blobs: set[int]) -> list[tuple[float, int, str]]:
    """(time of the last write, bytes, path without its suffix) of each part that is not a blob. blobs: inodes."""
    found: list[tuple[float, int, str]] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.name.endswith(".part") and entry.inode() not in blobs:
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime, status.st_blocks * 512, entry.path.removesuffix(".part")))
    return found


def remove(home: str, folder: str, inodes: dict[str, int]) -> None:
    """Unlink these blobs, name -> inode, and the parts of their downloads."""
    for name in inodes:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, name))
    if inodes:
        _unlink_parts(os.path.join(home, PARTS), set(inodes.values()))


def _unlink_parts(folder: str, inodes: set[int]) -> None:
    """Unlink the other names of these files, since their bytes are not freed while any name exists."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".part") and entry.inode() in inodes:
                for path in (entry.path, entry.path.removesuffix(".part") + ".record"):
                    with contextlib.suppress(OSError):
                        os.unlink(path)
