"""libcurl, driven step by step by the thread that reads the bytes.

A reading thread drives its own transfers: it waits in poll(2) for libcurl's sockets, for a cancel and for its deadline, and libcurl calls
back in that thread only. So nothing is passed between threads, a signal's exception ends any wait of the main thread, and the number of
descriptors is not limited as by select(2). A paused reader stops the transfer, because no thread drives it.

Law: bytes that arrived on a kept connection before a request was sent do not answer it. `_has_unsolicited_bytes` detects those in the
socket's buffer. It cannot see bytes in the TLS library, which arrived in the same record as the end of the previous response. libcurl reads
these when it first reads for a response: so the kernel holds each request back until libcurl has read once.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from functools import partial
from typing import Any

import pycurl

from dfengine.errors import SourceGone
from dfengine.net import fork_safety
from dfengine.origin.cancel import Cancel

TICK = 0.1
"""Seconds between two checks of the caller's deadline."""

_EVENTS = {pycurl.POLL_IN: select.POLLIN, pycurl.POLL_OUT: select.POLLOUT, pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT}


class CurlTransfers:
    """Transfers of one thread, in one multi handle. A connection whose response has ended is kept for the next transfer."""

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        self._easies: list[Any] = []
        self._spare: list[Any] = []
        self._results: dict[int, tuple[int, str]] = {}
        self._poll = select.poll()
        self._poll.register(cancel.fd, select.POLLIN)
        self._sockets: set[int] = set()
        self._inodes: dict[int, int] = {}
        """Sockets of libcurl -> their inodes, by which a reused descriptor is recognized: libcurl does not report when it closes one."""
        self._kept: set[int] = set()
        """ids of transfers on kept connections."""
        self._corked: dict[int, tuple[int, int]] = {}
        """id of a transfer whose request the kernel holds back -> its socket, and the inode of that."""
        self._due: float | None = None
        self._multi: Any = self._opened()
        fork_safety.register(self)

    def _opened(self) -> Any:
        multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._timer)
        return multi

    def easy(self) -> Any:
        """A handle without options, for a transfer."""
        return self._spare.pop() if self._spare else pycurl.Curl()

    def begin(self, easy: Any) -> None:
        """Add the transfer; the next step starts it.

        Bytes that a kept connection has received already are either surplus or its end. libcurl would take them as the response to this
        request.
        """
        if self._has_unsolicited_bytes():
            if self._easies:
                easy.setopt(pycurl.FRESH_CONNECT, 1)
            else:
                multi, self._multi, self._due = self._multi, self._opened(), None
                multi.close()
                self._inodes.clear()
        if kept := self.descriptors:
            easy.setopt(pycurl.PREREQFUNCTION, partial(self._before_request, id(easy), kept))
        self._easies.append(easy)
        self._multi.add_handle(easy)

    def _before_request(self, number: int, kept: list[int], place: str, own: str, port: int, own_port: int) -> int:
        """Called when libcurl is about to send a request on the connection with this local port."""
        for fd in kept:
            with contextlib.suppress(OSError):
                if _local_port(fd) == own_port:
                    self._kept.add(number)
                    _cork(fd, True)
                    self._corked[number] = fd, os.fstat(fd).st_ino
        return int(pycurl.PREREQFUNC_OK)

    def _uncork(self) -> None:
        """Let the kernel send the requests that it holds back, once libcurl has read for their responses."""
        for number, (fd, inode) in [*self._corked.items()]:
            self._multi.socket_action(fd, pycurl.CSELECT_IN)
            self._corked.pop(number, None)
            with contextlib.suppress(OSError):
                if os.fstat(fd).st_ino == inode:
                    _cork(fd, False)

    def is_early(self, easy: Any) -> bool:
        """Whether a line of a head arrives before the request is sent, and so does not belong to its response."""
        return id(easy) in self._corked

    def was_kept(self, easy: Any) -> bool:
        """Whether its connection has carried another response before."""
        return id(easy) in self._kept

    def result(self, easy: Any) -> tuple[int, str] | None:
        """(libcurl's code, its message) once the transfer has ended."""
        return self._results.get(id(easy))

    @property
    def descriptors(self) -> list[int]:
        """See fork_safety.Open."""
        found = []
        for fd, number in self._inodes.items():
            with contextlib.suppress(OSError):
                if os.fstat(fd).st_ino == number:
                    found.append(fd)
        return found

    def _has_unsolicited_bytes(self) -> bool:
        """Whether a connection without a transfer has bytes to read. A paused transfer's socket is not watched, but has a transfer."""
        if not self._inodes:
            return False
        busy = self._sockets | {easy.getinfo(pycurl.ACTIVESOCKET) for easy in self._easies if self.result(easy) is None}
        idle = select.poll()
        for fd in {*self.descriptors} - busy:
            idle.register(fd, select.POLLIN)
        return bool(idle.poll(0))

    def _watch(self, what: int, fd: int, multi: object, data: object) -> None:
        if what == pycurl.POLL_REMOVE:
            if fd in self._sockets:
                self._sockets.discard(fd)
                self._poll.unregister(fd)
        elif what in _EVENTS:
            self._sockets.add(fd)
            self._inodes[fd] = os.fstat(fd).st_ino
            self._poll.register(fd, _EVENTS[what])

    def _timer(self, milliseconds: int) -> None:
        self._due = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000

    def step(self, seconds: float) -> bool:
        """Advance the transfers on the first event within `seconds`; return False if there was none. Raises SourceGone when cancelled."""
        if len(self._results) == len(self._easies):
            return False
        now = time.monotonic()
        left = seconds if self._due is None else min(seconds, self._due - now)
        ready = self._poll.poll(max(0.0, left) * 1000)
        if self._cancel.is_set:
            raise SourceGone("the download was stopped")
        moved = False
        for fd, events in ready:
            if fd in self._sockets:
                moved = True
                bits = (pycurl.CSELECT_IN if events & ~select.POLLOUT else 0) | (pycurl.CSELECT_OUT if events & select.POLLOUT else 0)
                self._multi.socket_action(fd, bits)
        if self._due is not None and self._due <= time.monotonic():
            self._due, moved = None, True
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._uncork()
        self._ended()
        return moved

    def resume(self, easy: Any) -> None:
        """Resume a transfer that a callback has paused."""
        if self.result(easy) is None:
            easy.pause(pycurl.PAUSE_CONT)
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            self._uncork()
            self._ended()

    def _ended(self) -> None:
        more = 1
        while more:
            more, good, bad = self._multi.info_read()
            self._results.update({id(easy): (0, "") for easy in good})
            self._results.update({id(easy): (code, message) for easy, code, message in bad})

    def end(self, easy: Any) -> None:
        """End one transfer in any state; its connection is kept if the response has ended."""
        if self._multi is None or (self.result(easy) is None and not easy.getinfo(pycurl.NAMELOOKUP_TIME)):
            return  # libcurl waits for the system's resolver: see close
        self._easies = [each for each in self._easies if each is not easy]
        self._results.pop(id(easy), None)
        self._kept.discard(id(easy))
        _remove(self._multi, easy)
        self._corked.pop(id(easy), None)  # the request is not sent, so its connection is closed
        easy.reset()
        self._spare.append(easy)

    def close(self) -> None:
        """End all transfers, and close all connections. Idempotent."""
        multi, self._multi = self._multi, None
        if multi is None:
            return
        if any(self.result(easy) is None and not easy.getinfo(pycurl.NAMELOOKUP_TIME) for easy in self._easies):
            # libcurl waits for the system's resolver, which cannot be interrupted; another thread waits for it.
            with contextlib.suppress(RuntimeError):  # too many threads: this one waits
                threading.Thread(target=_close, args=(multi, self._easies, self._spare), name="resolver", daemon=True).start()
                return
        _close(multi, self._easies, self._spare)


def _local_port(fd: int) -> int:
    """The local port of a socket, -1 without one. Raises OSError."""
    sock = socket.socket(fileno=fd)
    try:
        name = sock.getsockname()
    finally:
        sock.detach()
    return int(name[1]) if isinstance(name, tuple) else -1


def _cork(fd: int, held: bool) -> None:
    """Set whether the kernel holds partial segments back, for at most 200 ms (tcp(7), TCP_CORK). Raises OSError."""
    sock = socket.socket(fileno=fd)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, held)
    finally:
        sock.detach()


def _remove(multi: Any, easy: Any) -> None:
    """Remove the transfer. Raises the exception of a signal that arrives while libcurl calls `_watch`: pycurl makes it a SystemError."""
    try:
        multi.remove_handle(easy)
    except SystemError as error:
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None


def _close(multi: Any, easies: list[Any], spare: list[Any]) -> None:
    for easy in easies:
        with contextlib.suppress(pycurl.error):  # a signal interrupted `begin`, before the transfer was added
            _remove(multi, easy)
    for easy in (*easies, *spare):
        easy.close()
    multi.close()
