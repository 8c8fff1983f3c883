"""Wait of a peer server that a download started: it imports the modules for serving only after its first connection.

Its listening socket accepts connections from the start, so no connection is refused. Meanwhile the download has all cores: a loop's
imports take more time than receiving a hundred megabytes.
"""

from __future__ import annotations

import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

MAX_IDLE = 5.0
"""Seconds after which serving begins without a connection, too: expired files are then noticed."""

SOCKETS = ("--socket-fd", "--handover-fd")
"""Options of `dfengine peer` that each pass a listening socket; their values are separate arguments."""

stopped = False
"""Whether SIGTERM or SIGINT arrived while `await_first` waited: do not serve."""


class _Stop(BaseException):
    pass


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stop


def await_first(arguments: list[str]) -> None:
    """Wait, if this is the command line of a peer server that received sockets, for the first connection, a signal, or MAX_IDLE."""
    global stopped
    given = dict(zip(arguments[1::2], arguments[2::2], strict=False))
    sockets = [int(given[name]) for name in SOCKETS if given.get(name, "").isdecimal()]
    if arguments[:1] == ["peer"] and sockets:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the files that it would reread are read when serving begins
        stopped = wait(sockets)


def wait(sockets: list[int], seconds: float = MAX_IDLE) -> bool:
    """Wait until one of the listening `sockets` has a connection, for at most `seconds`. True: SIGTERM or SIGINT arrived."""
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        poll = select.poll()
        for fd in sockets:
            poll.register(fd, select.POLLIN)
        poll.poll(seconds * 1000)
        return False
    except _Stop:
        return True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
