"""Which version of a file on this machine's own disk was read. Pure.

Law: a file that was changed has another entity-tag, unless it was changed again within the grain of its file system's clock.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result

FINE, COARSE = 0.05, 2.1
"""Seconds within which two changes may have one time: the kernel's tick is 10 ms at most, FAT and old file systems count in 2 s."""


def etag(status: stat_result) -> str:
    """A strong entity-tag: a write changes ctime, a replacement the inode."""
    return f'"{status.st_dev:x}-{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"'


def settles(status: stat_result, now: float) -> float:
    """Seconds until a further change is sure to have another time, 0: it is already. now: unix seconds."""
    grain = COARSE if status.st_ctime_ns % 1_000_000_000 == 0 else FINE
    return max(0.0, min(grain, status.st_ctime + grain - now))
