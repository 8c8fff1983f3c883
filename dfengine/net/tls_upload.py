"""TLS in the piece server: a socket with the methods that its connections use, and answers sent by TLS writes instead of sendfile."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

from dfengine.net._sendfile import FileSlice

CHUNK = 64 << 10
"""Bytes read from a file and passed to TLS at once."""

TURN = 1 << 20
"""Bytes after which other connections have their turn: encryption runs in the loop's thread."""

_WANTS = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class TlsSocket:
    """An accepted, non-blocking connection; its first reads do the handshake. Raises OSError."""

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def fileno(self) -> int:
        """The descriptor; -1 when the socket is closed."""
        return self._sock.fileno()

    def recv(self, most: int) -> bytes:
        """Receive as a socket does. `most` is at least a TLS record (16 KiB), so that no decrypted bytes remain unseen by a poll."""
        try:
            return self._sock.recv(most)
        except _WANTS:
            raise BlockingIOError from None

    def send(self, data: memoryview) -> int:
        """Send as a socket does; refused data must be passed again, and no less of it."""
        try:
            return self._sock.send(data)
        except _WANTS:
            raise BlockingIOError from None

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self._sock.setsockopt(level, name, value)

    def shutdown(self, how: int) -> None:
        socket.socket.shutdown(self._sock, how)

    def close(self) -> None:
        self._sock.close()


class TlsUpload:
    """The TLS counterpart of `_sendfile.Upload`.

    A chunk counts as sent when it is first passed to TLS, which requires the same bytes to be passed again after a refusal. `left` is at
    least 1 until the last chunk is sent.
    """

    __slots__ = ("_at", "_done", "_left", "_parts", "_pending", "_sock", "cold", "sendfiles", "sends")

    def __init__(self, sock: TlsSocket, parts: Sequence[bytes | FileSlice]) -> None:
        self._sock = sock
        self._parts = [part for part in parts if _length(part)]
        self._left = sum(map(_length, self._parts))
        self._pending = memoryview(b"")
        self._at = self._done = 0
        self.sends = self.sendfiles = 0
        self.cold: FileSlice | None = None
        """The slice before which `advance` stopped because it must be read from a disk."""

    @property
    def left(self) -> int:
        """Bytes still to send."""
        return max(self._left, bool(self._pending))

    def advance(self, sock: int, most: int) -> int:
        """Write at most `most` bytes to the connection, until it accepts no more; return the bytes it accepted.

        Raises OSError when the connection is closed, EOFError when a file ended before its slice did, or a slice was evicted.
        """
        moved, most = 0, min(most, TURN)
        while True:
            while self._pending:
                try:
                    count = self._sock.send(self._pending)
                except BlockingIOError:
                    return moved
                self.sends += 1
                self._pending = self._pending[count:]
            if not self._left or moved >= most or self._is_cold():
                return moved
            self._pending = memoryview(self._next(min(CHUNK, most - moved)))
            moved += len(self._pending)
            self._left -= len(self._pending)

    def _is_cold(self) -> bool:
        """Whether the next slice, perhaps after a head in the same record, must be loaded first."""
        next_part = self._at + (self._done > 0)
        part = next((part for part in self._parts[next_part : self._at + 2] if isinstance(part, FileSlice)), None)
        self.cold = None if part is None or part is self.cold or part.resident() else part
        return self.cold is not None

    def _next(self, most: int) -> bytes:
        """Return up to `most` bytes of the parts, with a head and the bytes after it in one record."""
        taken = b""
        while len(taken) < most and self._at < len(self._parts):
            part = self._parts[self._at]
            want = min(_length(part) - self._done, most - len(taken))
            taken += part.read(self._done, want) if isinstance(part, FileSlice) else part[self._done : self._done + want]
            self._done += want
            if self._done == _length(part):
                self._at, self._done = self._at + 1, 0
        return taken


def _length(part: bytes | FileSlice) -> int:
    return part.length if isinstance(part, FileSlice) else len(part)
