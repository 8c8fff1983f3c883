"""A place in memory that is handed over to this host's peer server, which serves from it while a connection to that server is open."""

from __future__ import annotations

import contextlib
import socket

from dfengine.client.cleanup import release
from dfengine.client.piece_storage import PieceStorage
from dfengine.net import fd_passing, fork_safety

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.settings import GetSettings
    from dfengine.storage.home import Entry
    from dfengine.storage.piece_file import PieceFile


_stuck: list[socket.socket] = []
"""Connections of places to which a stuck thread may still write: they stay open until this process ends."""


class PassedMemory(PieceStorage):
    """See PieceStorage."""

    def __init__(self, settings: GetSettings) -> None:
        super().__init__(settings)
        self._sock: socket.socket | None = None
        self._handed_file: PieceFile | None = None
        fork_safety.register(self)

    @property
    def descriptors(self) -> list[int]:
        """See fork_safety.Open. If a child inherited the connection, the peer server would serve pieces that this process no longer has."""
        return [self._sock.fileno()] if self._sock is not None else []

    def hand_over(self, sockets: str, entry: Entry, file: PieceFile) -> None:
        """Let this host's peer server, which listens in the folder `sockets`, serve the pieces of `file`. A second call has no effect.

        The connection stays open while this process may write there: after it is closed, other downloads get the memory. Raises LocalError.
        """
        if self._sock is not None and self._handed_file is file:
            return
        self.release_memory()
        self._sock, self._handed_file = fd_passing.send_descriptors(sockets, entry.encode(), file.descriptors), file

    def release_memory(self) -> None:
        """Release the memory: the peer server may give it to other downloads, until it expires there."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def publish_digests(self, found: dict[str, str]) -> None:
        """Publish digests of the whole file to joined downloads of this host, and to later ones that get the memory."""
        if self.joining is not None:
            self.joining.page.publish_digests(found)
        self._send({"digests": found})

    def withdraw(self) -> None:
        """Stop serving the memory, whose data is wrong; no other download gets it."""
        self._send({"discard": True})
        self.release_memory()

    def _send(self, message: dict[str, object]) -> None:
        """Send a message to the peer server; errors are ignored."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                fd_passing.send_message(self._sock, message)

    def close(self) -> None:
        """See PieceStorage. The peer server has its own descriptors and passes them on, unless a thread here may still write."""
        release(super().close, self._close_sock)

    def _close_sock(self) -> None:
        if not self.stuck:
            self.release_memory()
        elif self._sock is not None:
            _stuck.append(self._sock)
            self._sock = None

    def _close(self, file: PieceFile) -> None:
        with contextlib.suppress(OSError):
            file.close()
