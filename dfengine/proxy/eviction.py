"""Which blobs leave the disk: those that were used longest ago, when there are more than may be, or the disk has little room left."""

from __future__ import annotations

import contextlib
import os

from dfengine.files.place import FOLDER as PARTS

LOW = 1 << 30
"""Bytes free, or LOW_PERCENT of a small disk, below which blobs leave."""

LOW_PERCENT = 5
DOWN_TO = 90
"""Percent of what may be, to which blobs leave: not one for each that comes."""


def leaving(found: list[tuple[float, int, str]], most: int, short: int, pinned: frozenset[str] = frozenset()) -> list[str]:
    """Of blobs as (when used, bytes, name) those that leave. most: bytes that may be, 0: any. short: bytes that the disk lacks. Pure.

    pinned: names of those that stay; they count as the others do.
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
    """Remove blobs of `folder`, which lies in `home`, where there are too many; their names. pinned: see `leaving`. In a thread."""
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
    low = min(LOW, disk.f_blocks * disk.f_frsize * LOW_PERCENT // 100)
    gone = leaving(found, most, max(0, low - disk.f_bavail * disk.f_frsize), pinned)
    remove(home, folder, {name: inodes[name] for name in gone})
    return gone


def remove(home: str, folder: str, inodes: dict[str, int]) -> None:
    """Unlink these blobs, name -> inode, and the downloads that brought them."""
    for name in inodes:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, name))
    if inodes:
        _unlink_parts(os.path.join(home, PARTS), set(inodes.values()))


def _unlink_parts(folder: str, inodes: set[int]) -> None:
    """The names by which the same files came here: as long as one of them is there no byte is free."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".part") and entry.inode() in inodes:
                for path in (entry.path, entry.path.removesuffix(".part") + ".record"):
                    with contextlib.suppress(OSError):
                        os.unlink(path)
