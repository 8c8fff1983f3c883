"""A place in memory that this host's peer server was handed: it serves from there as long as a connection to it is open."""

from __future__ import annotations

import contextlib
import socket

from dfengine.client.place import Place
from dfengine.client.releasing import release
from dfengine.net import fd_passing, forked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.settings import GetSettings
    from dfengine.storage.home import Entry
    from dfengine.storage.piece_file import PieceFile


_stuck: list[socket.socket] = []
"""Connections of places where a thread that did not end may still write: they end with this process."""


class HandedOver(Place):
    """See Place."""

    def __init__(self, settings: GetSettings) -> None:
        super().__init__(settings)
        self._sock: socket.socket | None = None
        self._handed: PieceFile | None = None
        forked.keep(self)

    @property
    def descriptors(self) -> list[int]:
        """See forked.Open. A child that inherited the connection would have the peer server serve what this process has no longer."""
        return [self._sock.fileno()] if self._sock is not None else []

    def hand_over(self, sockets: str, entry: Entry, file: PieceFile) -> None:
        """Let this host's peer server, which listens in the folder `sockets`, serve the pieces that are here; again: nothing.

        While this process may write there the connection stays, since what has ended is given to others. Raises LocalError.
        """
        if self._sock is not None and self._handed is file:
            return
        self.hang_up()
        self._sock, self._handed = fd_passing.hand_over(sockets, entry.encode(), file.descriptors), file

    def hang_up(self) -> None:
        """What is here is no more this download's; what the peer server has of it expires."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def say_digests(self, found: dict[str, str]) -> None:
        """Digests of the whole file, for those of this host that joined, and for those that come when this has ended."""
        if self.joining is not None:
            self.joining.page.say_digests(found)
        self._send({"digests": found})

    def withdraw(self) -> None:
        """What is here is wrong: it is served no longer, and given to nobody."""
        self._send({"discard": True})
        self.hang_up()

    def _send(self, words: dict[str, object]) -> None:
        """To the peer server; nothing fails by it."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                fd_passing.send_message(self._sock, words)

    def close(self) -> None:
        """See Place. The peer server has its own descriptors, and gives them to others unless a thread here may still write."""
        release(super().close, self._close_sock)

    def _close_sock(self) -> None:
        if not self.stuck:
            self.hang_up()
        elif self._sock is not None:
            _stuck.append(self._sock)
            self._sock = None

    def _close(self, file: PieceFile) -> None:
        with contextlib.suppress(OSError):
            file.close()
