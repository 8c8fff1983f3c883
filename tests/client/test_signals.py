"""A signal ends a download, also one that arrives where errors are swallowed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dfengine import client, command
from dfengine.settings import GetSettings


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """As they were before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("swallowed", [0, 1, 2])
def test_a_signal_that_is_swallowed_comes_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals, swallowed: int
) -> None:
    monkeypatch.setattr(command, "AGAIN", 0.05)
    left = swallowed

    def fetch(*_: Any) -> None:
        nonlocal left
        while True:
            try:
                if left == swallowed:
                    os.kill(os.getpid(), number)
                time.sleep(60)
            except BaseException:
                left -= 1
                if left < 0:
                    raise

    monkeypatch.setattr(client, "get", fetch)
    with pytest.raises(SystemExit) as ended:
        command._download(GetSettings(url="http://h/f", output="f"), bar=False)
    assert ended.value.code == 128 + number
    assert "stopped" in capsys.readouterr().err
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
