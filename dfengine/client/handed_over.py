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
        self._line: socket.socket | None = None
        self._handed: PieceFile | None = None
        forked.keep(self)

    @property
    def descriptors(self) -> list[int]:
        """See forked.Open. A child that had the line would have the peer server serve what this process has not any more."""
        return [self._line.fileno()] if self._line is not None else []

    def hand_over(self, sockets: str, entry: Entry, file: PieceFile) -> None:
        """Let this host's peer server, which listens in the folder `sockets`, serve the pieces that are here; again: nothing.

        While this process may write there the connection stays, since what has ended is given to others. Raises LocalError.
        """
        if self._line is not None and self._handed is file:
            return
        self.hang_up()
        self._line, self._handed = fd_passing.hand_over(sockets, entry.encode(), file.descriptors), file

    def hang_up(self) -> None:
        """What is here is no more this download's; what the peer server has of it expires."""
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def say_digests(self, found: dict[str, str]) -> None:
        """Digests of the whole file, for those of this host that joined, and for those that come when this has ended."""
        if self.joining is not None:
            self.joining.page.say_digests(found)
        self._say({"digests": found})

    def withdraw(self) -> None:
        """What is here is wrong: it is served no longer, and given to nobody."""
        self._say({"discard": True})
        self.hang_up()

    def _say(self, words: dict[str, object]) -> None:
        """To the peer server; nothing fails by it."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                fd_passing.send_message(self._line, words)

    def close(self) -> None:
        """See Place. The peer server has its own descriptors, and gives them to others unless a thread here may still write."""
        release(super().close, self._close_line)

    def _close_line(self) -> None:
        if not self.stuck:
            self.hang_up()
        elif self._line is not None:
            _stuck.append(self._line)
            self._line = None

    def _close(self, file: PieceFile) -> None:
        with contextlib.suppress(OSError):
            file.close()
