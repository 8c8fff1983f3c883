"""Interrupts every wait for an origin at once, from any thread or signal handler."""

from __future__ import annotations

import contextlib
import os

from dfengine.net import fork_safety


class Cancel:
    """Cancel signal of a download or fetch. `fd` stays readable after `set`; close it when no thread waits any more."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.is_set = False
        fork_safety.register(self)

    def set(self) -> None:
        """Wake all waiting threads; later waits return at once."""
        self.is_set = True
        with contextlib.suppress(OSError):
            if self.fd >= 0:
                os.eventfd_write(self.fd, 1)

    @property
    def descriptors(self) -> list[int]:
        """See fork_safety.Open."""
        return [self.fd]

    def close(self) -> None:
        """Release the descriptor. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
