"""The figures of docs/reliability.md, each in small; those that are times are left to the command."""

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


def test_no_piece_is_fetched_twice_beyond_one_per_connection_when_the_supernode_is_killed(stage: Scene) -> None:
    said, good = figures.kill_supernode(stage, pieces=12, runs=1)
    assert good, said


def test_tasks_leave_memory_and_descriptors_where_they_were(stage: Scene) -> None:
    said, good = figures.tasks(stage, count=300, batch=150)
    assert good, said
