"""At most one process holds a home's lock."""

from __future__ import annotations

import os
from pathlib import Path

from dfengine.storage.lock import lock_file


def test_a_lock_is_held_until_its_descriptor_is_closed_and_its_text_can_be_read(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first, held = lock_file(path)
    assert held
    os.write(first, b"where it is")
    second, held = lock_file(path)
    assert not held
    assert os.read(second, 100) == b"where it is"
    os.close(second)
    os.close(first)
    third, held = lock_file(path)
    assert held
    os.close(third)


def test_a_symbolic_link_is_not_used_as_a_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "other")
    assert lock_file(str(tmp_path / "lock")) == (-1, False)
    assert not (tmp_path / "other").exists()
