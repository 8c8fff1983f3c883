"""The state of one download under one lock: the plan, the pieces under way, the bytes by source, and the results to report.

Only the methods here and in `transfer.Transfer` take the lock. No slow operation runs under it: no socket, no file, no digest.
"""

from __future__ import annotations

import threading
import time
from itertools import islice

from dfengine.client.byte_counts import ByteCounts
from dfengine.client.job_connections import JobConnections
from dfengine.client.wakeup import Wakeup
from dfengine.codes import MAX_WANTED
from dfengine.net import fork_safety
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.client.eviction_reports import EvictionReports
    from dfengine.client.job import Job
    from dfengine.client.messages import Source
    from dfengine.client.plan import Plan
    from dfengine.net.http_client import Connection
    from dfengine.storage.piece_file import PieceFile
    from dfengine.storage.signal_page import SignalPage



class Demand(Value):
    """Input for a supernode session's decision when to send the next request.

    want: number of pieces to request. idle_thread: whether a thread has no job. refused: consecutive offers without a usable source.
    reports: results to report. ending: pieces that will soon be complete. next_ending: seconds until the next check for those. end: of a
    stream's window, -1: no stream. pace: seconds for one piece, 0: unknown, or reported before. wanted_pieces: see Plan.wanted_pieces.
    """

    want: int
    idle_thread: bool
    refused: int
    reports: int
    ending: int
    next_ending: float
    end: int
    pace: float
    wanted_pieces: list[int] | None


class Report(Value):
    """Reports of a pull. done: (piece, CID); failed: (piece, CID, why); ending, evicting: pieces. una, end: the window; 0, -1: no stream.

    wanted_pieces: the pieces to name, None: any.
    """

    done: list[tuple[int, str]]
    failed: list[tuple[int, str, str]]
    ending: list[int]
    evicting: list[int]
    una: int
    end: int
    pace: float
    wanted_pieces: list[int] | None


class TransferState:
    """The state of the transfer of one file with one geometry and generation. Any thread may call each method."""

    def __init__(self, file: PieceFile, plan: Plan, byte_counts: ByteCounts) -> None:
        self.file = file
        self.plan = plan
        self.byte_counts = byte_counts
        self.eviction_reports: EvictionReports | None = None
        self.from_origin: dict[int, int] = {}
        """Piece under way -> its bytes received from the origin so far."""
        self.page: SignalPage | None = None
        """Page of signals, if this is the transfer of this host's leader."""
        self._changed = threading.Condition()
        self._job_connections = JobConnections(lambda n: self.file.geometry.framed(n))
        self._wakeup = Wakeup()
        fork_safety.register(self._wakeup)
        fork_safety.register(file)

    # The supernode's session.

    def offer(self, offers: Iterable[tuple[int, str, Iterable[Source]]]) -> None:
        """Add offers (piece, digest, sources), see Plan.offer, and wake idle fetch threads."""
        now = time.monotonic()
        with self._changed:
            for n, digest, sources in offers:
                self.plan.offer(n, digest, sources, now)
            self._changed.notify_all()

    def rejoin(self, native: bool) -> list[tuple[int, int]]:
        """Drop earlier offers for a new registration. Return ranges of stored pieces; native: the caller reports them as held."""
        with self._changed:
            held = self.file.available.runs()
            self.plan.forget_offers()
            if native:
                self.plan.done.clear()
            return held

    def drop_offers(self) -> bool:
        """Drop all offers, as a new registration may be of another version. Return whether no piece is stored or under way."""
        with self._changed:
            self.plan.forget_offers()
            return not self.plan.stored and not self.plan.jobs()

    def demand(self, limit: float, paced: bool = True) -> Demand:
        """Return the present demand. limit: seconds until the next call at the latest. paced: whether the pace was reported."""
        with self._changed:
            plan, window = self.plan, self.plan.window
            ending, next_ending = self._ending() if (plan.timing.slow or not plan.stored) and not self.parked else ([], limit)
            return Demand(
                want=plan.to_request(),
                idle_thread=plan.idle_thread,
                refused=plan.refused,
                reports=len(plan.done) + len(plan.failures) + (len(self.eviction_reports) if self.eviction_reports is not None else 0),
                ending=len(ending),
                next_ending=next_ending,
                end=window.end if window.wnd >= 0 else -1,
                pace=0.0 if paced else self._early_pace(),
                wanted_pieces=plan.wanted_pieces(MAX_WANTED),
            )

    def report(self, most: int, paced: bool) -> Report:
        """Remove and return up to `most` results of each kind; the caller reports them."""
        with self._changed:
            done, failed = self.plan.drain(most)
            ending, window = self._ending()[0], self.plan.window
            for job in ending:
                job.announced = True
            una, end = (window.una, window.end) if window.wnd >= 0 else (0, -1)
            evicting = self.eviction_reports.to_report(most) if self.eviction_reports is not None else []
            pace = 0.0 if paced else round(self._early_pace(), 3)
            wanted = self.plan.wanted_pieces(MAX_WANTED, filled=True)
            return Report(done, failed, [job.piece for job in ending], evicting, una, end, pace, wanted)

    def results(self) -> tuple[list[tuple[int, str]], list[tuple[int, str, str]]]:
        """See Plan.drain."""
        with self._changed:
            return self.plan.drain()

    def requeue(self, done: Iterable[tuple[int, str]], failed: Iterable[tuple[int, str, str]]) -> None:
        """Put back results that could not be reported."""
        with self._changed:
            self.plan.done.extend(done)
            self.plan.failures.extend(failed)

    def evict(self, reported: list[int]) -> None:
        """Free the memory of `reported` pieces, for which the supernode no longer offers this host."""
        if reported and self.eviction_reports is not None:
            with self._changed:
                reported = self.eviction_reports.confirmed(reported)
            for n in reported:
                self.file.evict(n)

    @property
    def finished(self) -> bool:
        """Whether every piece is stored."""
        with self._changed:
            return self.plan.finished

    def lacking(self, most: int) -> list[int]:
        """Return the first `most` wanted pieces that are neither stored nor offered; none for a stream, which may have delivered them."""
        with self._changed:
            plan, window = self.plan, self.plan.window
            if window.wnd >= 0:
                return []
            wanted_pieces = plan.wanted_pieces(most, filled=True)
            wanted = range(window.una, max(0, window.count)) if wanted_pieces is None else wanted_pieces
            return list(islice((n for n in wanted if not window.acked(n) and not plan.digest(n)), most))

    @property
    def missing(self) -> int:
        """See Plan.unrequested."""
        with self._changed:
            return self.plan.unrequested()

    def progress(self) -> tuple[int, bool]:
        """Return (number of stored pieces, whether no piece is wanted until the window moves)."""
        with self._changed:
            return self.plan.stored, self.plan.satisfied

    @property
    def parked(self) -> bool:
        """Whether no piece is wanted or under way until a reader asks for one; only for downloads on demand."""
        return False

    def sync_stored(self) -> None:
        """Count pieces that other downloads have written to a shared place."""

    def wanted_pieces(self) -> list[int] | None:
        """Return the pieces that readers want, in order of preference; None: any."""
        return None

    # The main thread.

    @property
    def wakeup(self) -> Wakeup:
        """The wakeup that `wake` signals."""
        return self._wakeup

    def sleep(self, seconds: float, connection: Connection | None = None) -> bool:
        """Wait for `wake` (see Wakeup.wait)."""
        return self._wakeup.wait(seconds, connection)

    def wake(self) -> None:
        """Wake the main thread."""
        self._wakeup.signal()

    def in_flight(self) -> ByteCounts:
        """Return the bytes of pieces under way; of a piece with several jobs, those of the job with the most bytes."""
        counts = ByteCounts()
        with self._changed:
            self._job_connections.add_in_flight(counts)
            counts.origin += sum(self.from_origin.values())
        return counts

    def _ending(self) -> tuple[list[Job], float]:
        return self._job_connections.ending(self.plan.timing, time.monotonic())

    def _early_pace(self) -> float:
        return self.plan.timing.early_estimate(self._job_connections.received_pieces(), time.monotonic())

    # A source.

    def has_alternative(self, job: Job) -> bool:
        """Whether the job's piece could be requested from another source at once."""
        with self._changed:
            return self.plan.has_alternative(job, time.monotonic())

    def digest(self, n: int) -> str:
        """See Plan.digest."""
        with self._changed:
            return self.plan.digest(n)

    # A stream's consumer.

    def delivered(self, n: int) -> list[int]:
        """Move the window: the consumer has taken piece n, its oldest. Return pieces that must leave memory for that."""
        window = self.plan.window
        with self._changed:
            window.ack(n)
            self._changed.notify_all()
            # At the end of the file the window needs less memory, and the cache may use the rest.
            spare = window.wnd - (window.end - window.una)
            gone = self.eviction_reports.add(n, spare) if self.eviction_reports is not None else []
        self.wake()
        return gone

    def await_una(self, n: int, seconds: float) -> bool:
        """Wait until the consumer has taken all pieces below n. Return False after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self.plan.window.una >= n, seconds)
            return self.plan.window.una >= n

    def wait_for(self, n: int, seconds: float) -> bool | None:
        """Wait for piece n up to `seconds`. Return True: it is stored; False: the file ends before it; None: neither yet."""
        window = self.plan.window
        with self._changed:
            for last in (False, True):
                if 0 <= window.count <= n:
                    return False
                if window.here(n):
                    return True
                if not last:
                    self._changed.wait(seconds)
            return None
