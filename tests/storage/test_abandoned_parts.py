"""Removal of abandoned parts and of no other files."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from dfengine._piece import Geometry
from dfengine.storage import abandoned_parts
from dfengine.storage.part_file import PartFile

TASK = "0123456789abcdef" * 4
OLD = time.time() - 8 * 86400


def make(folder: Path, name: str, when: float = OLD) -> Path:
    path = folder / name
    path.write_bytes(b"left")
    os.utime(path, (when, when))
    return path


def test_only_old_parts_in_the_outputs_folder_are_removed(tmp_path: Path) -> None:
    gone = [make(tmp_path, name) for name in (".a.0123456789ab.part", ".a.0123456789ab.record", ".b.c.ba9876543210.77.part",
                                              ".r.0123456789ab.record", ".new\nline.0123456789ab.part")]  # fmt: skip
    stay = [make(tmp_path, name) for name in ("a.0123456789ab.part", ".a.0123456789AB.part", ".a.0123456789.part", ".a.0123456789ab.bak",
                                              "a", ".part", "..0123456789ab.part.x", ".0123456789ab.part")]  # fmt: skip
    stay += [make(tmp_path, ".young.0123456789ab.part", time.time()), make(tmp_path, ".mixed.0123456789ab.part"),
             make(tmp_path, ".mixed.0123456789ab.record", time.time())]  # fmt: skip
    (tmp_path / ".folder.0123456789ab.part").mkdir()
    os.utime(tmp_path / ".folder.0123456789ab.part", (OLD, OLD))
    (tmp_path / ".link.0123456789ab.part").symlink_to(stay[0])
    os.utime(tmp_path / ".link.0123456789ab.part", (OLD, OLD), follow_symlinks=False)
    PartFile(str(tmp_path / "out"), TASK).open(Geometry(1050, 105), b"g").close()
    assert not [path for path in gone if path.exists()]
    assert all(path.exists() for path in stay)
    assert (tmp_path / ".folder.0123456789ab.part").is_dir()
    assert (tmp_path / ".link.0123456789ab.part").is_symlink()


def test_a_part_locked_by_a_process_stays(tmp_path: Path) -> None:
    part, record = make(tmp_path, ".a.0123456789ab.part"), make(tmp_path, ".a.0123456789ab.record")
    with open(part, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        abandoned_parts.remove_abandoned(str(tmp_path))
        assert part.exists()
        assert record.exists()
    abandoned_parts.remove_abandoned(str(tmp_path))
    assert not part.exists()
    assert not record.exists()


def test_another_users_part_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, me = make(tmp_path, ".a.0123456789ab.part"), os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    abandoned_parts.remove_abandoned(str(tmp_path))
    assert part.exists()


def test_an_old_part_that_is_resumed_stays(tmp_path: Path) -> None:
    target = PartFile(str(tmp_path / "out"), TASK)
    target.open(Geometry(1050, 105), b"g").close()
    for path in (target.part, target.record):
        os.utime(path, (OLD, OLD))
    again = PartFile(str(tmp_path / "out"), TASK)
    file = again.open(Geometry(1050, 105), b"g")
    assert os.path.samestat(os.stat(again.part), os.fstat(file.fd))
    assert os.path.exists(again.record)
    file.close()


def test_a_part_that_becomes_the_output_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, flock = make(tmp_path, ".a.0123456789ab.part"), fcntl.flock

    def late(fd: int, how: int) -> None:
        os.rename(part, tmp_path / "a")
        flock(fd, how)

    monkeypatch.setattr(fcntl, "flock", late)
    abandoned_parts.remove_abandoned(str(tmp_path))
    assert (tmp_path / "a").read_bytes() == b"left"


def test_only_a_limited_number_of_entries_is_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abandoned_parts, "MAX_ENTRIES", 3)
    parts = [make(tmp_path, f".f{n}.0123456789ab.part") for n in range(5)]
    abandoned_parts.remove_abandoned(str(tmp_path))
    assert sum(path.exists() for path in parts) == 2
