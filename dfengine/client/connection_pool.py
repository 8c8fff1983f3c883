"""Pool of a download's idle connections by source: a thread acquires one for its next piece and releases it afterwards."""

from __future__ import annotations

import threading

from dfengine.net.http_client import Connection

MAX_IDLE = 16
"""Default limit of idle connections; the connection that has been idle longest is closed first."""


class ConnectionPool:
    """The pool of one download, for use by any thread."""

    def __init__(self, most: int = MAX_IDLE) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    def acquire(self, host: str, port: int) -> Connection | None:
        """Remove and return the most recently used connection to that source; None when there is none."""
        with self._lock:
            for at in range(len(self._idle) - 1, -1, -1):
                if (self._idle[at].host, self._idle[at].port) == (host, port):
                    return self._idle.pop(at)
        return None

    def release(self, connection: Connection) -> None:
        """Return a connection to the pool. Its last answer must have been read to the end."""
        with self._lock:
            self._idle.append(connection)
            surplus = self._idle[: -self._most]
            del self._idle[: -self._most]
        for old in surplus:
            old.close()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
