"""A peer server that a download started waits for its first connection before it imports what serving needs.

Its listening socket takes connections from the start, so no connection is refused. Meanwhile the download has the cores to
itself: a loop's imports cost more than receiving a hundred megabytes.
"""

from __future__ import annotations

import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

LONGEST = 5.0
"""Seconds after which it is up without one, too: files that expire are then noticed."""

SOCKETS = ("--socket-fd", "--handover-fd")
"""Options of `dfengine peer` that hand over a listening socket each; their values follow as arguments of their own."""

stopped = False
"""SIGTERM or SIGINT came while `await_first` waited: serve no more."""


class _Stop(BaseException):
    pass


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stop


def await_first(arguments: list[str]) -> None:
    """If this is the command line of a peer server that was handed sockets: return at the first visit, at a signal, or after LONGEST."""
    global stopped
    given = dict(zip(arguments[1::2], arguments[2::2], strict=False))
    sockets = [int(given[name]) for name in SOCKETS if given.get(name, "").isdecimal()]
    if arguments[:1] == ["peer"] and sockets:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what it asks to read anew is read when serving begins
        stopped = wait(sockets)


def wait(sockets: list[int], seconds: float = LONGEST) -> bool:
    """Until one of the listening `sockets` has a connection, or `seconds` are over. True: SIGTERM or SIGINT came."""
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
