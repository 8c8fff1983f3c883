"""Memory that this process may still take: the system's available memory, and the limits of its control groups (containers, services).

Files in memory and the page cache count for a control group as they do for the system; the group's own cache is not subtracted here, so
the result is rather too low than too high.
"""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

UNKNOWN = 4 << 30
"""Bytes that count as available where the system does not report it."""

LIMITS = (("", "memory.max", "memory.current"), ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes"))
"""For cgroup v2 and v1: folder below the mount, and the files with the limit and the usage of a group, in bytes."""


def available(proc: str = "/proc", mount: str = "/sys/fs/cgroup") -> int:
    """Available memory in bytes. proc, mount: mount points of procfs and of the control groups."""
    try:
        with open(f"{proc}/meminfo", "rb") as file:
            found = next(int(line.split()[1]) << 10 for line in file if line.startswith(b"MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        found = UNKNOWN
    return max(0, min([found, *_left(proc, mount)]))


def _left(proc: str, mount: str) -> Iterator[int]:
    """Remaining bytes of each group that this process is in; groups without a limit are skipped."""
    try:
        with open(f"{proc}/self/cgroup", "rb") as file:
            lines = [os.fsdecode(line).rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return
    for fields in lines:
        if len(fields) != 3 or not (fields[1] == "" or "memory" in fields[1].split(",")):
            continue
        folder, limit, used = LIMITS[fields[1] != ""]
        path = fields[2]
        # A limit applies to all groups below. A container may see its own group at the mount's top, and not by its path.
        while True:
            group = os.path.join(mount, folder, path.lstrip("/"))
            with contextlib.suppress(OSError, ValueError):
                yield _number(os.path.join(group, limit)) - _number(os.path.join(group, used))
            if path in ("/", ""):
                break
            path = os.path.dirname(path)


def _number(path: str) -> int:
    """Read a number. Raises OSError, ValueError ("max")."""
    with open(path, "rb") as file:
        return int(file.read(64))
