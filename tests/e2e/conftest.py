"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def stage() -> Iterator[Any]:
    """A `Scene` on tmpfs where there is one."""
    from tests.e2e.scene import scene

    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="dfe2e-", dir=folder) as path, scene(Path(path)) as made:
        yield made



@pytest.fixture
def small() -> Iterator[Path]:
    """A disk of `scene.SMALL` bytes: a tmpfs, which needs root; the test fails if something in it is still open at the end."""
    from tests.e2e.scene import SMALL

    with tempfile.TemporaryDirectory(prefix="dfsmall-") as path:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=700", "dfsmall", path], check=True)
        try:
            yield Path(path)
        finally:
            # What a failed download started ends by itself, soon.
            end = time.monotonic() + 20.0
            while (busy := subprocess.run(["umount", path], check=False).returncode) and time.monotonic() < end:
                time.sleep(0.2)
            if busy:
                subprocess.run(["umount", "-l", path], check=True)
                raise AssertionError("a process is left that uses the disk")


@pytest.fixture
def closed(small: Path, stage: Any) -> Any:
    """A scene that ends before the small disk does."""
    return stage
