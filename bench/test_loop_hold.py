"""The longest time for which one event occupies a supernode's loop, with few downloads, under pytest-benchmark: tests each kind."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bench.loop_hold import KINDS, measured

CROWD = argparse.Namespace(tasks=40, downloads=60, pieces=30_000)


@pytest.mark.parametrize("kind", KINDS)
def test_hold_the_loop(benchmark: Any, tmp_path: Path, kind: str) -> None:
    benchmark.extra_info["per"] = "one event and its crowd, with the quiet time that ends it"
    try:
        longest, worked = benchmark.pedantic(lambda: uvloop.run(measured(kind, CROWD, str(tmp_path))), rounds=1)
    finally:
        gc.unfreeze()
    assert worked > 0
    assert longest > 0
