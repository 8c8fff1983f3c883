"""A TCP proxy without faults that records the ranges requested through it."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading

_RANGE = re.compile(rb"\r\nRange: bytes=(\d+)-\d+\r\n", re.IGNORECASE)


class Counting:
    """Listens on `address` and connects to `target`. `asked`: first bytes of the ranges, in the order of the requests."""

    def __init__(self, address: tuple[str, int], target: tuple[str, int]) -> None:
        self.asked: list[int] = []
        self.open = 0
        self._target = target
        self._listener = socket.create_server(address, backlog=128)
        self._ended = False
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._carry, args=(ours,))
            self._threads.append(thread)
            thread.start()

    def _carry(self, ours: socket.socket) -> None:
        with ours, contextlib.suppress(OSError), socket.create_connection(self._target, 5.0) as theirs:
            self.open += 1
            try:
                self._both(ours, theirs)
            finally:
                self.open -= 1

    def _both(self, ours: socket.socket, theirs: socket.socket) -> None:
        seen = b""
        while not self._ended:
            ready, _, _ = select.select([ours, theirs], [], [], 0.2)
            for sock in ready:
                data = sock.recv(1 << 18)
                if not data:
                    return
                (theirs if sock is ours else ours).sendall(data)
                if sock is ours:
                    seen += data
                    *whole, seen = seen.split(b"\r\n\r\n")
                    for head in whole:
                        self.asked.extend(int(match[1]) for match in _RANGE.finditer(head + b"\r\n"))

    def close(self) -> None:
        """Close all connections and wait for the threads."""
        self._ended = True
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()
