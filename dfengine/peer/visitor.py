"""A peer server that a download started waits for its first visitor before it imports what serving needs.

Its listening socket takes connections from the start, so nobody is refused. Meanwhile the download has the cores to
itself: a loop's imports cost more than receiving a hundred megabytes.
"""

from __future__ import annotations

import json
import os
import select
import signal
from types import FrameType

LONGEST = 5.0
"""Seconds after which it is up without a visitor, too: files that expire are then noticed."""


class _Stop(BaseException):
    pass


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stop


def wait(lock: int, sockets: list[int], seconds: float = LONGEST) -> bool:
    """Until one of the listening `sockets` has a connection, or `seconds` are over. True: SIGTERM or SIGINT came, serve no more.

    lock: the locked descriptor, which holds the address; this process adds its pid.
    """
    before = {number: signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        said = json.dumps({**json.loads(os.pread(lock, 4096, 0)), "pid": os.getpid()}).encode()
        os.pwrite(lock, said, 0)
        os.ftruncate(lock, len(said))
        poll = select.poll()
        for fd in sockets:
            poll.register(fd, select.POLLIN)
        poll.poll(seconds * 1000)
        return False
    except ValueError:
        return False  # no address there: whoever serves says it anew
    except _Stop:
        return True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
