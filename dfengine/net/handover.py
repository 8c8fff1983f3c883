"""Memory handed from a stream to its host's peer server: descriptors over a local socket, and no file.

The peer server listens on an abstract address that follows from its home directory. A stream connects, sends one message with its
descriptors, and keeps the connection: it is open as long as the stream runs, and the kernel closes it however the stream ends.
Both sides take only what comes from their own user.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import struct

from dfengine.errors import LocalError, StorageError

MESSAGE = 16 << 10
"""Bytes of a message at most."""

BACKLOG = 256


def _address(home: str) -> bytes:
    stat = os.stat(home)
    return f"\0dfengine-{os.getuid()}-{stat.st_dev:x}-{stat.st_ino:x}".encode()


def listen(home: str) -> socket.socket:
    """The non-blocking listening socket of the home's peer server. Raises OSError when there is one already."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(_address(home))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def hand_over(home: str, message: bytes, descriptors: list[int], timeout: float = 2.0) -> socket.socket:
    """Give the home's peer server a message and descriptors; the connection is the caller's to keep open. Raises LocalError."""
    if len(message) > MESSAGE:
        raise StorageError(f"a message of {len(message)} bytes is too long for the peer server")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(_address(home))
        if not own(sock):
            raise OSError("it is another user's")
        sock.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])
    except OSError as error:
        sock.close()
        raise LocalError(f"the peer server of {home} takes no stream: {error.strerror or error}") from None
    return sock


def own(sock: socket.socket) -> bool:
    """The other side is a process of this user."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[1] == os.getuid())


def take(sock: socket.socket, most: int) -> tuple[bytes, list[int]]:
    """The message and its descriptors, at most `most`, which are the caller's; b"" at the end. Raises BlockingIOError, OSError."""
    room = socket.CMSG_SPACE(most * array.array("i").itemsize)
    message, ancillary, _, _ = sock.recvmsg(MESSAGE, room, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return message, list(found)


def discard(descriptors: list[int]) -> None:
    """Close them."""
    for fd in descriptors:
        with contextlib.suppress(OSError):
            os.close(fd)
