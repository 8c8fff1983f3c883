"""Origin, supernode, the enemy and ten honest downloads; measures the cost of an attack.

The ten run at once and start again each round, with another file in each. Their undisturbed time is measured on the same host just before;
the figure is the ratio, because both times depend on the host's other load.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e import scene
from tests.e2e.scene import MIB, Scene, Supernode, until
from tests.siege.attack import Attack
from tests.siege.claims import ATTACKS as CLAIMS
from tests.siege.claims import VICTIM
from tests.siege.floods import ATTACKS as FLOODS
from tests.siege.trees import ATTACKS as TREES

ATTACKS: dict[str, Attack] = {**FLOODS, **CLAIMS, **TREES}
TEN = range(2, 12)
"""Hosts 127.0.0.<n> of the honest downloads."""

SIZE = 24 * MIB
ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = 4
"""Connections by which the supernode itself checks whether an address is a peer server of its swarm."""

MAX_SLOWER, MAX_HELD, MAX_GROWN = 1.5, 0.050, 64 * MIB
"""The goals: ratio of the honest downloads' time to the undisturbed time; seconds that the loop is blocked; bytes beyond the bound."""


@dataclass
class Outcome:
    """The cost of an attack. alone, besieged: median seconds of a download. held, worked: seconds for which the loop was blocked, and
    its CPU time in them. grown: bytes of the supernode's memory. failed: errors of honest downloads. errors: internal errors (500).
    reflected: connections that the victim received."""

    name: str
    alone: float
    besieged: float
    held: float
    worked: float
    grown: int
    bound: int
    failed: list[str]
    errors: int
    reflected: int

    @property
    def slower(self) -> float:
        """Ratio of the besieged to the undisturbed time."""
        return self.besieged / self.alone

    @property
    def wrong(self) -> list[str]:
        """Failures that are not allowed on any host."""
        found = list(self.failed)
        found += [f"{self.errors} internal errors"] if self.errors else []
        found += [f"{self.reflected} requests reached a victim"] if self.reflected > QUESTIONS else []
        if self.grown > self.bound * MIB + MAX_GROWN:
            found.append(f"{self.grown // MIB} MiB more memory where {self.bound} and {MAX_GROWN // MIB} are the bound")
        return found

    @property
    def missed(self) -> list[str]:
        """Goals that depend on the host."""
        found = [f"{self.slower:.2f}x slower"] if self.slower > MAX_SLOWER else []
        return found + ([f"the loop was held {self.worked * 1e3:.0f} ms"] if self.worked > MAX_HELD else [])

    def __str__(self) -> str:
        says = "; ".join([*self.wrong, *self.missed]) or "good"
        times = f"{self.alone:5.2f} s alone, {self.besieged:6.2f} s besieged ({self.slower:.2f}x)"
        loop = f"loop {self.worked * 1e3:4.0f} ms (held {self.held * 1e3:4.0f})"
        return f"{self.name:22} {times}, {loop}, {self.grown / MIB:+5.0f} MiB (bound {self.bound}), 5xx {self.errors}: {says}"


class Victim:
    """Counts the connections to the victim's address."""

    def __init__(self) -> None:
        self.seen = 0
        self._listener = socket.create_server(VICTIM)
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                self._listener.accept()[0].close()
            except OSError:
                return
            self.seen += 1

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


class Memory:
    """Samples the peak memory of a process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.first = self.most = self._now()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _now(self) -> int:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
            # Without pages of files: mapped or cached copies do not count.
            return next((int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:")), 0)
        return 0

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.most = max(self.most, self._now())

    def close(self) -> int:
        """Stop and return the growth in bytes."""
        self._ended.set()
        self._thread.join()
        return self.most - self.first


class Field:
    """Use `field(path)`. size: bytes of the honest downloads' file."""

    def __init__(self, stage: Scene, size: int = SIZE, hosts: range = TEN) -> None:
        self.stage = stage
        self.digest = stage.file("f", size)
        self.origin = stage.origin()
        self._hosts = hosts
        self._round = 0
        self.secret = stage.path / "secret"
        self.secret.write_bytes(b"a secret of the siege's swarm")
        self.secret.chmod(0o600)

    def url(self) -> str:
        """A URL with a separate task for each round."""
        self._round += 1
        return f"{self.origin}/f?round={self._round}"

    def supernode(self, attack: Attack) -> Supernode:
        """Start a supernode with the options of the attack."""
        options = [*attack.options, "--revalidate-interval", "1h"]
        options += ["--secret-file", str(self.secret)] if attack.secret else []
        before = scene.DFENGINE
        if attack.descriptors:
            scene.DFENGINE = ["prlimit", f"--nofile={attack.descriptors}:{attack.descriptors}", *before]
        try:
            return self.stage.supernode(*options)
        finally:
            scene.DFENGINE = before

    def downloads(self, url: str, node: Supernode, attack: Attack) -> tuple[float, list[str]]:
        """Run the honest downloads. Returns (median seconds, failures)."""
        more = ["--secret-file", str(self.secret)] if attack.secret else []
        begun, ends, wrong = time.monotonic(), list[float](), list[str]()

        def end(process: subprocess.Popen[bytes], name: str) -> None:
            _, err = process.communicate()
            ends.append(time.monotonic() - begun)
            if process.returncode:
                wrong.append(f"exit {process.returncode}: {err.decode().strip()[-200:]}")
            elif self.stage.digest(name) != self.digest:
                wrong.append(f"{name} is another file")

        threads = []
        for host in self._hosts:
            name = f"out-{self._round}-{host}"
            process = self.stage.start_get(url, name, "--notbs", "--timeout", "120", *more, host=host, nodes=(node,))
            threads.append(threading.Thread(target=end, args=(process, name)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        for path in self.stage.path.glob(f"out-{self._round}-*"):
            path.unlink()
        return statistics.median(ends), wrong

    @contextlib.contextmanager
    def enemy(self, name: str, url: str, node: Supernode, attack: Attack, seed: int) -> Iterator[None]:
        """Run the hostile client."""
        knows = {"control": node.port, "download": int(node.download.rpartition(":")[2]), "url": url, "seed": seed,
                 "secret": str(self.secret) if attack.secret else ""}
        command = [sys.executable, "-m", "tests.siege.enemy", name]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(knows).encode() + b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"begun\n", f"the attack {name} did not begin"
            yield
        finally:
            process.stdin.close()
            process.wait(20)
            process.stdout.close()

    def siege(self, name: str, seed: int = 0) -> Outcome:
        """Run an attack beside ten downloads, with ten undisturbed before and after; the first ten only start the hosts' peer servers."""
        attack = ATTACKS[name]
        node = self.supernode(attack)
        _, failed = self.downloads(self.url(), node, attack)
        alone, more = self.downloads(self.url(), node, attack)
        failed += more
        memory, victim, url = Memory(node.process.pid), Victim(), self.url()
        try:
            with self.enemy(name, url, node, attack, seed):
                besieged, wrong = self.downloads(url, node, attack)
            afterwards, more = self.downloads(self.url(), node, attack)
            alone, failed = (alone + afterwards) / 2, failed + wrong + more
        finally:
            grown = memory.close()
            victim.close()
        figures = {each: node.metric(f"dfengine_{each}") for each in (
            "loop_blocked_max_seconds", "loop_blocked_max_cpu_seconds", "internal_errors_total")}
        if not attack.secret:
            until(lambda: node.metric("dfengine_pieces_in_flight") == 0, "the return of every lease", 90.0)
        self.stage.kill(node.process)
        return Outcome(name, alone, besieged, figures["loop_blocked_max_seconds"], figures["loop_blocked_max_cpu_seconds"], grown,
                       attack.bound, failed, int(figures["internal_errors_total"]), victim.seen)


@contextlib.contextmanager
def field(path: Path, size: int = SIZE, hosts: range = TEN) -> Iterator[Field]:
    """A field below `path`, which is closed and checked for leaks at the end."""
    os.environ.setdefault("DFENGINE_GET_ALIVETIME", "60s")
    with scene.scene(path) as stage:
        yield Field(stage, size, hosts)
