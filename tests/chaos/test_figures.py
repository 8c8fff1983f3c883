"""Figures of docs/reliability.md at a small scale; only the command measures times."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import figures
from tests.e2e.scene import Scene, scene


@pytest.fixture
def stage() -> Iterator[Scene]:
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="dffigure-", dir=folder) as path, scene(Path(path)) as made:
        yield made


def test_killing_the_supernode_repeats_at_most_one_piece_per_connection(stage: Scene) -> None:
    said, good = figures.kill_supernode(stage, pieces=12, runs=1)
    assert good, said


def test_expired_tasks_leave_no_memory_or_descriptors_in_use(stage: Scene) -> None:
    said, good = figures.tasks(stage, count=300, batch=150)
    assert good, said
