"""The proxy's listening sockets, TCP and unix."""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from dfengine.errors import LocalError
from dfengine.net.listener import listen_on
from dfengine.net.ready_line import reached_by
from dfengine.proxy.front.access_control import Listen


def bound(listen: Listen) -> socket.socket:
    """A socket bound to `listen`; a unix socket without a listening process is replaced. Raises LocalError."""
    if not listen.path:
        try:
            return listen_on(listen.ip, listen.port)
        except OSError as error:
            raise LocalError(f"cannot listen on {listen}: {error.strerror}: choose another --listen") from None
    sock = socket.socket(socket.AF_UNIX)
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(listen.path).st_mode):
                raise LocalError(f"cannot listen on {listen}: a file that is not a socket exists there")
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(listen.path) == 0:
                    raise LocalError(f"cannot listen on {listen}: another process serves there")
            os.unlink(listen.path)
        sock.bind(listen.path)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise LocalError(f"cannot listen on {listen}: {error.strerror}: choose another --listen") from None
    return sock


def socket_address(sock: socket.socket) -> str:
    """The address for clients: `unix:PATH` or `IP:PORT`."""
    if sock.family == socket.AF_UNIX:
        return f"unix:{sock.getsockname()}"
    return str(Listen(reached_by(sock), sock.getsockname()[1]))


def is_bound(address: str) -> bool:
    """Whether the address is this host's: only such addresses can be bound."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
