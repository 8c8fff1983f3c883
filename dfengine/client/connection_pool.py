"""Kept connections of a download, by source: a thread takes one for its next piece and gives it back."""

from __future__ import annotations

import threading

from dfengine.net.dial import Connection

MOST = 16
"""Idle connections that are kept, by default; the longest idle one is closed first."""


class ConnectionPool:
    """Of one download; any thread may use it."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    def acquire(self, host: str, port: int) -> Connection | None:
        """The one to that source used last, now the caller's; None when none is kept."""
        with self._lock:
            for at in range(len(self._idle) - 1, -1, -1):
                if (self._idle[at].host, self._idle[at].port) == (host, port):
                    return self._idle.pop(at)
        return None

    def release(self, connection: Connection) -> None:
        """Keep it; it stands at the end of an answer."""
        with self._lock:
            self._idle.append(connection)
            surplus = self._idle[: -self._most]
            del self._idle[: -self._most]
        for old in surplus:
            old.close()

    def close(self) -> None:
        """Hang up what nobody uses."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
