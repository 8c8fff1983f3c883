"""Our client with a supernode that supports only the 1.x protocol."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from dfengine import client
from dfengine.client.progress_timeout import ProgressTimeout
from dfengine.client.swarm_session import SwarmSession
from dfengine.errors import DfengineError, DigestMismatch, LocalError, SupernodeError, TimedOut
from dfengine.settings import GetSettings, SupernodeAddress
from dfengine.task import Digest
from tests.e2e.standin import MIB, Fault, LegacySupernode, Origin, eventually, unused_port
from tests.own_descriptors import own_descriptors

PIECE = MIB - 5


def content(length: int) -> bytes:
    return random.Random(length).randbytes(length)


class Download:
    """`get` into a folder, through the given nodes, without serving pieces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "out"

    def __call__(self, *nodes: Any, url: str = "http://127.0.0.1:1/file", **settings: Any) -> client.Result:
        return client.get(self.settings(*nodes, url=url, **settings))

    def settings(self, *nodes: Any, url: str = "http://127.0.0.1:1/file", **settings: Any) -> GetSettings:
        return GetSettings(
            url=url,
            output=str(self.output),
            nodes=tuple(node if isinstance(node, SupernodeAddress) else SupernodeAddress("127.0.0.1", node.port) for node in nodes),
            **{"pattern": "cdn", "home": str(self.folder / "home"), **settings},
        )

    def left(self) -> list[str]:
        """Names in the folder."""
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def get(tmp_path: Path) -> Download:
    return Download(tmp_path)


@pytest.fixture(autouse=True)
def _no_thread_and_no_descriptor_is_left() -> Any:
    before = set(own_descriptors())
    yield
    names = {thread.name for thread in threading.enumerate()}
    assert not {name for name in names if name.startswith(("fetch-", "origin-", "digest"))}
    eventually(lambda: len(set(os.listdir("/proc/self/fd")) - before) == 0, "every descriptor closed")


@pytest.mark.parametrize("length", [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE, 9 * PIECE + 12345])
@pytest.mark.parametrize("unknown", [False, True])
def test_files_of_every_length_arrive_with_each_piece_requested_once(get: Download, length: int, unknown: bool) -> None:
    whole = content(length)
    with LegacySupernode(whole, unknown=unknown) as node:
        result = get(node, report_digest=True)
        assert get.output.read_bytes() == whole
        assert get.left() == ["out"]
        assert (result.length, result.from_supernode, result.from_peers, result.from_origin) == (length, length, 0, 0)
        assert result.back_to_source is None
        (cid,) = node.written
        assert node.written[cid] == node.arrived[cid] == set(range(node.pieces))
        assert node.count("/task/metrics") == 1
        assert set(node.asked.values()) == {1}
        assert node.registered[0]["superNodeIp"] == "127.0.0.1"
        assert node.registered[0]["port"] == 0


@pytest.mark.parametrize("algorithm", ["md5", "sha256", "blake3", "xxh3"])
def test_a_download_with_a_wrong_whole_digest_fails_and_leaves_no_part_file(get: Download, algorithm: str) -> None:
    from dfengine.storage.hashing import hasher

    whole = content(6 * MIB)
    right = hasher(algorithm)
    right.update(whole)
    with LegacySupernode(whole) as node:
        get(node, digest=Digest(algorithm, right.hexdigest()))
        assert get.output.read_bytes() == whole
        get.output.unlink()
        with pytest.raises(DigestMismatch) as error:
            get(node, digest=Digest(algorithm, "0" * len(right.hexdigest())))
        assert error.value.exit_code == 5
        assert get.left() == [], "wrong bytes are not resumed from"


def test_a_download_waits_for_pieces_that_the_supernode_fetches_later(get: Download) -> None:
    whole = content(8 * MIB)
    ready: set[int] = set()
    with LegacySupernode(whole, known=ready.__contains__) as node:

        def fill() -> None:
            for n in range(node.pieces):
                eventually(lambda: node.count("/peer/task") > 0, "a pull")
                ready.add(n)

        filler = threading.Thread(target=fill)
        filler.start()
        assert get(node).from_supernode == len(whole)
        filler.join()
    assert get.output.read_bytes() == whole


class TestFailingSupernodes:
    whole = content(10 * MIB)

    def test_the_next_supernode_is_used_if_the_first_is_unreachable(self, get: Download) -> None:
        with unused_port() as port, LegacySupernode(self.whole) as node:
            assert get(SupernodeAddress("127.0.0.1", port), node).back_to_source is None
        assert get.output.read_bytes() == self.whole

    @pytest.mark.parametrize(
        "refusal",
        [
            (500, {"code": 500, "message": "url not reachable"}),
            (200, {"code": 607, "msg": "unreachable"}),
            (200, {"code": 200}),
            (200, {"code": 200, "data": {"taskId": "t", "fileLength": -5, "pieceSize": 1, "cdnSource": ""}}),
            (404, {}),
        ],
    )
    def test_the_next_supernode_is_used_if_the_first_refuses(self, get: Download, refusal: tuple[int, dict[str, Any]]) -> None:
        with LegacySupernode(self.whole) as node, LegacySupernode(self.whole) as other:
            node.refuse = refusal
            assert get(node, other).back_to_source is None
            assert get.output.read_bytes() == self.whole
            with pytest.raises(SupernodeError, match="--notbs"):
                get(node, notbs=True)

    def test_without_a_reachable_supernode_the_origin_is_read_and_the_reason_reported(self, get: Download) -> None:
        with unused_port() as port, Origin(self.whole) as origin:
            result = get(SupernodeAddress("127.0.0.1", port), url=origin.url)
        assert "cannot be connected to" in (result.back_to_source or "")
        assert result.from_origin == len(self.whole)
        assert get.output.read_bytes() == self.whole

    def test_a_supernode_that_names_the_origin_as_the_source(self, get: Download) -> None:
        with LegacySupernode(self.whole, cdn_source="source") as node, Origin(self.whole) as origin:
            result = get(node, url=origin.url)
        assert "names the origin" in (result.back_to_source or "")
        assert get.output.read_bytes() == self.whole

    @pytest.mark.parametrize(
        "answer", [{"code": 604, "msg": "cdn failed"}, {"code": 600}, {"code": 601, "data": [{}]}, {"code": 500}, {"nonsense": 1}]
    )
    def test_a_supernode_that_answers_pulls_with_errors_is_replaced_by_the_origin(self, get: Download, answer: dict[str, Any]) -> None:
        with LegacySupernode(self.whole) as node, Origin(self.whole) as origin:
            node.pull_code = answer
            result = get(node, url=origin.url)
            assert result.back_to_source
            assert result.from_origin == len(self.whole)
            assert len(node.registered) <= 5
        assert get.output.read_bytes() == self.whole

    def test_a_download_registers_again_at_a_supernode_that_restarted_without_state(self, get: Download) -> None:
        began, restarted = threading.Event(), threading.Event()

        def fault(n: int, before: int) -> str:
            if n == 6 and not began.is_set():
                began.set()
                restart()
                return "close"
            return ""

        def restart() -> None:
            node.stop()
            node.forget()
            node.start()
            restarted.set()

        # Only the restarted supernode offers the last pieces: the download cannot end without it.
        with LegacySupernode(self.whole, fault=fault, known=lambda n: n < 8 or restarted.is_set()) as node:
            result = get(node)
            assert result.back_to_source is None
            assert len(node.registered) == 2
            assert node.registered[0]["cid"] == node.registered[1]["cid"]
            assert sum(node.asked.values()) <= node.pieces + 4, "at most the pieces in flight are fetched again"
        assert get.output.read_bytes() == self.whole

    def test_another_supernode_takes_over_from_one_lost_in_mid_download(self, get: Download) -> None:
        """Rendezvous hashing decides which of the two the download uses first: that one is lost."""
        lost: list[LegacySupernode] = []

        def stops(node: LegacySupernode) -> Fault:
            def fault(n: int, before: int) -> str:
                if n == 6 and not lost:
                    lost.append(node)
                    threading.Thread(target=node.stop).start()
                    return "close"
                return ""

            return fault

        with LegacySupernode(self.whole) as one, LegacySupernode(self.whole) as two:
            one.fault, two.fault = stops(one), stops(two)
            result = get(one, two)
            assert result.back_to_source is None
            assert lost
            [other] = {one, two} - {*lost}
            assert 0 < other.bytes_sent < len(self.whole), "pieces on disk were not fetched again"
        assert get.output.read_bytes() == self.whole

    def test_pieces_of_a_lost_supernode_are_kept_and_the_origin_read_once(self, get: Download, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dfengine.client.swarm_session.RETRY", 0.5)
        stopped = threading.Event()

        def fault(n: int, before: int) -> str:
            if n == 6 and not stopped.is_set():
                stopped.set()
                threading.Thread(target=node.stop).start()
            return "close" if stopped.is_set() else ""

        with LegacySupernode(self.whole, fault=fault) as node, Origin(self.whole) as origin:
            result = get(node, url=origin.url)
            assert result.back_to_source
            assert result.from_supernode > 0
            assert result.from_origin == len(self.whole) - result.from_supernode, "only the missing bytes count as the origin's"
            # The versions cannot be compared by name: the whole file is read from the origin and compared with the pieces on disk.
            assert set(origin.asked.values()) == {1}, "the origin is asked for no part twice"
        assert get.output.read_bytes() == self.whole

    def test_the_origin_is_read_if_the_supernode_never_offers_a_piece(self, get: Download, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dfengine.client.progress_timeout.IDLE", 0.3)
        with LegacySupernode(self.whole, known=lambda n: False) as node, Origin(self.whole) as origin:
            result = get(node, url=origin.url, minrate=0)
            assert "no progress in the swarm" in (result.back_to_source or "")
        assert get.output.read_bytes() == self.whole

    def test_a_timeout_ends_the_download_with_exit_code_8_and_it_can_be_resumed(self, get: Download) -> None:
        with LegacySupernode(self.whole, known=lambda n: n < 5) as node:
            with pytest.raises(TimedOut) as error:
                get(node, timeout=0.7)
            assert error.value.exit_code == 8
            assert not get.output.exists()
            assert len(get.left()) == 2
            node.known = lambda n: True
            result = get(node)
            assert result.resumed > 0
        assert get.output.read_bytes() == self.whole


FAULTS = ["close", "gone", "flip", "head", "tail", "truncate", "short", "long", "whole", "garbage", "range", "chunked longer"]


@pytest.mark.parametrize("way", ["chunked", "unannounced"])
def test_pieces_in_chunked_responses_and_without_content_length(get: Download, way: str) -> None:
    """Proxies may send pieces so."""
    whole = content(8 * MIB)
    with LegacySupernode(whole, fault=lambda n, before: way) as node:
        result = get(node, notbs=True)
        assert get.output.read_bytes() == whole
        assert result.back_to_source is None
        assert set(node.asked.values()) == {1}


class TestFailingSources:
    whole = content(8 * MIB)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_source_that_fails_once_is_asked_again(self, get: Download, fault: str) -> None:
        once: Fault = lambda n, before: fault if n == 3 and not before else ""  # noqa: E731
        with LegacySupernode(self.whole, fault=once) as node, Origin(self.whole) as origin:
            result = get(node, url=origin.url)
            assert get.output.read_bytes() == self.whole
            if fault == "flip":
                assert node.count("FILE_MD5_NOT_MATCH") == 1
            else:
                assert result.back_to_source is None
                assert node.asked[3] == 2

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_source_that_always_fails_is_replaced_by_the_origin(self, get: Download, fault: str) -> None:
        with LegacySupernode(self.whole, fault=lambda n, before: fault) as node, Origin(self.whole) as origin:
            result = get(node, url=origin.url)
            assert result.back_to_source
            assert result.from_supernode == 0
            assert get.output.read_bytes() == self.whole
            get.output.unlink()
            with pytest.raises(DfengineError):
                get(node, notbs=True)
        assert not get.output.exists()

    @pytest.mark.parametrize("fault", ["stall", "trickle"])
    def test_a_piece_of_a_stalling_source_is_requested_again(self, get: Download, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dfengine.client.fetch.SILENCE", 0.4)
        monkeypatch.setattr("dfengine.client.fetch.GRACE", 0.4)
        with LegacySupernode(self.whole, fault=lambda n, before: fault if n == 3 and not before else "") as node:
            assert get(node, minrate=4 * MIB).back_to_source is None
            assert node.asked[3] == 2
        assert get.output.read_bytes() == self.whole

    def test_pieces_with_a_wrong_digest_are_not_resumed_from(self, get: Download) -> None:
        """The part file of a download that failed on wrong digests has no pieces."""
        with LegacySupernode(self.whole, fault=lambda n, before: "flip") as node:
            with pytest.raises(DfengineError):
                get(node, notbs=True)
            node.fault = lambda n, before: ""
            assert get(node).resumed == 0
        assert get.output.read_bytes() == self.whole


class TestResuming:
    whole = content(10 * MIB)

    def broken_off(self, get: Download, node: LegacySupernode, pieces: int = 5, **settings: Any) -> None:
        node.known = lambda n: n < pieces
        with pytest.raises(TimedOut):
            get(node, timeout=0.8, **settings)
        node.known = lambda n: True

    def test_only_missing_pieces_are_fetched(self, get: Download) -> None:
        with LegacySupernode(self.whole) as node:
            self.broken_off(get, node)
            result = get(node)
            assert result.resumed == 5 * PIECE
            assert result.from_supernode == len(self.whole) - 5 * PIECE
            assert set(node.asked.values()) == {1}
        assert get.output.read_bytes() == self.whole
        assert get.left() == ["out"]

    def test_pieces_damaged_in_the_part_file_are_fetched_again(self, get: Download) -> None:
        with LegacySupernode(self.whole) as node:
            self.broken_off(get, node)
            (part,) = get.folder.glob("*.part")
            with part.open("r+b") as file:
                file.seek(2 * PIECE + 77)
                file.write(b"damage")
            assert get(node).resumed == 4 * PIECE
            assert (node.asked[1], node.asked[2]) == (1, 2)
        assert get.output.read_bytes() == self.whole

    def test_a_file_of_another_length_starts_from_the_beginning(self, get: Download) -> None:
        other = content(10 * MIB + 1)
        with LegacySupernode(self.whole) as node:
            self.broken_off(get, node)
        with LegacySupernode(other) as node:
            assert get(node).resumed == 0
        assert get.output.read_bytes() == other

    @pytest.mark.parametrize("descending", [False, True])
    def test_another_file_of_the_same_length_starts_over(self, get: Download, descending: bool) -> None:
        """1.x does not name versions: the whole md5 that it reports at the end reveals the mixture."""
        other = bytes(reversed(self.whole))
        with LegacySupernode(self.whole) as node:
            self.broken_off(get, node)
        with LegacySupernode(other) as node:
            node.descending = descending
            result = get(node)
            assert result.resumed == 0
            assert len({each["cid"] for each in node.registered}) == 2
        assert get.output.read_bytes() == other
        assert get.left() == ["out"]

    def test_another_file_after_a_new_registration_starts_over(self, get: Download) -> None:
        other = bytes(reversed(self.whole))
        with LegacySupernode(self.whole, known=lambda n: n < 5) as node:

            def replace() -> None:
                eventually(lambda: sum(map(len, node.written.values())) == 5, "five pieces")
                node.content, node.md5, node.descending = other, hashlib.md5(other).hexdigest(), True
                node.forget()
                node.known = lambda n: True

            replacing = threading.Thread(target=replace)
            replacing.start()
            result = get(node)
            replacing.join()
            assert result.back_to_source is None
            assert len({each["cid"] for each in node.registered}) == 2
        assert get.output.read_bytes() == other

    def test_stored_pieces_are_reported_until_the_supernode_sends_the_md5(self, get: Download) -> None:
        """It offers the missing pieces first, and sends the md5 once each piece was reported."""
        with LegacySupernode(self.whole) as node:
            self.broken_off(get, node)
        with LegacySupernode(self.whole) as node:
            node.descending = True
            assert get(node).resumed == 5 * PIECE
            assert set(node.asked) == set(range(5, node.pieces))
            (arrived,) = node.arrived.values()
            assert arrived == set(range(node.pieces))
        assert get.output.read_bytes() == self.whole

    def test_without_the_supernodes_md5_no_piece_is_kept(self, get: Download) -> None:
        with LegacySupernode(self.whole) as node:
            self.broken_off(get, node)
            node.md5 = ""
            assert get(node).resumed == 0
        assert get.output.read_bytes() == self.whole

    def test_a_supernode_that_sends_no_md5_is_left_after_a_while(self, get: Download, monkeypatch: pytest.MonkeyPatch) -> None:
        with LegacySupernode(self.whole) as node:
            self.broken_off(get, node)
        monkeypatch.setattr("dfengine.client.progress_timeout.IDLE", 0.2)
        with LegacySupernode(self.whole) as node:
            node.descending = True
            node.known = lambda n: n >= 5 or len(node.registered) > 1
            assert get(node, minrate=0).resumed == 0
        assert get.output.read_bytes() == self.whole

    def test_the_md5_is_awaited_as_long_as_a_piece(self, get: Download, monkeypatch: pytest.MonkeyPatch) -> None:
        """The supernode may have to fetch again what this download has. A piece may take twice its time at the minimum rate."""
        limits: list[float] = []
        expired = ProgressTimeout.expired

        def noted(timeout: ProgressTimeout, *given: Any) -> bool:
            limits.append(timeout.seconds)
            return expired(timeout, *given)

        monkeypatch.setattr(ProgressTimeout, "expired", noted)
        with LegacySupernode(self.whole) as node:
            self.broken_off(get, node)
            limits.clear()
            node.known = lambda n: n != 3 or len(limits) > 20
            node.forget()
            assert get(node, minrate=16 << 10).resumed == 5 * PIECE
        assert set(limits) == {128.0}
        assert set(node.asked.values()) == {1}
        assert get.output.read_bytes() == self.whole

    def test_a_start_over_may_find_that_the_output_is_current(self, get: Download) -> None:
        """The origin, which names the output's version, is asked only after the resumed pieces were discarded."""

        class Lost(LegacySupernode):
            """It is lost instead of sending the md5."""

            def _pull(self, query: dict[str, str]) -> dict[str, Any]:
                answer = super()._pull(query)
                if answer["code"] != 600:
                    return answer
                self.refuse = 500, {"code": 500, "message": "restarts"}
                return {"code": 502, "msg": "restarted"}

        with Lost(self.whole) as node, Origin(self.whole) as origin:
            get(url=origin.url, pattern="source")
            self.broken_off(get, node, url=origin.url)
            result = get(node, url=origin.url)
            assert any("starts over" in text for text in result.notices)
            assert (result.resumed, result.from_origin) == (len(self.whole), 0)
        assert get.output.read_bytes() == self.whole
        assert get.left() == ["out"]

    @pytest.mark.parametrize("resumed", [False, True])
    def test_a_last_piece_that_arrives_during_the_search(
        self, get: Download, resumed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Then the origin is not asked, and the file is not named as its version. Resumed pieces need a proof nevertheless."""
        monkeypatch.setattr("dfengine.client.swarm_session.RETRY", 2.0)
        whole, missing = content(4 * PIECE), [2, 3] if resumed else [0, 1, 2, 3]
        other = bytes(reversed(whole))

        class Lost(LegacySupernode):
            """Once a piece was reported to it, it forgets the download, and hangs at the next registration while piece 3 arrives."""

            hanging, last, lost = threading.Event(), threading.Event(), False

            def _register(self, request: Any, fields: dict[str, Any]) -> None:
                if not self.lost or self.last.is_set():
                    return super()._register(request, fields)
                self.hanging.set()
                self.last.wait(60)
                self.release.wait(3)
                request.close_connection = True

            def _pull(self, query: dict[str, str]) -> dict[str, Any]:
                self.lost = self.lost or bool(query["range"])
                return {"code": 502, "msg": "unknown"} if self.lost and not self.last.is_set() else super()._pull(query)

            def _piece(self, request: Any) -> None:
                if request.headers["pieceNum"] == "3":
                    self.hanging.wait(60)
                super()._piece(request)
                if request.headers["pieceNum"] == "3":
                    self.last.set()

        with Lost(whole) as node, LegacySupernode(other) as earlier, Origin(other, etag='"other"') as origin:
            if resumed:
                self.broken_off(get, earlier, pieces=2, url=origin.url)
            node.known = lambda n: n in missing or node.last.is_set()
            result = get(node, url=origin.url)
            assert result.back_to_source is None
            assert (result.resumed, result.from_origin) == (0, 0)
            assert any("starts over" in text for text in result.notices) == resumed
            assert get.output.read_bytes() == whole
            get(url=origin.url, pattern="source")
        assert get.output.read_bytes() == other

    def test_the_origin_is_not_asked_when_the_last_piece_arrived_late(self, get: Download, monkeypatch: pytest.MonkeyPatch) -> None:
        run = SwarmSession.run
        monkeypatch.setattr(SwarmSession, "run", lambda session, *given: run(session, *given) or "it is lost")
        with LegacySupernode(self.whole) as node:
            assert get(node, notbs=True).back_to_source is None
        assert get.output.read_bytes() == self.whole

    def test_the_origin_is_asked_only_for_missing_pieces(self, get: Download) -> None:
        with LegacySupernode(self.whole) as node, Origin(self.whole) as origin:
            self.broken_off(get, node, url=origin.url)
            node.pull_code = {"code": 604, "msg": "cdn failed"}
            result = get(node, url=origin.url)
            assert result.resumed == 5 * PIECE
            assert result.from_origin == len(self.whole) - 5 * PIECE
        assert get.output.read_bytes() == self.whole

    def test_the_whole_digest_covers_resumed_and_new_pieces(self, get: Download) -> None:
        with LegacySupernode(self.whole) as node:
            self.broken_off(get, node)
            get(node, digest=Digest("sha256", hashlib.sha256(self.whole).hexdigest()))
        assert get.output.read_bytes() == self.whole


@pytest.mark.parametrize("pattern", ["cdn", "source"])
@pytest.mark.parametrize("permitted", [0, 1, 2])
def test_a_download_runs_with_as_many_threads_as_the_system_permits(
    get: Download, monkeypatch: pytest.MonkeyPatch, permitted: int, pattern: str
) -> None:
    start, begun = threading.Thread.start, list[threading.Thread]()

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith(("fetch-", "origin-")):
            if len(begun) == permitted:
                raise RuntimeError("can't start new thread")
            begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    whole = content(40 * MIB)
    with LegacySupernode(whole) as node, Origin(whole) as origin:
        if permitted:
            get(node, url=origin.url, pattern=pattern)
            assert get.output.read_bytes() == whole
        else:
            with pytest.raises(LocalError, match="too many threads"):
                get(node, url=origin.url, pattern=pattern)
            assert get.left() == ["home"] * (pattern == "cdn" and (get.folder / "home").exists())
    assert len(begun) == permitted
    assert not any(thread.is_alive() for thread in begun)


def test_locallimit_bounds_the_receive_rate(get: Download) -> None:
    """At most the rate times the duration, plus one burst."""
    whole, rate = content(3 * MIB), 4 * MIB
    with LegacySupernode(whole) as node:
        result = get(node, locallimit=rate)
    assert len(whole) <= rate * result.seconds + rate / 10 + 2 * 64 * 1024
    assert get.output.read_bytes() == whole


def test_progress_is_reported_to_the_callback(get: Download) -> None:
    told: list[tuple[int, ...]] = []
    whole = content(4 * MIB)
    with LegacySupernode(whole) as node:
        client.get(get.settings(node), lambda *counts: told.append(counts))
    assert told[-1] == (len(whole), 0, len(whole), 0, 0)
    assert all(0 <= supernode <= len(whole) + 64 * node.pieces * 16 for _, _, supernode, _, _ in told)


def test_a_download_can_be_resumed_after_an_exception_in_the_main_thread(get: Download) -> None:
    """As raised by a signal handler."""

    class Signalled(BaseException):
        pass

    def interrupt(*_: int) -> None:
        if sum(map(len, node.written.values())) >= 3:
            raise Signalled

    whole = content(12 * MIB)
    with LegacySupernode(whole, fault=lambda n, before: "stall" if n > 8 and not before else "") as node:
        with pytest.raises(Signalled):
            client.get(get.settings(node), interrupt)
        assert not get.output.exists()
        assert get(node).resumed >= 3 * PIECE
    assert get.output.read_bytes() == whole
