"""Messages from a host's downloads to its peer server over a Unix socket: streams' memory as descriptors, and settings.

The peer server listens at NAME in a folder of its home to which only its user has access, so no other user can take the name or connect.
Both sides also check that the other side runs as the same user. A stream connects, sends one message with its descriptors, and leaves the
connection open while it runs; the kernel closes it however the stream ends. Settings are one message without descriptors, answered by
ACCEPTED or by nothing. Downloads of one task that join each other leave a connection open and exchange messages over it.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct

from dfengine.errors import LocalError, StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

MESSAGE = 16 << 10
"""Longest message, in bytes."""

BACKLOG = 256

NAME = "peer"

MAX_DESCRIPTORS = 8
"""Maximum number of descriptors of one message."""

MAX_PATH = 107
"""Longest path of a socket, in bytes (unix(7)); a longer path is addressed through a descriptor of its folder."""

ACCEPTED = b"taken"


@contextlib.contextmanager
def _address(folder: str) -> Iterator[str]:
    path = os.path.join(folder, NAME)
    if len(os.fsencode(path)) <= MAX_PATH:
        yield path
        return
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{NAME}"
    finally:
        os.close(fd)


def listen(folder: str) -> socket.socket:
    """Open the peer server's non-blocking listening socket; replaces a dead server's. The caller holds its home's lock. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(folder) as address:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address)
            sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def connect(folder: str, timeout: float = 2.0) -> socket.socket:
    """Connect to the peer server. Raises LocalError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        with _address(folder) as address:
            sock.connect(address)
        if not is_same_user(sock):
            raise OSError("it is another user's")
    except OSError as error:
        sock.close()
        raise LocalError(f"the peer server of {os.path.dirname(folder)} cannot be told: {error.strerror or error}") from None
    return sock


def send_descriptors(folder: str, message: bytes, descriptors: list[int], timeout: float = 2.0) -> socket.socket:
    """Send the peer server a message and descriptors; the caller must keep the returned connection open. Raises LocalError."""
    if len(message) > MESSAGE:
        raise StorageError(f"a message of {len(message)} bytes is too long for the peer server")
    sock = connect(folder, timeout)
    try:
        _send(sock, message, descriptors)
    except OSError as error:
        sock.close()
        raise LocalError(f"the peer server of {os.path.dirname(folder)} cannot be told: {error.strerror or error}") from None
    return sock


def _send(sock: socket.socket, message: bytes, descriptors: Sequence[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    if sock.sendmsg([message], rights) != len(message):
        raise OSError("it accepted only a part of the message")


def send_message(sock: socket.socket, words: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one JSON object on a line of its own, with descriptors. Raises OSError, also where a non-blocking socket has no room."""
    _send(sock, json.dumps(words).encode() + b"\n", descriptors)


def receive_messages(sock: socket.socket, most: int = MAX_DESCRIPTORS) -> list[tuple[dict[str, Any], list[int]]] | None:
    """Receive the messages that have arrived, each with its descriptors (at most `most`), which the caller owns; None at the connection's
    end.

    One call of the kernel returns no data beyond the first message with descriptors, so these belong to the last object. Raises
    BlockingIOError, OSError.
    """
    content, descriptors = receive(sock, most)
    if not content:
        return None
    try:
        messages = [json.loads(line.decode()) for line in content.removesuffix(b"\n").split(b"\n")]
        if not content.endswith(b"\n") or not all(type(words) is dict for words in messages):
            raise ValueError("each line must be one JSON object")
    except (ValueError, RecursionError) as error:
        discard(descriptors)
        raise OSError(f"a message cannot be read: {error}") from None
    return [*((words, []) for words in messages[:-1]), (messages[-1], descriptors)]


def send_settings(folder: str, message: bytes, timeout: float = 2.0) -> bool:
    """Send settings to the peer server; return whether it accepts them within `timeout` seconds. Raises LocalError if none listens."""
    with send_descriptors(folder, message, [], timeout) as sock, contextlib.suppress(OSError):
        return sock.recv(len(ACCEPTED), socket.MSG_WAITALL) == ACCEPTED
    return False


def is_same_user(sock: socket.socket) -> bool:
    """Whether the other side is a process of this user."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[1] == os.geteuid())


def receive(sock: socket.socket, most: int) -> tuple[bytes, list[int]]:
    """Receive a message and its descriptors, at most `most`, which the caller owns; b"" at the end. Raises BlockingIOError, OSError."""
    room = socket.CMSG_SPACE(most * array.array("i").itemsize)
    message, ancillary, _, _ = sock.recvmsg(MESSAGE, room, socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return message, list(found)


def discard(descriptors: list[int]) -> None:
    """Close all `descriptors`."""
    for fd in descriptors:
        with contextlib.suppress(OSError):
            os.close(fd)
