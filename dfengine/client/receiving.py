"""Which connection receives each job of a download, and how many bytes have come. Used under the transfer's lock."""

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
    from dfengine.net.dial import Connection

STEP = 0.01
"""Seconds between checks of the progress of pieces, at least."""

SHUT_RDWR = 2


class Receiving:
    """framed: the bytes of a piece on the wire."""

    def __init__(self, framed: Callable[[int], int]) -> None:
        self._framed = framed
        self._current: dict[Job, tuple[Connection, int]] = {}
        self._opening: dict[Job, list[socket.socket]] = {}

    def begin(self, job: Job, connection: Connection) -> None:
        """Bytes on this connection belong to the job from now on."""
        self._current[job] = connection, connection.receiver.total

    def end(self, job: Job) -> None:
        """Nothing more comes; without effect if it was not started."""
        self._current.pop(job, None)

    def open(self, job: Job) -> None:
        """The job is about to connect sockets."""
        self._opening[job] = []

    def connecting(self, job: Job, made: socket.socket) -> None:
        """A socket that the job connects. A TLS wrapper takes the socket over, so a duplicate is kept to shut the connection."""
        self._opening[job].append(made.dup())

    def opened(self, job: Job) -> None:
        """The job's sockets are connected, or failed."""
        for each in self._opening.pop(job):
            each.close()

    def stop(self, jobs: Iterable[Job] | None = None) -> None:
        """Threads that receive or connect for these jobs (None: for any) get an error at once."""
        for job in [*self._current, *self._opening] if jobs is None else jobs:
            if job in self._current:
                self._current[job][0].stop()
            shut(self._opening.get(job, ()))

    def came(self, job: Job) -> int:
        """Bytes received for it, the answer's head and frame included."""
        connection, before = self._current.get(job, (None, 0))
        return 0 if connection is None else max(0, connection.receiver.total - before)

    def unread(self, job: Job) -> int:
        """Bytes of it that wait in this host's kernel: if there are many, its source is not the slow part."""
        return self._current[job][0].unread if job in self._current else 0

    def moving(self, counts: ByteCounts) -> None:
        """Add the bytes of pieces that are under way; of one that several sources send, what the first of them has sent."""
        best: dict[int, tuple[int, Job]] = {}
        for job in self._current:
            came = min(self.came(job), self._framed(job.piece))
            if job.piece not in best or came > best[job.piece][0]:
                best[job.piece] = came, job
        for came, job in best.values():
            counts.add(job.source, came)

    def ending(self, pace: PieceTiming, now: float) -> tuple[list[Job], float]:
        """Unreported jobs whose pieces will soon be complete (`PieceTiming.ends_in`), and the seconds until there are more."""
        soonest, found = math.inf, []
        for job in self._current:
            if job.announced:
                continue
            wait = pace.ends_in(self._framed(job.piece), self.came(job), now - job.began)
            if wait <= 0:
                found.append(job)
            soonest = min(soonest, wait)
        # A piece with too few bytes for an estimate is checked again soon.
        return found, max(STEP, min(soonest, STEP * 4))

    def part(self) -> float:
        """The received part of all pieces under way, in pieces."""
        return sum(self.came(job) / self._framed(job.piece) for job in self._current)


def shut(sockets: Iterable[socket.socket]) -> None:
    """A thread that connects or shakes hands on one of them gets an error at once."""
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(SHUT_RDWR)
