"""Cuts blocking sockets whose time is over.

A socket's own timeout starts again with each byte, so a sender of one byte now and then would hold a reader for ever. One thread
per process looks after all that wait; it lives only while somebody does.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

TICK = 0.1
"""Seconds between two looks: how late a cut may be."""


class Patience:
    """Whose time is over when. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[socket.socket, float] = {}
        self._cut: set[socket.socket] = set()
        self._thread: threading.Thread | None = None

    def begin(self, sock: socket.socket, seconds: float) -> None:
        """Whoever reads from `sock` has so many seconds until `end`."""
        with self._lock:
            self._due[sock] = time.monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="patience", daemon=True)
                self._thread.start()

    def end(self, sock: socket.socket) -> bool:
        """True if it was cut because its time was over."""
        with self._lock:
            self._due.pop(sock, None)
            if sock in self._cut:
                self._cut.discard(sock)
                return True
            return False

    def _watch(self) -> None:
        idle = 0
        while True:
            time.sleep(TICK)
            now = time.monotonic()
            with self._lock:
                for sock in [sock for sock, due in self._due.items() if due < now]:
                    del self._due[sock]
                    self._cut.add(sock)
                    with contextlib.suppress(OSError):
                        sock.shutdown(socket.SHUT_RDWR)
                # Between two reads of a body there is nobody for a moment: that is no reason to end.
                idle = 0 if self._due else idle + 1
                if idle > 2:
                    self._thread = None
                    return


patience = Patience()
"""The process's own."""
