"""Who connects to hand over a stream, and does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfengine.net import handover
from dfengine.peer.hosted import SILENCE, Hosted
from dfengine.storage.home import Home


def test_a_process_that_hands_over_nothing_is_hung_up_on(tmp_path: Path) -> None:
    home, clock = Home(str(tmp_path / "home")), [100.0]
    hosted = Hosted(home, handover.listen(home.path), None, lambda: clock[0])
    silent = handover.hand_over(home.path, b"", [])
    hosted.accept()
    hosted.sweep(100.0 + SILENCE)
    silent.setblocking(False)
    with pytest.raises(BlockingIOError):
        silent.recv(1)
    hosted.sweep(100.1 + SILENCE)
    silent.settimeout(5.0)
    assert silent.recv(1) == b""
    silent.close()
    hosted.close()
