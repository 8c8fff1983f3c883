"""A TCP proxy that forwards both directions and applies faults at byte positions, so that a seed reproduces them."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass

CHUNK = 64 << 10
TRICKLE = 1 << 10
"""Bytes of each write of a trickle, with `TRICKLE_PAUSE` seconds in between."""
TRICKLE_PAUSE = 0.1

KINDS = ("cut", "truncate", "stall", "delay", "trickle", "duplicate", "flip")


@dataclass(frozen=True)
class Fault:
    """A fault at byte `at` of one direction of a connection.

    cut: both ends are reset. truncate: both ends see an orderly end. stall: no more bytes arrive, the connection stays open.
    delay: one pause of `amount` milliseconds. trickle: the rest arrives at 10 KB/s. duplicate: `amount` bytes arrive twice.
    flip: one bit of that byte is inverted. back: the direction is from the server to the client. first: the first connection
    that has the fault; last: the last one, -1: all later ones.
    """

    kind: str
    at: int
    amount: int
    back: bool
    first: int = 0
    last: int = 0

    def holds(self, connection: int, back: bool) -> bool:
        return self.back == back and self.first <= connection and (self.last < 0 or connection <= self.last)

    def __str__(self) -> str:
        which = f"{self.first}.." if self.last < 0 else f"{self.first}" if self.first == self.last else f"{self.first}..{self.last}"
        more = f"+{self.amount}" if self.kind in ("delay", "duplicate") else ""
        return f"{self.kind}@{self.at}{more}{'<' if self.back else '>'}#{which}"


class _Pair:
    """One proxied connection."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.over = threading.Event()

    def end(self, reset: bool = False) -> None:
        self.over.set()
        for sock in (self.client, self.server):
            with contextlib.suppress(OSError):
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    # A thread blocked in recv would keep the socket open: the reset is sent when the thread has left.
                    sock.shutdown(socket.SHUT_RD)
                else:
                    sock.shutdown(socket.SHUT_RDWR)


class Proxy:
    """Listens on `at` (port 0: any) and forwards to `target`. `arm` replaces the faults between runs; `close` leaves no thread."""

    def __init__(self, at: tuple[str, int], target: tuple[str, int]) -> None:
        self.target = target
        self._faults: tuple[Fault, ...] = ()
        self._count = 0
        self._lock = threading.Lock()
        self._pairs: set[_Pair] = set()
        self._threads: set[threading.Thread] = set()
        self._listener = socket.create_server(at, backlog=256)
        self.address = self._listener.getsockname()[:2]
        self._closed = False
        self._start(self._accept)

    def arm(self, *faults: Fault) -> None:
        """Set the faults; existing connections are closed, and new ones are counted from 0."""
        with self._lock:
            self._faults, self._count = faults, 0
            pairs = list(self._pairs)
        for pair in pairs:
            pair.end()

    @property
    def open(self) -> int:
        """Number of forwarded connections."""
        with self._lock:
            return len(self._pairs)

    def _start(self, work: object, *arguments: object) -> None:
        def run() -> None:
            try:
                work(*arguments)  # type: ignore[operator]
            finally:
                with self._lock:
                    self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=run, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._forward, client)

    def _forward(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self.target, 5.0)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(client, server)
        with self._lock:
            number, faults = self._count, self._faults
            self._count += 1
            self._pairs.add(pair)
        try:
            forth = threading.Thread(target=_pump, args=(pair, client, server, _of(faults, number, False)), daemon=True)
            forth.start()
            _pump(pair, server, client, _of(faults, number, True))
            forth.join()
        finally:
            client.close()
            server.close()
            with self._lock:
                self._pairs.discard(pair)

    def close(self) -> None:
        """Close all connections and wait for the threads."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        deadline = time.monotonic() + 10.0
        while time.monotonic() < deadline:
            with self._lock:
                pairs, threads = list(self._pairs), list(self._threads)
            if not threads:
                return
            for pair in pairs:
                pair.end()
            threads[0].join(0.1)
        raise AssertionError("a proxy's threads do not end")


def _of(faults: tuple[Fault, ...], number: int, back: bool) -> list[Fault]:
    return sorted((fault for fault in faults if fault.holds(number, back)), key=lambda fault: fault.at)


def _pump(pair: _Pair, source: socket.socket, sink: socket.socket, faults: list[Fault]) -> None:
    """Forward one direction until it ends."""
    at, slow = 0, False
    try:
        while data := source.recv(CHUNK):
            while data:
                fault = faults[0] if faults and faults[0].at < at + len(data) else None
                clean = data if fault is None else data[: max(0, fault.at - at)]
                _send(pair, sink, clean, slow)
                at, data = at + len(clean), data[len(clean) :]
                if fault is None:
                    break
                faults.pop(0)
                if fault.kind in ("cut", "truncate"):
                    pair.end(reset=fault.kind == "cut")
                    return
                if fault.kind == "stall":
                    pair.over.wait()
                    return
                if fault.kind == "delay":
                    pair.over.wait(fault.amount / 1000)
                elif fault.kind == "trickle":
                    slow = True
                elif fault.kind == "duplicate":
                    data = data[: fault.amount] + data
                elif fault.kind == "flip":
                    data = bytes((data[0] ^ (1 << fault.amount % 8),)) + data[1:]
            if pair.over.is_set():
                return
        if not pair.over.is_set():
            # Not after a cut: this end must see the reset first.
            sink.shutdown(socket.SHUT_WR)
    except OSError:
        pair.end()


def _send(pair: _Pair, sink: socket.socket, data: bytes, slow: bool) -> None:
    if not slow:
        sink.sendall(data)
        return
    for first in range(0, len(data), TRICKLE):
        if pair.over.wait(TRICKLE_PAUSE):
            return
        sink.sendall(data[first : first + TRICKLE])
