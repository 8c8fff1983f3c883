"""What the threads of one download share: the plan, the file, the counters, and how to stop.

    main thread      speaks to the supernode: offers in, reports out
    fetch threads    take jobs from the plan, receive, verify, write
    digest thread    hashes along the frontier, when a whole digest is wanted

One lock guards plan and counters, and only this class takes it: everybody else gives commands. Nothing slow happens under it: no socket,
no file, no digest.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time

from dfengine.client.byte_counts import ByteCounts
from dfengine.client.connection_pool import ConnectionPool
from dfengine.client.transfer_state import MOST_WANTED, TransferState
from dfengine.errors import BadValue, LocalError, ProtocolViolation, SourceGone
from dfengine.storage.hashing import content_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator

    from dfengine.client.digest import Follower
    from dfengine.client.job import Job
    from dfengine.client.plan import Plan
    from dfengine.client.throttle import Throttle
    from dfengine.net.dial import Connection
    from dfengine.storage.piece_file import PieceFile

ENOUGH = 2
"""Threads that receive at once while pieces land at speed: each more costs CPU and caches, and brings nothing."""

STARTING = 0.2
"""Seconds until a thread whose start was interrupted runs, if it ever does; one that runs later finds its download stopped."""

SLICE = 0.25
"""Seconds that the end of a thread is waited for at once."""

STOPPED = 1.0
"""Seconds between two checks of the sources beyond which it was this process that did not run."""

UNREAD = 128 << 10
"""Bytes that wait unread when this host is what is slow; half of them wait before a thread is woken (net/_receive)."""

AT_SPEED = 0.1
"""Seconds without a piece after which every thread takes part: the sources are what is slow."""


class Transfer(TransferState):
    """Of one file under one geometry and generation. Every method may be called from any thread unless it says otherwise."""

    def __init__(
        self, file: PieceFile, plan: Plan, byte_counts: ByteCounts, *, follower: Follower | None = None, throttle: Throttle | None = None,
        connections: ConnectionPool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(file, plan, byte_counts)
        self.follower = follower
        self.throttle = throttle
        self.connections = connections or ConnectionPool()
        self.error: BaseException | None = None
        self.fault, self.fault_at = "", 0.0
        """What a source did wrong, the last time, and when (monotonic seconds)."""
        self.stopping = False
        self._placing: set[Job] = set()
        self._idle = self._busy = 0
        self._landed_at = self._listened_at = time.monotonic()
        self._threads: list[threading.Thread] = []
        self._fetchers: list[threading.Thread] = []
        self._cuts: set[Callable[[], None]] = set()

    # The main thread.

    def start(self, run: Callable[[], None], name: str, fetches: bool = True) -> None:
        """Run a thread of this download; `close` waits for it, and if it `fetches` so does `halt`."""
        thread = threading.Thread(target=run, name=name, daemon=True)
        (self._fetchers if fetches else self._threads).append(thread)
        thread.start()

    def learn_length(self, length: int) -> None:
        """The file's bytes, once unknown. Raises ProtocolViolation when what is here contradicts it."""
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
                raise ProtocolViolation(f"the file's length of {length} cannot be: {error}") from None
            self._changed.notify_all()
        if self.follower is not None:
            self.follower.advance()

    def listen(self, floor: float) -> bool:
        """Ask other sources for what silent ones keep. True: start one more thread (at most twice `plan.workers`). floor: bytes/s."""
        now = time.monotonic()
        share = math.inf if self.throttle is None else self.throttle.rate / (2 * max(1, self.plan.workers))
        with self._changed:
            past, self._listened_at = now - self._listened_at, now
            for job in self.plan.jobs():
                if past > STOPPED:
                    job.pause(past, now)
                silent = self.plan.late(job, self._receiving.came(job), now, floor)
                slow = not silent and self.plan.slow(job, self.file.geometry.framed(job.piece), now, share)
                if job.writing or ((silent or slow) and self._receiving.unread(job) > (0 if silent else UNREAD)):
                    job.received_at = now
                elif silent or slow:
                    (self.plan.silent if silent else self.plan.hurry)(job, now)
                    self._changed.notify_all()
            threads = len(self._fetchers) - self.plan.stuck
            return not self._idle and threads < self.plan.workers and len(self._fetchers) < 2 * self.plan.workers

    def halt(self, patience: float = 5.0) -> None:
        """End the fetch threads, as far as they end within `patience` seconds; others can be started then. The digest goes on."""
        self._cut()
        join(self._fetchers, patience)
        if any(thread.is_alive() for thread in self._fetchers):
            raise LocalError("a thread of this download does not end")
        self._fetchers.clear()
        self.connections.close()
        if self.error is None:
            self.stopping = False

    def close(self, patience: float = 5.0) -> bool:
        """Stop every thread and wait for it; True when all have ended. The file stays open."""
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
        """Waits for one; None when there is nothing left to do. When its work is done, say `rest`."""
        with self._changed:
            while not self.stopping and not self.plan.finished:
                now = time.monotonic()
                busy = self._busy - self.plan.stuck
                enough = self._landed_at + AT_SPEED - now if busy >= ENOUGH and not self.plan.pace.slow else 0.0
                if enough > 0:
                    self._changed.wait(enough)
                    continue
                # Threads beyond the workers were started while others were stuck; they are not idle, and start nothing.
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
        """Seconds until an idle fetch thread checks again by itself. Hold the lock."""
        return min(1.0, max(0.05, self.plan.hedge_at() - now))

    def rest(self) -> None:
        """What began with a job of `next_job` is over."""
        with self._changed:
            self._busy -= 1

    def job_ahead(self, address: tuple[str, int]) -> Job | None:
        """One more from the same address to ask for before the last is through; never one that an idle worker could start."""
        with self._changed:
            return None if self.stopping or self._idle else self.plan.assign(time.monotonic(), address, only=True)

    @contextlib.contextmanager
    def opening(self, job: Job) -> Iterator[Callable[[socket.socket], None]]:
        """While inside, each socket that what it gives is called with is shut when the job is wanted no more."""

        def opened(made: socket.socket) -> None:
            with self._changed:
                self._receiving.connecting(job, made)
                if self.stopping or job.lost:
                    self._receiving.stop((job,))

        with self._changed:
            self._receiving.open(job)
        try:
            yield opened
        finally:
            with self._changed:
                self._receiving.opened(job)

    def begin(self, job: Job, connection: Connection) -> bool:
        """Its turn to be received has come; False when it is wanted no more."""
        with self._changed:
            if self.stopping or job.lost:
                return False
            self.plan.began(job, time.monotonic())
            self._receiving.begin(job, connection)
            return True

    @contextlib.contextmanager
    def placing(self, job: Job) -> Iterator[bool]:
        """While inside, parts of the job's content may be written in their place although nothing is verified yet.

        False: they must not, because another job of the piece runs, or the digest of the whole file wants the piece in one buffer.
        """
        with self._changed:
            alone = self.follower is None and not job.lost and not self.plan.rivals(job) and self.file.takes_parts(job.piece)
            if alone:
                self._placing.add(job)
        try:
            yield alone
        finally:
            if alone:
                with self._changed:
                    self._placing.discard(job)
                    self._changed.notify_all()

    def land(self, job: Job, buffer: memoryview, length: int, xxh3: bytes | None, placed: bool = False) -> memoryview | None:
        """Verified content buffer[:length]: write it unless another job was first. Returns a buffer in exchange, or None: keep it.

        xxh3: its digest where known, and always when the content was `placed` and is in no buffer. Raises StorageError.
        """
        with self._changed:
            self._receiving.end(job)
            if not self.plan.arrived(job, time.monotonic()):
                return None
            losers = self.plan.rivals(job)
            self._receiving.stop(losers)
        if placed:
            assert xxh3 is not None
            self.file.offer(job.piece, xxh3)
        else:
            with self._changed:
                # A loser is cut off and writes no more soon; its unverified bytes must not come after these.
                self._changed.wait_for(lambda: not any(loser in self._placing for loser in losers))
            content = buffer[:length]
            self.file.write(job.piece, content, content_digest(content) if xxh3 is None else xxh3)
        with self._changed:
            self.plan.written(job)
            self.byte_counts.add(job.source, length)
            self._landed(job.piece)
        self.wake()
        return None if self.follower is None else self.follower.submit(job.piece, buffer, length)

    def _landed(self, n: int) -> None:
        """A stream's consumer waits for every piece, everybody else for the last one. Hold the lock."""
        self._landed_at = time.monotonic()
        if self.plan.finished or self.plan.window.wnd >= 0:
            self._changed.notify_all()
        if self.page is not None:
            self.page.changed()

    def ask_for_host(self, pieces: list[int]) -> None:
        """Other downloads of this host wait for `pieces`, and no more for those that were given here before; some may be nonsense."""
        with self._changed:
            self.plan.want_first(pieces[:MOST_WANTED])
            first = self.plan.wanted_pieces(1)
        if first:
            self.wake()

    # A stream.

    def room_for(self, n: int) -> int:
        """Waits until the window has come to piece n; its end. Raises SourceGone when the download is stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopping or n < self.plan.window.end)
            if self.stopping:
                raise self.error or SourceGone("the download was stopped")
            return self.plan.window.end

    def drop(self, job: Job, why: str = "", what: str = "") -> None:
        """A job that brought nothing: failed because of `why` (see Plan.failed), or given back unblamed; `what` says it to people."""
        with self._changed:
            self._receiving.end(job)
            now = time.monotonic()
            if what:
                self.fault, self.fault_at = what, now
            if why and not self.stopping:
                self.plan.failed(job, why, now)
            else:
                self.plan.give_back(job, now)
            self._changed.notify_all()
        self.wake()

    def fail(self, error: BaseException) -> None:
        """This download cannot go on: the main thread raises `error`."""
        with self._changed:
            if self.error is None:
                self.error = error
        self.stop()

    def keep(self, n: int, buffer: memoryview, length: int) -> memoryview | None:
        """Piece n came from the origin; otherwise as `land`. Raises StorageError."""
        content = buffer[:length]
        self.file.write(n, content, content_digest(content))
        self._hold(n, length)
        return None if self.follower is None else self.follower.submit(n, buffer, length)

    def keep_placed(self, n: int, length: int, xxh3: bytes) -> None:
        """Piece n came from the origin, and all of it is in its place."""
        self.file.offer(n, xxh3)
        self._hold(n, length)

    def keep_copied(self, n: int, length: int, xxh3: bytes) -> None:
        """Piece n came from another download of this host, and all of it is in its place."""
        self.file.offer(n, xxh3)
        self.keep_shared(n, length)

    def keep_shared(self, n: int, length: int) -> None:
        """Piece n lies in its place, which is another download's of this host as well, by whom it came."""
        self._hold(n, length, host=True)
        if self.follower is not None:
            self.follower.advance()

    def _hold(self, n: int, length: int, host: bool = False) -> None:
        with self._changed:
            self.plan.hold((n,))
            if host:
                self.byte_counts.host += length
            else:
                self.byte_counts.add(None, length)
            self._landed(n)
            idle = host and not self.plan.finished
        if not idle:  # of a leader's pieces the main thread needs to know the last one only
            self.wake()

    @contextlib.contextmanager
    def cuttable(self, cut: Callable[[], None]) -> Iterator[None]:
        """While inside, stopping this download calls `cut`; raises SourceGone when it was stopped before."""
        with self._changed:
            if self.stopping:
                raise self.error or SourceGone("the download was stopped")
            self._cuts.add(cut)
        try:
            yield
        finally:
            with self._changed:
                self._cuts.discard(cut)

    def _cut(self) -> None:
        """Fetch threads end soon; those that receive are cut off."""
        with self._changed:
            self.stopping = True
            self._receiving.stop()
            self._changed.notify_all()
            cuts = [*self._cuts]
        for cut in cuts:
            cut()

    def stop(self) -> None:
        """Every thread ends soon."""
        self._cut()
        if self.throttle is not None:
            self.throttle.stop()
        if self.follower is not None:
            self.follower.stop()
        self.wake()


def join(threads: Iterable[threading.Thread], seconds: float) -> None:
    """Wait until they have ended, for `seconds` in all; time in which this process does not run counts as little more than a slice.

    A signal's exception may have come in the middle of `Thread.start`: then nobody knows yet whether the thread runs.
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
