"""The fast path for plain pulls gives the same bytes as the router and leaves the swarm in the same state."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine import wire
from dfengine.net.http import ConnectionState, Request, RequestReader, Response
from dfengine.settings import SupernodeSettings
from dfengine.supernode.registered_downloads import RegisteredDownload
from dfengine.supernode.router import Router
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.task import Peer
from tests.fuzz.parsers import plain_body
from tests.swarm.invariant import check

TASK, OTHER = "7" * 64, "8" * 64
PIECES = 70
CIDS = ("10.0.0.1-1-1.1", "10.0.0.2-2-2.2", "10.0.0.3-3-3.3", 'quote"-4', "stream-5", "old-6")
SUPERNODE_IPS = ("127.0.0.1", "127.0.0.1", "10.9.9.9", "127.0.0.1", "127.0.0.1", "127.0.0.1")
HERE = "127.0.0.1"


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time the test sets."""

    at = 1000.0

    def time(self) -> float:
        return self.at


class Place:
    """A supernode without servers. quickly: plain pulls take the fast path."""

    def __init__(self, loop: Clock, home: str, quickly: bool, count: int) -> None:
        self.node = node = SupernodeState(SupernodeSettings(home_dir=home, advertise_ip="127.0.0.1", download_port=8001), home, loop)
        node.swarm.seed = 1
        self.router = Router(node)
        self.quickly = quickly
        self.quick = 0
        self.wanted: list[tuple[int, int]] = []
        self.lines = [ConnectionState() for _ in CIDS]
        digests = [bytes([n]) * 16 for n in range(PIECES)]
        for task in (TASK, OTHER):
            geometry = SimpleNamespace(length=PIECES * 100, count=PIECES) if count >= 0 else SimpleNamespace(length=-1, count=-1)
            file = SimpleNamespace(available=(), record=SimpleNamespace(digest=digests.__getitem__, digests=b"".join(digests)))
            fetch: Any = SimpleNamespace(geometry=geometry, file=file, state="success", task=task, claim=None, stop=int, wants=self._wants,
                                         wants_pieces=lambda pieces: self._wants(pieces[0], -1))
            node.fetch_pool.fetches[task] = fetch
            node.swarm.add_task(task, count, node.now())
            for n in range(0, PIECES, 1 if task == TASK else 2):
                node.swarm.cached(task, n, node.now())
            for i, cid in enumerate(CIDS):
                peer = Peer(f"10.0.{i}.1", 15001, f"/peer/file/{cid}")
                native = 0 if cid.startswith("old") else wire.NATIVE
                node.swarm.join(task, cid, peer, node.now(), wnd=20 if cid.startswith("stream") else -1, legacy=not native)
                node.members.add((task, cid), RegisteredDownload(SUPERNODE_IPS[i], "", native, peer, address=HERE))
        node.swarm.holds(TASK, CIDS[0], [(0, 30)], node.now())

    def _wants(self, una: int, end: int) -> None:
        self.wanted.append((una, end))

    def send(self, data: bytes, line: ConnectionState) -> bytes | asyncio.Future[Response]:
        """The response's bytes, or the future of a parked pull."""
        if self.quickly:
            answer = self.router.quick(data, line, HERE)
            if answer is not None:
                self.quick += 1
                return answer
        found: list[Request] = []
        RequestReader(HERE, found.append).feed(data)
        found[0].connection = line
        slow = self.router(found[0])
        return slow.encode() if isinstance(slow, Response) else slow

    def state(self) -> object:
        """All state that later answers depend on."""
        swarm, node = self.node.swarm, self.node
        check(swarm)
        downloads = [
            (task.id, one.cid, list(one.have), one.got, one.limit, one.seen, one.pending_want, one.peer.used, one.peer.seen,
             sorted((peer.key, count) for peer, count in (one.source_failures or {}).items()),
             one.window and (one.window.una, one.window.end), sorted(one.early or ()),
             sorted((n, lease.source and lease.source.cid, lease.ending) for n, lease in one.running.items()))
            for task in swarm.tasks.values() for one in task.downloads.values()
        ]  # fmt: skip
        tasks = [
            (swarm.leases.sent_by_peers, swarm.leases.sent_by_supernode, task.supernode_used, task.piece_time, task.unfinished)
            for task in swarm.tasks.values()
        ]
        lines = [(key, self.lines.index(one.connection) if one.connection in self.lines else None) for key, one in node.members.items()]
        heard = [(key, peer.seen, peer.silence) for key, peer in swarm.peers.states.items()]
        pulls = node.counts["pulls"] + self.router.plain.answered
        answers = sum(self.router.answers.values()) + self.router.plain.answered
        due = node.driver.due
        return downloads, tasks, lines, heard, node.registry.used, list(node.parked), pulls, answers, list(swarm.wakeable), due, self.wanted


def request(body: bytes, target: str = "/swarm/pull") -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n%s" % (target.encode(), len(body), body)


pieces = st.integers(0, PIECES + 2) | st.integers(0, PIECES - 1)
names = st.sampled_from(["", "cdnnode:127.0.0.1~x", *CIDS])
runs = st.lists(st.tuples(pieces, pieces), max_size=2)
pulls = st.fixed_dictionaries(
    {"task": st.sampled_from([TASK, TASK, OTHER, "no"]), "cid": st.sampled_from([*CIDS, *CIDS, "nobody"])},
    optional={
        "done": st.lists(st.tuples(pieces, names), max_size=4),
        "ending": st.lists(pieces, max_size=3),
        "want": st.sampled_from([0, 1, 4, 4, 100]),
        "wait": st.sampled_from([0, 5, 20.0, 0.5, 1000.25]),
        "una": st.sampled_from([0, 0, 3, 10, PIECES, PIECES + 1]),
        "end": st.sampled_from([5, 12, PIECES]),
    },
)
rare = st.fixed_dictionaries(
    {"task": st.just(TASK), "cid": st.sampled_from(CIDS)},
    optional={
        "failed": st.lists(st.tuples(pieces, names, st.sampled_from(["gone", "digest", "slow", "bad"])), max_size=2),
        "held": runs, "evicted": runs, "want": st.just(2), "wait": st.just(9), "pieces": st.lists(pieces, max_size=3),
    },
)  # fmt: skip
steps = st.lists(
    st.tuples(pulls | pulls | pulls | rare, st.integers(0, len(CIDS) - 1), st.sampled_from([0.0, 0.0, 0.01, 0.4, 40.0]), st.booleans()),
    max_size=30,
)


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    loop = Clock()
    yield loop
    loop.close()


@settings(deadline=None, max_examples=150)
@given(steps, st.sampled_from([PIECES, PIECES, -1]), st.booleans())
def test_plain_pulls_get_the_same_responses_as_from_the_router(
    clock: Clock, tmp_path_factory: pytest.TempPathFactory, taken: list[tuple[dict[str, Any], int, float, bool]], count: int, follow: bool
) -> None:
    home = str(tmp_path_factory.getbasetemp())
    both = [Place(clock, home, quickly, count) for quickly in (False, True)]
    waiting: list[list[asyncio.Future[Response]]] = []
    said: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for fields, number, later, lost in taken:
        key = fields["task"], fields["cid"]
        if follow and key in said and "failed" not in fields:
            fields = {**fields, "done": said.pop(key)}  # as a client does: it reports the pieces that it was assigned
        data = request(json.dumps(fields, separators=(",", ":")).encode())
        answers = [place.send(data, place.lines[number]) for place in both]
        if isinstance(answers[0], bytes):
            assert answers[0] == answers[1]
            pulled = json.loads(answers[0].partition(b"\r\n\r\n")[2])
            said[key] = [(n, sources[0][0]) for n, _, sources in pulled.get("offers", ())]
        else:
            assert not isinstance(answers[1], bytes)
            waiting.append([answer for answer in answers if not isinstance(answer, bytes)])
        clock.at += later
        for place in both:
            if lost and place.lines[number].member is not None:
                place.node.connection_lost(place.lines[number])
            place.node.swarm.tick(clock.at)
            place.node.wake()
        clock.run_until_complete(asyncio.sleep(0))
        assert both[0].state() == both[1].state()
        for pair in waiting:
            assert pair[0].done() == pair[1].done()
            if pair[0].done():
                assert pair[0].result().encode() == pair[1].result().encode()
    for place in both:
        place.node.close()


def test_a_parked_stream_tells_the_fetch_its_next_piece(clock: Clock, tmp_path: Path) -> None:
    place = Place(clock, str(tmp_path), True, PIECES)
    body = {"task": TASK, "cid": CIDS[4], "una": 20, "want": 4, "wait": 20.0, "end": 20}
    parked = place.send(request(json.dumps(body, separators=(",", ":")).encode()), place.lines[0])
    assert isinstance(parked, asyncio.Future)
    assert place.quick == 1
    assert place.wanted == [(20, 20)]
    place.node.close()


def test_usual_pulls_take_the_fast_path(clock: Clock, tmp_path: Path) -> None:
    place = Place(clock, str(tmp_path), True, PIECES)
    for fields in (
        {"want": 4},
        {"done": [[40, ""], [41, CIDS[1]]], "ending": [42], "want": 4, "wait": 20.0},
        {"done": [[43, "cdnnode:x"]]},
        {"una": 3, "want": 4, "end": 9},
    ):
        before = place.quick
        place.send(request(json.dumps({"task": TASK, "cid": CIDS[1], **fields}, separators=(",", ":")).encode()), place.lines[0])
        assert place.quick == before + 1
    place.node.close()


def test_pulls_that_are_not_plain_are_left_to_the_router_without_a_change(clock: Clock, tmp_path: Path) -> None:
    place = Place(clock, str(tmp_path), True, PIECES)
    good = json.dumps({"task": TASK, "cid": CIDS[1], "done": [[1, ""]], "want": 1}, separators=(",", ":")).encode()
    before = place.state()
    for data in (
        request(good, "/swarm/pull?"), request(good, "/swarm/pulls"), request(good, "/v1/swarm/pull"), request(good + b" "),
        request(good)[:-1], request(good) + b"x", request(good).replace(b"POST", b"GET"),
        request(good).replace(b"Host: s", b"Connection: close"), request(b'{"task":"%b","cid":"%b"}' % (TASK.encode(), CIDS[1].encode())),
        request(good.replace(b'"done":[[1,""]]', b'"done":[[1,""],[70,""]]')), request(good.replace(b'"want"', b'"ending":[70],"want"')),
        request(good.replace(TASK.encode(), b"no")), request(good.replace(CIDS[1].encode(), CIDS[5].encode())),
        request(good.replace(CIDS[1].encode(), b"nobody")), request(good.replace(b'"want"', b'"una":71,"want"')),
        request(good.replace(b'"want"', b'"una":9,"end":8,"want"')), request(good.replace(b'"want"', b'"pieces":[3],"want"')),
    ):  # fmt: skip
        assert place.router.quick(data, place.lines[0], HERE) is None
        assert place.state() == before
    assert place.router.quick(request(good), place.lines[0], "127.0.0.9") is None, "the address belongs to another client"
    assert place.state() == before
    assert place.router.quick(request(good), place.lines[0], HERE) is not None
    place.node.close()


def test_a_pull_after_a_selection_is_left_to_the_router(clock: Clock, tmp_path: Path) -> None:
    place = Place(clock, str(tmp_path), True, PIECES)

    def pull(**fields: Any) -> list[int]:
        body = json.dumps({"task": TASK, "cid": CIDS[2], "want": 2, **fields}, separators=(",", ":")).encode()
        answer = place.send(request(body), place.lines[2])
        assert isinstance(answer, bytes)
        return [n for n, _, _ in json.loads(answer.partition(b"\r\n\r\n")[2]).get("offers", ())]

    assert pull(pieces=[44, 3]) == [44, 3]
    assert place.quick == 0
    assert len(pull(want=1)) == 1
    assert place.quick == 0
    pull(want=1)
    assert place.quick == 1
    place.node.close()


@pytest.mark.parametrize("selected", [
    [], [-1], [1 << 31], [1 << 70], [PIECES], [4, 4], list(range(65)), ["4"], [4.5], [True], [None], [[4]], "4", 4, {"4": 1}, False,
])  # fmt: skip
def test_an_invalid_selection_is_refused(clock: Clock, tmp_path: Path, selected: object) -> None:
    place = Place(clock, str(tmp_path), True, PIECES)
    body = {"task": TASK, "cid": CIDS[2], "want": 2, "wait": 5, "pieces": selected}
    answer = place.send(request(json.dumps(body, separators=(",", ":")).encode()), place.lines[2])
    assert isinstance(answer, bytes)
    assert answer.startswith(b"HTTP/1.1 400 ")
    said = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert said["code"] == wire.BAD_PARAMETER
    assert "piece" in said["msg"]
    check(place.node.swarm)
    assert not place.node.parked
    place.node.close()


def test_a_parked_selecting_pull_tells_the_fetch_its_next_piece(clock: Clock, tmp_path: Path) -> None:
    place = Place(clock, str(tmp_path), True, -1)
    body = {"task": TASK, "cid": CIDS[2], "want": 2, "wait": 5, "pieces": [PIECES + 9, PIECES + 8]}
    parked = place.send(request(json.dumps(body).encode()), place.lines[2])
    assert isinstance(parked, asyncio.Future)
    assert place.wanted == [(PIECES + 9, -1)]
    place.node.close()


numbers = st.integers(-2, 12) | st.sampled_from([10**9 - 1, 10**9, 1.5, 20.0, 0.1, 123.456789, 999999.999999999, 1e300])
values = numbers | st.sampled_from([True, None, "", "a", "\\", "é", "\x7f"])
entries = st.lists(st.lists(values, max_size=3) | values, max_size=3)
keys = st.sampled_from(["task", "cid", "done", "failed", "ending", "held", "evicted", "want", "wait", "una", "end", "pieces", "x"])


@settings(deadline=None, max_examples=500)
@given(
    st.lists(st.tuples(keys, values | entries), max_size=6), st.sampled_from([(",", ":"), (", ", ":")]), st.binary(max_size=2),
    st.integers(0, 80),
)  # fmt: skip
def test_a_body_parsed_as_plain_is_parsed_equally_by_the_full_parser(
    fields: list[tuple[str, Any]], separators: tuple[str, str], extra: bytes, where: int
) -> None:
    parts = [f"{json.dumps(key)}{separators[1]}{json.dumps(value, separators=separators)}" for key, value in fields]
    body = ("{" + separators[0].join(['"task":"t"', '"cid":"c"', *parts]) + "}").encode()
    for data in (body, body[:where] + extra + body[where:]):
        plain_body(data)


@pytest.mark.parametrize(
    "more",
    [
        b'"wait":0.1', b'"wait":123.456789', b'"wait":1000000.000000001', b'"wait":0', b'"wait":1.000000000', b'"wait":01', b'"wait":1.',
        b'"want":-0', b'"want":00', b'"want":0', b'"want":999999999', b'"want":1e2', b'"want":1,"want":2', b'"cid":"d"', b'"end":3',
        b'"done":[[0,""]]', b'"done":[]', b'"done":[[0,"a",1]]', b'"done":[[1,"a"],]', b'"ending":[1,2,]', b'"ending":[]',
        b'"una":2,"end":3',
        b'"done":[' + b",".join([b'[1,"a"]'] * 64) + b"]", b'"done":[' + b",".join([b'[1,"a"]'] * 65) + b"]",
    ],
)  # fmt: skip
def test_plain_bodies_with_numbers_and_lists_at_their_limits(more: bytes) -> None:
    plain_body(b'{"task":"t","cid":"c",' + more + b"}")
