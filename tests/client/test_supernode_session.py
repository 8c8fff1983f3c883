"""Both kinds of pull sessions, with the supernode's responses as values, without sockets and waiting."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from dfengine import wire
from dfengine._piece import Geometry
from dfengine._window import Window
from dfengine.client import legacy, messages, supernode_session
from dfengine.client.byte_counts import ByteCounts
from dfengine.client.job import Job
from dfengine.client.legacy import LegacySession
from dfengine.client.messages import Source
from dfengine.client.native import MAX_REPORTED, NativeSession
from dfengine.client.plan import Plan
from dfengine.client.pull_timing import PARK
from dfengine.client.supernode_session import REFUSED, Membership
from dfengine.client.transfer import Transfer
from dfengine.errors import ProtocolViolation, SupernodeError, UnknownDownload
from dfengine.net.dialer import Dialer
from dfengine.settings import SupernodeAddress
from dfengine.storage.piece_file import PieceFile

SIZE = 1 << 20
GEOMETRY = Geometry(3 * (SIZE - 5) + 7, SIZE)


class Line:
    """A connection with prepared responses."""

    served, usable = 1, True
    readable = False
    """Whether bytes arrived before the first request."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.sent: list[tuple[str, str, bytes]] = []
        self._never = os.eventfd(0, os.EFD_CLOEXEC)
        self.receiver = self

    @property
    def buffered(self) -> int:
        return len(self.answers)

    def fileno(self) -> int:
        return self._never

    def send(self, method: str, target: str, headers: Any = None, body: bytes = b"") -> None:
        self.sent.append((method, target, body))

    def answer(self, deadline: float) -> tuple[int, bytes]:
        return 200, self.answers.pop(0)

    def request(self, method: str, target: str, headers: Any = None, body: bytes = b"", *, timeout: float = 10.0) -> Any:
        self.send(method, target, headers, body)
        quiet = target.startswith(("/peer/piece/", "/task/metrics"))
        return 200, {}, b'{"code":611}' if quiet else self.answers.pop(0)

    def close(self) -> None:
        os.close(self._never)

    def queries(self, path: str) -> list[dict[str, str]]:
        """Return and remove the requests to `path`."""
        found = [urlsplit(target) for _, target, _ in self.sent if urlsplit(target).path == path]
        self.sent = [each for each in self.sent if urlsplit(each[1]).path != path]
        return [{key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()} for url in found]

    def pulls(self) -> list[wire.Pull]:
        found, self.sent = [wire.decode_pull(body) for _, _, body in self.sent], []
        return found


def member(line: Line, native: bool) -> Membership:
    return Membership(
        dialer=Dialer(),
        node=SupernodeAddress("supernode"),
        connection=line,  # type: ignore[arg-type]
        cid="me",
        task="t",
        geometry=GEOMETRY,
        generation=b"",
        native=native,
        algorithm="xxh3",
        cdn_source="supernode",
    )


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def transfer_of(folder: Path, geometry: Geometry) -> Transfer:
    file = PieceFile.create(str(folder / "data"), str(folder / "record"), geometry)
    return Transfer(file, Plan(Window(-1, geometry.count), 4), ByteCounts())


@pytest.fixture
def transfer(tmp_path: Path) -> Iterator[Transfer]:
    transfer = transfer_of(tmp_path, GEOMETRY)
    yield transfer
    transfer.close()
    transfer.file.close()


@pytest.fixture
def unknown(tmp_path: Path) -> Iterator[Transfer]:
    transfer = transfer_of(tmp_path, Geometry(-1, SIZE))
    yield transfer
    transfer.close()
    transfer.file.close()


def fetch(transfer: Transfer) -> list[int]:
    """Do what the fetch threads do, at once."""
    fetched = []
    while (job := transfer.plan.assign(0.0)) is not None:
        assert transfer.plan.arrived(job, 0.0)
        transfer.plan.written(job)
        fetched.append(job.piece)
    return fetched


class TestLegacy:
    def piece(self, n: int, **but: Any) -> dict[str, Any]:
        return {
            "range": f"{n * SIZE}-{(n + 1) * SIZE - 1}", "pieceNum": n, "pieceSize": SIZE, "pieceMd5": "0" * 32 + ":9",
            "cid": "cdnnode:1.2.3.4~t", "peerIp": "1.2.3.4", "peerPort": 8001, "path": "/download/t/t", "downLink": 0, **but,
        }  # fmt: skip

    def offers(self, *pieces: dict[str, Any]) -> bytes:
        return msgspec.json.encode({"code": 601, "data": list(pieces)})

    def test_a_session_starts_reports_its_pieces_and_receives_the_digest(self, line: Line, transfer: Transfer) -> None:
        pull = LegacySession(member(line, False))
        line.answers = [self.offers(*(self.piece(n) for n in range(4)))]
        pull.step(transfer, 0.0)
        start = {"srcCid": "me", "taskId": "t", "dstCid": "", "range": "", "result": "502", "status": "700"}
        assert line.queries("/peer/task") == [start]
        assert fetch(transfer) == [0, 1, 2, 3]
        line.answers = [b'{"code":601,"msg":"peer continue"}'] * 3 + [
            b'{"code":600,"data":{"fileLength":%d,"md5":"abc"}}' % GEOMETRY.framed_length
        ]
        pull.step(transfer, 0.0)
        reports = line.queries("/peer/task")
        assert [(query["range"], query["result"], query["status"], query["dstCid"]) for query in reports] == [
            (GEOMETRY.range_text(n), "503", "701", "cdnnode:1.2.3.4~t") for n in range(4)
        ]
        assert [query["pieceRange"] for query in line.queries("/peer/piece/suc")] == [GEOMETRY.range_text(n) for n in range(4)]
        assert pull.finished_md5 == "abc"
        pull.step(transfer, 0.0)
        assert line.sent == [], "requests are sent after the end"

    def test_waiting_does_not_loop(self, line: Line, transfer: Transfer) -> None:
        pull = LegacySession(member(line, False))
        line.answers = [b'{"code":602,"msg":"peer should wait"}']
        for _ in range(5):
            pull.step(transfer, 0.0)
        assert len(line.queries("/peer/task")) == 1

    def test_at_the_supernodes_limit_no_request_is_sent_until_a_piece_is_reported(self, line: Line, transfer: Transfer) -> None:
        pull = LegacySession(member(line, False))
        line.answers = [self.offers(self.piece(0)), b'{"code":601,"msg":"peer continue"}']
        pull.step(transfer, 0.0)
        job = transfer.plan.assign(0.0)
        assert job is not None
        for _ in range(5):
            pull.step(transfer, 0.0)
        assert len(line.queries("/peer/task")) == 2
        assert transfer.plan.arrived(job, 0.0)
        transfer.plan.written(job)
        line.answers = [self.offers(self.piece(1))]
        pull.step(transfer, 0.0)
        assert [query["result"] for query in line.queries("/peer/task")] == ["503"]

    def test_a_failure_is_reported_and_followed_by_a_new_offer(self, line: Line, transfer: Transfer) -> None:
        pull = LegacySession(member(line, False))
        line.answers = [self.offers(self.piece(0))]
        pull.step(transfer, 0.0)
        job = transfer.plan.assign(0.0)
        assert job is not None
        transfer.plan.failed(job, "digest", 0.0)
        line.queries("/peer/task")
        line.answers = [self.offers(self.piece(0, cid="other", peerPort=15000, path="/peer/file/x"))]
        pull.step(transfer, 0.0)
        assert line.queries("/peer/piece/error") == [{
            "errorType": "FILE_MD5_NOT_MATCH", "srcCid": "me", "dstCid": "cdnnode:1.2.3.4~t", "dstIp": "1.2.3.4", "taskId": "t",
            "range": GEOMETRY.range_text(0), "realMd5": "", "expectedMd5": "0" * 32,
        }]  # fmt: skip
        assert [query["result"] for query in line.queries("/peer/task")] == ["500"]
        assert fetch(transfer) == [0]

    def test_a_piece_without_an_md5_is_not_fetched_and_is_offered_again(
        self, line: Line, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """1.x offers a piece so if it does not find its md5. A report of wrong bytes would make it drop the copy for all clients."""
        monkeypatch.setattr(legacy, "chance", lambda: -1.0)
        pull = LegacySession(member(line, False))
        line.answers = [self.offers(self.piece(0, pieceMd5=""), self.piece(1))]
        pull.step(transfer, 0.0)
        assert fetch(transfer) == [1]
        line.queries("/peer/task")
        line.answers = [self.offers(self.piece(0)), b'{"code":602}']
        pull.step(transfer, 0.0)
        assert line.queries("/peer/piece/error") == []
        assert [(query["range"], query["result"]) for query in line.queries("/peer/task")] == [
            (GEOMETRY.range_text(0), "500"), (GEOMETRY.range_text(1), "503"),
        ]  # fmt: skip
        assert fetch(transfer) == [0]

    def test_a_supernode_that_never_states_an_md5_is_given_up(
        self, line: Line, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(legacy, "chance", lambda: -1.0)
        pull = LegacySession(member(line, False))
        line.answers = [self.offers(self.piece(0, pieceMd5=""))] * REFUSED
        for _ in range(REFUSED - 1):
            pull.step(transfer, 0.0)
        with pytest.raises(SupernodeError, match="without an md5"):
            pull.step(transfer, 0.0)
        assert line.answers == []

    def test_offers_without_an_md5_count_only_in_a_row(self, line: Line, transfer: Transfer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(legacy, "chance", lambda: -1.0)
        monkeypatch.setattr(legacy, "REFUSED", 2)
        pull = LegacySession(member(line, False))
        line.answers = [self.offers(self.piece(0, pieceMd5=""), self.piece(1))]
        pull.step(transfer, 0.0)
        assert fetch(transfer) == [1]
        line.answers = [self.offers(self.piece(0, pieceMd5="")), b'{"code":602}']
        pull.step(transfer, 0.0)
        assert line.answers == []

    def test_an_offer_of_a_stored_piece_is_reported_without_fetching_it(self, line: Line, transfer: Transfer) -> None:
        transfer.plan.add_stored([0])
        pull = LegacySession(member(line, False))
        line.answers = [self.offers(self.piece(0)), b'{"code":602}']
        pull.step(transfer, 0.0)
        pull.step(transfer, 0.0)
        assert [query["pieceRange"] for query in line.queries("/peer/piece/suc")] == [GEOMETRY.range_text(0)]
        assert fetch(transfer) == []

    def test_the_length_is_learnt_from_the_final_response(self, line: Line, unknown: Transfer) -> None:
        pull = LegacySession(member(line, False))
        line.answers = [self.offers(self.piece(0), self.piece(1))]
        pull.step(unknown, 0.0)
        assert fetch(unknown) == [0, 1]
        line.answers = [b'{"code":602}', b'{"code":600,"data":{"fileLength":%d,"md5":"abc"}}' % (SIZE + 12)]
        pull.step(unknown, 0.0)
        assert unknown.file.geometry.length == SIZE + 2
        assert unknown.plan.finished

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (b'{"code":502,"msg":"data not found"}', UnknownDownload),
            (b'{"code":604,"msg":"cdn failed"}', SupernodeError),
            (b'{"code":608,"msg":""}', SupernodeError),
            (b'{"code":501,"msg":"bad parameter"}', SupernodeError),
            (b'{"code":600}', SupernodeError),
            (b'{"code":600,"data":{"fileLength":1,"md5":""}}', ProtocolViolation),
            (b"<html>", ProtocolViolation),
            (b"[]", ProtocolViolation),
            (b'{"code":"601"}', ProtocolViolation),
            (b'{"code":601,"data":[{"range":"0-1"}]}', ProtocolViolation),
            (b'{"code":601,"data":{}}', ProtocolViolation),
        ],
    )
    def test_refusals_and_malformed_responses_end_the_session(
        self, line: Line, transfer: Transfer, answer: bytes, error: type[Exception]
    ) -> None:
        line.answers = [answer]
        with pytest.raises(error):
            LegacySession(member(line, False)).step(transfer, 0.0)

    @pytest.mark.parametrize(
        "but",
        [
            {"pieceNum": 1},
            {"pieceSize": 2 * SIZE},
            {"range": "5-10"},
            {"range": "x"},
            {"range": f"{9 * SIZE}-{10 * SIZE - 1}", "pieceNum": 9},
            {"range": f"{-SIZE}--1", "pieceNum": -1},
        ],
    )
    def test_offers_of_invalid_pieces_are_refused(self, line: Line, transfer: Transfer, but: dict[str, Any]) -> None:
        line.answers = [self.offers(self.piece(0, **but))]
        with pytest.raises(ProtocolViolation):
            LegacySession(member(line, False)).step(transfer, 0.0)


class TestNative:
    def offers(self, *pieces: int, digest: str = "ab", cid: str = "p", **more: Any) -> bytes:
        where = wire.Source(cid, "1.2.3.4", 15000, "/peer/file/x")
        return wire.encode(wire.Pulled(wire.CONTINUE, [wire.Offer(n, digest, (where,)) for n in pieces], **more))

    def receiving(self, line: Line, transfer: Transfer) -> tuple[NativeSession, Job, Any]:
        """A session whose first piece is being received, over a connection that received 7 bytes before."""
        pull = NativeSession(member(line, True), [])
        line.answers = [self.offers(0)]
        pull.step(transfer, 0.0)
        line.pulls()
        job = transfer.plan.assign(0.0)
        assert job is not None
        connection: Any = SimpleNamespace(receiver=SimpleNamespace(total=7))
        assert transfer.begin(job, connection)
        return pull, job, connection

    def test_a_piece_close_to_its_end_is_announced_once_and_at_once(self, line: Line, transfer: Transfer) -> None:
        pull, job, connection = self.receiving(line, transfer)
        job.began -= 5.0
        connection.receiver.total += SIZE // 8
        line.answers = [wire.encode(wire.Pulled(wire.WAIT))] * 2
        pull.step(transfer, 0.0)
        assert all(not sent.ending for sent in line.pulls()), "announced before the lead time"
        connection.receiver.total += SIZE * 3 // 4 + SIZE // 10
        pull.step(transfer, 0.0)
        pull.step(transfer, 0.0)
        assert [sent.ending for sent in line.pulls()] == [[0]]
        connection.receiver.total = 7 + GEOMETRY.framed(0)
        pull.step(transfer, 0.0)
        assert all(not sent.ending for sent in line.pulls())
        transfer.drop(job)

    def test_the_links_pace_is_reported_once_before_the_first_piece_is_complete(self, line: Line, transfer: Transfer) -> None:
        pull, job, connection = self.receiving(line, transfer)
        told = []
        for eighths in (0, 1, 2, 3, 4):
            connection.receiver.total = 7 + -(-GEOMETRY.framed(0) * eighths // 8)
            line.answers = [wire.encode(wire.Pulled(wire.WAIT))] if eighths in (0, 3) else []
            pull.step(transfer, 0.0)
            told += [(eighths, sent.pace) for sent in line.pulls() if sent.pace]
            time.sleep(0.02)
        assert [eighths for eighths, _ in told] == [3], "two eighths after the first measurement"
        assert told[0][1] >= 4 * 0.04
        transfer.drop(job)

    def test_pulls_state_wanted_pieces_and_report_received_ones(self, line: Line, transfer: Transfer) -> None:
        pull = NativeSession(member(line, True), [])
        line.answers = [self.offers(2, 0)]
        pull.step(transfer, 0.0)
        (first,) = line.pulls()
        assert (first.task, first.cid, first.want, first.done) == ("t", "me", 4, [])
        assert first.wait > 0
        job = transfer.plan.assign(0.0)
        assert job is not None
        assert (job.piece, job.digest) == (2, "xxh3:ab")
        transfer.plan.release(job, 0.0)
        assert fetch(transfer) == [0, 2]
        line.answers = [self.offers(1, 3)]
        pull.step(transfer, 0.0)
        (second,) = line.pulls()
        assert (second.want, second.done) == (2, [(0, "p"), (2, "p")])

    def test_stored_pieces_are_announced_once(self, line: Line, transfer: Transfer) -> None:
        transfer.plan.add_stored([0, 1])
        pull = NativeSession(member(line, True), [(0, 2)])
        line.answers = [self.offers(2)]
        pull.step(transfer, 0.0)
        assert fetch(transfer) == [2]
        line.answers = [self.offers(3)]
        pull.conclude(transfer)
        first, last = line.pulls()
        assert (first.held, first.want) == ([(0, 2)], 2)
        assert (last.held, last.done, last.want, last.wait) == ([], [(2, "p")], 0, 0.0)

    def test_many_runs_are_announced_in_several_pulls(self, line: Line, transfer: Transfer) -> None:
        """Each pull has the maximum number of runs, and only the last one requests pieces."""
        runs = [(2 * n, 2 * n + 1) for n in range(3 * MAX_REPORTED)]
        pull = NativeSession(member(line, True), runs)
        line.answers = [self.offers(), self.offers(), self.offers(2)]
        for _ in range(3):
            pull.step(transfer, 0.0)
        told = line.pulls()
        assert [run for one in told for run in one.held] == runs
        assert [len(one.held) for one in told] == [MAX_REPORTED] * 3
        assert [one.want > 0 for one in told] == [False, False, True]

    def test_conclude_reports_all_pieces_in_several_pulls(self, line: Line, transfer: Transfer) -> None:
        transfer.plan.done.extend((0, "p") for _ in range(2 * MAX_REPORTED + 1))
        line.answers = [self.offers(), self.offers(), self.offers()]
        NativeSession(member(line, True), []).conclude(transfer)
        assert [len(one.done) for one in line.pulls()] == [MAX_REPORTED, MAX_REPORTED, 1]

    def test_a_response_may_state_the_length(self, line: Line, unknown: Transfer) -> None:
        pull = NativeSession(member(line, True), [])
        line.answers = [self.offers(0, length=99, count=1)]
        pull.step(unknown, 0.0)
        assert unknown.file.geometry.length == 99
        assert fetch(unknown) == [0]
        assert unknown.plan.finished

    def test_a_response_with_another_length_is_a_protocol_violation(self, line: Line, transfer: Transfer) -> None:
        line.answers = [self.offers(0, length=99, count=1)]
        with pytest.raises(ProtocolViolation, match="length"):
            NativeSession(member(line, True), []).step(transfer, 0.0)

    def test_a_supernode_that_offers_only_avoided_sources_is_abandoned(
        self, line: Line, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pull = NativeSession(member(line, True), [])
        line.answers = [self.offers(0)]
        pull.step(transfer, 0.0)
        job = transfer.plan.assign(0.0)
        assert job is not None
        transfer.plan.failed(job, "digest", 0.0)

        line.pulls()
        clock = [time.monotonic()]
        monkeypatch.setattr("dfengine.client.native.time.monotonic", lambda: clock[0])

        def insist() -> None:
            for _ in range(1000):
                line.answers += [self.offers(0) for _ in line.pulls()]
                pull.step(transfer, 0.0)
                clock[0] += 0.05

        with pytest.raises(SupernodeError, match="only sources that failed"):
            insist()

    @pytest.mark.parametrize(
        ("answer", "error"),
        [
            (wire.Pulled(wire.NOT_FOUND), UnknownDownload),
            (wire.Pulled(wire.CDN_FAILED, msg="md5"), SupernodeError),
            (wire.Pulled(wire.UNREACHABLE), SupernodeError),
            (wire.Pulled(wire.NEED_AUTH), SupernodeError),
            (wire.Pulled(12345), SupernodeError),
            (wire.Pulled(wire.CONTINUE, [wire.Offer(4, "ab", (wire.Source("p", "1.2.3.4", 1, "/"),))]), ProtocolViolation),
            (wire.Pulled(wire.CONTINUE, [wire.Offer(-1, "ab", (wire.Source("p", "1.2.3.4", 1, "/"),))]), ProtocolViolation),
            (wire.Pulled(wire.CONTINUE, [wire.Offer(0, "", (wire.Source("p", "1.2.3.4", 1, "/"),))]), ProtocolViolation),
            (wire.Pulled(wire.CONTINUE, [wire.Offer(0, "ab", ())]), ProtocolViolation),
        ],
    )
    def test_refusals_and_malformed_responses_end_the_session(
        self, line: Line, transfer: Transfer, answer: wire.Pulled, error: type[Exception]
    ) -> None:
        line.answers = [wire.encode(answer)]
        with pytest.raises(error):
            NativeSession(member(line, True), []).step(transfer, 0.0)

    def test_a_supernode_that_considers_the_download_complete_is_told_the_missing_pieces(self, line: Line, transfer: Transfer) -> None:
        """It may remember an earlier download of this name. If it repeats the response, the session ends."""
        pull = NativeSession(member(line, True), [])
        line.answers = [wire.encode(wire.Pulled(wire.FINISHED))]
        pull.step(transfer, 0.0)
        assert [each.evicted for each in line.pulls()] == [[]]
        time.sleep(0.11)  # longest pause after a response without pieces
        pull.step(transfer, 0.0)
        assert [each.evicted for each in line.pulls()] == [[(n, n + 1) for n in range(GEOMETRY.count)]]
        line.answers = [wire.encode(wire.Pulled(wire.FINISHED))]
        with pytest.raises(SupernodeError, match="4 pieces are missing"):
            pull.step(transfer, 0.0)

    def test_pieces_requested_in_vain_are_reported_as_missing(
        self, line: Line, transfer: Transfer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A pull was parked for the maximum time: the supernode may assume that the pieces are stored here."""
        clock = [1000.0]
        monkeypatch.setattr("dfengine.client.native.time.monotonic", lambda: clock[0])
        pull = NativeSession(member(line, True), [])
        pull.step(transfer, 0.0)
        transfer.offer([(1, "xxh3:00", (Source("p", "1.2.3.4", 15001, "/peer/file/p"),))])
        clock[0] += PARK
        line.answers = [wire.encode(wire.Pulled(wire.WAIT))]
        pull.step(transfer, 0.0)
        assert [each.evicted for each in line.pulls()] == [[], []]
        pull._send(transfer, 4, 20.0)
        assert [each.evicted for each in line.pulls()] == [[(0, 1), (2, 3), (3, 4)]]

    def test_an_unsolicited_response_is_a_protocol_violation(self, line: Line, transfer: Transfer) -> None:
        pull = NativeSession(member(line, True), [])
        line.answers = [self.offers(0), self.offers(1)]
        pull.step(transfer, 0.0)
        with pytest.raises(ProtocolViolation, match="unsolicited"):
            pull.step(transfer, 0.0)

    def test_bytes_received_before_the_first_request_are_a_protocol_violation(self, line: Line, transfer: Transfer) -> None:
        line.readable, line.answers = True, [self.offers(0)]
        with pytest.raises(ProtocolViolation, match="unsolicited"):
            NativeSession(member(line, True), []).step(transfer, 0.0)

    @pytest.mark.parametrize("answer", [b'{"code":200}', b"", b"null", b"{}", b'{"code":601,"offers":[[1]]}', b"[" * 100_000, b"\xff"])
    def test_garbage_ends_the_session(self, line: Line, transfer: Transfer, answer: bytes) -> None:
        line.answers = [answer]
        with pytest.raises((ProtocolViolation, SupernodeError)):
            NativeSession(member(line, True), []).step(transfer, 0.0)


GOOD = {"taskId": "t", "fileLength": 10, "pieceSize": SIZE, "cdnSource": "supernode"}


class TestRegistration:
    def accept(self, line: Line, answer: Any) -> Membership:
        decoded = messages.decode_registered(msgspec.json.encode(answer))
        return supernode_session._accept(Dialer(), SupernodeAddress("supernode"), line, "me", decoded)  # type: ignore[arg-type]

    def test_a_1x_supernodes_registration_starts_a_legacy_membership(self, line: Line) -> None:
        got = self.accept(line, {"code": 200, "data": GOOD})
        assert (got.native, got.task, got.geometry, got.generation) == (False, "t", Geometry(10, SIZE), b"")

    def test_our_supernodes_registration_starts_a_native_membership(self, line: Line) -> None:
        got = self.accept(line, {"code": 200, "data": {**GOOD, "native": 1, "digest": "xxh3", "generation": "g1"}})
        assert (got.native, got.algorithm, got.generation) == (True, "xxh3", b"g1")

    @pytest.mark.parametrize(
        "answer",
        [
            {"code": 500, "message": "url\nnot reachable"},
            {"code": 607, "msg": "x"},
            {"code": 200},
            {"code": 200, "data": {**GOOD, "taskId": ""}},
            {"code": 200, "data": {**GOOD, "fileLength": -2}},
            {"code": 200, "data": {**GOOD, "fileLength": 1 << 62}},
            {"code": 200, "data": {**GOOD, "pieceSize": 0}},
            {"code": 200, "data": {**GOOD, "pieceSize": 1 << 28}},
            {"code": 200, "data": {**GOOD, "native": 1, "digest": "crc32"}},
        ],
    )
    def test_refused_and_malformed_registrations_are_errors_of_one_line(self, line: Line, answer: Any) -> None:
        with pytest.raises((SupernodeError, ProtocolViolation)) as error:
            self.accept(line, answer)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('taskID: 62, url: http://o/f: {"Code":12,"Msg":"url not reachable"}: o answers 404 Not Found', "o answers 404 Not Found"),
        ("no such task", "no such task"),
        ("", "no reason given"),
        ('{"Code":12}: ', '{"Code":12}:'),
        ("two\nlines", "two lines"),
    ],
)
def test_the_reason_is_extracted_from_a_refusals_message(message: str, reason: str) -> None:
    assert supernode_session.reason(message) == reason
