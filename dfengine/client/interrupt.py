"""Interrupts a download: by a signal, or by the deadline while the main thread is blocked."""

from __future__ import annotations

import os
import signal
import sys
import threading

from dfengine.client.watchdog import SIGNALS, Watchdog
from dfengine.errors import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.result import Result
    from dfengine.settings import GetSettings

    Tell = Callable[[int, str, str], None]
    """Says of a failure its exit code, kind and message to a program."""

SAYING = 0.1
"""Seconds for the last message of a process whose main thread is blocked."""


class Interrupted(SystemExit):
    """A signal ended the download, and the message was printed."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code)
        self.message = message


class _Signalled(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def interruptible(settings: GetSettings, run: Callable[[], Result], tell: Tell) -> Result:
    """What `run` returns. A signal raises Interrupted within a second, or ends the process; so does the deadline, where `run` does not.

    A second signal ends the process at once. Signals that are ignored, as by nohup or by a shell's background jobs, stay so.
    """

    def stop(number: int, _: object) -> None:
        raise _Signalled(number)

    def cut(number: int) -> None:
        _cut(settings, number, tell)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        try:
            with Watchdog(settings.timeout, cut):
                return run()
        finally:
            for number in SIGNALS:
                # What is said afterwards may be waited for, too, and then nobody here hears of a signal.
                if signal.getsignal(number) is stop:
                    signal.signal(number, signal.SIG_DFL)
    except _Signalled as signalled:
        said = _stopped(settings)
        print(f"dfengine: {said}", file=sys.stderr)
        raise Interrupted(128 + signalled.number, said) from None


def _stopped(settings: GetSettings) -> str:
    return "stopped" + ("" if settings.output == "-" else f"; run it again to go on from here ({settings.output})")


def _cut(settings: GetSettings, number: int, tell: Tell) -> None:
    """By the watchdog's thread: say what ended it, a signal or with 0 the deadline, and leave the process."""
    error = TimedOut(f"not finished within {settings.timeout:g} s")
    code = 128 + number if number else error.exit_code
    said, kind = (_stopped(settings), "Interrupted") if number else (str(error), type(error).__name__)

    def say() -> None:
        print(f"dfengine: {said}", file=sys.stderr)
        tell(code, kind, said)

    # By one more thread: the main thread may hold stdout or stderr, whose reader does not read.
    teller = threading.Thread(target=say, daemon=True)
    teller.start()
    teller.join(SAYING)
    os._exit(code)
