"""The host's present boot, and whether data that was written in an earlier one is on the disk.

Data is not synced: a power failure may leave a file's name, size, times and attributes on the disk, and none or a part of its bytes. A file
has no blocks where its bytes were lost, since the file system allocates them when it writes the data.
"""

from __future__ import annotations

import os

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot_id() -> str:
    """32 hex digits that the kernel draws at each boot; "" if it shows none: then no data counts as written in the present boot."""
    try:
        with open(BOOT_ID, encoding="ascii") as file:
            return f"{int(file.read(64).strip().replace('-', ''), 16):032x}"[:32]
    except (OSError, ValueError):
        return ""


def has_holes(fd: int) -> bool:
    """Whether a part of the open file has no blocks: lost data, or zeros that another program left out. Raises OSError."""
    size = os.fstat(fd).st_size
    return size > 0 and os.lseek(fd, 0, os.SEEK_HOLE) < size
