"""Random events checked by all invariants: two swarms with one seed get the same events and must give equal, allowed answers."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Concatenate, ParamSpec

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dfengine.errors import BadPiece, IllegalEvent, UnknownTask
from dfengine.supernode.swarm.peers import key_of
from dfengine.supernode.swarm.swarm import CDN, Limits, PullResult, Swarm
from dfengine.task import Peer
from tests.swarm.invariant import check
from tests.swarm.stats import SwarmStats

TASKS = {"known": 9, "long": 70, "unknown": -1}
REAL_END = 40
CIDS = [f"cid{i}" for i in range(9)]
LIMITS = Limits(
    up=2, down=3, native_down=4, supernode=2, slow_slots=1, slow=3.0, lease=20.0, reseed_delay=3.0, fail_isolate=3, isolation=15.0,
    peer_gc=90.0, ahead=80,
)  # fmt: skip

P = ParamSpec("P")

tasks = st.sampled_from(sorted(TASKS))
cids = st.sampled_from(CIDS)
pieces = st.integers(0, 75)
selections = st.none() | st.lists(pieces, min_size=1, max_size=4, unique=True)
windows = st.sampled_from([-1, -1, -1, 1, 4, 100])
whys = st.sampled_from(["gone", "digest", "slow", "other"])


def peer(cid: str) -> Peer:
    """The peer of a CID: nine CIDs on five peers; the last two serve no pieces."""
    number = CIDS.index(cid)
    return Peer(f"10.0.0.{number % 5}", 0 if number > 6 else 20000, f"/peer/file/{cid}")


class SwarmMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.swarms = [Swarm(LIMITS, 5), Swarm(LIMITS, 5)]
        self.swarm = self.swarms[0]
        self.now = 1000.0
        self.bytes = 0
        self.windows: dict[tuple[str, str], int] = {}
        self.assigned: dict[tuple[str, str], dict[int, str | None]] = {}

    def both(self, call: Callable[Concatenate[Swarm, P], Any], *given: P.args, **named: P.kwargs) -> Any:
        """Make the same call on both swarms and compare the answers; errors count as answers."""
        answers: list[tuple[Any, str | None]] = []
        for swarm in self.swarms:
            try:
                answers.append((call(swarm, *given, **named), None))
            except (UnknownTask, BadPiece, IllegalEvent) as error:
                answers.append((None, str(error)))
        assert answers[0] == answers[1]
        return answers[0][0]

    def event(self, call: Callable[Concatenate[Swarm, P], Any], *given: P.args, **named: P.kwargs) -> Any:
        answer = self.both(call, *given, **named)
        self.settle()
        return answer

    def settle(self) -> None:
        while self.swarm.wakeable:
            task = next(iter(self.swarm.wakeable))
            for cid, pull in self.both(Swarm.answer_parked, task, self.now):
                assert pull.kind in ("pieces", "finished")
                self.look_at(task, cid, pull)
        assert self.both(lambda swarm: list(swarm.wakeable)) == []
        for swarm in self.swarms:
            swarm.departed.clear()
        check(self.swarm)

    def look_at(self, task: str, cid: str, pull: PullResult) -> None:
        """Check that every piece was wanted and could be offered, and that every source has it."""
        state = self.swarm.tasks[task]
        download = state.downloads[cid]
        assert (pull.kind == "pieces") == bool(pull.pieces)
        assert len({piece.n for piece in pull.pieces}) == len(pull.pieces)
        for n, sources in pull.pieces:
            assert n in download.running
            assert n in (state.legacy_known if download.legacy else state.known)
            assert not download.has(n)
            if download.window is not None:
                assert download.window.una <= n < download.window.end
                assert not download.window.acked(n)
                assert download.window.end <= download.window.una + self.windows[task, cid]
            assert 1 <= len(sources) <= (1 if download.legacy else 3)
            assert len(set(sources)) == len(sources)
            for source in sources:
                assert source.cid != cid
                assert (source is CDN) == (source.cid is None)
                assert n in state.cached if source.cid is None else state.downloads[source.cid].has(n)
            first = None if sources[0] is CDN else sources[0].cid
            assert download.running[n].source is (None if first is None else state.downloads[first])
            self.assigned.setdefault((task, cid), {})[n] = first

    def source_of(self, data: st.DataObject, task: str, cid: str, n: int) -> str | None:
        """The source to report for a piece: mostly the assigned one, else any."""
        assigned = self.assigned.get((task, cid), {}).get(n)
        return data.draw(st.sampled_from([assigned, assigned, assigned, "", "cdnnode:1~x", *CIDS[:4]]))

    def some_piece(self, data: st.DataObject, task: str, cid: str) -> int:
        running = sorted(self.assigned.get((task, cid), {}))
        return data.draw(st.sampled_from(running) | pieces if running else pieces)

    @initialize(cached=st.integers(0, 9), joins=st.lists(st.tuples(tasks, cids, windows, st.booleans()), min_size=4, max_size=20))
    def begin(self, cached: int, joins: list[tuple[str, str, int, bool]]) -> None:
        for task, count in TASKS.items():
            self.both(Swarm.add_task, task, count, self.now)
            for n in range(cached):
                self.cached(task, n)
                self.legacy_ready(task, n)
        for task, cid, wnd, legacy in joins:
            self.join(task, cid, wnd, legacy, True)

    # PIECES OF THE SUPERNODE

    @rule(task=tasks, n=pieces)
    def cached(self, task: str, n: int) -> None:
        if task != "unknown" or n < REAL_END:
            self.event(lambda swarm: swarm.cached(task, n, self.now))

    @rule(task=tasks, n=pieces)
    def uncached(self, task: str, n: int) -> None:
        self.event(lambda swarm: swarm.uncached(task, n, self.now))

    @rule(task=tasks, n=pieces)
    def legacy_ready(self, task: str, n: int) -> None:
        self.event(lambda swarm: swarm.legacy_ready(task, n, self.now))

    @rule(task=tasks, what=st.sampled_from(["count", "again", *["nothing"] * 4]))
    def now_and_then(self, task: str, what: str) -> None:
        if what == "count":
            self.event(lambda swarm: swarm.set_count("unknown", REAL_END))
        if what == "again":
            self.event(lambda swarm: swarm.drop_task(task))
            self.event(lambda swarm: swarm.add_task(task, TASKS[task], self.now))
            for n in range(8):
                self.cached(task, n)

    # MEMBERSHIP

    @rule(task=tasks, cid=cids, wnd=windows, legacy=st.booleans(), serves=st.sampled_from([True, True, False]), proved=st.booleans())
    def join(self, task: str, cid: str, wnd: int, legacy: bool, serves: bool, proved: bool = True) -> None:
        if cid not in self.swarm.tasks[task].downloads:
            self.windows[task, cid] = wnd
            self.assigned.pop((task, cid), None)
        self.event(lambda swarm: swarm.join(task, cid, peer(cid), self.now, wnd=wnd, legacy=legacy, serves=serves, proved=proved))

    @rule(cid=cids)
    def prove(self, cid: str) -> None:
        key = key_of(peer(cid), cid, peer(cid).ip)
        self.event(lambda swarm: swarm.prove(key))
        assert not self.swarm.unproved(key)

    @rule(task=tasks, cid=cids)
    def leave(self, task: str, cid: str) -> None:
        there = cid in self.swarm.tasks[task].downloads
        assert self.event(lambda swarm: swarm.leave(task, cid, self.now)) == there

    @rule(task=tasks, cid=cids)
    def unassign(self, task: str, cid: str) -> None:
        download = self.swarm.tasks[task].downloads.get(cid)
        before = list(download.running.values()) if download else []
        self.event(lambda swarm: swarm.unassign(task, cid))
        assert not any(lease is old for old in before for lease in (download.running.values() if download else ()))

    @rule(cid=cids)
    def touch(self, cid: str) -> None:
        self.event(lambda swarm: swarm.touch(cid, self.now))

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 4.0, 4.0, 16.0, 16.0, 21.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.event(lambda swarm: swarm.tick(self.now))
        deadline = self.both(lambda swarm: swarm.next_due())
        assert deadline is None or deadline > self.now

    # PULLS AND REPORTS

    def pullers(self) -> list[tuple[str, str]]:
        return [(task, cid) for task, state in self.swarm.tasks.items() for cid in state.downloads]

    @precondition(lambda self: self.pullers())
    @rule(data=st.data(), k=st.integers(1, 6))
    def pull(self, data: st.DataObject, k: int) -> None:
        self.pull_and_park(*data.draw(st.sampled_from(self.pullers())), k, data.draw(st.booleans()), data.draw(selections))

    @precondition(lambda self: self.pullers())
    @rule(k=st.integers(1, 2), rounds=st.integers(1, 3), selected=selections)
    def all_downloads_pull(self, k: int, rounds: int, selected: list[int] | None) -> None:
        for _ in range(rounds):
            for task, cid in self.pullers():
                self.pull_and_park(task, cid, k, True, selected)

    def pull_and_park(self, task: str, cid: str, k: int, park: bool, selected: list[int] | None = None) -> None:
        before = dict(self.swarm.tasks[task].downloads[cid].running)
        self.both(lambda swarm: swarm.unpark(task, cid))
        pull = self.both(lambda swarm: swarm.pull(task, cid, k, self.now, selected))
        if pull is None:  # it selects pieces beyond the end
            self.settle()
            return
        assert selected is None or {piece.n for piece in pull.pieces} <= set(selected)
        assert not before.keys() & {piece.n for piece in pull.pieces}
        self.look_at(task, cid, pull)
        if park and not pull.pieces and pull.kind != "finished":
            self.both(lambda swarm: swarm.park(task, cid, k))
        self.settle()

    @precondition(lambda self: self.pullers())
    @rule(data=st.data(), flows=st.booleans())
    def requested(self, data: st.DataObject, flows: bool) -> None:
        """Request a piece that the supernode may have leased; its bytes flow always, or only with `more_bytes`."""
        task, cid = data.draw(st.sampled_from(self.pullers()))
        n = self.some_piece(data, task, cid)
        self.event(lambda swarm: swarm.requested(task, n, peer(cid).ip, (lambda: -1) if flows else (lambda: self.bytes), self.now))

    @rule()
    def more_bytes(self) -> None:
        self.bytes += 1

    @precondition(lambda self: self.pullers())
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        task, cid = data.draw(st.sampled_from(self.pullers()))
        n = self.some_piece(data, task, cid)
        source = self.source_of(data, task, cid, n)
        for _ in range(data.draw(st.sampled_from([1, 1, 2]))):
            self.event(lambda swarm: swarm.done(task, cid, n, source, self.now))
        download = self.swarm.tasks[task].downloads[cid]
        assert download.has(n) or (n >= self.swarm.tasks[task].count >= 0) or n > 80

    @precondition(lambda self: self.pullers())
    @rule(data=st.data())
    def all_running_done(self, data: st.DataObject) -> None:
        task, cid = data.draw(st.sampled_from(self.pullers()))
        for n, lease in list(self.swarm.tasks[task].downloads[cid].running.items()):
            source = lease.source.cid if lease.source else "cdnnode:1~x"
            self.event(Swarm.done, task, cid, n, source, self.now)

    @precondition(lambda self: self.pullers())
    @rule(data=st.data())
    def arrived(self, data: st.DataObject) -> None:
        task, cid = data.draw(st.sampled_from(self.pullers()))
        n = self.some_piece(data, task, cid)
        self.event(lambda swarm: swarm.arrived(task, cid, n, self.now))

    @precondition(lambda self: self.pullers())
    @rule(data=st.data())
    def ending(self, data: st.DataObject) -> None:
        task, cid = data.draw(st.sampled_from(self.pullers()))
        n = self.some_piece(data, task, cid)
        for _ in range(data.draw(st.sampled_from([1, 1, 2]))):
            self.event(lambda swarm: swarm.ending(task, cid, n, self.now))

    @precondition(lambda self: self.pullers())
    @rule(data=st.data(), seconds=st.sampled_from([0.1, 1.0, 4.0, 1e300]))
    def paced(self, data: st.DataObject, seconds: float) -> None:
        task, cid = data.draw(st.sampled_from(self.pullers()))
        self.event(lambda swarm: swarm.paced(task, cid, seconds, self.now))

    @rule(task=tasks)
    def one_piece_each_ending(self, task: str) -> None:
        for cid, download in list(self.swarm.tasks[task].downloads.items()):
            for n in list(download.running)[:1]:
                self.event(Swarm.ending, task, cid, n, self.now)

    @rule(task=tasks)
    def one_piece_each_done(self, task: str) -> None:
        for cid, download in list(self.swarm.tasks[task].downloads.items()):
            for n, lease in list(download.running.items())[:1]:
                source = lease.source.cid if lease.source else "cdnnode:1~x"
                self.event(Swarm.done, task, cid, n, source, self.now)

    @precondition(lambda self: self.pullers())
    @rule(data=st.data(), why=whys)
    def failed(self, data: st.DataObject, why: str) -> None:
        task, cid = data.draw(st.sampled_from(self.pullers()))
        n = self.some_piece(data, task, cid)
        source = self.source_of(data, task, cid, n)
        self.event(lambda swarm: swarm.failed(task, cid, n, source, why, self.now))

    @rule(task=tasks, why=whys, times=st.integers(1, 2))
    def all_downloads_fail_and_pull(self, task: str, why: str, times: int) -> None:
        for _ in range(times):
            for cid, download in list(self.swarm.tasks[task].downloads.items()):
                for n in list(download.running):
                    self.event(Swarm.failed, task, cid, n, None, why, self.now)
                self.pull_and_park(task, cid, 4, True)

    @rule(task=tasks)
    def windows_run_ahead(self, task: str) -> None:
        for cid, download in list(self.swarm.tasks[task].downloads.items()):
            if download.window is not None:
                una, end = download.window.una, download.window.end
                self.event(Swarm.holds, task, cid, [end, end + 2, (end - 1, end)], self.now)
                self.event(Swarm.evicted, task, cid, end - 1, self.now)
                self.pull_and_park(task, cid, 4, True)
                self.event(Swarm.done, task, cid, una, "", self.now)

    @rule(task=tasks, cid=cids, runs=st.lists(st.tuples(pieces, pieces) | pieces, max_size=3))
    def holds(self, task: str, cid: str, runs: list[Any]) -> None:
        ordered = [run if isinstance(run, int) else (min(run), max(run) + 1) for run in runs]
        self.event(lambda swarm: swarm.holds(task, cid, ordered, self.now))

    @precondition(lambda self: self.pullers())
    @rule(data=st.data())
    def evicted(self, data: st.DataObject) -> None:
        task, cid = data.draw(st.sampled_from(self.pullers()))
        n = self.some_piece(data, task, cid)
        self.event(lambda swarm: swarm.evicted(task, cid, n, self.now))

    def teardown(self) -> None:
        """All downloads leave, and no state remains."""
        for task, cid in self.pullers():
            self.event(Swarm.leave, task, cid, self.now)
        self.now += 1000.0
        self.event(lambda swarm: swarm.tick(self.now))
        totals = self.both(SwarmStats.of)
        assert (totals.downloads, totals.peers, totals.leases, totals.parked) == (0, 0, 0, 0)
        assert self.both(lambda swarm: swarm.next_due()) == inf


TestSwarm = SwarmMachine.TestCase
TestSwarm.settings = settings(deadline=None, max_examples=60, stateful_step_count=60)
