"""Signals at moments that no timing can hit: while handlers are set, in a destructor, and while a lease is requested or released."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine import codes
from dfengine.client import interrupt, origin_lease
from dfengine.client.cleanup import release
from dfengine.client.interrupt import Interrupted, interruptible
from dfengine.client.watchdog import SIGNALS
from dfengine.settings import GetSettings, SupernodeAddress

SETTINGS = GetSettings(url="http://h/f", output="out")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Sets the handlers of before again."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_before_the_download_begins_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Killed:
        def __init__(self, *_: object) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(interrupt, "Watchdog", Killed)
    with pytest.raises(Interrupted) as found:
        interruptible(SETTINGS, lambda: None, lambda *_: None)
    assert found.value.code == 143
    assert capsys.readouterr().err == "dfengine: stopped; run it again to resume (out)\n"


def test_a_signal_while_handlers_are_set_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    set_handler = signal.signal

    def and_kill(number: int, handler: Any) -> Any:
        before = set_handler(number, handler)
        if number == signal.SIGTERM and callable(handler):
            os.kill(os.getpid(), signal.SIGTERM)
        return before

    monkeypatch.setattr(signal, "signal", and_kill)
    with pytest.raises(Interrupted) as found:
        interruptible(SETTINGS, lambda: None, lambda *_: None)
    assert found.value.code == 143


def test_a_signal_in_a_destructor_prints_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Quiet:
        """A watchdog that leaves the download alone."""

        def __init__(self, *_: object) -> None:
            pass

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

    class Destroyed:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(interrupt, "Watchdog", Quiet)
    hook = sys.unraisablehook
    interruptible(SETTINGS, lambda: Destroyed() and None, lambda *_: None)
    assert sys.unraisablehook is hook
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("at", ["wait", "release"])
def test_an_interrupted_lease_is_released(monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    requests: list[dict[str, object]] = []
    lease = origin_lease.OriginLease(None, SupernodeAddress.parse("10.0.0.1:8002"), "task", "cid", "http://h/f")  # type: ignore[arg-type]

    def answer(more: dict[str, object], timeout: float) -> int:
        interrupted = at in more and not any(at in each for each in requests)
        requests.append(more)
        if interrupted:
            raise KeyboardInterrupt
        return codes.SUCCESS

    monkeypatch.setattr(lease, "_request", answer)
    monitor: Any = SimpleNamespace(set_state=lambda *_: None, check=lambda _: None, deadline=1e12)

    def read_origin() -> None:
        try:
            lease.wait(monitor)
        finally:
            release(lease.release)

    with pytest.raises(KeyboardInterrupt):
        read_origin()
    assert [list(each) for each in requests] == [["wait"], *[["release"]] * (2 if at == "release" else 1)]
