"""Shared state of the threads of one download: the plan, the file, the counters, and the way to stop.

    main thread      exchanges messages with the supernode: offers in, reports out
    fetch threads    take jobs from the plan, receive, verify, write
    digest thread    hashes along the frontier, when a whole-file digest is wanted

One lock guards plan and counters, and only this class takes it: other code calls its methods. No slow operation runs under the lock: no
socket, no file, no digest.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time

from dfengine.client import thread_start
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.connection_pool import ConnectionPool
from dfengine.client.transfer_state import TransferState
from dfengine.codes import MAX_WANTED
from dfengine.errors import BadValue, LocalError, ProtocolViolation, SourceGone
from dfengine.storage.hashing import content_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator

    from dfengine.client.digest import FileDigester
    from dfengine.client.job import Job
    from dfengine.client.plan import Plan
    from dfengine.client.throttle import Throttle
    from dfengine.net.http_client import Connection
    from dfengine.storage.piece_file import PieceFile

ENOUGH = 2
"""Threads that receive at the same time while pieces arrive quickly: more threads cost CPU time and cache without being faster."""

STARTING = 0.2
"""Seconds within which a thread whose start was interrupted runs, if it ever does; a later one finds its download stopped."""

SLICE = 0.25
"""Seconds of one wait for the end of a thread."""

STOPPED = 1.0
"""Seconds between two checks of the sources beyond which this process did not run, so that the time does not count."""

UNREAD = 128 << 10
"""Unread bytes from which on this host is the bottleneck; half of them wait before a thread is woken (net/_receive)."""

AT_SPEED = 0.1
"""Seconds without a piece after which all threads fetch: the sources are the bottleneck."""


class Transfer(TransferState):
    """The transfer of one file with one geometry and generation. Methods may be called from any thread unless stated otherwise."""

    def __init__(
        self, file: PieceFile, plan: Plan, byte_counts: ByteCounts, *, digester: FileDigester | None = None,
        throttle: Throttle | None = None, connections: ConnectionPool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(file, plan, byte_counts)
        self.digester = digester
        self.throttle = throttle
        self.connections = connections or ConnectionPool()
        self.error: BaseException | None = None
        self.fault, self.fault_at = "", 0.0
        """The latest fault of a source, and when it happened (monotonic seconds)."""
        self.stopping = False
        self._in_place_jobs: set[Job] = set()
        self._idle = self._busy = 0
        self._last_stored_at = self._sources_checked_at = time.monotonic()
        self._threads: list[threading.Thread] = []
        self._fetchers: list[threading.Thread] = []
        self._stop_callbacks: set[Callable[[], None]] = set()

    # The main thread.

    def start(self, run: Callable[[], None], name: str, fetches: bool = True) -> None:
        """Run a thread of this download; `close` waits for it, and if it `fetches` so does `stop_fetchers`. Raises LocalError."""
        thread_start.start(threading.Thread(target=run, name=name, daemon=True), self._fetchers if fetches else self._threads)

    def learn_length(self, length: int) -> None:
        """Set the file's length in bytes. Raises ProtocolViolation if it contradicts the known length or the stored pieces."""
        if length == self.file.geometry.length and self.plan.window.count == self.file.geometry.count:
            return
        if self.file.geometry.length not in (-1, length):
            raise ProtocolViolation(f"the file's length was {self.file.geometry.length} and is {length} now")
        with self._changed:
            if self.file.geometry.length < 0:
                self.file.learn_length(length)
            if self.page is not None:
                self.page.changed()
            try:
                self.plan.set_count(self.file.geometry.count)
            except BadValue as error:
                raise ProtocolViolation(f"the file's length of {length} is invalid: {error}") from None
            self._changed.notify_all()
        if self.digester is not None:
            self.digester.advance()

    def check_sources(self, floor: float) -> bool:
        """Mark pieces of silent and slow sources for hedging. True: start one more thread (at most 2 * `plan.workers`). floor: bytes/s."""
        now = time.monotonic()
        share = math.inf if self.throttle is None else self.throttle.rate / (2 * max(1, self.plan.workers))
        with self._changed:
            past, self._sources_checked_at = now - self._sources_checked_at, now
            for job in self.plan.jobs():
                if past > STOPPED:
                    job.pause(past, now)
                length = self.file.geometry.framed(job.piece)
                silent = self.plan.is_overdue(job, self._job_connections.received(job), now, floor)
                slow = not silent and self.plan.is_slow(job, length, now, share)
                # A source that has sent the rest of its piece is not slow: this host's rate limit leaves those bytes unread.
                enough = 1 if silent else min(UNREAD, length - job.received)
                if job.writing or ((silent or slow) and self._job_connections.unread(job) >= enough):
                    job.received_at = now
                elif silent or slow:
                    (self.plan.mark_silent if silent else self.plan.mark_slow)(job, now)
                    self._changed.notify_all()
            threads = len(self._fetchers) - self.plan.stuck
            return not self._idle and threads < self.plan.workers and len(self._fetchers) < 2 * self.plan.workers

    def stop_fetchers(self, patience: float = 5.0) -> None:
        """End the fetch threads, so that others can be started; the digest thread continues. Raises LocalError after `patience` seconds."""
        self._stop_fetching()
        join(self._fetchers, patience)
        if any(thread.is_alive() for thread in self._fetchers):
            raise LocalError("a thread of this download does not end")
        self._fetchers.clear()
        self.connections.close()
        with self._changed:  # `fail` in another thread comes before this, or stops again after it
            if self.error is None:
                self.stopping = False
                if self.throttle is not None:
                    self.throttle.resume()

    def close(self, patience: float = 5.0) -> bool:
        """Stop all threads and wait `patience` seconds. Return whether all have ended. The file stays open."""
        self.stop()
        threads = [*self._fetchers, *self._threads]
        join(threads, patience)
        ended = not any(thread.is_alive() for thread in threads)
        self.connections.close()
        if ended:
            self._wakeup.close()
        return ended

    # Fetch threads.

    def next_job(self, prefer: tuple[str, int] | None) -> Job | None:
        """Wait for a job; None when no work is left. Call `job_done` when the job is done."""
        with self._changed:
            while not self.stopping and not self.plan.finished:
                now = time.monotonic()
                busy = self._busy - self.plan.stuck
                enough = self._last_stored_at + AT_SPEED - now if busy >= ENOUGH and not self.plan.timing.slow else 0.0
                if enough > 0:
                    self._changed.wait(enough)
                    continue
                # Threads beyond `workers` were started while others were stuck; now they do not count as idle, and start no job.
                spare = busy >= self.plan.workers
                job = None if spare else self.plan.assign(now, prefer)
                if job is not None:
                    self._busy += 1
                    return job
                self._idle += not spare
                if not spare:
                    self.wake()
                self._changed.wait(self._idle_for(now))
                self._idle -= not spare
            return None

    def _idle_for(self, now: float) -> float:
        """Seconds until an idle fetch thread checks again without being woken. Hold the lock."""
        return min(1.0, max(0.05, self.plan.hedge_at() - now))

    def job_done(self) -> None:
        """Note that the work on a job of `next_job` is done."""
        with self._changed:
            self._busy -= 1

    def job_ahead(self, address: tuple[str, int]) -> Job | None:
        """Return a job to pipeline at the same address; None while a fetch thread is idle, which could start it."""
        with self._changed:
            return None if self.stopping or self._idle else self.plan.assign(time.monotonic(), address, only=True)

    @contextlib.contextmanager
    def opening(self, job: Job) -> Iterator[Callable[[socket.socket], None]]:
        """Context that yields a function to register sockets: they are shut down when the job is no longer wanted."""

        def opened(made: socket.socket) -> None:
            with self._changed:
                self._job_connections.connecting(job, made)
                if self.stopping or job.lost:
                    self._job_connections.stop((job,))

        with self._changed:
            self._job_connections.open(job)
        try:
            yield opened
        finally:
            with self._changed:
                self._job_connections.opened(job)

    def begin(self, job: Job, connection: Connection) -> bool:
        """Begin to receive a job on `connection`. Return False if it is no longer wanted."""
        with self._changed:
            if self.stopping or job.lost:
                return False
            self.plan.began(job, time.monotonic())
            self._job_connections.begin(job, connection)
            return True

    @contextlib.contextmanager
    def writing_in_place(self, job: Job) -> Iterator[bool]:
        """Context that yields whether parts of the job's content may be written to their place before the piece is verified.

        False: another job of the piece runs, or the whole-file digest needs the piece in one buffer.
        """
        with self._changed:
            alone = self.digester is None and not job.lost and not self.plan.rivals(job) and self.file.accepts_parts(job.piece)
            if alone:
                self._in_place_jobs.add(job)
        try:
            yield alone
        finally:
            if alone:
                with self._changed:
                    self._in_place_jobs.discard(job)
                    self._changed.notify_all()

    def commit(self, job: Job, buffer: memoryview, length: int, xxh3: bytes | None, in_place: bool = False) -> memoryview | None:
        """Write the verified content buffer[:length] unless another job was first. Return a buffer in exchange, or None: keep it.

        xxh3: its digest if known; required if the content was `in_place`, and so is in no buffer. Raises StorageError.
        """
        with self._changed:
            self._job_connections.end(job)
            now = time.monotonic()
            # A piece may end before `check_sources` has noticed that this process was stopped: its time does not count.
            if not self.plan.arrived(job, now, timed=now - self._sources_checked_at <= STOPPED):
                return None
            losers = self.plan.rivals(job)
            self._job_connections.stop(losers)
        if in_place:
            assert xxh3 is not None
            self.file.publish(job.piece, xxh3)
        else:
            with self._changed:
                # Wait for the losers, which are cut off: their unverified bytes must not be written after these.
                self._changed.wait_for(lambda: not any(loser in self._in_place_jobs for loser in losers))
            content = buffer[:length]
            self.file.write(job.piece, content, content_digest(content) if xxh3 is None else xxh3)
        with self._changed:
            self.plan.written(job)
            self.byte_counts.add(job.source, length)
            self._on_stored(job.piece)
        self.wake()
        return None if self.digester is None else self.digester.submit(job.piece, buffer, length)

    def _on_stored(self, n: int) -> None:
        """Wake the waiting threads: a stream's consumer for every piece, others for the last one. Hold the lock."""
        self._last_stored_at = time.monotonic()
        if self.plan.finished or self.plan.window.wnd >= 0:
            self._changed.notify_all()
        if self.page is not None:
            self.page.changed()

    def prefer_for_host(self, pieces: list[int]) -> None:
        """Prefer `pieces`, for which other downloads of this host wait, instead of those of the last call; invalid ones are ignored."""
        with self._changed:
            self.plan.want_first(pieces[:MAX_WANTED])
            first = self.plan.wanted_pieces(1)
        if first:
            self.wake()

    # A stream.

    def await_window(self, n: int) -> int:
        """Wait until the window includes piece n; return the window's end. Raises SourceGone when the download is stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopping or n < self.plan.window.end)
            if self.stopping:
                raise self.error or SourceGone("the download was stopped")
            return self.plan.window.end

    def drop(self, job: Job, why: str = "", what: str = "") -> None:
        """End a job without content: failed because of `why` (see Plan.failed), else given back. what: the fault, as text for people."""
        with self._changed:
            self._job_connections.end(job)
            now = time.monotonic()
            if what:
                self.fault, self.fault_at = what, now
            if why and not self.stopping:
                self.plan.failed(job, why, now)
            else:
                self.plan.release(job, now)
            self._changed.notify_all()
        self.wake()

    def fail(self, error: BaseException) -> None:
        """Stop this download: the main thread raises `error`."""
        with self._changed:
            if self.error is None:
                self.error = error
        self.stop()

    def store_from_origin(self, n: int, buffer: memoryview, length: int) -> memoryview | None:
        """Write piece n, received from the origin; otherwise as `commit`. Raises StorageError."""
        content = buffer[:length]
        self.file.write(n, content, content_digest(content))
        self._add_stored(n, length)
        return None if self.digester is None else self.digester.submit(n, buffer, length)

    def add_from_origin(self, n: int, length: int, xxh3: bytes) -> None:
        """Count piece n, received from the origin and written to its place."""
        self.file.publish(n, xxh3)
        self._add_stored(n, length)

    def add_copied(self, n: int, length: int, xxh3: bytes) -> None:
        """Count piece n, copied from another download of this host and written to its place."""
        self.file.publish(n, xxh3)
        self.add_shared(n, length)

    def add_shared(self, n: int, length: int) -> None:
        """Count piece n, which another download of this host has written to a place that both share."""
        self._add_stored(n, length, host=True)
        if self.digester is not None:
            self.digester.advance()

    def _add_stored(self, n: int, length: int, host: bool = False) -> None:
        with self._changed:
            self.plan.add_stored((n,))
            if host:
                self.byte_counts.host += length
            else:
                self.byte_counts.add(None, length)
            self._on_stored(n)
            idle = host and not self.plan.finished
        if not idle:  # the main thread needs a wake-up only for the last piece copied from a leader
            self.wake()

    @contextlib.contextmanager
    def stop_callback(self, callback: Callable[[], None]) -> Iterator[None]:
        """Context in which stopping this download calls `callback`. Raises SourceGone if it was stopped before."""
        with self._changed:
            if self.stopping:
                raise self.error or SourceGone("the download was stopped")
            self._stop_callbacks.add(callback)
        try:
            yield
        finally:
            with self._changed:
                self._stop_callbacks.discard(callback)

    def _stop_fetching(self) -> None:
        """Make the fetch threads end soon; those that receive are cut off, those that the rate limit delays no longer wait."""
        with self._changed:
            self.stopping = True
            if self.throttle is not None:
                self.throttle.stop()
            self._job_connections.stop()
            self._changed.notify_all()
            callbacks = [*self._stop_callbacks]
        for callback in callbacks:
            callback()

    def stop(self) -> None:
        """Make every thread end soon."""
        self._stop_fetching()
        if self.digester is not None:
            self.digester.stop()
        self.wake()


def join(threads: Iterable[threading.Thread], seconds: float) -> None:
    """Wait for the end of `threads`, for `seconds` in all; time in which this process does not run counts as at most two slices.

    If a signal's exception interrupted `Thread.start`, it is not known yet whether the thread runs, and `join` raises RuntimeError.
    """
    for thread in threads:
        begin = time.monotonic() + min(seconds, STARTING)
        while True:
            before, most = time.monotonic(), min(SLICE, max(0.0, seconds))
            try:
                thread.join(most)
                over = not thread.is_alive() or seconds <= 0
                seconds -= min(2 * SLICE, max(time.monotonic() - before, 0.0 if over else most))
            except RuntimeError:
                over = time.monotonic() > begin
                time.sleep(0.001)
            if over:
                break
