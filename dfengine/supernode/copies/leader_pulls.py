"""Pulls to the leader of a task, over two connections: while one is parked, the next one reports finished pieces and ends it.

A follower that has room for a piece can therefore wait in the leader's queue while other pieces are in transit, as a client does.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable

from dfengine.net.http_client import JSON_HEADERS, Connection
from dfengine.supernode.copies.piece_connections import PieceConnections

ANSWER = 5.0
"""Seconds for the answer to a pull, after the time for which it is parked."""

GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class LeaderPulls:
    """Pulls of one CID. connect: opens another connection to the leader; raises RemoteError. One thread uses it; `close` it."""

    def __init__(self, connect: Callable[[], Connection], pieces: PieceConnections) -> None:
        self._connect, self._pieces = connect, pieces
        self._parked: Connection | None = None
        self._free: list[Connection] = []

    @property
    def parked(self) -> bool:
        """Whether the last pull is not answered yet."""
        return self._parked is not None

    def send(self, message: bytes, park: float) -> list[tuple[int, bytes]]:
        """Send a pull that may be parked for `park` seconds, and wait for its answer or until a piece has ended.

        Returns the (status, body) of each received answer: of the previous pull, if it was parked, and of this one. Raises RemoteError.
        """
        connection = self._open()
        answers = []
        try:
            connection.send("POST", "/swarm/pull", JSON_HEADERS, message)
            if (before := self._parked) is not None:
                self._parked = None
                self._free.append(before)
                answers.append(before.answer(time.monotonic() + ANSWER))
            end = time.monotonic() + park + ANSWER
            if park and not self._wait_for_answer(connection, end):
                self._parked = connection
                return answers
            answers.append(connection.answer(end))
        finally:
            if self._parked is not connection:
                self._free.append(connection)
        return answers

    def _open(self) -> Connection:
        """Return a connection without a pending answer."""
        while self._free:
            connection = self._free.pop()
            if connection.reusable:
                return connection
            self._drop(connection)
        return self._connect()

    def _wait_for_answer(self, connection: Connection, end: float) -> bool:
        """Whether the connection has an answer, is closed, or is silent until `end` (monotonic seconds); False: a piece has ended first."""
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN | GONE)
        poll.register(self._pieces.fileno(), select.POLLIN)
        while not connection.readable:
            if self._pieces.has_results:
                return False
            left = end - time.monotonic()
            if left <= 0 or any(number == connection.fileno() and event & GONE for number, event in poll.poll(1000 * left)):
                break
        return True

    def close(self) -> None:
        """Close all connections."""
        for connection in (*self._free, *([self._parked] if self._parked is not None else [])):
            self._drop(connection)

    @staticmethod
    def _drop(connection: Connection) -> None:
        with contextlib.suppress(OSError):
            connection.close()
