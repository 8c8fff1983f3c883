"""Tells a service manager how a server is, by the protocol of sd_notify(3). Without NOTIFY_SOCKET in the environment nothing is sent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time


class Manager:
    """Of this process, which it may have started. environment: what stands in os.environ, by default."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        self._address = given.get("NOTIFY_SOCKET", "")
        self._timer: asyncio.TimerHandle | None = None
        mine = given.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period = given.get("WATCHDOG_USEC", "")
        self.watchdog = int(period) / 2e6 if mine and period.isascii() and period.isdigit() and len(period) < 16 else 0.0
        """Seconds between two signs of life; 0: none are wanted."""

    def tell(self, *fields: str) -> bool:
        """Send `NAME=VALUE` fields; never raises. False: nothing was sent."""
        if self._address[:1] not in ("/", "@"):
            return False
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(fields).encode("utf-8", "replace"), address)
            return True
        return False

    def ready(self, loop: asyncio.AbstractEventLoop, status: str) -> None:
        """It serves now; from now on the loop gives signs of life if they are wanted."""
        self.tell("READY=1", f"STATUS={status}")
        if self.watchdog:
            self._live(loop)

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        self.tell("WATCHDOG=1")
        self._timer = loop.call_later(self.watchdog, self._live, loop)

    def reloading(self) -> None:
        """It reads its configuration; say `reloaded` in the end."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """It has read it."""
        self.tell("READY=1")

    def stopping(self, status: str = "") -> None:
        """It is about to end."""
        self.tell("STOPPING=1", *([f"STATUS={status}"] if status else []))

    def close(self) -> None:
        """No more signs of life."""
        if self._timer is not None:
            self._timer.cancel()
