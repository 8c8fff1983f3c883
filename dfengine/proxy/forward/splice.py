"""A tunnel between two plain sockets within the kernel: splice(2) from one socket to a pipe, and from the pipe to the other socket.

While a side does not read, the tunnel's memory is that of one pipe. Empty pipes return to a pool for all tunnels.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING

from dfengine.proxy.forward.relay import Tunnel

if TYPE_CHECKING:
    from collections.abc import Callable

SPLICE_BYTES = 1 << 20
"""Maximum number of bytes for one call; a pipe holds 64 KiB to 1 MiB, depending on the pages that contain the bytes."""

TURN = 4 << 20
"""Bytes of one direction before the others get a turn."""

MAX_KEPT = 64
"""Maximum number of pooled empty pipes."""

FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

_pipes: list[tuple[int, int]] = []


def is_plain(transport: asyncio.Transport) -> bool:
    """Whether it is a plain socket without unsent bytes."""
    return transport.get_extra_info("sslcontext") is None and not transport.get_write_buffer_size()


def detached(transport: asyncio.Transport) -> socket.socket:
    """The socket of a plain transport, which must not be reading. Closes the transport."""
    sock = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    sock.setblocking(False)
    transport.set_protocol(asyncio.Protocol())
    transport.abort()  # closes its own descriptor of the socket
    return sock


class Spliced(Tunnel):
    """first, last: bytes that were read already, for the server and for the client."""

    def __init__(self, client: socket.socket, server: socket.socket, first: bytes, last: bytes, ended: Callable[[Tunnel], None]) -> None:
        super().__init__(ended)
        self._socks = client, server
        self._directions = _Direction(self, client, server, first), _Direction(self, server, client, last)

    def start(self) -> Spliced:
        for direction in self._directions:
            direction.pump()
        return self

    def direction_ended(self) -> None:
        """Handle the end of one direction."""
        self.half()
        if all(direction.over for direction in self._directions):
            self._close()

    def cut(self) -> None:
        for sock in self._socks:
            with contextlib.suppress(OSError):
                # A reset, so that the receiver does not take a part for the whole.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def _close(self) -> None:
        for direction in self._directions:
            direction.close()
        for sock in self._socks:
            sock.close()
        self.closed()


class _Direction:
    """One direction: from `source` to `sink`."""

    def __init__(self, tunnel: Spliced, source: socket.socket, sink: socket.socket, first: bytes) -> None:
        self._tunnel = tunnel
        self._loop = asyncio.get_running_loop()
        self._source, self._sink = source, sink
        self._first = first
        self._pipe: tuple[int, int] | None = None
        self._held = 0
        """Number of bytes in the pipe."""
        self._ended = False
        """Whether the source has ended."""
        self.over = False
        """Whether the sink was shut down as well."""
        self._reads = self._writes = False

    def pump(self) -> None:
        """Move the available bytes, then wait for the side that blocks."""
        if self.over:
            return
        try:
            self._move()
        except BlockingIOError:
            waits_to_write = bool(self._first or self._held)
            self._watch(not waits_to_write, waits_to_write)
        except OSError:
            self._tunnel.cut()

    def _move(self) -> None:
        moved = 0
        while moved < TURN:
            if self._first:
                count = self._sink.send(self._first)
                self._first = self._first[count:]
            elif self._held:
                assert self._pipe is not None
                count = os.splice(self._pipe[0], self._sink.fileno(), self._held, flags=FLAGS)
                self._held -= count
                moved += count
            elif self._ended:
                self._watch(False, False)
                self._return_pipe()
                self.over = True
                with contextlib.suppress(OSError):
                    self._sink.shutdown(socket.SHUT_WR)
                self._tunnel.direction_ended()
                return
            else:
                self._pipe = self._pipe or (_pipes.pop() if _pipes else os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
                try:
                    count = os.splice(self._source.fileno(), self._pipe[1], SPLICE_BYTES, flags=FLAGS)
                except BlockingIOError:
                    self._return_pipe()
                    raise
                self._held += count
                self._ended = not count
                self._tunnel.moved()
        # More bytes may be available: the loop calls again after the others' turns.
        self._watch(not self._held, bool(self._held))

    def _watch(self, reads: bool, writes: bool) -> None:
        if reads != self._reads:
            self._reads = reads
            (self._loop.add_reader(self._source, self.pump) if reads else self._loop.remove_reader(self._source))
        if writes != self._writes:
            self._writes = writes
            (self._loop.add_writer(self._sink, self.pump) if writes else self._loop.remove_writer(self._sink))

    def _return_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return
        if self._held or len(_pipes) >= MAX_KEPT:
            for fd in pipe:
                os.close(fd)
        else:
            _pipes.append(pipe)

    def close(self) -> None:
        """Stop."""
        self.over = True
        self._watch(False, False)
        self._return_pipe()
        self._held = 0
