"""Turns the signals with which a user ends a command into an exception in the main thread."""

from __future__ import annotations

import signal

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """Raised when signal `number` arrives."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, frame: object) -> None:
    raise Stopped(number)


def raise_on_signals() -> None:
    """Make each signal of ENDING raise Stopped in the main thread, unless it is ignored, as SIGHUP is under nohup."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def ignore_signals() -> None:
    """Ignore the signals of ENDING from now on."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
