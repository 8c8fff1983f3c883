"""Resources that the downloads of one batch share: idle connections, this host's home and peer server, the limit on received bytes."""

from __future__ import annotations

import threading
import time

from dfengine.client.connection_pool import MAX_IDLE, ConnectionPool
from dfengine.client.throttle import Throttle
from dfengine.net.http_client import local_address
from dfengine.storage.home import Home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.local_peer import LocalPeer
    from dfengine.net.http_client import Connection

FRESH = 10.0
"""Seconds for which a peer server that answered is assumed to run, and a home that was checked is assumed to exist. A server ends by
itself only after a longer idle time.
"""


class SharedConnections(ConnectionPool):
    """Connection pool of several downloads, none of which closes it."""

    def acquire(self, host: str, port: int) -> Connection | None:
        """See ConnectionPool; skips connections that the other side has closed or sent bytes on."""
        while (connection := super().acquire(host, port)) is not None:
            if connection.reusable:
                return connection
            connection.close()
        return None

    def close(self) -> None:
        """Do nothing: other downloads use the pool."""


class SharedResources:
    """Shared resources of one batch, for any thread. downloads: at the same time. limit: bytes per second of all together, 0 = none."""

    def __init__(self, downloads: int, limit: int) -> None:
        self.limit = Throttle(limit) if limit else None
        self.supernodes = SharedConnections(max(MAX_IDLE, downloads))
        """Connections to supernodes' control ports; with TLS, the certificates' names were verified."""
        self.peers = SharedConnections(max(MAX_IDLE, 2 * downloads))
        """Connections to sources of pieces."""
        self._lock = threading.Lock()
        self._homes: dict[str, tuple[float, Home]] = {}
        self._peer: LocalPeer | None = None
        self._until = 0.0
        self._addresses: dict[tuple[str, int], str] = {}

    def home(self, path: str) -> Home:
        """Return the home directory at `path`, created and checked unless that was done in the last FRESH seconds. Raises StorageError."""
        until, home = self._homes.get(path, (0.0, None))
        if home is None or time.monotonic() > until:
            home = Home(path)
            self._homes[path] = time.monotonic() + FRESH, home
        return home

    def peer(self, ensure: Callable[[], LocalPeer]) -> LocalPeer:
        """Return this host's peer server; `ensure` is called unless that was done in the last FRESH seconds. Raises as `ensure`."""
        with self._lock:
            if self._peer is None or time.monotonic() > self._until:
                found = ensure()
                # Only the download that started a fresh server gets the inherited socket; the others do not wait for the server to run.
                self._peer, self._until = found.replace(sock=None), time.monotonic() + FRESH
                return found
            return self._peer

    def address(self, host: str, port: int) -> str:
        """See `http_client.local_address`."""
        node = host, port
        if node not in self._addresses:
            self._addresses[node] = local_address(host, port)
        return self._addresses[node]
