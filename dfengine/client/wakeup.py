"""Wakes a thread that waits on a socket, with an eventfd that is polled together with the socket."""

from __future__ import annotations

import contextlib
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.net.http_client import Connection


class Wakeup:
    """One thread waits, any thread signals."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def signal(self) -> None:
        """Wake the waiting thread. Without effect after `close`."""
        with contextlib.suppress(OSError, ValueError):
            os.eventfd_write(self._fd, 1)

    def wait(self, seconds: float, connection: Connection | None = None) -> bool:
        """Wait for a signal, bytes on `connection` or the end of `seconds`. Return whether bytes are available."""
        if connection is not None and connection.receiver.buffered:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if connection is not None:
            poll.register(connection.fileno(), select.POLLIN)
        ready = [fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)]
        if self._fd in ready:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._fd)
        return any(fd != self._fd for fd in ready)

    @property
    def descriptors(self) -> list[int]:
        """See fork_safety.Open."""
        return [self._fd]

    @property
    def fd(self) -> int:
        """Readable after a signal, until `wait`."""
        return self._fd

    def close(self) -> None:
        """Close the eventfd; may be called again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
