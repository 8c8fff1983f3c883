"""The dialer of one download: any thread can wake a thread that waits on one of its connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from _weakrefset import WeakSet  # as threading imports it: the module weakref takes a millisecond

from dfengine.errors import SourceGone
from dfengine.net import fork_safety
from dfengine.net.dialer import Dialer
from dfengine.net.http_client import CONNECT, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dfengine.client.connection_pool import ConnectionPool
    from dfengine.client.shared_resources import SharedResources


STOPPED = "the download was stopped"


class DownloadDialer(Dialer):
    """See Dialer. Between `shutdown` and `reopen`, every wait on a connection and every `connect` ends with SourceGone."""

    def __init__(
        self, secret_files: Sequence[str] = (), tls_files: tuple[str, str, str] = ("", "", ""), resources: SharedResources | None = None
    ) -> None:
        """See Dialer. resources: shared resources of a batch; connections are acquired from its pools and released to them."""
        super().__init__(secret_files, tls_files)
        self._resources = resources
        self._lock = threading.Lock()
        self._connections: WeakSet[Connection] = WeakSet()
        self._connecting: set[socket.socket] = set()
        self._error: BaseException | None = None

    def connect(
        self, host: str, port: int, *, timeout: float = CONNECT, local: str = "", named: bool | str = False,
        opened: Callable[[socket.socket], None] | None = None,
    ) -> Connection:
        """See Dialer."""
        sockets: list[socket.socket] = []

        def began(made: socket.socket) -> None:
            # A TLS handshake takes over the socket object: a duplicate descriptor can still shut it down.
            held = made if self._wrap is None else made.dup()
            with self._lock:
                sockets.append(held)
                self._connecting.add(held)
                cut = self._error is not None
            if cut:
                raise SourceGone(STOPPED)
            if opened is not None:
                opened(made)

        if self._error is not None:
            raise SourceGone(STOPPED)
        kept = None if self._resources is None or local else self._pool(bool(named)).acquire(host, port)
        if kept is not None:
            return self._register(kept)
        try:
            connection = super().connect(host, port, timeout=timeout, local=local, named=named, opened=began)
        finally:
            with self._lock:
                self._connecting.difference_update(sockets)
            if self._wrap is not None:
                for each in sockets:
                    each.close()
        fork_safety.register(connection)
        return self._register(connection)

    def _pool(self, named: bool) -> ConnectionPool:
        assert self._resources is not None
        return self._resources.supernodes if named else self._resources.peers

    def release(self, connection: Connection, named: bool = False) -> None:
        """See Dialer."""
        with self._lock:
            self._connections.discard(connection)
        if self._resources is not None and self._error is None and connection.reusable:
            self._pool(named).release(connection)
        else:
            connection.close()

    def _register(self, connection: Connection) -> Connection:
        """Register a connection of this download. Raises SourceGone after `shutdown`."""
        with self._lock:
            self._connections.add(connection)
            cut = self._error is not None
        if cut:
            connection.close()
            raise SourceGone(STOPPED)
        return connection

    def check(self) -> None:
        """Raise the error that `shutdown` was called with, if it was."""
        if self._error is not None:
            raise self._error

    def shutdown(self, error: BaseException) -> None:
        """End all waits on connections (see the class). May be called from any thread."""
        with self._lock:
            self._error = error
            connecting, connections = [*self._connecting], [*self._connections]
        for made in connecting:
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            if connection.fileno() >= 0:
                connection.stop()

    def reopen(self) -> None:
        """Allow new connections again, for the final reports."""
        self._error = None
