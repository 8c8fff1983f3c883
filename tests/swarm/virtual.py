"""A swarm on a virtual clock: real decisions of `Swarm`, transfers as fluid flows over links with a capacity, pieces of size 1.

A transfer runs at the lesser of its source's and its receiver's fair share. Clients behave like dfengine's: each keeps one pull
parked while it has room. Legacy clients poll. Messages take no time unless `Delays` sets one.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from dfengine.supernode.swarm.swarm import Limits, PullResult, Swarm
from dfengine.task import Peer
from tests.swarm.invariant import check

TASK = "task"
SUPERNODE = "supernode"


@dataclass(frozen=True)
class Delays:
    """In units of a piece's time. answer: from a decision to the first byte of its pieces; report: from a last byte to the supernode.

    lead: time before its end at which a piece is reported as ending, 0 = never; the message takes as long as a report.
    early: part of a piece (not a time) after which a client reports a piece's time on its link, 0 = never; likewise.
    """

    answer: float = 0.0
    report: float = 0.0
    lead: float = 0.0
    early: float = 0.0


@dataclass(eq=False)
class Client:
    cid: str
    ip: str
    room: int
    wnd: int = -1
    legacy: bool = False
    serves: bool = True
    have: set[int] = field(default_factory=set)
    running: dict[int, Transfer] = field(default_factory=dict)
    finished: float | None = None
    dead: bool = False
    polling: bool = False
    began: float | None = None
    reads: list[tuple[int, ...]] = field(default_factory=list)
    """Selections that it pulls one after the other, each until all its pieces are received; empty: it is no reader."""
    waits: list[float] = field(default_factory=list)
    """Seconds that each selection took."""
    asked: float = 0.0
    task: str = TASK
    host: str = ""
    """Name of its links: its own, or those shared with other clients."""

    def __post_init__(self) -> None:
        self.host = self.host or self.cid

    @property
    def left(self) -> int:
        """Number of pieces for which it has room."""
        return self.room - sum(not transfer.told for transfer in self.running.values())


@dataclass(eq=False)
class Transfer:
    client: Client
    n: int
    sources: list[str]
    gone: list[str] = field(default_factory=list)
    size: float = 1.0
    left: float = 1.0
    rate: float = 0.0
    since: float = 0.0
    version: int = 0
    told: bool = False

    @property
    def source(self) -> str:
        return self.sources[0]


class Simulation:
    """`up` and `down`: pieces per second of each link by name, 1.0 by default. `poll`: seconds between pulls of a legacy client."""

    def __init__(
        self,
        pieces: int,
        *,
        limits: Limits | None = None,
        seed: int = 0,
        cached: int | None = None,
        length_known: bool = True,
        delays: Delays = Delays(),
    ) -> None:
        self.delays = delays
        self.swarm = Swarm(limits, seed)
        self.pieces = pieces
        self.now = 0.0
        self.up: dict[str, float] = {}
        self.down: dict[str, float] = {}
        self.clients: dict[str, Client] = {}
        self.active: dict[str, dict[Transfer, None]] = {SUPERNODE: {}}
        self.queue: list[tuple[float, int, object, tuple[object, ...]]] = []
        self.order = 0
        self.sent: Counter[str] = Counter()
        self.sent_by_supernode: Counter[int] = Counter()
        self.carried: Counter[tuple[str, str]] = Counter()
        self.poll = 0.05
        self.coming = 0
        self.checked = False
        self.answers = 0
        self.ticking: float | None = None
        self.swarm.add_task(TASK, pieces if length_known else -1, 0.0)
        for n in range(pieces if cached is None else cached):
            self.cache(n)

    # EVENTS

    def at(self, when: float, event: object, *arguments: object) -> None:
        self.order += 1
        heapq.heappush(self.queue, (when, self.order, event, arguments))

    def cache(self, n: int) -> None:
        self.swarm.cached(TASK, n, self.now)
        self.swarm.legacy_ready(TASK, n, self.now)
        self.wake()

    def conclude(self) -> None:
        self.swarm.set_count(TASK, self.pieces)
        self.wake()

    def join(
        self, name: str, *, room: int = 4, reads: Any = (), wnd: int = -1, legacy: bool = False, serves: bool = True, location: str = ""
    ) -> Client:
        number = len(self.clients) + 2
        address = f"10.0.{number // 250}.{number % 250}"
        client = Client(name, address, room, wnd, legacy, serves, reads=list(reads), asked=self.now)
        self.clients[name] = client
        self.active[name] = {}
        peer = Peer(client.ip, 20000 if serves else 0, f"/peer/file/{name}", location=location)
        self.swarm.join(TASK, name, peer, self.now, wnd=wnd, legacy=legacy, serves=serves)
        self.pull(client)
        return client

    def arrive(self, when: float, name: str) -> None:
        """Join at a later time."""
        self.coming += 1
        self.at(when, self._arrived, name)

    def _arrived(self, name: str) -> None:
        self.coming -= 1
        self.join(name)

    def count(self, client: Client) -> int:
        """Number of pieces of its task."""
        return self.pieces

    def size(self, client: Client, n: int) -> float:
        """Size of piece n of its task."""
        return 1.0

    def seed(self, name: str) -> Client:
        """Add a peer that has all pieces from the start."""
        client = Client(name, f"10.1.0.{len(self.clients)}", 0)
        client.finished = self.now
        self.clients[name] = client
        self.active[name] = {}
        self.swarm.join(TASK, name, Peer(client.ip, 20000, f"/peer/file/{name}"), self.now)
        self.swarm.holds(TASK, name, [(0, self.pieces)], self.now)
        return client

    def die(self, name: str) -> None:
        """The host vanishes: its connections break, and nothing is reported."""
        client = self.clients[name]
        if client.dead:
            return
        client.dead = True
        self.swarm.unpark(client.task, name)
        for transfer in list(client.running.values()):
            self.stop(transfer)
        client.running.clear()
        for transfer in list(self.active[name]):
            self.fail_over(transfer)
        self.wake()

    def leave(self, name: str) -> None:
        client = self.clients[name]
        self.die(name)
        assert client.dead
        self.swarm.leave(client.task, name, self.now)
        self.wake()

    # CLIENTS

    def pull(self, client: Client) -> None:
        client.polling = False
        room = client.left
        if client.dead or room < 1 or client.finished is not None:
            return
        selected = (self.wishes(client),) if client.reads else ()
        self.answer(client, self.swarm.pull(client.task, client.cid, room, self.now, *selected), room)

    def wishes(self, client: Client) -> tuple[int, ...]:
        """The pieces that its pull selects."""
        return client.reads[0]

    def answer(self, client: Client, pull: PullResult, room: int) -> None:
        self.answers += 1
        if pull.kind == "finished":
            assert client.finished is None
            client.finished = self.now
            assert client.have == set(range(self.count(client)))
        for n, sources in pull.pieces:
            assert n not in client.have
            if n in client.running:  # its reserved source left; it continues with an alternate
                client.running[n].sources += [source.cid or SUPERNODE for source in sources]
                continue
            transfer = Transfer(client, n, [source.cid or SUPERNODE for source in sources], size=self.size(client, n))
            client.running[n] = transfer
            self.later(self.delays.answer, self.start, transfer)
        room = client.left
        if pull.kind == "finished" or room < 1:
            return
        if client.legacy:
            if not client.polling:
                client.polling = True
                self.at(self.now + self.poll, self.pull, client)
        elif pull.kind == "pieces":
            self.pull(client)
        else:
            self.swarm.park(client.task, client.cid, room)

    def wake(self) -> None:
        """Answer the parked pulls that the last event allows."""
        while self.swarm.wakeable:
            for cid, pull in self.swarm.answer_parked(next(iter(self.swarm.wakeable)), self.now):
                client = self.clients[cid]
                self.answer(client, pull, client.left)
        if self.checked:
            check(self.swarm)
        deadline = self.swarm.next_due()
        if deadline != inf and deadline != self.ticking:
            self.ticking = deadline
            self.at(deadline, self.tick)

    def tick(self) -> None:
        self.ticking = None
        self.swarm.tick(self.now)
        self.swarm.departed.clear()
        self.wake()

    def later(self, delay: float, event: Callable[[Transfer], None], transfer: Transfer) -> None:
        """Run the event at once without a delay, or after it unless the client is dead by then."""
        if delay:
            self.at(self.now + delay, lambda: None if transfer.client.dead else event(transfer))
        else:
            event(transfer)

    def ending(self, transfer: Transfer, version: int) -> None:
        if transfer.version == version and not transfer.told:
            transfer.told = True
            self.later(self.delays.report, self.ended, transfer)

    def ended(self, transfer: Transfer) -> None:
        self.swarm.unpark(transfer.client.task, transfer.client.cid)
        self.swarm.ending(transfer.client.task, transfer.client.cid, transfer.n, self.now)
        self.wake()
        self.pull(transfer.client)
        self.wake()

    def early(self, client: Client) -> None:
        if client.dead or client.have:
            return
        live = [transfer for transfer in client.running.values() if transfer in self.active[transfer.source]]
        got = sum(transfer.size - transfer.left + transfer.rate * (self.now - transfer.since) for transfer in live)
        if got < self.delays.early:
            self.at(self.now + 0.1, self.early, client)
        else:
            assert client.began is not None
            self.at(self.now + self.delays.report, self.paced, client, (self.now - client.began) / got)

    def paced(self, client: Client, seconds: float) -> None:
        if not client.dead:
            self.swarm.unpark(client.task, client.cid)
            self.swarm.paced(client.task, client.cid, seconds, self.now)
            self.wake()
            self.pull(client)
            self.wake()

    def finish(self, transfer: Transfer) -> None:
        self.stop(transfer)
        transfer.told |= self.delays.lead > 0
        self.later(self.delays.report, self.finished, transfer)

    def finished(self, transfer: Transfer) -> None:
        client, n = transfer.client, transfer.n
        del client.running[n]
        client.have.add(n)
        self.sent[transfer.source] += 1
        self.carried[transfer.source, client.cid] += 1
        self.swarm.unpark(client.task, client.cid)
        for gone in transfer.gone:
            self.swarm.failed(client.task, client.cid, n, gone, "gone", self.now)
        if transfer.source == SUPERNODE:
            self.sent_by_supernode[n] += 1
        if client.legacy:
            self.swarm.arrived(client.task, client.cid, n, self.now)
        self.swarm.done(client.task, client.cid, n, transfer.source, self.now)
        while client.reads and client.have.issuperset(client.reads[0]):
            client.waits.append(self.now - client.asked)
            client.asked = self.now
            del client.reads[0]
            client.finished = None if client.reads else self.now
        self.wake()
        self.pull(client)
        self.wake()

    def fail_over(self, transfer: Transfer) -> None:
        """The source's connection broke: continue with an alternate, or report that none is left."""
        client = transfer.client
        self.stop(transfer)
        transfer.gone.append(transfer.sources.pop(0))
        if transfer.sources:
            self.start(transfer)
            return
        del client.running[transfer.n]
        self.swarm.unpark(client.task, client.cid)
        for gone in transfer.gone:
            self.swarm.failed(client.task, client.cid, transfer.n, gone, "gone", self.now)
        self.wake()
        self.pull(client)
        self.wake()

    # LINKS

    def start(self, transfer: Transfer) -> None:
        if transfer.source != SUPERNODE and self.clients[transfer.source].dead:
            self.at(self.now + 0.01, self.refuse, transfer)
            return
        transfer.left = transfer.size
        transfer.since = self.now
        if transfer.client.began is None:
            transfer.client.began = self.now
            if self.delays.early:
                self.at(self.now + 0.1, self.early, transfer.client)
        self.active[transfer.source][transfer] = None
        if transfer.source == SUPERNODE:
            self.swarm.requested(transfer.client.task, transfer.n, transfer.client.ip, lambda: -1, self.now)
        self.share(transfer)

    def refuse(self, transfer: Transfer) -> None:
        if transfer.client.running.get(transfer.n) is transfer and not transfer.client.dead:
            self.fail_over(transfer)

    def stop(self, transfer: Transfer) -> None:
        transfer.version += 1
        if self.active[transfer.source].pop(transfer, 1) is None:
            self.share(transfer)

    def share(self, transfer: Transfer) -> None:
        """Update the rates of all transfers that share a link with this one."""
        for other in {**self.active[transfer.source], **dict.fromkeys(transfer.client.running.values())}:
            if other not in self.active[other.source]:
                continue
            other.left -= other.rate * (self.now - other.since)
            other.since = self.now
            sends = len(self.active[other.source])
            receives = sum(t in self.active[t.source] for t in other.client.running.values())
            other.rate = min(self.up.get(other.source, 1.0) / sends, self.down.get(other.client.cid, 1.0) / max(1, receives))
            other.version += 1
            seconds = max(0.0, other.left) / other.rate
            self.at(self.now + seconds, self.landed, other, other.version)
            if self.delays.lead and not other.told:
                self.at(self.now + max(0.0, seconds - self.delays.lead), self.ending, other, other.version)

    def landed(self, transfer: Transfer, version: int) -> None:
        if transfer.version == version:
            self.finish(transfer)

    # RUN

    def run(self, until: float = 1e9) -> Simulation:
        """Run until every live client is finished or the clock reaches `until`."""
        self.wake()
        while self.queue:
            when, _, event, arguments = heapq.heappop(self.queue)
            if when > until:
                break
            self.now = max(self.now, when)
            event(*arguments)  # type: ignore[operator]
            if self.over():
                break
        return self

    def over(self) -> bool:
        return not self.coming and all(client.dead or client.finished is not None for client in self.clients.values())

    @property
    def times(self) -> list[float]:
        """Times at which the live clients finished."""
        return [client.finished for client in self.clients.values() if not client.dead and client.finished is not None]
