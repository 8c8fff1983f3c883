"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))


@pytest.fixture
def stage() -> Iterator[Any]:
    """A `Scene` on tmpfs where there is one."""
    from scene import scene

    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="dfe2e-", dir=folder) as path, scene(Path(path)) as made:
        yield made


