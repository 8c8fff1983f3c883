"""Where this host's downloads of one task meet: their connections, and the descriptors that go from the leader to those that joined it.

Who leads is decided by `joins`. A download says, in JSON objects (net.fd_passing.say):

    {"join": KEY, "kind": KIND} + page of signals      first
    {"open": {...}} + data and record                  a leader's pieces have a place; what is in it is for those that joined
    {"say": "done" | "failed" | "pass_on" | "part"}    see joins
    {"silent": LEADER}                                 it does not run
    {"outdated": LEADER}                               a supernode names another version than its place has

It is told, in the same way:

    {"told": "lead", "left": BOOL}                     it leads; left: the leader before it has ended
    ... and "leader": N, "slot": N + page              it takes its pieces from that leader, whose page of signals that is
    {"told": "follow", "leader": N, "slot": N} + page  it follows that leader
    ... both with "open": BOOL                         that leader's pieces have a place, of which the next message tells
    {"told": "open", "place": {...}} + data and record
    {"told": "done" | "alone"}                         see joins

This server looks into none of the descriptors. A connection that its download ends is a download that has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from itertools import count
from typing import Any

from dfengine.net import fd_passing
from dfengine.peer.joins import FOLLOW, KINDS, LEAD, OPEN, Joins, Told

MOST = 8
"""Descriptors of one message at most."""

LONGEST = 200
"""Characters of a key at most."""

MESSAGES = 64
"""Heard of one download in one turn."""

SAYS = ("done", "failed", "pass_on", "part")


class _Line:
    """A download's connection. page: of signals. place, descriptors: where its pieces are, once it leads and has said so.

    cut: this server ended the connection, and the download may live. reads: places that it was told of, by device and inode: it may go on
    in one of them when its leader has ended.
    """

    def __init__(self, number: int, key: str, sock: socket.socket, page: int) -> None:
        self.number = number
        self.key = key
        self.sock = sock
        self.page = page
        self.place: Any = None
        self.descriptors: list[int] = []
        self.cut = False
        self.reads: set[tuple[int, int]] = set()


def _place(fd: int) -> tuple[int, int]:
    state = os.fstat(fd)
    return state.st_dev, state.st_ino


class Meeting:
    """Of one home. `loop`: None for tests, which call `read`."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._joins = Joins()
        self._lines: dict[int, _Line] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._lines)

    def take(self, sock: socket.socket, words: dict[str, Any], descriptors: list[int]) -> bool:
        """The first message of a download that wants to join. True: connection and descriptors are this value's; False: the caller's."""
        key, kind = words.get("join"), words.get("kind")
        if type(key) is not str or len(key) > LONGEST or type(kind) is not str or kind not in KINDS or len(descriptors) != 1:
            return False
        line = _Line(next(self._numbers), key, sock, descriptors[0])
        self._lines[line.number] = line
        if self._loop is not None:
            self._loop.add_reader(sock, self._readable, line)
        # One that has ended already, and whose end was not read yet, leads nobody.
        for other in [other for other in self._lines.values() if other.key == key and other is not line]:
            self._readable(other)
        self._tell(self._joins.join(line.number, key, kind))
        self._readable(line)
        return True

    def read(self) -> None:
        """Whatever was said by now."""
        for line in list(self._lines.values()):
            self._readable(line)

    def _readable(self, line: _Line) -> None:
        # Up to the end: a loop of libuv calls this once for a connection that was reset, whatever was said before.
        for _ in range(MESSAGES):
            if line.number not in self._lines:
                return
            try:
                heard = fd_passing.hear(line.sock, MOST)
            except BlockingIOError:
                return
            except ConnectionError:
                heard = None
            except OSError:  # nonsense
                heard, line.cut = None, True
            if heard is None:
                self._drop(line)
                return
            for words, descriptors in heard:
                self._said(line, words, descriptors)

    def _said(self, line: _Line, words: dict[str, Any], descriptors: list[int]) -> None:
        word, leader, outdated = words.get("say"), words.get("silent"), words.get("outdated")
        if "open" in words and descriptors and self._joins.leads(line.number):
            fd_passing.discard(line.descriptors)
            line.place, line.descriptors = words["open"], descriptors
            self._tell(self._joins.open(line.number))
            return
        fd_passing.discard(descriptors)
        if "open" in words and descriptors:
            # It started this server and took itself for the leader, but another one was heard first: it fetches, and is alone.
            self._tell(self._joins.pass_on(line.number))
        elif type(leader) is int:
            self._tell(self._joins.silent(line.number, leader))
        elif type(outdated) is int:
            self._tell(self._joins.outdated(line.number, outdated))
        elif word in SAYS:
            self._tell(getattr(self._joins, word)(line.number))

    def _tell(self, told: list[Told]) -> None:
        for number, word, leader, before in told:
            line = self._lines[number]
            words: dict[str, Any] = {"told": word}
            descriptors: list[int] = []
            if word == LEAD:
                words["left"] = before >= 0
            if word in (LEAD, FOLLOW) and leader >= 0:
                words.update(leader=leader, slot=self._joins.slot(number), open=bool(self._lines[leader].descriptors))
                descriptors = [self._lines[leader].page]
            elif word == OPEN:
                words["place"], descriptors = self._lines[leader].place, self._lines[leader].descriptors
                line.reads.update(map(_place, descriptors))
            try:
                fd_passing.say(line.sock, words, descriptors)
            except OSError:
                # It does not read, or has ended: its connection's end is read next.
                line.cut = True
                with contextlib.suppress(OSError):
                    line.sock.shutdown(socket.SHUT_RDWR)
        for line in self._lines.values():
            if line.descriptors and not self._joins.leads(line.number):
                fd_passing.discard(line.descriptors)
                line.descriptors = []

    def _drop(self, line: _Line) -> None:
        del self._lines[line.number]
        if self._loop is not None:
            self._loop.remove_reader(line.sock)
        # Who takes over where it wrote must know whether it may write there still.
        told = self._joins.pass_on(line.number) if line.cut else []
        told += self._joins.leave(line.number)
        fd_passing.discard([line.page, *line.descriptors])
        line.sock.close()
        self._tell(told)

    def places(self) -> set[tuple[int, int]]:
        """Where downloads that are connected here write, or may, by device and inode."""
        found = {place for line in self._lines.values() for place in line.reads}
        return found.union(_place(fd) for line in self._lines.values() for fd in line.descriptors)

    def close(self) -> None:
        """Hang up on all; they go on by themselves."""
        for line in self._lines.values():
            if self._loop is not None:
                self._loop.remove_reader(line.sock)
            fd_passing.discard([line.page, *line.descriptors])
            line.sock.close()
        self._lines.clear()
