"""Swarms of thousands of hosts on a virtual clock: decisions of the real scheduler, transfers as fluids in numpy arrays.

Time advances in steps. In a step every transfer progresses at the lesser of its source's and its receiver's fair share. Transfers that end
within the step are reported in the order of their ends, and at random if that is equal: in the order of hosts the same ones would wait each
time. Parked pulls that become answerable are answered first, then the next pull is handled, as in the server. A transfer that starts in
these slots is credited with the rest of the step, so steps cost no bandwidth. Clients behave like dfengine's: each keeps a pull parked
while it has room, continues with an alternate when a source disconnects, and reports failures with the next pull.
Responses take no time. The unit of size is the piece, of time the second. Nothing here reads a clock; all randomness is from `seed`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from dfengine.supernode.swarm.limits import Limits
from dfengine.supernode.swarm.pull_result import SupernodeSource
from dfengine.supernode.swarm.scheduler import PullResult
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.task import Peer
from dfengine.wire import Source

TASK = "task"
IDLE = -1
PIECE_SECONDS = 4 * 1.048576 / 23.9
"""Seconds for a piece of 4 MiB on a link of 200 Mbit/s, at the rate that curl gets on it."""


@dataclass
class Result:
    """times: seconds from a host's arrival to its last piece, in the order of hosts, nan for hosts that died or never finished.

    sent: pieces sent by the supernode. moved: pieces that arrived complete, spoiled: pieces that were discarded, both over all hosts.
    """

    times: np.ndarray
    sent: int
    moved: int
    spoiled: int
    decisions: int
    hosts: list[Host] = field(repr=False)


@dataclass(eq=False)
class Host:
    """One host. up, down: pieces per second. wnd: of a stream, -1 regular. poisons: it serves wrong bytes. dies: when, if ever.

    follows: it is another supernode, which serves no host here, and wants pieces in order.
    """

    number: int
    arrives: float = 0.0
    up: float = 1 / PIECE_SECONDS
    down: float = 1 / PIECE_SECONDS
    wnd: int = -1
    poisons: bool = False
    dies: float = float("inf")
    follows: bool = False
    cid: str = ""
    got: int = 0
    ended: float = float("nan")
    dead: bool = False
    parked: bool = False


class Fluid:
    """`hosts` download `pieces` from a supernode whose uplink is `up` pieces per second. room: maximum of pieces in flight per host.

    step: seconds. cached: when the supernode has each piece, None: all at the start.
    """

    def __init__(self, hosts: list[Host], pieces: int, *, seed: int = 0, limits: Limits | None = None, room: int = 5,
                 up: float = 1 / PIECE_SECONDS, step: float = PIECE_SECONDS / 4, cached: Sequence[float] | None = None) -> None:
        self.hosts, self.pieces, self.room, self.step = hosts, pieces, room, step
        self.swarm = Swarm(limits or Limits(up=room, supernode=room, slow_slots=room), seed)
        self.chance = np.random.default_rng(seed)
        self.now = 0.0
        number = len(hosts)
        self.supernode = number
        self.up = np.array([host.up for host in hosts] + [up])
        self.down = np.array([host.down for host in hosts])
        self.source = np.full((number, room), IDLE, dtype=np.int32)
        self.left = np.ones((number, room))
        self.piece: list[list[int]] = [[IDLE] * room for _ in hosts]
        self.named: list[list[tuple[Source | SupernodeSource, ...]]] = [[()] * room for _ in hosts]
        self.cell_source = memoryview(self.source.reshape(-1).data).cast("B").cast("i")  # numpy is slow for single cells
        self.cell_left = memoryview(self.left.reshape(-1).data).cast("B").cast("d")
        self.index = {}
        self.events: list[tuple[float, int, Callable[[Host], None], Host]] = []
        self.turn = count()  # order of simultaneous events: as planned
        self.sent = self.moved = self.spoiled = self.decisions = 0
        self.waiting = number
        for host in hosts:
            host.cid = f"10.{host.number // 62500}.{host.number // 250 % 250}.{host.number % 250}-7-{host.number}"
            self.index[host.cid] = host.number
            self.at(host.arrives, self.arrive, host)
            if host.dies != float("inf"):
                self.at(host.dies, self.die, host)
        self.swarm.add_task(TASK, pieces, 0.0)
        for n, when in enumerate(cached or [0.0] * pieces):
            if when <= 0.0:
                self.swarm.cached(TASK, n, 0.0)
            else:
                self.at(when, partial(self.cache, n), hosts[0])

    def cache(self, n: int, _: Host) -> None:
        """Add piece n to the supernode."""
        self.swarm.cached(TASK, n, self.now)
        self.wake()

    def at(self, when: float, event: Callable[[Host], None], host: Host) -> None:
        """Schedule an event of a host."""
        heapq.heappush(self.events, (when, next(self.turn), event, host))

    # HOSTS

    def arrive(self, host: Host) -> None:
        """Register and pull."""
        peer = Peer(host.cid.partition("-")[0], 20000, "/peer/file/x")
        self.swarm.join(TASK, host.cid, peer, self.now, wnd=host.wnd, serves=not host.follows, in_order=host.follows,
                        is_follower=host.follows)
        self.pull(host, 0.0)

    def die(self, host: Host) -> None:
        """Remove the host without notice: its uploads break, its downloads are lost."""
        if host.dead:
            return
        host.dead = True
        if np.isnan(host.ended):
            self.waiting -= 1
        self.swarm.unpark(TASK, host.cid)
        self.source[host.number] = IDLE
        self.piece[host.number] = [IDLE] * self.room
        for receiver, slot in np.argwhere(self.source == host.number):
            self.broken(self.hosts[receiver], int(slot))
        self.wake()

    def broken(self, host: Host, slot: int) -> None:
        """Handle the loss of a source: restart the piece at a living alternate; without one, report it and pull again."""
        named, n = self.named[host.number][slot], self.piece[host.number][slot]
        gone = []
        while named and self.is_gone(named[0].cid):
            gone.append(named[0].cid)
            named = named[1:]
        self.named[host.number][slot] = named
        if named:
            self.source[host.number, slot] = self.place(named[0].cid)
            self.left[host.number, slot] = 1.0
            for cid in gone:
                self.swarm.failed(TASK, host.cid, n, cid, "gone", self.now)
                if n not in self.swarm.tasks[TASK].downloads[host.cid].running:
                    break  # the slot was the dead source's: the transfer has no lease
        else:
            self.source[host.number, slot] = IDLE
            self.piece[host.number][slot] = IDLE
            for cid in gone:
                self.swarm.failed(TASK, host.cid, n, cid, "gone", self.now)
            self.pull(host, 0.0)

    def is_gone(self, cid: str | None) -> bool:
        """Whether the source does not respond any more."""
        return cid is not None and self.hosts[self.index[cid]].dead

    def place(self, cid: str | None) -> int:
        """Index of a source in `up`."""
        return self.supernode if cid is None else self.index[cid]

    # PULLS

    def pull(self, host: Host, credit: float) -> None:
        """Request as many pieces as there is room for. credit: pieces by which the first one is ahead already."""
        if host.dead:
            return
        if host.parked:
            self.swarm.unpark(TASK, host.cid)
            host.parked = False
        room = self.piece[host.number].count(IDLE)
        if room:
            self.take(host, self.swarm.pull(TASK, host.cid, room, self.now), credit)
        self.wake()

    def take(self, host: Host, pull: PullResult, credit: float) -> None:
        """Start the offered transfers; park if there are none."""
        mine = self.piece[host.number]
        if pull.kind == "finished":
            if np.isnan(host.ended) and max(mine) == IDLE:
                host.ended = self.now - host.arrives
                self.waiting -= 1
            return
        for n, sources in pull.pieces:
            if n in mine:
                continue
            slot = mine.index(IDLE)
            mine[slot] = n
            self.named[host.number][slot] = sources
            first = sources[0].cid
            cell = host.number * self.room + slot
            self.cell_source[cell] = self.place(first)
            self.cell_left[cell] = 1.0 - credit
            credit = 0.0
            self.decisions += 1
            if first is None:
                self.swarm.requested(TASK, n, host.cid.partition("-")[0], lambda: -1, self.now)
            if self.is_gone(first):
                self.at(self.now + 0.005, partial(self.refused, slot, n), host)
        room = mine.count(IDLE)
        if room and not (pull.pieces and self.again(host, room)):
            self.swarm.park(TASK, host.cid, room)
            host.parked = True

    def again(self, host: Host, room: int) -> bool:
        """Pull again after a response that did not fill the room; True if there were further offers."""
        more = self.swarm.pull(TASK, host.cid, room, self.now)
        if more.pieces or more.kind == "finished":
            self.take(host, more, 0.0)
            return True
        return False

    def refused(self, slot: int, n: int, host: Host) -> None:
        """Handle a failed connection to a dead source."""
        if not host.dead and self.piece[host.number][slot] == n:
            self.broken(host, slot)

    def wake(self, credit: float = 0.0) -> None:
        """Answer all pulls that the last event made answerable. credit: pieces by which the started transfers are ahead already."""
        swarm = self.swarm
        while swarm.wakeable:
            for cid, pull in swarm.answer_parked(TASK, self.now):
                host = self.hosts[self.index[cid]]
                host.parked = False
                self.take(host, pull, credit)

    def finish(self, host: Host, slot: int, late: float) -> None:
        """End a transfer, `late` pieces' time before the end of the step."""
        mine, cell = self.piece[host.number], host.number * self.room + slot
        n, source = mine[slot], self.cell_source[cell]
        mine[slot] = IDLE
        self.cell_source[cell] = IDLE
        sender = None if source == self.supernode else self.hosts[source]
        if sender is not None and sender.poisons:
            self.spoiled += 1
            self.swarm.failed(TASK, host.cid, n, sender.cid, "digest", self.now)
        else:
            self.moved += 1
            self.sent += sender is None
            self.swarm.done(TASK, host.cid, n, "cdnnode:" if sender is None else sender.cid, self.now)
        self.wake(late)
        self.pull(host, late)

    # TIME

    def rates(self) -> np.ndarray:
        """Pieces per second of every transfer, shape (hosts, room); 0 for empty slots."""
        active = self.source >= 0
        sends = np.bincount(self.source[active], minlength=len(self.up))
        share = self.up / np.maximum(sends, 1)
        receives = active.sum(axis=1)
        rates: np.ndarray = np.minimum(share[self.source], (self.down / np.maximum(receives, 1))[:, None])
        rates[~active] = 0.0
        return rates

    def run(self, until: float) -> Result:
        """Simulate until all living hosts are finished, or until the time `until`."""
        swarm = self.swarm
        while self.waiting and self.now < until:
            while self.events and self.events[0][0] <= self.now:
                _, _, event, host = heapq.heappop(self.events)
                event(host)
            due = swarm.next_due()
            if due <= self.now:
                swarm.tick(self.now)
                swarm.departed.clear()
                self.wake()
            rates = self.rates()
            self.left -= rates * self.step
            ended = np.argwhere((self.left <= 0) & (rates > 0))
            self.now += self.step
            if len(ended):
                over = -self.left[ended[:, 0], ended[:, 1]]
                ahead = over / rates[ended[:, 0], ended[:, 1]]
                order = np.lexsort((self.chance.random(len(ended)), -ahead))
                for (receiver, slot), late in zip(ended[order].tolist(), over[order].tolist(), strict=True):
                    host, cell = self.hosts[receiver], receiver * self.room + slot
                    if not host.dead and self.cell_source[cell] >= 0 and self.cell_left[cell] <= 0:
                        self.finish(host, slot, min(0.9, late))
        times = np.array([host.ended for host in self.hosts])
        return Result(times, self.sent, self.moved, self.spoiled, self.decisions, self.hosts)


def crowd(number: int, **how: Any) -> list[Host]:
    """`number` equal hosts that arrive at the same time."""
    return [Host(i, **how) for i in range(number)]
