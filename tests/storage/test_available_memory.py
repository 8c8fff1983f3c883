"""Available memory, according to the system and to control groups of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfengine.storage.available_memory import UNKNOWN, available

GIB = 1 << 30


def system(root: Path, cgroup: str, groups: dict[str, str], free: int = 64 * GIB) -> int:
    """Available memory according to the given /proc and control groups."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {free >> 10} kB\n")
    (root / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, content in groups.items():
        path = root / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return available(str(root / "proc"), str(root / "cgroup"))


@pytest.mark.parametrize(
    ("cgroup", "groups", "found"),
    [
        ("0::/\n", {}, 64 * GIB),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/b/memory.current": "5\n"}, 64 * GIB),
        ("0::/a/b\n", {"a/b/memory.max": f"{3 * GIB}\n", "a/b/memory.current": f"{GIB}\n"}, 2 * GIB),
        ("0::/a/b\n", {"a/memory.max": f"{3 * GIB}\n", "a/memory.current": f"{GIB}\n"}, 2 * GIB),
        ("0::/a/b\n", {"memory.max": f"{3 * GIB}\n", "memory.current": f"{GIB}\n"}, 2 * GIB),
        ("0::/a\n", {"a/memory.max": f"{GIB}\n", "a/memory.current": f"{2 * GIB}\n"}, 0),
        ("4:cpu,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": f"{GIB}\n", "memory/a/memory.usage_in_bytes": "0\n"}, GIB),
        ("4:memory:/a\n", {"memory/memory.limit_in_bytes": f"{1 << 63 - 1}\n", "memory/memory.usage_in_bytes": "0\n"}, 64 * GIB),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "nonsense", "memory/a/memory.usage_in_bytes": "0\n"}, 64 * GIB),
        ("nonsense\n::\n\xff\n", {}, 64 * GIB),
    ],
)
def test_the_smallest_remainder_counts(tmp_path: Path, cgroup: str, groups: dict[str, str], found: int) -> None:
    assert system(tmp_path, cgroup, groups) == found


def test_without_information_the_memory_is_unknown(tmp_path: Path) -> None:
    assert available(str(tmp_path), str(tmp_path)) == UNKNOWN


def test_the_memory_of_this_system_is_plausible() -> None:
    assert 1 << 20 < available() < 1 << 50
