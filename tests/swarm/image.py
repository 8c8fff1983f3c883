"""Simulation of an image's layers sent to hosts that pull all of them at once: a task per layer, and links that a host's tasks share.

Each host reads its layers as the proxy does for a client that opens some of them at a time, in the order of the image: a layer's first
pieces in order, the others in a random order that differs per host. Time is in seconds, size in pieces.
"""

from __future__ import annotations

from collections import Counter
from math import ceil
from random import Random

from dfengine.supernode.swarm.limits import Limits
from dfengine.task import Peer
from tests.swarm.fair import FairSimulation
from tests.swarm.virtual import SUPERNODE, Client, Delays, Transfer

PIECE_SECONDS = 0.175
"""Seconds for 4 MiB on a link of 200 Mbit/s."""

LINK_DELAYS = Delays(0.09, 0.06, 0.15, 0.375)
"""Delays of the real programs on shaped links, in seconds, see docs/scale.md."""

FIRST = 2
"""Pieces that `proxy.blob` requests in order."""


def sizes_of(mib: float, layers: int = 12) -> list[float]:
    """Sizes in pieces of the layers of `bench.image_pull`, each a little smaller than the previous."""
    weights = [layers - n for n in range(layers)]
    return [mib / 4 * weight / sum(weights) for weight in weights]


class ImageSimulation(FairSimulation):
    """sizes: of the layers, in pieces. opened: layers that a host reads at a time. rate: pieces per second of every link.

    connections: connections on which the supernode reads the requested layers from the registry, in turns of a piece
    (`origin.round_robin`), through a link of the same rate; 0: it has all layers from the start.
    """

    def __init__(
        self, sizes: list[float], hosts: int, *, seed: int = 0, opened: int = 6, rate: float = 1 / PIECE_SECONDS, room: int = 5,
        limits: Limits | None = None, delays: Delays | None = None, connections: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(1, limits=limits, seed=seed, delays=delays or LINK_DELAYS, cached=0)
        self.rate = rate
        self.sizes = sizes
        self.hosts = [f"h{n}" for n in range(hosts)]
        self.chance = Random(seed)
        self.room = room
        self.dead: set[str] = set()
        self.begun: Counter[tuple[str, int]] = Counter()
        """(task, piece) -> how many times the supernode began to send it."""
        self.served: dict[str, float] = {}
        self.left_of = {host: list(range(len(sizes))) for host in self.hosts}
        self.reading = Counter(dict.fromkeys(self.hosts, 0))
        self.connections = connections
        self.fetches: dict[int, list[int]] = {}
        """Layer -> its pieces that the supernode has not begun to read from the registry."""
        self.reads: dict[tuple[int, int], float] = {}
        """(layer, piece) being read from the registry -> the fraction of the piece that is left."""
        self.reads_since, self.reads_version = 0.0, 0
        self.turn = dict.fromkeys(range(len(sizes)), 0)
        self.turns = 0
        for layer, size in enumerate(sizes):
            self.swarm.add_task(str(layer), ceil(size), 0.0)
            for n in range(0 if connections else ceil(size)):
                self.swarm.cached(str(layer), n, 0.0)
        for host in self.hosts:
            for _ in range(opened):
                self.open_next(host)

    @property
    def whole(self) -> float:
        """Pieces of all layers."""
        return sum(self.sizes)

    @property
    def copies(self) -> float:
        """Pieces that the supernode sent, in multiples of the image."""
        return sum(self.size_of(task, n) * times for (task, n), times in self.begun.items()) / self.whole

    @property
    def last(self) -> float:
        """Time at which the last host had all layers, in multiples of the image's time on one link."""
        return max(self.served.values()) / (self.whole / self.rate)

    def size_of(self, task: str, n: int) -> float:
        return min(1.0, self.sizes[int(task)] - n)

    def size(self, client: Client, n: int) -> float:
        return self.size_of(client.task, n)

    def count(self, client: Client) -> int:
        return ceil(self.sizes[int(client.task)])

    def wishes(self, client: Client) -> tuple[int, ...]:
        return tuple([n for n in client.reads[0] if n not in client.have and n not in client.running]) or client.reads[0]

    def open_next(self, host: str) -> None:
        """Open the host's next layer; after the last one the host is done."""
        if not self.left_of[host]:
            if not self.reading[host]:
                self.served[host] = self.now
            return
        layer = self.left_of[host].pop(0)
        self.reading[host] += 1
        if self.connections and layer not in self.fetches:
            self.fetches[layer] = list(range(ceil(self.sizes[layer])))
            self.read()
        pieces = list(range(ceil(self.sizes[layer])))
        others = pieces[FIRST:]
        self.chance.shuffle(others)
        number = self.hosts.index(host) + 2
        cid = f"{host}/{layer}"
        reads = [(*pieces[:FIRST], *others)]
        client = Client(cid, f"10.0.0.{number}", self.room, reads=reads, asked=self.now, task=str(layer), host=host)
        self.clients[cid] = client
        self.active[cid] = {}
        self.swarm.join(client.task, cid, Peer(client.ip, 20000, f"/peer/file/{cid}"), self.now)
        self.pull(client)

    def read(self) -> None:
        """Read from the registry; each connection has an equal share of the link."""
        if self.reads:
            share = self.rate / len(self.reads) * (self.now - self.reads_since)
            self.reads = {piece: left - share for piece, left in self.reads.items()}
        self.reads_since = self.now
        here = [piece for piece, left in self.reads.items() if left < 1e-9]
        for piece in here:
            del self.reads[piece]
        while len(self.reads) < self.connections and (left := [layer for layer, pieces in self.fetches.items() if pieces]):
            layer = min(left, key=lambda each: self.turn[each])
            self.turns += 1
            self.turn[layer] = self.turns
            n = self.fetches[layer].pop(0)
            self.reads[layer, n] = min(1.0, self.sizes[layer] - n)
        self.reads_version += 1
        if self.reads:
            self.at(self.now + min(self.reads.values()) * len(self.reads) / self.rate, self.read_again, self.reads_version)
        for layer, n in here:
            self.swarm.cached(str(layer), n, self.now)
        self.wake()

    def read_again(self, version: int) -> None:
        if version == self.reads_version:
            self.read()

    def start(self, transfer: Transfer) -> None:
        if transfer.source == SUPERNODE:
            self.begun[transfer.client.task, transfer.n] += 1
        super().start(transfer)

    def finished(self, transfer: Transfer) -> None:
        client = transfer.client
        done = client.finished is not None
        super().finished(transfer)
        if client.finished is not None and not done:
            self.reading[client.host] -= 1
            self.open_next(client.host)

    def kill(self, host: str) -> None:
        """End all downloads of the host without notice."""
        self.dead.add(host)
        for client in list(self.clients.values()):
            if client.host == host:
                self.die(client.cid)

    def over(self) -> bool:
        return self.served.keys() | self.dead >= set(self.hosts)
