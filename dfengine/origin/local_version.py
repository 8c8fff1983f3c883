"""Version of a file on this machine's own disk, and when it has settled. Pure.

Laws:

1. A change that begins after a file has settled changes its entity-tag before the first changed byte can be read.
2. A file has settled when no write(2) that began earlier can still be running, and its time differs from that of any future change.

A write sets the times once, when it begins, and may copy up to 2 GiB after that. So the time alone proves little; that no process has the
file open for writing proves more.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result

FINE, COARSE = 0.05, 2.1
"""Seconds within which two changes may have the same time: the kernel's tick is 10 ms at most, FAT and old file systems count in 2 s."""

MAX_WRITE = 60.0
"""Maximum seconds of one write(2): 2 GiB to a disk of 36 MB/s."""


def etag(status: stat_result) -> str:
    """A strong entity-tag: a write changes ctime, a replacement changes the inode."""
    return f'"{status.st_dev:x}-{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"'


def settles(status: stat_result, now: float, writers: bool) -> float:
    """Seconds until the file has settled, 0: it has. now: unix seconds. writers: a process may have it open for writing."""
    grain = COARSE if status.st_ctime_ns % 1_000_000_000 == 0 else FINE
    needed = max(grain, MAX_WRITE) if writers else grain
    # Limited, because with a clock that was set back a file would have to wait for hours.
    return max(0.0, min(needed, status.st_ctime + needed - now))
