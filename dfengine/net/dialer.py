"""Connects to members of the swarm: plain or by TLS, with signed requests if there is a secret.

Settings are an object rather than globals, so that one process can take part in several swarms at once.
"""

from __future__ import annotations

import os

from dfengine.net.http_client import CONNECT, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from dfengine.net.tls import WrapTls


class Dialer:
    """Immutable; any thread may use it. secrets: the swarm's, () = none; requests are signed with the first."""

    def __init__(self, secret_files: Sequence[str] = (), tls_files: tuple[str, str, str] = ("", "", "")) -> None:
        """secret_files: paths of the swarm's secrets. tls_files: paths of (certificate, key, CA), "" for none; all "": no TLS.

        Raises BadValue for a file that cannot be used.
        """
        self.secrets: tuple[bytes, ...] = ()
        self.secret_files = tuple(map(_absolute, secret_files))
        self.tls_files = tuple(map(_absolute, tls_files))
        self._wrap: WrapTls | None = None
        if secret_files:
            from dfengine.net.secret import read_secrets

            self.secrets = read_secrets(secret_files)
        if any(tls_files):
            from dfengine.net.tls import tls_wrapper

            self._wrap = tls_wrapper(*tls_files)

    def connect(
        self, host: str, port: int, *, timeout: float = CONNECT, local: str = "", named: bool | str = False,
        opened: Callable[[socket.socket], None] | None = None,
    ) -> Connection:
        """Open a new connection; see Connection for the arguments and the errors raised."""
        secret = self.secrets[0] if self.secrets else None
        return Connection(host, port, timeout=timeout, local=local, named=named, opened=opened, secret=secret, wrap=self._wrap)

    def release(self, connection: Connection, named: bool = False) -> None:
        """Return a connection that is at the end of a response and is not used any more. named: as in `connect`. Here: close it."""
        connection.close()

    def check(self) -> None:
        """Raise an error if the caller's wait should end. Here: nothing."""


def _absolute(path: str) -> str:
    """Return the file's path from any working directory: the path is passed to a peer server."""
    return path and os.path.abspath(os.path.expanduser(path))
