"""A supernode that follows a task's leader, and leaders that fail, lie or are slow."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from copy import copy
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine import wire
from dfengine._piece import Geometry
from dfengine.errors import OriginUnreachable, StorageError
from dfengine.net.dialer import Dialer
from dfengine.net.event_log import NO_EVENTS
from dfengine.origin.version import Version
from dfengine.supernode.cluster import member_records, membership
from dfengine.supernode.cluster.redis_scripts import RedisScripts
from dfengine.supernode.copies import following, leader_probe, leader_pulls, piece_connections, slow_leader
from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.copies.eviction import DiskSpace
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.copies.following import CHANGED, COMPLETE, ORIGIN
from dfengine.supernode.copies.origin_progress_messages import Reading
from dfengine.task import cdn_cid, cdn_path, task_id
from dfengine.tree import TreeTask
from tests.supernode.redis_server import RedisServer
from tests.supernode.test_redis_scripts import until

URL = "http://127.0.0.1:1/f"
TASK = task_id(URL)
NAME = "5e" * 32
LENGTH = (12 << 20) + 77
CONTENT = random.Random(7).randbytes(LENGTH)
GEOMETRY = Geometry(LENGTH)


class Leader:
    """Responds as the leader of the task. registered, pulled, piece: change a response before it is sent."""

    def __init__(self, cache: Cache) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.registered: Callable[[Any], Any] = lambda answer: answer
        self.pulled: Callable[[Any], Any] = lambda answer: answer
        self.piece: Callable[[bytes], bytes] = lambda answer: answer
        self.reads = Reading(wire.SUCCESS, 0, GEOMETRY.count - 2)
        self.read: Any = lambda: self.reads
        self.given: set[int] = set()
        self.under_way: set[int] = set()
        self.digests = {n: cache.piece_digest(memoryview(self.content(n))).hex() for n in range(GEOMETRY.count)}
        leader = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                leader.asked.append((self.path, message))
                made = leader.read() if self.path == "/swarm/reading" else \
                    leader._register() if self.path == "/peer/registry" else leader._pull(message)
                self._answer(200, made if isinstance(made, bytes) else wire.encode(made))

            def do_GET(self) -> None:
                n = int(self.headers["pieceNum"])
                framed = leader.piece(GEOMETRY.head(n) + leader.content(n) + b"\x7f")
                self._answer(206, framed)

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the client closed the connection
        self.port = self._server.server_address[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @staticmethod
    def content(n: int) -> bytes:
        start, length = GEOMETRY.content(n)
        return CONTENT[start : start + length]

    def _register(self) -> Any:
        data = {"taskId": TASK, "fileLength": LENGTH, "pieceSize": GEOMETRY.piece_size, "cdnSource": "supernode", "native": 1,
                "generation": "g1", "digest": "xxh3", "etag": '"e1"', "clusterName": NAME}  # fmt: skip
        self.under_way.clear()
        return self.registered({"code": wire.SUCCESS, "data": data})

    def _pull(self, message: Any) -> Any:
        source = wire.Source(cdn_cid("127.0.0.1", TASK), "127.0.0.1", self.port, cdn_path(TASK))
        self.given |= {n for n, _ in message.get("done", ())} | {n for first, past in message.get("held", ()) for n in range(first, past)}
        self.under_way -= {n for n, *_ in message.get("failed", ())}
        pieces = [n for n in range(GEOMETRY.count) if n not in self.given | self.under_way][: message.get("want", 0)]
        code = wire.CONTINUE if pieces else wire.FINISHED
        answer = self.pulled(wire.Pulled(code, [wire.Offer(n, self.digests[n], (source,)) for n in pieces]))
        self.under_way |= {offer.piece for offer in getattr(answer, "offers", ())}
        return answer

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Cluster:
    """Returns each of these leaders once, then always the last. fallback_leaders: the members before this one in the task's order."""

    def __init__(self, *leaders: str | None, fallback_leaders: tuple[str, ...] = (), separate_key: bool = True) -> None:
        self.separate_key = separate_key
        self._leaders = list(leaders)
        self._fallback_leaders = fallback_leaders
        self.own = SimpleNamespace(address="127.0.0.9:8002")
        self.takes, self.taken = True, list[str]()
        self.others: list[str] = []
        self.led = itertools.repeat(False)
        """The answers of `has_lead`."""

    def leader(self, task: str) -> str | None:
        return self._leaders.pop(0) if len(self._leaders) > 1 else self._leaders[0]

    def fallback_leader(self, task: str, lost: Container[str]) -> str | None:
        return next((each for each in self._fallback_leaders if each not in lost), None)

    def has_lead(self, task: str) -> bool:
        return next(self.led)

    def reserve_probes(self, task: str, seconds: float) -> bool:
        return self.takes

    def take_lead(self, task: str, leader: str, rate: float, seconds: float) -> bool:
        self.taken.append(leader)
        return self.takes

    def addresses(self) -> list[str]:
        return self.others

    def dialer(self) -> Dialer:
        return Dialer()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path))


@pytest.fixture
def leader(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Iterator[Leader]:
    for name, seconds in (("PATIENCE", 5.0), ("FALLBACK_PATIENCE", 4.0), ("LOST", 0.3), ("AGAIN", 0.05), ("PARK", 0.2)):
        monkeypatch.setattr(following, name, seconds)
    made = Leader(cache)
    yield made
    made.close()


@pytest.fixture
def impatient(leader: Leader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short deadlines for tests in which nothing is received; other tests have long ones for a busy machine."""
    for name, seconds in (("PATIENCE", 0.6), ("FALLBACK_PATIENCE", 0.4)):
        monkeypatch.setattr(following, name, seconds)


def fetch_of(cache: Cache, *leaders: str | None, fallback_leaders: tuple[str, ...] = (), **wanted: Any) -> Fetch:
    names = ("fetch_head", "fetch_pieces", "fetch_piece", "fetch_took_lead", "fetch_redirects_hosts")
    events: Any = SimpleNamespace(**dict.fromkeys(names))
    given: Any = {"url": URL, "cluster_name": NAME, **wanted}
    return Fetch(TASK, FetchRequest(**given), cache, lambda *_: None, events, DiskSpace(cache, None, None, 0, 0),  # type: ignore[arg-type]
                 cluster=Cluster(*leaders, fallback_leaders=fallback_leaders))  # fmt: skip


def test_a_follower_receives_the_whole_file_and_the_origins_version(cache: Cache, leader: Leader) -> None:
    fetch = fetch_of(cache, leader.address)
    assert following.follow(fetch, None) == COMPLETE
    assert fetch.file is not None
    assert Path(fetch.file.path).read_bytes() == CONTENT
    assert (fetch.description.generation, fetch.leader) == ("g1", leader.address)
    assert fetch.description.version(LENGTH) == Version('"e1"', "", LENGTH)
    assert leader.given == set(range(GEOMETRY.count)), "the leader is notified of all received pieces"
    registration = leader.asked[0][1]
    assert (registration["follows"], registration["pattern"], registration["rawurl"]) == (True, "cdn", URL)


def test_a_supernode_that_leads_sends_no_requests(cache: Cache, leader: Leader) -> None:
    assert following.follow(fetch_of(cache, None), None) == ORIGIN
    assert not leader.asked


def test_pieces_received_before_the_leader_was_lost_are_kept_and_reported_to_the_next(cache: Cache, leader: Leader) -> None:
    """This includes a copy on disk that an earlier process left."""
    lost = threading.Event()

    def pulled(answer: wire.Pulled) -> Any:
        one = [] if leader.under_way - leader.given else answer.offers[:1]
        return b"" if leader.given and not lost.is_set() else wire.Pulled(answer.code, one)

    leader.pulled = pulled
    fetch = fetch_of(cache, leader.address, None)
    assert following.follow(fetch, None) == ORIGIN
    assert fetch.file is not None
    assert fetch.file.available.count() == 1
    lost.set()
    fetch.file.release()
    found = cache.load(TASK)
    assert found is not None
    assert found[0].verify(0, found[0].buffer())
    again = fetch_of(cache, leader.address)
    leader.given.clear()
    assert following.follow(again, found) == COMPLETE
    assert again.file is found[0]
    messages = [message for path, message in leader.asked if path == "/swarm/pull"]
    assert [[0, 1]] in [message.get("held") for message in messages]


def test_a_leader_with_another_version_ends_the_copy_as_changed(cache: Cache, leader: Leader) -> None:
    versions = iter(["g1", "g2"])

    def registered(answer: Any) -> Any:
        answer["data"]["generation"] = next(versions)
        return answer

    leader.registered = registered
    leader.pulled = lambda answer: wire.Pulled(wire.NOT_FOUND)
    assert following.follow(fetch_of(cache, leader.address), None) == CHANGED


def changed(**data: Any) -> Any:
    return lambda answer: {**answer, "data": {**answer["data"], **data}}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "registered",
    [
        changed(clusterName="0" * 64), changed(clusterName=""), changed(clusterName=None), changed(taskId="0" * 63), changed(taskId="../x"),
        changed(vary=["a"] * 65), changed(vary=[1]), changed(vary={"a": "b"}),
        changed(native=0), changed(digest="blake3"), changed(cdnSource="source"), changed(fileLength=-1),
        changed(pieceSize=1), changed(pieceSize=0), changed(generation=""), changed(fileLength=1 << 62), changed(fileLength="x"),
        lambda answer: {"code": wire.SUCCESS}, lambda answer: {"code": 500, "msg": "no"}, lambda answer: {"code": wire.WAIT},
        lambda answer: b"", lambda answer: b"[]", lambda answer: b"\xff" * 100, lambda answer: {"code": wire.NEED_AUTH},
    ],
)  # fmt: skip
def test_a_leader_with_an_invalid_registration_response_is_given_up(cache: Cache, leader: Leader, registered: Any) -> None:
    leader.registered = registered
    cache.max_length = 1 << 40
    fetch = fetch_of(cache, leader.address)
    with suppress(StorageError):  # a file of that length cannot be created
        assert following.follow(fetch, None) == ORIGIN
    assert fetch.file is None


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "pulled",
    [
        lambda answer: wire.Pulled(wire.FINISHED), lambda answer: wire.Pulled(wire.WAIT), lambda answer: b"{", lambda answer: b"{}",
        lambda answer: wire.Pulled(wire.CDN_FAILED, msg="the origin is gone"), lambda answer: wire.Pulled(wire.NOT_FOUND),
        lambda answer: wire.Pulled(wire.CONTINUE, [wire.Offer(1 << 20, "00", answer.offers[0].sources)]),
        lambda answer: wire.Pulled(wire.CONTINUE, [wire.Offer(-1, "00", answer.offers[0].sources)]),
        lambda answer: wire.Pulled(wire.CONTINUE, [wire.Offer(0, "00", ())]),
        lambda answer: wire.Pulled(wire.CONTINUE, [wire.Offer(0, "00" * 16, answer.offers[0].sources)]),
        lambda answer: wire.Pulled(wire.CONTINUE, [wire.Offer(0, "00", (wire.Source("c", "127.0.0.1", 1, "/etc/passwd"),))]),
        lambda answer: wire.Pulled(wire.CONTINUE, [wire.Offer(0, "00", (wire.Source("c", "127.0.0.1", 15001, "/peer/file/x"),))]),
    ],
)  # fmt: skip
def test_a_leader_that_provides_no_pieces_is_given_up(cache: Cache, leader: Leader, pulled: Any) -> None:
    leader.pulled = pulled
    fetch = fetch_of(cache, leader.address)
    assert following.follow(fetch, None) == ORIGIN
    assert fetch.file is None or not fetch.file.available.count()


@pytest.mark.parametrize(
    "piece",
    [
        lambda framed: framed[:-2], lambda framed: b"\0" * len(framed), lambda framed: framed[:-1] + b"\0",
        lambda framed: framed[:9] + bytes([framed[9] ^ 1]) + framed[10:],
    ],
)  # fmt: skip
def test_pieces_with_wrong_bytes_are_discarded_and_reported_as_failed(cache: Cache, leader: Leader, piece: Any) -> None:
    leader.piece = piece
    fetch = fetch_of(cache, leader.address)
    assert following.follow(fetch, None) == ORIGIN
    assert fetch.file is not None
    assert not fetch.file.available.count()
    assert any(message.get("failed") for _, message in leader.asked)


HOSTILE: tuple[Any, ...] = (
    None, "", "\0", "../" * 20, "0" * 64, "\ud800", -1, 0, 1 << 31, 1 << 63, 1e300, True, [], [None], ["a\r\nb"] * 3, {}, {"a": 1},
    "a" * 70_000,
)  # fmt: skip


@pytest.mark.parametrize("seed", range(24))
def test_no_wrong_bytes_are_stored_from_random_responses(cache: Cache, leader: Leader, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Any field of its responses may be replaced at random; a digest that it names is correct or absent."""
    monkeypatch.setattr(following, "PATIENCE", 0.3)
    dice = random.Random(seed)

    def spoilt(told: Any, depth: int = 0) -> Any:
        for name in list(told) if isinstance(told, dict) else range(len(told)) if isinstance(told, list) else ():
            if dice.random() < 0.08:
                told[name] = dice.choice(HOSTILE)
            elif depth < 4:
                spoilt(told[name], depth + 1)
        return told

    def answer(told: Any) -> bytes:
        text = json.dumps(spoilt(json.loads(wire.encode(told)))).encode()
        return text[: dice.randrange(len(text))] if dice.random() < 0.05 else text

    def piece(framed: bytes) -> bytes:
        at = dice.randrange(len(framed))
        return framed if dice.random() < 0.7 else framed[:at] + bytes([framed[at] ^ 1]) + framed[at + 1 :]

    leader.registered = leader.pulled = answer
    leader.piece = piece
    cache.max_length = 1 << 40
    fetch = fetch_of(cache, leader.address, headers=(("Accept", "a"),))
    try:
        assert following.follow(fetch, None) in (COMPLETE, ORIGIN, CHANGED)
    except StorageError:
        assert fetch.file is None, "a file of that length cannot be created"
    if fetch.file is not None:
        data = Path(fetch.file.path).read_bytes()
        for n in fetch.file.available:
            start, length = GEOMETRY.content(n)
            assert data[start : start + length] == leader.content(n)


def test_a_leader_that_refuses_connections_is_given_up_soon(cache: Cache, leader: Leader) -> None:
    leader.close()
    assert following.follow(fetch_of(cache, leader.address), None) == ORIGIN


def test_the_time_to_restart_counts_from_the_leaders_last_response(
    cache: Cache, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not count from the start of following."""
    monkeypatch.setattr(following, "PATIENCE", 60.0)
    begun, broken = time.monotonic(), 0

    def pulled(answer: wire.Pulled) -> Any:
        nonlocal broken
        if time.monotonic() < begun + 1.0:
            return wire.Pulled(wire.WAIT)
        broken += 1
        return b"" if broken == 1 else answer

    leader.pulled = pulled
    assert following.follow(fetch_of(cache, leader.address), None) == COMPLETE
    assert broken > 1


@pytest.mark.parametrize("known", [True, False], ids=["leader lost", "leader unknown"])
def test_a_fallback_leader_is_followed_when_the_leader_is_lost_or_unknown(cache: Cache, leader: Leader, known: bool) -> None:
    """It is the first member that can be reached, even if Redis names another."""
    fetch = fetch_of(cache, "127.0.0.1:1" if known else None, fallback_leaders=("127.0.0.1:1", "127.0.0.1:2", leader.address))
    assert following.follow(fetch, None) == COMPLETE
    assert fetch.leader == leader.address


def test_a_leader_that_stops_responding_is_left_for_a_fallback_leader(
    cache: Cache, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host still acknowledges packets, as with a stopped process."""
    monkeypatch.setattr(leader_pulls, "ANSWER", 0.2)
    go, other = threading.Event(), Leader(cache)
    leader.pulled = lambda answer: (go.wait(60), b"")[1]
    fetch = fetch_of(cache, leader.address, fallback_leaders=(other.address,))
    assert following.follow(fetch, None) == COMPLETE
    assert fetch.leader == other.address
    go.set()
    other.close()


@pytest.mark.parametrize("known", [True, False], ids=["last known leader", "fallback leader"])
@pytest.mark.parametrize("where", ["registration", "pull"])
def test_a_supernode_that_redis_made_the_leader_does_not_wait_for_another_one(
    cache: Cache, leader: Leader, monkeypatch: pytest.MonkeyPatch, where: str, known: bool
) -> None:
    """The other one may follow it meanwhile, as Redis tells it."""
    monkeypatch.setattr(following, "FALLBACK_PATIENCE", 3600.0)
    monkeypatch.setattr(following, "PATIENCE", 3600.0)
    if where == "registration":
        leader.registered = lambda answer: {"code": wire.WAIT}
    leader.pulled = lambda answer: wire.Pulled(wire.WAIT)
    fetch = fetch_of(cache, leader.address if known else None, fallback_leaders=(leader.address,))
    cluster: Any = fetch.cluster
    cluster.led = iter([False, False, True])
    assert following.follow(fetch, None) == ORIGIN
    assert next(cluster.led, None) is None


def test_a_fallback_leader_that_sends_pieces_is_followed_to_the_end(cache: Cache, leader: Leader) -> None:
    fetch = fetch_of(cache, None, fallback_leaders=(leader.address,))
    cluster: Any = fetch.cluster
    cluster.led = itertools.repeat(True)
    assert following.follow(fetch, None) == COMPLETE


@pytest.mark.parametrize("said", [{"code": 500, "msg": "no"}, {"code": wire.WAIT}, b""])
def test_a_fallback_leader_that_refuses_to_lead_is_skipped(cache: Cache, leader: Leader, said: Any) -> None:
    leader.registered = lambda answer: said
    assert following.follow(fetch_of(cache, None, fallback_leaders=(leader.address,)), None) == ORIGIN
    assert leader.asked


def test_pieces_are_read_concurrently(cache: Cache, leader: Leader) -> None:
    both, asked = threading.Barrier(piece_connections.SLOW_PIECES), itertools.count()

    def piece(framed: bytes) -> bytes:
        if next(asked) < piece_connections.SLOW_PIECES:
            both.wait(60)
        return framed

    leader.piece = piece
    assert following.follow(fetch_of(cache, leader.address), None) == COMPLETE


def test_a_pull_is_parked_while_a_piece_is_received_and_ends_with_its_report(cache: Cache, leader: Leader) -> None:
    """A follower with room for a piece waits in the leader's queue, and reports a piece that ends meanwhile at once."""
    waits, reported, give, numbers = threading.Event(), threading.Event(), leader._pull, itertools.count()
    found: list[Any] = []

    def pull(message: Any) -> Any:
        if message.get("done"):
            reported.set()
        if next(numbers) == 1:
            found.append(message.get("wait", 0))
            waits.set()
            found.append(reported.wait(60))
            return wire.Pulled(wire.WAIT)
        return give(message)

    def pulled(answer: wire.Pulled) -> wire.Pulled:
        return answer if reported.is_set() else wire.Pulled(answer.code, answer.offers[:1])

    def piece(framed: bytes) -> bytes:
        waits.wait(60)
        return framed

    leader.pulled = pulled
    leader._pull, leader.piece = pull, piece  # type: ignore[method-assign]
    fetch = fetch_of(cache, leader.address)
    assert following.follow(fetch, None) == COMPLETE
    assert found == [following.PARK, True]
    assert fetch.file is not None
    assert Path(fetch.file.path).read_bytes() == CONTENT


def test_no_thread_remains_when_the_leader_is_lost_during_a_piece(cache: Cache, leader: Leader) -> None:
    asked, go = threading.Event(), threading.Event()

    def piece(framed: bytes) -> bytes:
        asked.set()
        go.wait(60)
        return framed

    def pulled(answer: wire.Pulled) -> Any:
        return b"" if asked.is_set() else answer

    leader.piece, leader.pulled = piece, pulled
    assert following.follow(fetch_of(cache, leader.address), None) == ORIGIN
    assert not [thread for thread in threading.enumerate() if thread.name == "follow"]
    go.set()


@pytest.mark.parametrize(("started", "result"), [(0, ORIGIN), (1, COMPLETE)])
def test_a_follower_reads_with_as_many_threads_as_the_system_permits(
    cache: Cache, leader: Leader, impatient: None, monkeypatch: pytest.MonkeyPatch, started: int, result: str
) -> None:
    start, running = threading.Thread.start, list[threading.Thread]()

    def limited(thread: threading.Thread) -> None:
        if thread.name == "follow":
            if sum(each.is_alive() for each in running) >= started:
                raise RuntimeError("can't start new thread")
            running.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    opened, eventfd = list[int](), os.eventfd

    def recorded(*given: int) -> int:
        opened.append(eventfd(*given))
        return opened[-1]

    monkeypatch.setattr(os, "eventfd", recorded)
    assert following.follow(fetch_of(cache, leader.address), None) == result
    assert not any(thread.is_alive() for thread in running)
    assert opened
    for fd in opened:
        with suppress(OSError):  # closed
            assert "eventfd" not in os.readlink(f"/proc/self/fd/{fd}")


def test_a_probe_without_a_thread_has_failed(cache: Cache, leader: Leader, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error would end the fetch, and remove its copy."""
    def no_thread(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    fetch: Any = fetch_of(cache, leader.address)
    probe = leader_probe.LeaderProbe(fetch, SimpleNamespace(), lambda: None, TASK, "c", 1.0)  # type: ignore[arg-type, return-value]
    assert probe.ended
    assert probe.rates is None
    probe.close()


def test_a_stopped_fetch_stops_following(cache: Cache, leader: Leader) -> None:
    leader.pulled = lambda answer: wire.Pulled(wire.WAIT)
    fetch = fetch_of(cache, leader.address)
    threading.Timer(0.1, fetch.stop).start()
    began = time.monotonic()
    with pytest.raises(OriginUnreachable, match="going away"):
        following.follow(fetch, None)
    assert time.monotonic() - began < 60


@pytest.fixture
def origin() -> Iterator[Any]:
    """Serves ranges of the file. asked: the requests' Range headers. tag: the file's ETag."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            said.asked.append(self.headers["Range"])
            first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
            body = CONTENT[int(first) : int(last) + 1]
            self.send_response(206)
            self.send_header("ETag", said.tag)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Range", f"bytes {first}-{last}/{LENGTH}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    said = SimpleNamespace(url=f"http://127.0.0.1:{server.server_address[1]}/f", asked=list[str](), tag='"e1"')
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield said
    server.shutdown()
    server.server_close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SPAN", 0.1), ("GRACE", 0.1), ("MIN_MISSING", 1), ("MIN_SPAN", 0.1), ("WAIT", 0.1)):
        monkeypatch.setattr(slow_leader, name, value)
    monkeypatch.setattr(leader_probe, "MIN_SPAN", 0.1)
    monkeypatch.setattr(following, "PATIENCE", 20.0)


def first_alone(leader: Leader) -> Any:
    """The leader offers one piece and no more."""
    return lambda answer: wire.Pulled(wire.WAIT) if leader.given or leader.under_way else wire.Pulled(answer.code, answer.offers[:1])


def test_a_follower_with_a_faster_origin_takes_the_lead_from_a_slow_leader(cache: Cache, leader: Leader, origin: Any, soon: None) -> None:
    leader.pulled = first_alone(leader)
    fetch = fetch_of(cache, leader.address, url=origin.url)
    assert following.follow(fetch, None) == ORIGIN
    assert fetch.cluster is not None
    assert fetch.cluster.taken == [leader.address]  # type: ignore[attr-defined]
    last = GEOMETRY.count - 2
    start, length = GEOMETRY.content(last)
    assert origin.asked == [f"bytes={start}-{start + length - 1}"], "one piece, which the leader reads last"
    assert fetch.file is not None
    assert set(fetch.file.available) == {0, last}, "the probed piece is kept"
    assert fetch.file.verify(last, fetch.file.buffer())


def test_a_leader_that_reads_as_fast_as_the_probe_is_still_followed(cache: Cache, leader: Leader, origin: Any, soon: None) -> None:
    """It reads more between the two requests, then it provides the rest."""
    leader.pulled = lambda answer: answer if len(origin.asked) > 1 else first_alone(leader)(answer)
    reads = itertools.count(0, 1 << 40)
    leader.read = lambda: Reading(wire.SUCCESS, next(reads), GEOMETRY.count - 2 - len(origin.asked))
    fetch = fetch_of(cache, leader.address, url=origin.url)
    assert following.follow(fetch, None) == COMPLETE
    assert fetch.cluster is not None
    assert fetch.cluster.taken == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "why", ["another probes", "another version", "nothing is read", "invalid response", "stored piece", "short piece"]
)
def test_a_failed_or_impossible_probe_does_not_take_the_lead(cache: Cache, leader: Leader, origin: Any, soon: None, why: str) -> None:
    tries = itertools.count()
    reading = {"nothing is read": Reading(wire.SUCCESS, 0, -1), "invalid response": b"[]",
               "stored piece": Reading(wire.SUCCESS, 0, 0),
               "short piece": Reading(wire.SUCCESS, 0, GEOMETRY.count - 1)}.get(why, leader.reads)  # fmt: skip

    def read() -> Any:
        next(tries)
        return reading

    leader.read = read
    leader.pulled = lambda answer: answer if next(copy(tries)) > 1 else first_alone(leader)(answer)
    fetch = fetch_of(cache, leader.address, url=origin.url)
    assert fetch.cluster is not None
    fetch.cluster.takes = why != "another probes"  # type: ignore[attr-defined]
    origin.tag = '"e2"' if why == "another version" else origin.tag
    assert following.follow(fetch, None) == COMPLETE
    assert fetch.cluster.taken == []  # type: ignore[attr-defined]
    assert fetch.file is not None
    assert Path(fetch.file.path).read_bytes() == CONTENT


def test_a_follower_notified_of_another_leader_follows_it(cache: Cache, leader: Leader) -> None:
    other = Leader(cache)
    fetch = fetch_of(cache, leader.address, other.address)
    alone = first_alone(leader)

    def pulled(answer: wire.Pulled) -> Any:
        if leader.given:
            fetch.lead_taken(other.address, 1e6)
        return alone(answer)

    leader.pulled = pulled
    assert following.follow(fetch, None) == COMPLETE
    assert fetch.leader == other.address
    assert fetch.file is not None
    assert Path(fetch.file.path).read_bytes() == CONTENT
    other.close()


@pytest.mark.parametrize(("rate", "sent"), [(1e12, True), (0.0, False)], ids=["slow", "unknown"])
def test_a_supernode_that_lost_the_lead_redirects_its_hosts_if_its_link_is_slow(
    cache: Cache, leader: Leader, monkeypatch: pytest.MonkeyPatch, rate: float, sent: bool
) -> None:
    monkeypatch.setattr(following, "OWN_SPAN", 0.0)
    fetch = fetch_of(cache, leader.address)
    told: list[Any] = []
    fetch.post = lambda event, *given: told.append(event)
    fetch.events.fetch_redirects_hosts = "sends on"  # type: ignore[assignment,method-assign]
    fetch.lead_taken(leader.address, rate)
    assert following.follow(fetch, None) == COMPLETE
    assert told.count("sends on") == sent


def test_pieces_being_received_from_hosts_are_awaited_when_the_leader_is_lost(
    cache: Cache, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LOST", 1.0)
    hosts = Leader(cache)
    asked, lost = threading.Event(), threading.Event()

    def piece(framed: bytes) -> bytes:
        asked.set()
        lost.wait(60)
        return framed

    def pulled(answer: wire.Pulled) -> Any:
        if asked.is_set():
            threading.Timer(0.2, lost.set).start()
            return b""
        source = wire.Source("host", "127.0.0.1", hosts.port, "/peer/file/x")
        return wire.Pulled(answer.code, [wire.Offer(offer.piece, offer.digest, (source,)) for offer in answer.offers])

    monkeypatch.setattr(piece_connections, "is_valid_source", lambda *_: True)
    hosts.piece, leader.pulled = piece, pulled
    fetch = fetch_of(cache, leader.address, None)
    assert following.follow(fetch, None) == ORIGIN
    assert fetch.file is not None
    assert fetch.file.available.count() == piece_connections.SLOW_PIECES
    hosts.close()


def test_a_supernode_that_alone_loses_the_leader_takes_the_lead(cache: Cache, leader: Leader) -> None:
    other, lost = Leader(cache), leader.address
    leader.close()
    fetch = fetch_of(cache, lost)
    cluster: Any = fetch.cluster
    cluster.others = [lost, other.address]
    assert following.follow(fetch, None) == ORIGIN
    assert cluster.taken == [lost]
    other.close()


class PartialDialer:
    """Connects to the supernodes at the addresses `reached` only."""

    def __init__(self, *reached: str) -> None:
        self._reached = reached

    def connect(self, host: str, port: int, **_: object) -> Any:
        if f"{host}:{port}" not in self._reached:
            raise OriginUnreachable("cut off")
        return SimpleNamespace(close=lambda: None)


def test_two_supernodes_cut_off_from_each_other_do_not_alternate_the_lead(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both reach a third one and Redis, and both are before it in the task's order."""
    monkeypatch.setattr(membership, "HEARTBEAT_PERIOD", 0.05)
    monkeypatch.setattr(following, "LOST", 0.0)
    monkeypatch.setattr(following, "AGAIN", 0.05)
    key = member_records.cluster_key(b"a secret of this swarm")
    with RedisServer(tmp_path / "redis") as server:
        one, two, three = clusters = [
            membership.Cluster(
                RedisScripts(server.url, "p:"), [key], f"10.0.0.{n}:8002", NO_EVENTS,
                partial(PartialDialer, "10.0.0.3:8002"),  # type: ignore[arg-type]
            )
            for n in (1, 2, 3)
        ]  # fmt: skip
        tasks = (f"{n:064x}" for n in itertools.count())
        name = next(task for task in tasks if min(clusters, key=lambda each: order(task, each)) is three)
        fetches = [fetch_of(cache, cluster_name=name) for _ in range(2)]
        for fetch, cluster in zip(fetches, (one, two), strict=True):
            fetch.cluster = cluster
            cluster.on_lead_taken(partial(lambda fetch, task, *lead: fetch.lead_taken(*lead), fetch))
        heard = threading.Event()
        two.notices.subscribe("mark", lambda _: heard.set())
        try:
            for cluster in clusters:
                cluster.start()
            until(lambda: all(len(cluster.others) == 2 for cluster in clusters))
            assert following.follow(fetches[0], None) == ORIGIN
            assert following.follow(fetches[1], None) == ORIGIN
            until(lambda: fetches[0].new_leader == two.own.address)
            assert following.follow(fetches[0], None) == ORIGIN
            # A notice would arrive before this later one.
            one.notices.send("mark:1", {}, 60.0)
            assert heard.wait(60)
            assert fetches[1].new_leader == "", "the second supernode goes on reading"
            assert two._view.leads(name, time.monotonic())
        finally:
            for cluster in clusters:
                cluster.close()


def order(task: str, cluster: membership.Cluster) -> bytes:
    return hashlib.sha256(f"{task}\n{cluster.own.id}".encode()).digest()


@pytest.mark.parametrize("back", [True, False], ids=["hosts return", "no host returns"])
def test_an_isolated_supernode_redirects_its_hosts_and_then_reads_the_origin(
    cache: Cache, leader: Leader, back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if back:
        monkeypatch.setattr(following, "PATIENCE", 60.0)
    lost = leader.address
    leader.close()
    fetch = fetch_of(cache, lost)
    fetch.events.fetch_redirects_hosts = "sends on"  # type: ignore[assignment,method-assign]
    told: list[Any] = []

    def post(event: Any, *given: Any) -> None:
        told.append(event)
        if back and event == "sends on":
            threading.Timer(0.05, fetch.on_registered_again).start()

    fetch.post = post
    cluster: Any = fetch.cluster
    cluster.others = [lost, "127.0.0.1:1"]
    begun = time.monotonic()
    assert following.follow(fetch, None) == ORIGIN
    assert time.monotonic() - begun < 30.0
    assert told == ["sends on"]
    assert cluster.taken == []


def test_credentials_are_sent_to_leaders_only_if_the_cluster_has_a_separate_key(cache: Cache) -> None:
    def may(separate_key: bool, **wanted: Any) -> bool:
        fetch = fetch_of(cache, None, **wanted)
        fetch.cluster = Cluster(None, separate_key=separate_key)
        return following.may_follow(fetch)

    closed: tuple[dict[str, Any], ...] = {"headers": (("Authorization", "x"),)}, {"headers": (("X-Any", "x"),)}, {"signed": "http://u"}
    opened: tuple[dict[str, Any], ...] = {}, {"headers": (("Accept", "x"),)}, {"insecure": True}, {"identifier": "1"}, {"md5": "0" * 32}
    assert all(may(True, **each) for each in (*closed, *opened))
    assert all(may(False, **each) for each in opened)
    assert not any(may(False, **each) for each in closed)
    assert not may(True, cluster_name=""), "the task has no name in the cluster"
    assert not following.may_follow(Fetch(TASK, FetchRequest(URL, cluster_name=NAME), cache, lambda *_: None, None, None))  # type: ignore[arg-type]


def test_a_followers_registration_repeats_the_hosts_request(cache: Cache, leader: Leader) -> None:
    pem = b"-----BEGIN CERTIFICATE-----"
    fetch = fetch_of(cache, leader.address, headers=(("Authorization", "Bearer x"), ("Accept", "a")), insecure=True, cacerts=(pem,),
                     identifier="i", signed="http://127.0.0.1:1/f?s", task_url="http://127.0.0.1:1/n", split=True)  # fmt: skip
    assert following.follow(fetch, None) == COMPLETE
    told = leader.asked[0][1]
    assert (told["headers"], told["insecure"]) == (["Authorization: Bearer x", "Accept: a"], True)
    assert told["rootcas"] == [b64encode(pem).decode()]
    assert (told["identifier"], told["signedurl"], told["private"], told["taskurl"]) == (
        "i", "http://127.0.0.1:1/f?s", "split", "http://127.0.0.1:1/n")  # fmt: skip
    assert TASK not in json.dumps(told), "an id opens the file"
    tree = TreeTask.parse("data", ("*.a",), ("b",), "0a" * 32)
    following.follow(fetch_of(cache, leader.address, tree=tree), None)
    told = next(message for path, message in reversed(leader.asked) if path == "/peer/registry")
    assert [told[name] for name in ("tree", "include", "exclude", "manifest", "private")] == ["data", ["*.a"], ["b"], "0a" * 32, "share"]


def test_pulls_name_the_leaders_task_id_and_the_origins_vary_is_stored(cache: Cache, leader: Leader) -> None:
    leader.registered = changed(taskId="0f" * 32, vary=["accept", "authorization"])
    fetch = fetch_of(cache, leader.address, headers=(("Authorization", "x"), ("Accept", "a")))
    assert following.follow(fetch, None) == COMPLETE
    assert {message["task"] for path, message in leader.asked if path == "/swarm/pull"} == {"0f" * 32}
    assert cache.has(TASK)
    assert fetch.description.vary == {"accept": "a\n"}
    assert not fetch.description.matches((("Accept", "b"),))
