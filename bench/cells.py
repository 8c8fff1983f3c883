"""A file to the hosts of many supernodes in a cluster, on the fluid clock: first the leader's swarm, then that of each follower.

A follower takes the file as a client of the leader's swarm (`supernode/copies/following.py`), and its own hosts take it from there. A
follower's hosts do not affect the leader's swarm, because a link's two directions are independent, and no host streams. So the times at
which each follower has each piece depend on the leader's swarm alone, and each cell is simulated exactly by itself, as many in parallel as
there are cores.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from dataclasses import dataclass, field
from math import floor, log2

import numpy as np

from bench.fluid import IDLE, PIECE_SECONDS, Fluid, Host, crowd
from bench.stage import table
from dfengine.supernode.swarm.limits import Limits


@dataclass
class Found:
    """times: seconds until each host had the file, of all cells. last: of the last host of each cell, the leader's first.

    whole: seconds until each follower had it. sent: pieces that each cell's supernode sent; from_leader, from_hosts: sources of followers.
    """

    times: np.ndarray
    last: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    from_leader: int = 0
    from_hosts: int = 0


class LeadersCell(Fluid):
    """The leader's swarm: `followers` are the last of its hosts. at_once: pieces that a follower reads at the same time."""

    def __init__(self, hosts: list[Host], pieces: int, *, at_once: int, seed: int, room: int, up: float, step: float) -> None:
        limits = Limits(up=room, supernode=room, slow_slots=room)
        super().__init__(hosts, pieces, seed=seed, room=max(room, at_once), up=up, step=step, limits=limits)
        self.came = {host.number: [float("nan")] * pieces for host in hosts if host.follows}
        self.from_leader = self.from_hosts = 0
        for host in hosts:
            self.piece[host.number] = [IDLE] * (at_once if host.follows else room)

    def finish(self, host: Host, slot: int, late: float) -> None:
        """Record when a follower has a piece."""
        if host.follows:
            self.came[host.number][self.piece[host.number][slot]] = self.now
            from_leader = self.cell_source[host.number * self.room + slot] == self.supernode
            self.from_leader += from_leader
            self.from_hosts += not from_leader
        super().finish(host, slot, late)


@dataclass
class Branch:
    """A follower's cell. came: seconds until the follower had each piece."""

    hosts: int
    pieces: int
    seed: int
    room: int
    up: float
    came: list[float]
    until: float

    def run(self) -> tuple[np.ndarray, int]:
        """Simulate: seconds until each of its hosts had the file; pieces that the follower sent."""
        gc.disable()
        result = Fluid(crowd(self.hosts), self.pieces, seed=self.seed, room=self.room, up=self.up, cached=self.came).run(self.until)
        return result.times, result.sent


def distribute(
    hosts: int, cells: int, pieces: int, *, seed: int, room: int, link: float, at_once: int, until: float, last_alone: bool = False
) -> Found:
    """All hosts start together; the leader has the file. link: ratio of a supernode's link to a host's. Raises RuntimeError if a host
    fails.

    last_alone: simulate only the follower's cell that is the last to have the file.
    """
    each = [hosts // cells + (n < hosts % cells) for n in range(cells)]
    up, step = link / PIECE_SECONDS, PIECE_SECONDS / 4
    leaders = crowd(each[0]) + [Host(each[0] + n, follows=True, up=0.0, down=up) for n in range(cells - 1)]
    top = LeadersCell(leaders, pieces, at_once=at_once, seed=seed, room=room, up=up, step=step / max(1.0, min(link, 4.0)))
    result = top.run(until)
    times = [result.times[: each[0]]]
    found = Found(times[0], from_leader=top.from_leader, from_hosts=top.from_hosts)
    found.last.append(float(times[0].max()))
    found.sent.append(result.sent)
    followers = list(top.came.values())
    found.whole = [max(came) for came in followers]
    branches = [Branch(each[cell], pieces, seed + cell, room, up, came, until) for cell, came in enumerate(followers, 1)]
    if last_alone:
        branches = [branches[found.whole.index(max(found.whole))]]
    with multiprocessing.Pool(min(len(branches), os.cpu_count() or 1)) as pool:
        for ended, sent in pool.imap(Branch.run, branches):
            times.append(ended)
            found.last.append(float(ended.max()))
            found.sent.append(sent)
        pool.close()
        pool.join()
    found.times = np.concatenate(times)
    if np.isnan(found.times).any():
        raise RuntimeError(f"{np.isnan(found.times).sum()} hosts were not finished in {until:.0f} s")
    return found


def report(hosts: int, cells: int, pieces: int, seed: int, room: int, link: float, at_once: int, last_alone: bool = False) -> str:
    """A table of one run: quantiles of all hosts' times over T*, end of the cells, bytes by sender, CPU seconds of the simulation."""
    gc.disable()  # millions of leases without reference cycles
    bound = PIECE_SECONDS * (pieces + floor(log2(hosts)))
    found = distribute(hosts, cells, pieces, seed=seed, room=room, link=link, at_once=at_once, until=20 * bound, last_alone=last_alone)
    row = [f"{hosts}", f"{cells}", f"{pieces}", f"{link:g}", f"{room}", f"{at_once}"]
    row += [f"{np.quantile(found.times, q) / bound:.3f}" for q in (0.5, 0.99, 1)]
    row += [f"{found.last[0] / bound:.3f}", f"{max(found.whole) / bound:.3f}", f"{found.sent[0] / pieces:.3f}"]
    row += [f"{(found.from_leader + found.from_hosts) / pieces / (cells - 1):.3f}", f"{max(found.sent[1:]) / pieces:.3f}"]
    head = ["hosts", "supernodes", "pieces", "link", "room", "at once", "p50 / T*", "p99", "last", "last of the leader's", "last follower",
            "leader sent / F", "a follower took / F", "and sent / F, at most", "CPU s"]  # fmt: skip
    return table(head, [[*row, f"{sum(os.times()[:4]):.0f}"]])
