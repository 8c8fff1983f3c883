"""A listening socket with limits on connections, in total and per client.

A connection counts from its accept until `release` is called, including the TLS handshake. At the limit, or when descriptors are short,
further connections wait in the kernel's queue. A connection of a client that has used its share, and has no idle connection to
close for it, is closed at once.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from dfengine.net.admission import Admission, ConnectionQuota

BACKLOG = 4096
NOTSENT_LOWAT = 25
"""TCP_NOTSENT_LOWAT (tcp(7), linux/tcp.h): limit on bytes written to a socket but not sent; at the limit the socket is not writable."""

ACCEPTS = 64
"""Connections accepted in one callback."""

_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def listen_on(ip: str, port: int, unsent: int = 0) -> socket.socket:
    """Open a non-blocking listening socket on ip:port, port 0 for any free one. `::` accepts IPv4 as well; a name binds its first address.

    unsent: bytes that the kernel buffers of a connection beyond those in flight; 0: the system's default. Raises OSError.
    """
    family, kind, _, _, address = socket.getaddrinfo(ip, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    sock = socket.socket(family, kind)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if unsent:
            sock.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, unsent)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


class Listener:
    """Listener with total and per-client connection limits.

    on_accept: called with the non-blocking socket and the address of each accepted connection; an OSError closes the connection.
    limit: of this port's connections. admission: the process's. descriptors: of each connection, with its files.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, on_accept: Callable[[socket.socket, str], None],
        limit: ConnectionQuota, admission: Admission, descriptors: int = 1,
    ) -> None:
        self._admission, self._descriptors = admission, descriptors
        self._loop = loop
        self._sock = sock
        self._on_accept = on_accept
        self._limit = limit
        self._open = self._ended = False
        sock.setblocking(False)

    @property
    def port(self) -> int:
        return int(self._sock.getsockname()[1])

    def resume(self) -> None:
        """Accept connections that wait because the limit was reached or descriptors were short; call regularly."""
        if not self._ended:
            self._set_accepting(True)

    def _set_accepting(self, wanted: bool) -> None:
        if wanted != self._open:
            self._open = wanted
            (self._loop.add_reader(self._sock, self._acceptable) if wanted else self._loop.remove_reader(self._sock))

    def _acceptable(self) -> None:
        for _ in range(ACCEPTS):
            if not (self._limit.room() and self._admission.room(self._descriptors)):
                # `release` or the next `resume` accepts the waiting connections.
                self._set_accepting(False)
                return
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _OUT_OF:
                    # The next `resume`, or a connection that ends, retries: the listening socket stays readable, and accepting repeatedly
                    # would free no descriptor.
                    self._set_accepting(False)
                    return
                # The error concerns the new connection only (aborted, unreachable), which no longer exists.
                continue
            if not self._limit.acquire(address[0]):
                sock.close()
                continue
            if not self._admission.acquire(address[0], self._descriptors):
                self._limit.release(address[0])
                sock.close()
                continue
            try:
                sock.setblocking(False)
                self._on_accept(sock, address[0])
            except OSError:
                sock.close()
                self.release(address[0])

    def connections_of(self, address: str) -> int:
        """Number of connections of the client at `address`."""
        return self._limit.amount_of(address)

    def release(self, address: str) -> None:
        """Uncount an accepted connection that has been closed."""
        self._limit.release(address)
        self._admission.release(address, self._descriptors)
        self.resume()

    def close(self) -> None:
        """Stop accepting."""
        self._ended = True
        self._set_accepting(False)
        self._sock.close()
