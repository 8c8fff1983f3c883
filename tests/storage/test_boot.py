"""The present boot, and files of which the file system has not all bytes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from dfengine.storage import boot


def test_a_boot_is_named_by_the_kernel() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", boot.boot_id())
    assert boot.boot_id() == boot.boot_id() == Path(boot.BOOT_ID).read_text().strip().replace("-", "")


@pytest.mark.parametrize("content", [None, b"", b"\n", b"no boot\n", b"\xff" * 36])
def test_a_boot_that_the_kernel_does_not_name_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "boot_id").write_bytes(content)
    monkeypatch.setattr(boot, "BOOT_ID", str(tmp_path / "boot_id"))
    assert boot.boot_id() == ""


@pytest.mark.parametrize("data", [(), (0,), (1 << 20,), (0, 1 << 20), (0, 1 << 20, 2 << 20)])
def test_holes_are_found_anywhere_in_a_file(tmp_path: Path, data: tuple[int, ...]) -> None:
    """data: offsets of the MiB that have blocks; the file has three."""
    with open(tmp_path / "f", "w+b") as file:
        assert not boot.has_holes(file.fileno()), "an empty file has no bytes to lose"
        file.truncate(3 << 20)
        for at in data:
            os.pwrite(file.fileno(), bytes(1 << 20), at)
        assert boot.has_holes(file.fileno()) == (len(data) < 3)
