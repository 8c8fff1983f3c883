"""Pulls from a 1.x supernode: each request reports one piece, and its answer may offer the next ones.

For each piece: `GET /peer/task` with result 503 (content arrived) frees this download's slot and gets offers, then
`GET /peer/piece/suc` makes this download a source and frees the sender's slot. Codes and waits: docs/protocol.md.

A download on demand accepts offers while a reader waits. When no reader waits, it sends only the second request for a piece. It
sends the first, whose answer would offer further pieces, when a reader waits again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from dfengine import codes
from dfengine.client.messages import PieceSource, Pulled1, decode_pulled1
from dfengine.client.pull_timing import Backoff
from dfengine.client.supernode_session import REFUSED, Membership, chance, refuse
from dfengine.client.transfer import Transfer
from dfengine.errors import BadRange, ProtocolViolation, SourceGone, SupernodeError, UnknownDownload
from dfengine.fields import CID, DST_CID, ERROR_TYPE, ERROR_TYPES, PIECE_RANGE, RANGE, RESULT, SRC_CID, STATUS, TASK_ID
from dfengine.task import request_path

IDLE = 5.0
"""Seconds until the next pull when the download is at its limit, or all fetch threads are busy."""


class LegacySession:
    """See supernode_session.SupernodeSession."""

    def __init__(self, member: Membership) -> None:
        self._member = member
        self._connection = member.connection
        self._backoff = Backoff()
        self._last: dict[str, object] = {DST_CID: "", RANGE: "", RESULT: codes.NO_RESULT, STATUS: codes.START}
        self._next_pull_at = 0.0
        self._finished = False
        self._unsent_pulls: list[tuple[int, str]] = []
        self._offered: dict[tuple[int, str], PieceSource] = {}
        """Offers by piece and CID, until the piece is stored or has failed."""
        self._without_md5: list[tuple[int, str, str]] = []
        """Offers without an md5, which are reported as failed when the next pull is due."""
        self._seen_without_md5 = 0
        """How many in a row."""
        self._reported: set[int] = set()
        self.finished_md5 = ""

    @property
    def awaits_md5(self) -> bool:
        """See supernode_session.SupernodeSession. A 1.x supernode sends it once each piece was reported to it."""
        return not self._finished

    @property
    def reported(self) -> int:
        """See supernode_session.SupernodeSession."""
        return len(self._reported)

    def step(self, transfer: Transfer, limit: float) -> None:
        demand = transfer.demand(limit)
        if demand.refused >= REFUSED:
            raise SupernodeError(f"supernode {self._member.node} offers only sources that failed: {transfer.fault}")
        if self._without_md5 and time.monotonic() >= self._next_pull_at:
            unusable, self._without_md5 = self._without_md5, []
            transfer.requeue([], unusable)
        reported = self._report(transfer) if demand.wanted_pieces != [] or transfer.finished else self._announce(transfer)
        # While every fetch thread is busy, only reports need to be sent; IDLE keeps the supernode from expiring this download.
        next_pull_at = self._next_pull_at if demand.idle_thread else self._next_pull_at + IDLE
        if self._finished or demand.wanted_pieces == []:
            next_pull_at = math.inf
        if not reported and time.monotonic() >= next_pull_at:
            self._pull(transfer, self._last)
            next_pull_at = self._next_pull_at
        transfer.sleep(min(limit, max(0.0, next_pull_at - time.monotonic())))

    def conclude(self, transfer: Transfer) -> None:
        self._report(transfer)

    def _report(self, transfer: Transfer) -> bool:
        """Report results; return whether there were any. Reports that fail are kept for later: their slots stay in use until then."""
        unsent, self._unsent_pulls = self._unsent_pulls, []
        for at, (n, cid) in enumerate(unsent):
            try:
                self._arrived(transfer, n, cid)
            except BaseException:
                self._unsent_pulls = unsent[at:]
                raise
        done, failures = transfer.results()
        reports = [*((n, cid, why) for n, cid, why in failures), *((n, cid, "") for n, cid in done)]
        at = 0
        try:
            for n, cid, why in reports:
                if why:
                    self._failed(transfer, n, cid, why)
                else:
                    self._done(transfer, n, cid)
                at += 1
        finally:
            left = reports[at:]
            transfer.requeue([(n, cid) for n, cid, why in left if not why], [each for each in left if each[2]])
        return bool(reports)

    def _announce(self, transfer: Transfer) -> bool:
        """While no reader waits, announce new pieces to the swarm without pulling. Return whether there were any."""
        done, failures = transfer.results()
        transfer.requeue([], failures)
        for at, (n, cid) in enumerate(done):
            try:
                self._written(transfer, n, cid)
            except BaseException:
                transfer.requeue(done[at:], [])
                raise
            self._unsent_pulls.append((n, cid))
        return bool(done)

    def _done(self, transfer: Transfer, n: int, cid: str) -> None:
        self._arrived(transfer, n, cid)
        self._written(transfer, n, cid)

    def _arrived(self, transfer: Transfer, n: int, cid: str) -> None:
        text = transfer.file.geometry.range_text(n)
        self._backoff.reset()
        self._pull(transfer, {DST_CID: cid, RANGE: text, RESULT: codes.ARRIVED, STATUS: codes.RUNNING})
        self._reported.add(n)

    def _written(self, transfer: Transfer, n: int, cid: str) -> None:
        text = transfer.file.geometry.range_text(n)
        self._offered.pop((n, cid), None)
        self._get("/peer/piece/suc", {TASK_ID: self._member.task, CID: self._member.cid, DST_CID: cid, PIECE_RANGE: text})

    def _failed(self, transfer: Transfer, n: int, cid: str, why: str) -> None:
        text = transfer.file.geometry.range_text(n)
        offer = self._offered.pop((n, cid), None)
        if why == "gone" or (why == "digest" and offer is not None):
            # After a report of wrong bytes 1.x drops its copy for all clients, unless expectedMd5 is the md5 of the piece that it has.
            ip, md5 = (offer.source.ip, offer.digest.partition(":")[0]) if offer is not None else ("", "")
            error = {ERROR_TYPE: ERROR_TYPES[why], SRC_CID: self._member.cid, DST_CID: cid, "dstIp": ip, TASK_ID: self._member.task,
                     RANGE: text, "realMd5": "", "expectedMd5": md5}
            self._get("/peer/piece/error", error)
        self._pull(transfer, {DST_CID: cid, RANGE: text, RESULT: codes.FAILED, STATUS: codes.RUNNING})

    def _pull(self, transfer: Transfer, about: Mapping[str, object]) -> None:
        status, body = self._get("/peer/task", {SRC_CID: self._member.cid, TASK_ID: self._member.task, **about})
        if status != 200:
            raise ProtocolViolation(f"supernode {self._member.node} answers a pull with HTTP {status}")
        answer = decode_pulled1(body)
        if about[RESULT] != codes.FAILED:
            self._last = dict(about)
        if answer.code == codes.CONTINUE:
            self._next_pull_at = time.monotonic() + (0.0 if answer.pieces else IDLE)
            self._offer(transfer, answer.pieces)
        elif answer.code in (codes.WAIT, codes.LIMITED, codes.SUCCESS):
            self._next_pull_at = time.monotonic() + self._backoff.next(chance())
        elif answer.code == codes.FINISHED:
            self._finish(transfer, answer)
        elif answer.code == codes.NOT_FOUND:
            raise UnknownDownload(f"supernode {self._member.node} does not know this download any more")
        else:
            raise refuse(self._member.node, answer.code, answer.message)

    def _finish(self, transfer: Transfer, answer: Pulled1) -> None:
        self._finished = True
        if answer.framed_length >= 0:
            self.finished_md5 = answer.md5
            count = max(1, -(-answer.framed_length // transfer.file.geometry.piece_size))
            transfer.learn_length(answer.framed_length - 5 * count)
        missing = transfer.missing
        if missing:
            raise SupernodeError(f"supernode {self._member.node} reports the download as complete; {missing} pieces are missing")

    def _offer(self, transfer: Transfer, pieces: Iterable[PieceSource]) -> None:
        geometry, offers = transfer.file.geometry, []
        for piece in pieces:
            try:
                start, _, end = piece.range.partition("-")
                n = geometry.number(int(start), int(end))
            except (BadRange, ValueError):
                raise ProtocolViolation(f"supernode {self._member.node} offers {piece.range!r}, which is not a piece") from None
            if n != piece.piece or piece.piece_size != geometry.piece_size or n >= len(transfer.file.available):
                raise ProtocolViolation(f"supernode {self._member.node} offers piece {piece.piece} as {piece.range!r}")
            if piece.digest:
                self._seen_without_md5 = 0
                self._offered[n, piece.source.cid] = piece
                offers.append((n, f"framed:{piece.digest}", (piece.source.replace(path=request_path(piece.source.path)),)))
            else:
                # 1.x found none. It offers the piece again after a report of failure, and unreported holds its slot for 30 s.
                self._without_md5.append((n, piece.source.cid, "other"))
                self._seen_without_md5 += 1
        if self._without_md5:
            if self._seen_without_md5 >= REFUSED:
                raise SupernodeError(f"supernode {self._member.node} offers pieces without an md5")
            self._next_pull_at = time.monotonic() + self._backoff.next(chance())
        transfer.offer(offers)

    def _get(self, path: str, query: Mapping[str, object]) -> tuple[int, bytes]:
        """Send one request; repeat it over a new connection if the reused one turns out to be closed."""
        target = f"{path}?{urlencode(query)}"
        try:
            status, _, body = self._connection.request("GET", target)
        except SourceGone:
            if not self._connection.answers_read:
                raise
            self._connection.close()
            self._connection = self._member.connect()
            status, _, body = self._connection.request("GET", target)
        if not self._connection.usable:
            self._connection.close()
            self._connection = self._member.connect()
        return status, body

    def close(self) -> None:
        self._connection.close()
