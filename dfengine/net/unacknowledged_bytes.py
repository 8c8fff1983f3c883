"""Bytes that the client of a connection has not acknowledged: they show whether it reads while its socket accepts no further byte."""

from __future__ import annotations

import fcntl
import sys
import termios

MIN_ACKNOWLEDGED = 16 << 10
"""Bytes that a client acknowledges before its deadline, to get another one. Its full socket accepts no byte until a third of the buffer,
up to 1.4 MB, is free, which takes a client with a low rate limit longer."""


def unacknowledged_bytes(fd: int) -> int:
    """Return the bytes in the TCP socket `fd` that the other side has not acknowledged. Raises OSError."""
    return int.from_bytes(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
