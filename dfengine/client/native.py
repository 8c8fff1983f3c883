"""The client's side of the native pull: one connection, with one request parked on it, followed by reports."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque

from dfengine import codes
from dfengine.client.messages import Offer, decode_pulled, encode_pull
from dfengine.client.pull_timing import GRACE, PARK, PullTiming
from dfengine.client.supernode_answer import FILE, Patience, silent_nodes
from dfengine.client.supernode_session import REFUSED, Membership, chance, refuse
from dfengine.client.unoffered_pieces import UnofferedPieces
from dfengine.errors import BadPiece, ProtocolViolation, RemoteError, Silent, SupernodeError, UnknownDownload
from dfengine.net.http_client import JSON_HEADERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfengine.client.transfer import Transfer

MAX_REPORTED = 1000
"""Most reports of each kind in one pull; the next pull has the rest. A supernode processes a pull's reports at once, and limits them."""

FINAL_TIMEOUT = 2.0
"""Seconds to wait for the answer to the last report."""


class NativeSession:
    """See supernode_session.SupernodeSession. held: ranges of pieces that were stored before this registration."""

    finished_md5 = ""
    awaits_md5 = False
    reported = 0

    def __init__(self, member: Membership, held: list[tuple[int, int]], patience: Patience = FILE) -> None:
        self._member = member
        self._patience = patience
        self._connection = member.connection
        self._held = held
        self._timing = PullTiming()
        self._end = -1
        self._wanted_pieces: frozenset[int] = frozenset()
        self._pace_reported = False
        """Whether the pace of this host's link was reported."""
        self._evicted_reports: deque[list[int]] = deque()
        """Pieces that each unanswered request reported as evicted."""
        self._unoffered = UnofferedPieces()
        self._report_lacking = False
        """Whether the next pull reports the lacking pieces: none was offered, or the supernode reports the download as complete."""
        self._unoffered_since = math.inf
        """Since when no wanted piece was offered."""
        self._complete = -1
        """Number of pieces when the supernode reported the download as complete; -1: it has not."""
        self.requests = 0

    def step(self, transfer: Transfer, limit: float) -> None:
        """See supernode_session.SupernodeSession."""
        now = time.monotonic()
        demand = transfer.demand(limit, self._pace_reported)
        if demand.refused >= REFUSED:
            raise SupernodeError(f"supernode {self._member.node} offers only sources that failed: {transfer.fault}")
        # A piece that will soon be complete counts as two reports: it frees slots.
        reports = demand.reports + len(self._held) + 2 * demand.ending + (2 if demand.pace else 0)
        if demand.end >= 0 and demand.want and self._timing.unanswered and demand.end != self._end:
            reports += 1  # the parked pull names an older window
        if demand.wanted_pieces and demand.want and self._timing.unanswered and not self._wanted_pieces.issuperset(demand.wanted_pieces):
            reports += 2  # the parked pull does not name all pieces that readers wait for now
        if demand.wanted_pieces and demand.want and demand.idle_thread and reports:
            reports += 1  # a reader waits for a piece that no thread fetches: do not wait for more reports to send with it
        if self._timing.due(now, reports, demand.want, demand.idle_thread):
            self._send(transfer, demand.want, PARK)
            reports = 0
        late = self._timing.overdue_at(self._patience.prompt)
        if now > late and not self._connection.readable:  # if readable, it was this process that did not run
            raise Silent(f"supernode {self._member.node} does not answer a pull")
        wait = min(limit, demand.next_ending, self._timing.wait(now, reports, demand.want, demand.idle_thread), max(0.0, late - now))
        if transfer.sleep(wait, self._connection):
            self._answer(transfer)

    def conclude(self, transfer: Transfer) -> None:
        """See supernode_session.SupernodeSession. Earlier pulls are answered first."""
        self._send(transfer, 0, 0.0)
        while self._held or transfer.plan.done or transfer.plan.failures:
            self._send(transfer, 0, 0.0)
        deadline = time.monotonic() + FINAL_TIMEOUT
        with contextlib.suppress(RemoteError):
            while self._timing.unanswered:
                self._connection.answer(deadline)
                self._timing.answered(time.monotonic(), 1, 0.0)
            return
        self._connection.usable = False  # an answer may still arrive

    def _send(self, transfer: Transfer, want: int, wait: float) -> None:
        if not self._timing.unanswered and self._connection.readable:
            # Every later answer would be taken for the answer to another pull.
            raise ProtocolViolation(f"supernode {self._member.node} sends an unsolicited answer")
        report = transfer.report(MAX_REPORTED, self._pace_reported)
        self._pace_reported |= report.pace > 0
        self._end = report.end
        held, self._held = self._held[:MAX_REPORTED], self._held[MAX_REPORTED:]
        if self._held or report.wanted_pieces == []:
            want = 0  # offers would be of pieces that are stored, or that no reader waits for
        self._wanted_pieces = frozenset(report.wanted_pieces or () if want else ())
        self._unoffered_since = min(self._unoffered_since, time.monotonic()) if want else math.inf
        lacking: list[int] = []
        if want and self._report_lacking:
            lacking, self._report_lacking = transfer.lacking(codes.MAX_WANTED), False
        elif want and report.wanted_pieces:
            lacking = self._unoffered.overdue(report.wanted_pieces, time.monotonic())
        pull = encode_pull(
            self._member.task, self._member.cid, done=report.done, failed=report.failed, ending=report.ending, pace=report.pace, held=held,
            evicted=[(n, n + 1) for n in (*report.evicting, *lacking)], want=want, wanted_pieces=report.wanted_pieces, wait=wait,
            una=report.una, end=report.end,
        )  # fmt: skip
        self._evicted_reports.append(report.evicting)
        self._connection.send("POST", "/swarm/pull", JSON_HEADERS, pull)
        self._timing.sent(time.monotonic(), len(report.done) + len(report.failed), want)
        self.requests += 1

    def _answer(self, transfer: Transfer) -> None:
        status, body = self._connection.answer(time.monotonic() + GRACE)
        if status != 200:
            raise ProtocolViolation(f"supernode {self._member.node} answers a pull with HTTP {status}")
        if not self._timing.unanswered:
            raise ProtocolViolation(f"supernode {self._member.node} sends an unsolicited answer")
        silent_nodes.answered(str(self._member.node))
        transfer.evict(self._evicted_reports.popleft())
        pulled, now = decode_pulled(body), time.monotonic()
        self._report_lacking = not pulled.offers and (self._report_lacking or now - self._unoffered_since > PARK / 2)
        if pulled.offers or self._report_lacking:
            self._unoffered_since = now
        self._timing.answered(now, len(pulled.offers), chance())
        if pulled.length >= 0:
            transfer.learn_length(pulled.length)
        if pulled.code == codes.NOT_FOUND:
            raise UnknownDownload(f"supernode {self._member.node} does not know this download any more")
        if pulled.code not in (codes.CONTINUE, codes.WAIT, codes.FINISHED, codes.LIMITED, codes.REPORTED):
            raise refuse(self._member.node, pulled.code, pulled.msg)
        if pulled.offers:
            self._offer(transfer, pulled.offers)
        elif pulled.code == codes.FINISHED:
            missing, (here, _) = transfer.missing, transfer.progress()
            if missing and here == self._complete:
                raise SupernodeError(f"supernode {self._member.node} reports the download as complete; {missing} pieces are missing")
            self._report_lacking, self._complete = missing != 0, here

    def _offer(self, transfer: Transfer, offers: Sequence[Offer]) -> None:
        geometry, most = transfer.file.geometry, len(transfer.file.available)
        for offer in offers:
            try:
                geometry.check(offer.piece)
            except BadPiece as error:
                raise ProtocolViolation(f"supernode {self._member.node} offers a piece that does not exist: {error}") from None
            if offer.piece >= most or not offer.digest or not offer.sources:
                raise ProtocolViolation(f"supernode {self._member.node} makes an invalid offer")
        transfer.offer((offer.piece, f"{self._member.algorithm}:{offer.digest}", offer.sources) for offer in offers)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
