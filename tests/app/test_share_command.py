"""Output of `dfengine share`."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.app import share_command


@pytest.mark.parametrize(("seconds", "said"), [
    (7 * 86400 - 0.1, "168 h"), (86399.9, "24 h"), (7199.5, "2 h"), (5400, "90 m"), (118, "118 s"), (4.9, "5 s"), (-1, "0 s"),
])  # fmt: skip
def test_the_sharing_period_is_printed_in_a_suitable_unit(seconds: float, said: str) -> None:
    assert share_command._period(seconds) == said


def test_the_printed_command_downloads_the_shared_content(tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(b"")
    (tmp_path / "d").mkdir()
    told: Any = SimpleNamespace(name="df:sha256:0", path=str(tmp_path / "a b"), nodes=["h:8002"])
    assert share_command._how(told) == "dfengine get df:sha256:0 -o 'a b' -n h:8002"
    told.path = str(tmp_path / "d")
    assert share_command._how(told) == "dfengine get --recursive df:sha256:0 d -n h:8002"
