"""Connections of this host's downloads of one task, and the descriptors that are passed from the leader to the downloads that joined it.

`host_leader_election` decides which one leads. A download sends JSON objects (net.fd_passing.send_message):

    {"join": KEY, "kind": KIND} + page of signals      first
    {"open": {...}} + data and record                  a leader's pieces have a place; the value is forwarded to joined downloads
    {"say": "done" | "failed" | "pass_on" | "part"}    see joins
    {"silent": LEADER}                                 that leader does not run
    {"outdated": LEADER}                               a supernode names another version than the leader's place has

The server responds in the same form:

    {"told": "lead", "left": BOOL}                     the download leads; left: the leader before it has ended
    ... and "leader": N, "slot": N + page              it takes its pieces from that leader, with the leader's page of signals
    {"told": "follow", "leader": N, "slot": N} + page  it follows that leader
    ... both with "open": BOOL                         that leader's pieces have a place, which the next message contains
    {"told": "open", "place": {...}} + data and record
    {"told": "done" | "alone"}                         see joins

This server reads none of the descriptors. A download has ended when its connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from itertools import count
from typing import Any

from dfengine.net import fd_passing
from dfengine.peer.host_leader_election import FOLLOW, KINDS, LEAD, OPEN, HostLeaderElection, Instruction

MAX_KEY = 200
"""Limit of characters in a key."""

MESSAGES = 64
"""Limit of messages of one download per turn."""

REPORTS = {
    "done": HostLeaderElection.done, "failed": HostLeaderElection.failed, "pass_on": HostLeaderElection.resign,
    "part": HostLeaderElection.detach,
}
"""What a download reports -> its event."""


class _Connection:
    """A download's connection. page: of signals. pieces_at, descriptors: the place of its pieces, once it leads and has sent `open`.

    cut: this server ended the connection, and the download may still run. reads: files that it received, by device and inode: it may
    continue in one of them when its leader has ended.
    """

    def __init__(self, number: int, key: str, sock: socket.socket, page: int) -> None:
        self.number = number
        self.key = key
        self.sock = sock
        self.page = page
        self.pieces_at: Any = None
        self.descriptors: list[int] = []
        self.cut = False
        self.reads: set[tuple[int, int]] = set()


def _inode(fd: int) -> tuple[int, int]:
    state = os.fstat(fd)
    return state.st_dev, state.st_ino


class HostLeaderServer:
    """The connections of one home. `loop`: None for tests, which call `read`."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._joins = HostLeaderElection()
        self._connections: dict[int, _Connection] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._connections)

    def accept(self, sock: socket.socket, words: dict[str, Any], descriptors: list[int]) -> bool:
        """Handle the first message of a download that wants to join. True: this object owns connection and descriptors; False: the caller
        does."""
        key, kind = words.get("join"), words.get("kind")
        if type(key) is not str or len(key) > MAX_KEY or type(kind) is not str or kind not in KINDS or len(descriptors) != 1:
            return False
        connection = _Connection(next(self._numbers), key, sock, descriptors[0])
        self._connections[connection.number] = connection
        if self._loop is not None:
            self._loop.add_reader(sock, self._readable, connection)
        # A download that has ended must not lead, even if the end of its connection was not read yet.
        for other in [other for other in self._connections.values() if other.key == key and other is not connection]:
            self._readable(other)
        self._send(self._joins.join(connection.number, key, kind))
        self._readable(connection)
        return True

    def read(self) -> None:
        """Handle all messages that have arrived."""
        for connection in list(self._connections.values()):
            self._readable(connection)

    def _readable(self, connection: _Connection) -> None:
        # Up to the end: a loop of libuv calls this once for a connection that was reset, whatever it received before.
        for _ in range(MESSAGES):
            if connection.number not in self._connections:
                return
            try:
                received = fd_passing.receive_messages(connection.sock)
            except BlockingIOError:
                return
            except ConnectionError:
                received = None
            except OSError:  # malformed
                received, connection.cut = None, True
            if received is None:
                self._drop(connection)
                return
            for words, descriptors in received:
                self._handle(connection, words, descriptors)

    def _handle(self, connection: _Connection, words: dict[str, Any], descriptors: list[int]) -> None:
        report, leader, outdated = words.get("say"), words.get("silent"), words.get("outdated")
        if "open" in words and descriptors and self._joins.leads(connection.number):
            fd_passing.discard(connection.descriptors)
            connection.pieces_at, connection.descriptors = words["open"], descriptors
            self._send(self._joins.open(connection.number))
            return
        fd_passing.discard(descriptors)
        if "open" in words and descriptors:
            # It started this server and assumed that it leads, but another download's message arrived first: it fetches alone.
            self._send(self._joins.resign(connection.number))
        elif type(leader) is int:
            self._send(self._joins.silent(connection.number, leader))
        elif type(outdated) is int:
            self._send(self._joins.outdated(connection.number, outdated))
        elif type(report) is str and report in REPORTS:
            self._send(REPORTS[report](self._joins, connection.number))

    def _send(self, instructions: list[Instruction]) -> None:
        for number, action, leader, before in instructions:
            connection = self._connections[number]
            words: dict[str, Any] = {"told": action}
            descriptors: list[int] = []
            if action == LEAD:
                words["left"] = before >= 0
            if action in (LEAD, FOLLOW) and leader >= 0:
                words.update(leader=leader, slot=self._joins.slot(number), open=bool(self._connections[leader].descriptors))
                descriptors = [self._connections[leader].page]
            elif action == OPEN:
                words["place"], descriptors = self._connections[leader].pieces_at, self._connections[leader].descriptors
                connection.reads.update(map(_inode, descriptors))
            try:
                fd_passing.send_message(connection.sock, words, descriptors)
            except OSError:
                # It does not read, or has ended: its connection's end is read next.
                connection.cut = True
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
        for connection in self._connections.values():
            if connection.descriptors and not self._joins.leads(connection.number):
                fd_passing.discard(connection.descriptors)
                connection.descriptors = []

    def _drop(self, connection: _Connection) -> None:
        del self._connections[connection.number]
        if self._loop is not None:
            self._loop.remove_reader(connection.sock)
        # The download that takes over needs to know whether this one may still write to the same file.
        instructions = self._joins.resign(connection.number) if connection.cut else []
        instructions += self._joins.leave(connection.number)
        fd_passing.discard([connection.page, *connection.descriptors])
        connection.sock.close()
        self._send(instructions)

    def inodes(self) -> set[tuple[int, int]]:
        """Files and memory that connected downloads write to, or may, by device and inode."""
        found = {inode for connection in self._connections.values() for inode in connection.reads}
        return found.union(_inode(fd) for connection in self._connections.values() for fd in connection.descriptors)

    def close(self) -> None:
        """Close all connections; the downloads continue alone."""
        for connection in self._connections.values():
            if self._loop is not None:
                self._loop.remove_reader(connection.sock)
            fd_passing.discard([connection.page, *connection.descriptors])
            connection.sock.close()
        self._connections.clear()
