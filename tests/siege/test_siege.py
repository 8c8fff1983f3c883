"""Some attacks at a small scale: honest downloads succeed, and no hard limit is exceeded.

Only the command checks goals that depend on the host's speed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.siege.field import ATTACKS, Field, Outcome, field

SHORT = ("pipeline", "piece-pipeline", "certificates", "broken-numbers", "wrong-length", "small-files", "idle-connections", "endless-trees",
         "hostile-globs", "tree-fields")


@pytest.fixture(scope="module")
def made() -> Iterator[Field]:
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="dfsiege-", dir=folder) as path, field(Path(path), 9 << 20, range(2, 5)) as one:
        yield one


@pytest.mark.parametrize("name", SHORT)
def test_honest_downloads_succeed_beside_an_attack(made: Field, name: str) -> None:
    outcome = made.siege(name)
    assert not outcome.wrong, str(outcome)


def test_each_attack_has_a_description() -> None:
    assert set(SHORT) <= set(ATTACKS)
    for name, attack in ATTACKS.items():
        assert attack.what, name


def test_failures_and_missed_goals_are_listed() -> None:
    good = Outcome("x", 1.0, 1.4, 0.2, 0.04, 70 << 20, 8, [], 0, 0)
    assert not good.wrong
    assert not good.missed
    bad = Outcome("x", 1.0, 1.6, 0.2, 0.06, 73 << 20, 8, ["exit 3: y"], 2, 5)
    assert len(bad.wrong) == 4
    assert len(bad.missed) == 2
