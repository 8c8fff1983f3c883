"""A server's `ready` line, and the address at which other hosts reach it."""

from __future__ import annotations

import os
import socket
import sys

from dfengine.net.http_client import local_address

_FAR = {"0.0.0.0": ("192.0.2.1",), "::": ("192.0.2.1", "2001:db8::1")}
"""Wildcard address -> addresses of documentation networks; the route to them determines this host's own address."""


def reached_by(sock: socket.socket) -> str:
    """Return the address of a listening socket; for a wildcard address, this host's address towards other networks, else loopback."""
    ip = str(sock.getsockname()[0])
    return next(filter(None, (local_address(far, 9) for far in _FAR[ip])), "127.0.0.1") if ip in _FAR else ip


def announce(**addresses: tuple[str, int]) -> None:
    """Print `ready NAME=IP:PORT ...`. The server continues if stdout is not read or cannot be written."""
    try:
        print("ready", *(f"{name}={f'[{ip}]' if ':' in ip else ip}:{port}" for name, (ip, port) in addresses.items()), flush=True)
    except OSError as error:
        print(f"dfengine: cannot write to stdout: {error.strerror}: serves all the same", file=sys.stderr)
        # Otherwise the unwritten text would be written again when the process ends.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (open as long as the process lives)
