"""The native pull as the client speaks it: one connection, one request parked on it, reports following it."""

from __future__ import annotations

import contextlib
import time
from collections import deque

from dfengine import codes
from dfengine.client.messages import Offer, decode_pulled, encode_pull
from dfengine.client.pull_timing import PARK, PullTiming
from dfengine.client.supernode_session import JSON, Membership, chance, refuse
from dfengine.errors import BadPiece, ProtocolViolation, RemoteError, SupernodeError, UnknownDownload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.client.transfer import Transfer

GRACE = 10.0
"""Seconds that an answer may take beyond the time it was parked for."""

REFUSED = 32
"""Offers in a row that name no usable source, after which the swarm has nothing for us."""

MOST_TOLD = 1000
"""Reports of each kind in one pull, the next one has the rest: a supernode deals with them at once, and takes no more than it can."""

LAST_WORD = 2.0
"""Seconds that the last report is waited for."""


class NativeSession:
    """See supernode_session.SupernodeSession. `held`: runs of pieces that were here before this registration."""

    finished_md5 = ""

    def __init__(self, member: Membership, held: list[tuple[int, int]]) -> None:
        self._member = member
        self._line = member.connection
        self._held = held
        self._timing = PullTiming()
        self._end = -1
        self._paced = False
        """How quick this host's link is was told."""
        self._left: deque[list[int]] = deque()
        """Pieces that each unanswered request told to have left."""
        self.requests = 0

    def step(self, transfer: Transfer, limit: float) -> None:
        """See supernode_session.SupernodeSession."""
        now = time.monotonic()
        with transfer.lock:
            plan = transfer.plan
            want, starving = plan.appetite(), plan.starving
            ending, look = transfer.ending() if plan.pace.slow or not plan.here else ([], limit)
            reports = len(plan.done) + len(plan.wrong) + len(self._held) + (len(transfer.leaving) if transfer.leaving else 0)
            reports += 2 * len(ending)  # as urgent as two reports: slots are free by it
            if not self._paced and transfer.early_pace():
                reports += 2
            if plan.window.wnd >= 0 and want and self._timing.unanswered and plan.window.end != self._end:
                reports += 1  # what is parked was asked for within the window as it was
            refused = plan.refused
        if refused >= REFUSED:
            raise SupernodeError(f"supernode {self._member.node} offers only sources that failed: {transfer.fault}")
        if self._timing.due(now, reports, want, starving):
            self._send(transfer, want, PARK)
            with transfer.lock:
                reports = 0
        late = self._timing.oldest + PARK + GRACE
        if now > late:
            raise ProtocolViolation(f"supernode {self._member.node} does not answer a pull")
        wait = min(limit, look, self._timing.wait(now, reports, want, starving), max(0.0, late - now))
        if transfer.sleep(wait, self._line):
            self._answer(transfer)

    def conclude(self, transfer: Transfer) -> None:
        """See supernode_session.SupernodeSession. What was asked before is answered first."""
        self._send(transfer, 0, 0.0)
        while self._held or transfer.plan.done or transfer.plan.wrong:
            self._send(transfer, 0, 0.0)
        deadline = time.monotonic() + LAST_WORD
        with contextlib.suppress(RemoteError):
            while self._timing.unanswered:
                self._line.answer(deadline)
                self._timing.answered(time.monotonic(), 1, 0.0)

    def _send(self, transfer: Transfer, want: int, wait: float) -> None:
        if not self._timing.unanswered and self._line.readable:
            # Every later answer would be taken for that of another pull.
            raise ProtocolViolation(f"supernode {self._member.node} answers what was not asked")
        with transfer.lock:
            done, failed = transfer.plan.drain(MOST_TOLD)
            ending = transfer.ending()[0]
            for job in ending:
                job.told = True
            pace = 0.0 if self._paced else round(transfer.early_pace(), 3)
            self._paced |= pace > 0
            leaving = transfer.leaving.tell(MOST_TOLD) if transfer.leaving is not None else []
            window = transfer.plan.window
            una, self._end = (window.una, window.end) if window.wnd >= 0 else (0, -1)
        held, self._held = self._held[:MOST_TOLD], self._held[MOST_TOLD:]
        if self._held:
            want = 0  # it would be offered what is here
        pull = encode_pull(
            self._member.task, self._member.cid, done=done, failed=failed, ending=[job.piece for job in ending],
            pace=pace, held=held,
            evicted=[(n, n + 1) for n in leaving], want=want, wait=wait, una=una, end=self._end,
        )  # fmt: skip
        self._left.append(leaving)
        self._line.send("POST", "/swarm/pull", JSON, pull)
        self._timing.sent(time.monotonic(), len(done) + len(failed), want)
        self.requests += 1

    def _answer(self, transfer: Transfer) -> None:
        status, body = self._line.answer(time.monotonic() + GRACE)
        if status != 200:
            raise ProtocolViolation(f"supernode {self._member.node} answers a pull with HTTP {status}")
        if not self._timing.unanswered:
            raise ProtocolViolation(f"supernode {self._member.node} answers what was not asked")
        self._gone(transfer)
        pulled = decode_pulled(body)
        self._timing.answered(time.monotonic(), len(pulled.offers), chance())
        if pulled.length >= 0:
            transfer.learn_length(pulled.length)
        if pulled.code == codes.NOT_FOUND:
            raise UnknownDownload(f"supernode {self._member.node} does not know this download any more")
        if pulled.code not in (codes.CONTINUE, codes.WAIT, codes.FINISHED, codes.LIMITED, codes.REPORTED):
            raise refuse(self._member.node, pulled.code, pulled.msg)
        if pulled.offers:
            self._offer(transfer, pulled.offers)
        elif pulled.code == codes.FINISHED:
            with transfer.lock:
                missing = transfer.plan.unasked()
            if missing:
                raise SupernodeError(f"supernode {self._member.node} says that all is here; {missing} pieces are missing")

    def _gone(self, transfer: Transfer) -> None:
        """The supernode sends nobody here any more for what the answered request told to have left."""
        left = self._left.popleft()
        if left and transfer.leaving is not None:
            with transfer.lock:
                left = transfer.leaving.told(left)
            for n in left:
                transfer.file.evict(n)

    def _offer(self, transfer: Transfer, offers: Iterable[Offer]) -> None:
        geometry, most = transfer.file.geometry, len(transfer.file.here)
        now = time.monotonic()
        with transfer.lock:
            for offer in offers:
                try:
                    geometry.check(offer.piece)
                except BadPiece as error:
                    raise ProtocolViolation(f"supernode {self._member.node} offers what is not there: {error}") from None
                if offer.piece >= most or not offer.digest or not offer.sources:
                    raise ProtocolViolation(f"supernode {self._member.node} makes an offer that cannot be taken")
                transfer.plan.offer(offer.piece, f"{self._member.algorithm}:{offer.digest}", offer.sources, now)
        transfer.offered()

    def close(self) -> None:
        """Hang up."""
        self._line.close()
