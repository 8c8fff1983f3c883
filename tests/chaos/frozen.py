"""Processes stopped with SIGSTOP for a while or until the end of the run, as behind a firewall that drops packets."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.chaos.trouble import Play, Trouble

PLACES = ("peers", "peers", "peers", "supernode", "client")
HOSTS = (4, 5, 6)
FIRST = 0.6
"""Seconds of the download within which the process is stopped."""


@dataclass(frozen=True)
class Frozen(Trouble):
    """place: the stopped process; `count` of them if peers. after: seconds into the download, 0.0 = before its start.

    resumes: seconds until it continues, 0.0 = at the end of the run.
    """

    place: str
    count: int
    after: float
    resumes: float

    swarm = True
    slow = True

    @classmethod
    def draw(cls, chance: random.Random, size: int) -> Frozen:
        place = chance.choice(PLACES)
        after = chance.choice((0.0, chance.uniform(0, FIRST))) if place == "peers" else chance.uniform(0, FIRST)
        resumes = chance.uniform(0.2, 4.0) if place == "client" or chance.random() < 0.5 else 0.0
        return cls(place, chance.randint(1, len(HOSTS)), after, resumes)

    @property
    def leaves_the_origin(self) -> bool:
        return self.place == "supernode"

    @contextmanager
    def around(self, play: Play) -> Iterator[None]:
        if self.place == "peers":
            for host in HOSTS[: self.count]:
                play.world.fetch(play.url, host)
            play.frozen += [play.world.stage.peer_pid(host) for host in HOSTS[: self.count]]
        elif self.place == "supernode":
            play.frozen.append(play.world.node.process.pid)
        try:
            if not self.after:
                _send(play.frozen, signal.SIGSTOP)
            yield
        finally:
            _send(play.frozen, signal.SIGCONT)

    def strike(self, play: Play) -> None:
        if self.after and play.wait(self.after):
            return
        if self.place == "client":
            assert play.process is not None
            play.frozen.append(play.process.pid)
        _send(play.frozen, signal.SIGSTOP)
        if self.resumes:
            play.wait(self.resumes)
            _send(play.frozen, signal.SIGCONT)
            if self.place == "client":
                play.frozen.clear()

    def __str__(self) -> str:
        what = f"{self.count} peers" if self.place == "peers" else self.place
        return f"frozen:{what} after {self.after:.2f} {f'for {self.resumes:.2f}' if self.resumes else 'for good'}"


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)
