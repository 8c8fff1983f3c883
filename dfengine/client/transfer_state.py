"""What one download knows, under one lock: what to fetch, what is under way, what came from where, and what is to be reported.

Only the commands here and in `transfer.Transfer` take the lock. Nothing slow happens under it: no socket, no file, no digest.
"""

from __future__ import annotations

import threading
import time
from itertools import islice

from dfengine.client.byte_counts import ByteCounts
from dfengine.client.receiving import Receiving
from dfengine.client.wakeup import Wakeup
from dfengine.net import forked
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.client.job import Job
    from dfengine.client.leaving import Leaving
    from dfengine.client.messages import Where
    from dfengine.client.plan import Plan
    from dfengine.net.dial import Connection
    from dfengine.storage.piece_file import PieceFile
    from dfengine.storage.signal_page import SignalPage


MOST_WANTED = 64
"""Pieces that one pull names at most."""


class Demand(Value):
    """What a supernode session needs to decide when to send the next request.

    want: pieces to ask for. idle_thread: a thread has none. refused: offers in a row without a usable source. reports: results to report.
    ending: pieces that will be whole soon. next_ending: seconds until more are. end: of a stream's window, -1: no stream. pace: seconds
    for one piece, 0: not known yet, or reported before. wanted_pieces: see Plan.wanted_pieces.
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
    """What a pull reports. done: (piece, CID); failed: (piece, CID, why); ending, leaving: pieces. una, end: the window; 0, -1: no stream.

    wanted_pieces: the pieces to name, None: any.
    """

    done: list[tuple[int, str]]
    failed: list[tuple[int, str, str]]
    ending: list[int]
    leaving: list[int]
    una: int
    end: int
    pace: float
    wanted_pieces: list[int] | None


class TransferState:
    """Of one file under one geometry and generation. Any thread may call each method."""

    def __init__(self, file: PieceFile, plan: Plan, byte_counts: ByteCounts) -> None:
        self.file = file
        self.plan = plan
        self.byte_counts = byte_counts
        self.leaving: Leaving | None = None
        self.from_origin: dict[int, int] = {}
        """Piece -> bytes of it that came from the origin so far."""
        self.page: SignalPage | None = None
        """Of this host's leader, if this is its transfer."""
        self._changed = threading.Condition()
        self._receiving = Receiving(lambda n: self.file.geometry.framed(n))
        self._wakeup = Wakeup()
        forked.keep(self._wakeup)
        forked.keep(file)

    # The supernode's session.

    def offer(self, offers: Iterable[tuple[int, str, Iterable[Where]]]) -> None:
        """(piece, digest, sources) each, see Plan.offer: idle workers check again."""
        now = time.monotonic()
        with self._changed:
            for n, digest, sources in offers:
                self.plan.offer(n, digest, sources, now)
            self._changed.notify_all()

    def rejoin(self, native: bool) -> list[tuple[int, int]]:
        """A registration begins: earlier offers are void. native: the returned runs of pieces are reported as held."""
        with self._changed:
            held = self.file.here.runs()
            self.plan.forget_offers()
            if native:
                self.plan.done.clear()
            return held

    def demand(self, limit: float, paced: bool = True) -> Demand:
        """limit: seconds after which it is asked for again at the latest. paced: the pace was reported."""
        with self._changed:
            plan, window = self.plan, self.plan.window
            ending, next_ending = self._ending() if (plan.pace.slow or not plan.here) and not self.parked else ([], limit)
            return Demand(
                want=plan.to_request(),
                idle_thread=plan.idle_thread,
                refused=plan.refused,
                reports=len(plan.done) + len(plan.wrong) + (len(self.leaving) if self.leaving is not None else 0),
                ending=len(ending),
                next_ending=next_ending,
                end=window.end if window.wnd >= 0 else -1,
                pace=0.0 if paced else self._early_pace(),
                wanted_pieces=plan.wanted_pieces(MOST_WANTED),
            )

    def report(self, most: int, paced: bool) -> Report:
        """Up to `most` results of each kind, which count as reported now."""
        with self._changed:
            done, failed = self.plan.drain(most)
            ending, window = self._ending()[0], self.plan.window
            for job in ending:
                job.announced = True
            una, end = (window.una, window.end) if window.wnd >= 0 else (0, -1)
            leaving = self.leaving.tell(most) if self.leaving is not None else []
            pace = 0.0 if paced else round(self._early_pace(), 3)
            wanted = self.plan.wanted_pieces(MOST_WANTED, filled=True)
            return Report(done, failed, [job.piece for job in ending], leaving, una, end, pace, wanted)

    def results(self) -> tuple[list[tuple[int, str]], list[tuple[int, str, str]]]:
        """See Plan.drain."""
        with self._changed:
            return self.plan.drain()

    def put_back(self, done: Iterable[tuple[int, str]], failed: Iterable[tuple[int, str, str]]) -> None:
        """Of `results`, those that could not be reported."""
        with self._changed:
            self.plan.done.extend(done)
            self.plan.wrong.extend(failed)

    def evict(self, reported: list[int]) -> None:
        """The supernode does not offer this host for the `reported` pieces any more: their memory is freed."""
        if reported and self.leaving is not None:
            with self._changed:
                reported = self.leaving.reported(reported)
            for n in reported:
                self.file.evict(n)

    @property
    def finished(self) -> bool:
        """Every piece is here."""
        with self._changed:
            return self.plan.finished

    def lacking(self, most: int) -> list[int]:
        """The first pieces, `most` at most, that are wanted, and neither here nor offered; none of a stream, which may have had them."""
        with self._changed:
            plan, window = self.plan, self.plan.window
            if window.wnd >= 0:
                return []
            wanted_pieces = plan.wanted_pieces(most, filled=True)
            wanted = range(window.una, max(0, window.count)) if wanted_pieces is None else wanted_pieces
            return list(islice((n for n in wanted if not window.acked(n) and not plan.digest(n)), most))

    @property
    def missing(self) -> int:
        """See Plan.unasked."""
        with self._changed:
            return self.plan.unasked()

    def progress(self) -> tuple[int, bool]:
        """(pieces here, the window wants no more until its consumer has taken some)."""
        with self._changed:
            return self.plan.here, self.plan.satisfied

    @property
    def parked(self) -> bool:
        """Nothing is wanted, and nothing is under way, until a reader asks for something; never so without readers on demand."""
        return False

    def note_here(self) -> None:
        """Note pieces that others have written to a shared place."""

    def wanted_pieces(self) -> list[int] | None:
        """The pieces that readers want, in the order of preference; None: any."""
        return None

    # The main thread.

    @property
    def wakeup(self) -> Wakeup:
        """What `wake` signals."""
        return self._wakeup

    def sleep(self, seconds: float, connection: Connection | None = None) -> bool:
        """See Wakeup.wait."""
        return self._wakeup.wait(seconds, connection)

    def wake(self) -> None:
        """The main thread has something to do."""
        self._wakeup.signal()

    def moving(self) -> ByteCounts:
        """Bytes of pieces that are under way; of one that several sources send, what the first of them has sent."""
        counts = ByteCounts()
        with self._changed:
            self._receiving.moving(counts)
            counts.origin += sum(self.from_origin.values())
        return counts

    def _ending(self) -> tuple[list[Job], float]:
        return self._receiving.ending(self.plan.pace, time.monotonic())

    def _early_pace(self) -> float:
        return self.plan.pace.early(self._receiving.part(), time.monotonic())

    # A source.

    def elsewhere(self, job: Job) -> bool:
        """Another source of its piece could be asked at once."""
        with self._changed:
            return self.plan.elsewhere(job, time.monotonic())

    def digest(self, n: int) -> str:
        """See Plan.digest."""
        with self._changed:
            return self.plan.digest(n)

    # A stream's consumer.

    def delivered(self, n: int) -> list[int]:
        """The consumer has taken piece n, the window's oldest: the window moves. Pieces that must leave memory for that."""
        window = self.plan.window
        with self._changed:
            window.ack(n)
            self._changed.notify_all()
            # At the end of the file the window needs less, and the cache may have the rest.
            spare = window.wnd - (window.end - window.una)
            gone = self.leaving.keep(n, spare) if self.leaving is not None else []
        self.wake()
        return gone

    def await_una(self, n: int, seconds: float) -> bool:
        """Wait until the consumer has taken all pieces below n; False after `seconds`."""
        with self._changed:
            self._changed.wait_for(lambda: self.plan.window.una >= n, seconds)
            return self.plan.window.una >= n

    def wait_for(self, n: int, seconds: float) -> bool | None:
        """True: piece n is here. False: the file ends before it. None: neither is so after at most `seconds`."""
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
