"""Reports a server's state to the service manager by sd_notify(3). Without NOTIFY_SOCKET in the environment nothing is sent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time


class ServiceManager:
    """Notifications to the service manager, if it started this process. environment: os.environ by default."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        self._address = given.get("NOTIFY_SOCKET", "")
        self._timer: asyncio.TimerHandle | None = None
        mine = given.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period = given.get("WATCHDOG_USEC", "")
        self.watchdog = int(period) / 2e6 if mine and period.isascii() and period.isdigit() and len(period) < 16 else 0.0
        """Seconds between two watchdog notifications; 0: none are requested."""

    def notify(self, *fields: str) -> bool:
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
        """Report that the server is ready; from now on the loop sends watchdog notifications if they are requested."""
        self.notify("READY=1", f"STATUS={status}")
        if self.watchdog:
            self._notify_watchdog(loop)

    def _notify_watchdog(self, loop: asyncio.AbstractEventLoop) -> None:
        self.notify("WATCHDOG=1")
        self._timer = loop.call_later(self.watchdog, self._notify_watchdog, loop)

    def reloading(self) -> None:
        """Report that the server is reading its configuration; call `reloaded` afterwards."""
        self.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Report that the configuration has been read."""
        self.notify("READY=1")

    def stopping(self, status: str = "") -> None:
        """Report that the server is about to end."""
        self.notify("STOPPING=1", *([f"STATUS={status}"] if status else []))

    def close(self) -> None:
        """Stop sending watchdog notifications."""
        if self._timer is not None:
            self._timer.cancel()
