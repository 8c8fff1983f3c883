"""Signals by which a user ends a command, as an exception where the command then is."""

from __future__ import annotations

import signal

ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """By signal `number`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, frame: object) -> None:
    raise Stopped(number)


def raise_on_signals() -> None:
    """From now on each of ENDING raises Stopped in the main thread, unless it is ignored, as SIGHUP is by nohup."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def ignore_signals() -> None:
    """From now on none of ENDING does anything."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
