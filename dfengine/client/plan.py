"""Selects the next piece that a download fetches, and its source: a pure state machine with the time as argument.

Invariant: a piece is in exactly one state.

    WANTED      no source is known
    OFFERED     sources are known, no job fetches it
    RUNNING     one job fetches it, or several: all but the first are hedges
    COMMITTING  one job's content is verified and is being written; any other job of it is lost
    STORED      written and servable

    event        from                to
    offer        WANTED              OFFERED
                 OFFERED, RUNNING    the same, with more sources
                 COMMITTING, STORED  the same; it is reported as done again, so that the source's slot is freed
    assign       OFFERED             RUNNING
                 RUNNING             RUNNING with a hedge
    arrived      RUNNING             COMMITTING, True; from a lost job: no change, False
    written      COMMITTING          STORED
    failed       RUNNING             RUNNING if another job runs, else OFFERED if an untried source is left, else WANTED
    release      RUNNING             the same as failed, but no failure is counted and the source may be tried again
    mark_silent  RUNNING             the same; the next `assign` starts a hedge of it, before any other job
    mark_slow    RUNNING             as mark_silent: its source sends, but another source would have sent the whole piece by now

The window determines which pieces may be requested; a piece that left it is no longer started.
An offer of only sources that are avoided (`source_health`) is refused: reported as failed, so that others are offered.
"""

from __future__ import annotations

import math
import sys

from dfengine.client.job import HEDGES, Job, Piece
from dfengine.client.piece_timing import PieceTiming
from dfengine.client.source_health import Health
from dfengine.errors import IllegalEvent
from dfengine.task import SUPERNODE_CID, is_valid_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine._window import Window
    from dfengine.client.messages import Source


class Plan:
    """The plan of one download. workers: pieces fetched at the same time. order: sort key of offered pieces, None: as offered.

    hedge_next: standard deviations after which the window's oldest piece (a stream's head of line) is hedged before other
    pieces are started; None: hedge only when no other piece is left to start. Methods raise IllegalEvent for illegal transitions.
    """

    def __init__(self, window: Window, workers: int, *, order: Callable[[int], int] | None = None, hedge_next: float | None = None) -> None:
        self.window, self.workers = window, workers
        self.timing = PieceTiming()
        self.hedged = self.refused = 0
        """refused: consecutive offers that named no usable source."""
        self.done: list[tuple[int, str]] = []
        self.failures: list[tuple[int, str, str]] = []
        self._order = order
        self._hedge_next = hedge_next
        self._max_jobs = 2 if hedge_next is None else HEDGES
        self._pieces: dict[int, Piece] = {}
        self._offered: dict[int, Piece] = {}
        self._health = Health()
        self._stored = self._running = 0
        self._silent: set[int] = set()

    # Pieces and sources.

    def add_stored(self, pieces: Iterable[int]) -> None:
        """Note that `pieces` are stored: from an earlier download, or from the origin."""
        for n in pieces:
            if not self._is_stored(n):
                self._set_stored(n)
                self._forget(n)

    def set_count(self, count: int) -> None:
        """Set the number of pieces, which was unknown; offers beyond it are dropped."""
        self.window.set_count(count)
        for n in [n for n in self._offered if n >= count]:
            self._forget(n)

    def offer(self, n: int, digest: str, sources: Iterable[Source], now: float) -> bool:
        """Add `sources` of piece `n` (valid in the task), best first. Return False if none of them is usable now."""
        named, piece = list(sources), self._pieces.get(n)
        if self._is_stored(n) or (piece is not None and piece.committing):
            self.done.extend((n, source.cid) for source in named[:1])
            return True
        usable = [one for one in named if self._is_usable(one, now)] if self.window.wanted(n) else []
        if named and (not usable or usable[0] is not named[0]):
            self.failures.append((n, named[0].cid, "other"))
        self.refused = 0 if usable else self.refused + 1
        if not usable:
            return False
        if piece is None or (digest != piece.digest and not piece.jobs):
            self._pieces[n] = self._offered[n] = Piece(digest, usable)
        elif digest == piece.digest:
            piece.offer(usable)
        if digest == self._pieces[n].digest:
            self._pieces[n].slot = named[0].cid if usable[0] is named[0] else ""
        return True

    def _is_usable(self, source: Source, now: float) -> bool:
        return not self._health.is_avoided(source, now) and is_valid_source(source.cid, source.port, source.path)

    def forget_offers(self) -> None:
        """Give back pieces that are not running, so that a new registration gets them offered again. Sources are avoided no longer."""
        for n in list(self._offered):
            self._give_up(n)
        self._health.forgive()
        self.refused = 0

    # Acquisition.

    def assign(self, now: float, prefer: tuple[str, int] | None = None, only: bool = False) -> Job | None:
        """Return the next job, or None. prefer: preferred address (ip, port). only: no other address and no hedge; the job is queued."""
        if not only:
            for n in self._silent_pieces():
                source = self._pick(self._pieces[n], now)
                if source is not None and self.window.wanted(n):
                    return self._start(n, source, now, hedge=True)
        if not only and self._hedge_next is not None and (job := self._hedge(self.window.una, now)) is not None:
            return job
        first: tuple[int, Source] | None = None
        for n in self._offered if self._order is None else sorted(self._offered, key=self._order):
            source = self._pick(self._offered[n], now)
            if source is None:
                continue
            if prefer is None or source.address == prefer:
                return self._start(n, source, now, hedge=False, queued=only)
            if not only:
                first = first or (n, source)
                if self._order is not None:
                    break
        if first is not None:
            return self._start(*first, now, hedge=False)
        if only or self._hedge_next is not None or self.unrequested() != 0:
            return None
        for n in sorted((n for n, piece in self._pieces.items() if piece.jobs), key=lambda n: self._pieces[n].jobs[0].began):
            if (job := self._hedge(n, now)) is not None:
                return job
        return None

    def _hedge(self, n: int, now: float) -> Job | None:
        piece = self._pieces.get(n) if self.window.wanted(n) else None
        if piece is None or not piece.may_hedge(self._max_jobs) or now < piece.jobs[-1].began + self.timing.hedge_after(self._hedge_next):
            return None
        source = self._pick(piece, now)
        return None if source is None else self._start(n, source, now, hedge=True)

    def _pick(self, piece: Piece, now: float) -> Source | None:
        return self._health.pick(piece.untried, now, piece.silent)

    def _start(self, n: int, source: Source, now: float, hedge: bool, queued: bool = False) -> Job:
        piece = self._pieces[n]
        self._offered.pop(n, None)
        job = Job(n, piece.digest, source, now, queued)
        piece.jobs.append(job)
        piece.tried.add(source.cid)
        self._running += 1
        self.hedged += hedge
        return job

    def began(self, job: Job, now: float) -> None:
        """Start the times of a job, whose turn on a shared connection begins."""
        job.begin(now)

    def is_overdue(self, job: Job, received: int, now: float, floor: float) -> bool:
        """Set the bytes received for a job, with its answer's head. Return whether more are overdue (see PieceTiming.overdue)."""
        if job.over or job.lost or job.queued or self._piece_of(job).committing:
            return False
        if received > job.received:
            if not job.received:
                self.timing.answered(now - job.began)
            if job.silent and not job.slow and not self.timing.overdue(received, now - job.began, 0.0, floor):
                self._health.answered(job.source)
            job.received, job.received_at = received, now
        return not job.silent and self.timing.overdue(job.received, now - job.began, now - job.received_at, floor)

    def is_slow(self, job: Job, length: int, now: float, share: float) -> bool:
        """Whether a trusted source would send the piece of a job of `length` bytes far sooner. Call it after `is_overdue`.

        share: bytes per second that this host allows the job; a job that reaches this rate is not slow.
        """
        if job.over or job.lost or job.queued or job.silent or not job.received:
            return False
        piece, rate = self._piece_of(job), job.rate(now)
        if piece.committing or rate >= share or not self.timing.too_slow(length - job.received, rate, now - job.began):
            return False
        source = self._health.pick(piece.untried, now, True)
        return source is not None and self._health.trusted(source)

    def mark_slow(self, job: Job, now: float) -> None:
        """Treat a slow job as silent. Before any piece is complete, only one piece is hedged, and no source is reported."""
        if self.timing.mean:
            job.slow = True
            self.mark_silent(job, now)
        elif not any(other.slow for other in self.jobs()):
            job.slow = job.silent = True
            self._silent.add(job.piece)

    def mark_silent(self, job: Job, now: float) -> None:
        """Note that a job's source sends no bytes: all pieces requested from it are also requested from other sources."""
        self._health.silence(job.source, now)
        for n, piece in self._pieces.items():
            for other in piece.jobs:
                if other.source.address == job.source.address and not (other.silent or other.lost or piece.committing):
                    other.silent, other.slow = True, job.slow
                    self._silent.add(n)
                    if not other.source.cid.startswith(SUPERNODE_CID):  # a supernode keeps its pieces, so their delay needs no report
                        self._report_failure(n, piece, other.source.cid, "slow")
        self._drop_unusable(now)

    def _report_failure(self, n: int, piece: Piece, cid: str, why: str) -> None:
        """Report a source's failure, which frees the slot that is reserved for the piece."""
        self.failures.append((n, cid, why))
        if cid == piece.slot:
            piece.slot = ""

    def _drop_unusable(self, now: float) -> None:
        """Give back offered pieces whose sources are all avoided now, so that other sources are offered."""
        for n in [n for n, piece in self._offered.items() if self._pick(piece, now) is None]:
            self._give_up(n)

    # Completion.

    def arrived(self, job: Job, now: float, timed: bool = True) -> bool:
        """Note a job's complete, verified content. True: write it, then call `written`; False: another was first. timed: learn its time."""
        piece = self._piece_of(job)
        if job.lost:
            self._end(job)
            return False
        if piece.committing:
            raise IllegalEvent(f"piece {job.piece} arrived twice")
        piece.committing = True
        if timed:
            self.timing.add(now - job.began)
        self._health.success(job.source)
        for other in piece.jobs:
            other.lost = other is not job
        return True

    def rivals(self, job: Job) -> list[Job]:
        """Running jobs of the same piece that lost against `job`: their connections can be cut."""
        return [other for other in self._piece_of(job).jobs if other is not job]

    def written(self, job: Job) -> None:
        """Note that a job's content is in its place and its bit is set."""
        piece = self._piece_of(job)
        if not piece.committing or job.lost:
            raise IllegalEvent(f"piece {job.piece} was not the winner's to write")
        self._end(job)
        del self._pieces[job.piece]
        self._set_stored(job.piece)
        self.done.append((job.piece, job.source.cid))

    def failed(self, job: Job, why: str, now: float) -> None:
        """End a failed job. why: gone, digest, slow or other. A lost job's failure is not counted against its source."""
        piece = self._piece_of(job)
        self._end(job)
        if job.lost:
            return
        if not job.silent or why == "digest":
            self._report_failure(job.piece, piece, job.source.cid, why)
        avoided = self._health.fault(job.source.cid, why, now)
        self._settle(job.piece, piece, now)
        if avoided:
            self._drop_unusable(now)

    def release(self, job: Job, now: float) -> None:
        """End a job that was never started, or is no longer wanted; the same source may be asked again."""
        piece = self._piece_of(job)
        self._end(job)
        if not job.lost:
            piece.tried.discard(job.source.cid)
            self._settle(job.piece, piece, now)

    def _piece_of(self, job: Job) -> Piece:
        piece = self._pieces.get(job.piece)
        if job.over:
            raise IllegalEvent(f"a job of piece {job.piece} ended twice")
        # A lost job outlives its piece's record: the winner has been written.
        if piece is None:
            piece = Piece("", [])
            piece.jobs.append(job)
        return piece

    def _is_stored(self, n: int) -> bool:
        return self.window.acked(n) or self.window.here(n)

    def _set_stored(self, n: int) -> None:
        """Note a stored piece, which `add_stored` may have noted while a job wrote it. A file acknowledges it now, a stream later."""
        self._stored += not self._is_stored(n)
        (self.window.ack if self.window.wnd < 0 else self.window.arrive)(n)

    def _end(self, job: Job) -> None:
        job.over = True
        self._running -= 1
        piece = self._pieces.get(job.piece)
        if piece is not None and job in piece.jobs:
            piece.jobs.remove(job)

    def _settle(self, n: int, piece: Piece, now: float) -> None:
        if not piece.jobs and self.window.wanted(n) and self._pick(piece, now) is not None:
            self._offered[n] = piece
        elif not piece.jobs:
            self._give_up(n)

    def _give_up(self, n: int) -> None:
        """Return a piece without usable sources to WANTED, and free the slot that is reserved for it."""
        piece = self._pieces[n]
        if piece.slot:
            self.failures.append((n, piece.slot, "other"))
        self._forget(n)

    def _forget(self, n: int) -> None:
        self._offered.pop(n, None)
        piece = self._pieces.get(n)
        if piece is not None and not piece.jobs:
            del self._pieces[n]

    # Queries.

    @property
    def finished(self) -> bool:
        """Whether every piece is stored."""
        return 0 <= self.window.count == self._stored

    @property
    def stored(self) -> int:
        """Number of pieces stored so far."""
        return self._stored

    def want_first(self, pieces: Iterable[int]) -> None:
        """Prefer `pieces`, for which other downloads of this host wait; invalid numbers are ignored. This plan ignores the call."""

    def wanted_pieces(self, most: int, filled: bool = False) -> list[int] | None:
        """Return up to `most` pieces for a pull to name; None: the pull asks for any. filled: also name pieces that may be sent instead."""
        return None

    def jobs(self) -> list[Job]:
        """Jobs of pieces that are not stored yet."""
        return [job for piece in self._pieces.values() for job in piece.jobs]

    def unrequested(self) -> int:
        """Number of pieces of the window that are WANTED: neither stored, offered nor running; -1 while unknown."""
        window = self.window
        if window.wnd >= 0:
            return sum(1 for n in range(window.una, window.end) if window.wanted(n) and n not in self._pieces)
        return -1 if window.count < 0 else window.count - self._stored - sum(not self._is_stored(n) for n in self._pieces)

    def to_request(self) -> int:
        """Number of further pieces to request now."""
        again = sum(not self._pieces[n].slot for n in self._silent_pieces())
        room, unrequested = self.workers + self.timing.ahead(self.workers) - len(self._pieces) + again, self.unrequested()
        return max(0, room if unrequested < 0 else min(room, unrequested + again))

    def _silent_pieces(self) -> list[int]:
        """Pieces whose jobs are all silent, in order."""
        self._silent = {n for n in self._silent if n in self._pieces and self._pieces[n].jobs}
        return sorted(n for n in self._silent if self._pieces[n].silent)

    @property
    def satisfied(self) -> bool:
        """Whether no piece of the window is missing: further pieces are wanted only when it moves."""
        return not self._pieces and self.unrequested() == 0

    @property
    def idle_thread(self) -> bool:
        """Whether a fetch thread has no job to start."""
        return not self._offered and self._running - self.stuck < self.workers

    @property
    def stuck(self) -> int:
        """Number of jobs whose sources are silent: their threads wait and start no other job."""
        return sum(job.silent and not job.queued for n in self._silent if n in self._pieces for job in self._pieces[n].jobs)

    def has_alternative(self, job: Job, now: float) -> bool:
        """Whether the job's piece could be requested from another source at once."""
        return job.piece in self._pieces and self._pick(self._pieces[job.piece], now) is not None

    def digest(self, n: int) -> str:
        """Digest of a piece that was offered and is not stored, "" for others."""
        return self._pieces[n].digest if n in self._pieces else ""

    def drain(self, most: int = sys.maxsize) -> tuple[list[tuple[int, str]], list[tuple[int, str, str]]]:
        """Remove and return up to `most` reports each of done and failed pieces."""
        done, self.done = self.done[:most], self.done[most:]
        failures, self.failures = self.failures[:most], self.failures[most:]
        return done, failures

    def hedge_at(self) -> float:
        """When (monotonic seconds) an idle fetch thread should check again for a late piece; infinite if never."""
        head = self._pieces.get(self.window.una)
        pieces = self._pieces.values() if self._hedge_next is None else [] if head is None else [head]
        began = (piece.jobs[-1].began for piece in pieces if piece.may_hedge(self._max_jobs))
        return min(began, default=math.inf) + self.timing.hedge_after(self._hedge_next)
