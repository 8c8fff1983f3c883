"""Interrupts a download on a signal, or at the deadline while the main thread is blocked."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading

from dfengine.client.watchdog import SIGNALS, Watchdog
from dfengine.errors import TimedOut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from dfengine.settings import GetSettings

    T = TypeVar("T")

    FailureReporter = Callable[[int, str, str], None]
    """Reports a failure to a program: exit code, kind, message."""

PRINTING = 0.25
"""Seconds for printing the last message of a process whose main thread is blocked."""


class Interrupted(SystemExit):
    """A signal ended the download, and the message was printed."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code)
        self.message = message


class _Signalled(BaseException):
    """Raised in the main thread by a signal's handler. args: its number."""


def interruptible(settings: GetSettings, run: Callable[[], T], report: FailureReporter) -> T:
    """Return the result of `run`. A signal raises Interrupted within a second, or ends the process; so does an exceeded deadline.

    A second signal ends the process at once. Ignored signals, as under nohup or in a shell's background jobs, stay ignored.
    """
    signalled: list[int] = []

    def stop(number: int, _: object) -> None:
        signalled.append(number)
        raise _Signalled(number)

    def cut(number: int) -> None:
        _exit_process(settings, number, report)

    unraisable = sys.unraisablehook

    def in_destructor(error: sys.UnraisableHookArgs) -> None:
        if error.exc_type is not _Signalled:  # else the watchdog ends the download
            unraisable(error)

    try:
        try:
            sys.unraisablehook = in_destructor
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, stop)
            with Watchdog(settings.timeout, cut):
                return run()
        finally:
            sys.unraisablehook = unraisable
            for number in SIGNALS:
                # Printing may block, and then a Python handler would not run.
                if signal.getsignal(number) is stop:
                    signal.signal(number, signal.SIG_DFL)
    except BaseException as error:
        # Another error may replace the signal's: one of an interrupted cleanup, or SystemError of a library that called Python.
        if not signalled or isinstance(error, SystemExit):
            raise
        message = _stopped(settings)
        print(f"dfengine: {message}", file=sys.stderr)
        raise Interrupted(128 + signalled[0], message) from None


def _stopped(settings: GetSettings) -> str:
    return "stopped" + ("" if settings.output == "-" else f"; run it again to resume ({settings.output})")


def _exit_process(settings: GetSettings, number: int, report: FailureReporter) -> None:
    """Print the reason (a signal's number, or 0: the deadline) and end the process. Called by the watchdog's thread."""
    error = TimedOut.after(settings.timeout)
    code = 128 + number if number else error.exit_code
    message, kind = (_stopped(settings), "Interrupted") if number else (str(error), type(error).__name__)

    def print_and_report() -> None:
        print(f"dfengine: {message}", file=sys.stderr)
        report(code, kind, message)

    # In another thread: the main thread may hold the lock of stdout or stderr while it is blocked in a write.
    printer = threading.Thread(target=print_and_report, daemon=True)
    with contextlib.suppress(RuntimeError):  # too many threads
        printer.start()
        printer.join(PRINTING)
    os._exit(code)
