"""The connection of each job of a download, and the bytes received on it. Used under the transfer's lock."""

from __future__ import annotations

import contextlib
import math

from dfengine.client.byte_counts import ByteCounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from dfengine.client.job import Job
    from dfengine.client.piece_timing import PieceTiming
    from dfengine.net.http_client import Connection

STEP = 0.01
"""Shortest time in seconds between checks of the progress of pieces."""

SHUT_RDWR = 2


class JobConnections:
    """Connections by job. framed: returns the bytes of a piece on the wire."""

    def __init__(self, framed: Callable[[int], int]) -> None:
        self._framed = framed
        self._current: dict[Job, tuple[Connection, int]] = {}
        self._opening: dict[Job, list[socket.socket]] = {}

    def begin(self, job: Job, connection: Connection) -> None:
        """Count the bytes on this connection for the job from now on."""
        self._current[job] = connection, connection.receiver.total

    def end(self, job: Job) -> None:
        """Stop counting for the job; without effect if it was not started."""
        self._current.pop(job, None)

    def open(self, job: Job) -> None:
        """Note that the job is about to connect sockets."""
        self._opening[job] = []

    def connecting(self, job: Job, made: socket.socket) -> None:
        """Add a socket that the job connects. A TLS wrapper takes over the socket, so a duplicate is kept to shut down the connection."""
        self._opening[job].append(made.dup())

    def opened(self, job: Job) -> None:
        """Note that the job's sockets are connected, or have failed."""
        for each in self._opening.pop(job):
            each.close()

    def stop(self, jobs: Iterable[Job] | None = None) -> None:
        """Cut threads that receive or connect for these jobs (None: for any): they get an error at once."""
        for job in [*self._current, *self._opening] if jobs is None else jobs:
            if job in self._current:
                self._current[job][0].stop()
            shut(self._opening.get(job, ()))

    def received(self, job: Job) -> int:
        """Bytes received for the job, including the answer's head and the frame."""
        connection, before = self._current.get(job, (None, 0))
        return 0 if connection is None else max(0, connection.receiver.total - before)

    def unread(self, job: Job) -> int:
        """Bytes of the job that wait in this host's kernel: if there are many, the source is not the bottleneck."""
        return self._current[job][0].unread if job in self._current else 0

    def add_in_flight(self, counts: ByteCounts) -> None:
        """Add the bytes of pieces under way to `counts`; of a piece with several jobs, those of the job with the most bytes."""
        best: dict[int, tuple[int, Job]] = {}
        for job in self._current:
            received = min(self.received(job), self._framed(job.piece))
            if job.piece not in best or received > best[job.piece][0]:
                best[job.piece] = received, job
        for received, job in best.values():
            counts.add(job.source, received)

    def ending(self, timing: PieceTiming, now: float) -> tuple[list[Job], float]:
        """Return unannounced jobs whose pieces will soon be complete (`PieceTiming.announce_in`), and the seconds until the next check."""
        soonest, found = math.inf, []
        for job in self._current:
            if job.announced:
                continue
            wait = timing.announce_in(self._framed(job.piece), self.received(job), now - job.began)
            if wait <= 0:
                found.append(job)
            soonest = min(soonest, wait)
        # A piece with too few bytes for an estimate is checked again soon.
        return found, max(STEP, min(soonest, STEP * 4))

    def received_pieces(self) -> float:
        """The received part of all pieces under way, in pieces."""
        return sum(self.received(job) / self._framed(job.piece) for job in self._current)


def shut(sockets: Iterable[socket.socket]) -> None:
    """Shut down sockets: a thread that connects or does a handshake on one of them gets an error at once."""
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(SHUT_RDWR)
