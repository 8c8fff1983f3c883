"""Downloads of every kind on one host, started and killed at random: each that is not killed delivers the right file.

`DFENGINE_SEEDS=N` runs N seeds instead of three; a failure names its seed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.readers import Reader
from tests.e2e.scene import MIB, Scene, Supernode, until

PIECE = 4 * MIB - 5
LIMIT = 8 * MIB
SEEDS = int(os.environ.get("DFENGINE_SEEDS", "3"))
SHAPES = [(1, ""), (3 * PIECE, ""), (4 * PIECE + 1, "chunked/"), (5 * PIECE - 1, "noranges/"), (6 * PIECE, ""), (6 * PIECE, "chunked/")]
TROUBLES = ["none", "kill", "stop", "peer", "peer and kill", "supernode", "restart"]


class Host:
    """One host's downloads of one file. `kept`: those that were not killed, each with the check that it delivered the file."""

    def __init__(self, stage: Scene, chance: random.Random) -> None:
        self.stage, self.chance = stage, chance
        size, path = chance.choice(SHAPES)
        self.digest = stage.file("f", size)
        self.url, self.node = f"{stage.origin()}/{path}f", stage.supernode()
        self.kept: dict[subprocess.Popen[bytes], Callable[[], None]] = {}

    def begin(self, n: int) -> None:
        """Start another download, of a random kind."""
        stage, chance = self.stage, self.chance
        common: tuple[str, ...] = ("--locallimit", str(LIMIT))
        kind = chance.choice(["file", "same", "stream", "memory", "disk"])
        digest = f"sha256:{self.digest}" if chance.random() < 0.3 else ""
        if kind in ("memory", "disk"):
            reader = Reader(stage, self.url, self.node, chance.choice(["", "back"]), kind, LIMIT, digest)
            self.kept[reader.process] = lambda: self.ended(reader)
            return
        common += ("--digest", digest) if digest else ()
        if kind == "stream":
            stream = stage.start_stream(self.url, *common, "--window", str(chance.choice([1, 2, 64])), nodes=(self.node,))
            self.kept[stream] = lambda: self.delivered(stream)
            return
        name = "out" if kind == "same" else f"out-{n}"
        get = stage.start_get(self.url, name, *common, nodes=(self.node,))
        self.kept[get] = lambda: self.written(get, name)

    def ended(self, reader: Reader) -> None:
        reader.opened()
        assert reader.read()["sha256"] == self.digest
        reader.end()

    def delivered(self, stream: subprocess.Popen[bytes]) -> None:
        assert self.stage.drain(stream)[0] == self.digest

    def written(self, get: subprocess.Popen[bytes], name: str) -> None:
        self.stage.end(get)
        assert self.stage.digest(name) == self.digest

    def trouble(self, what: str) -> None:
        """Disturb one of the downloads, the peer server or the supernode; a stopped download continues after 7 s."""
        victim = self.chance.choice(list(self.kept))
        if what == "stop":
            victim.send_signal(signal.SIGSTOP)
            time.sleep(7.0)
            victim.send_signal(signal.SIGCONT)
        if what in ("kill", "peer and kill"):
            del self.kept[victim]
            self.stage.kill(victim)
            if victim.stdin is not None:
                victim.stdin.close()
        if what in ("peer", "peer and kill"):
            self.lose_peer()
        if what in ("supernode", "restart"):
            self.stage.kill(self.node.process)
        if what == "restart":
            self.node = again(self.stage, self.node)

    def lose_peer(self) -> None:
        """Kill the peer server."""
        pid = self.stage.peer_pid()
        os.kill(pid, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the peer server")
        lock = self.stage.path / "home-2" / "peer.lock"
        if f'"pid": {pid}' in lock.read_text():
            lock.write_text("")


def again(stage: Scene, node: Supernode) -> Supernode:
    return stage.supernode(home=node.home, port=node.port, download_port=int(node.download.rpartition(":")[2]))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_failures_do_not_affect_the_other_downloads(stage: Scene, seed: int) -> None:
    chance = random.Random(seed)
    host, what = Host(stage, chance), chance.choice(TROUBLES)
    host.begin(0)
    for n in range(1, chance.randrange(3, 6)):
        time.sleep(chance.random() / 2)
        host.begin(n)
    time.sleep(chance.random() * 2)
    host.trouble(what)
    for right in host.kept.values():
        right()
