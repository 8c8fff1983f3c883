"""SIGTERM to a download or the supernode at a random moment, followed by a restart."""

from __future__ import annotations

import random
import signal
import subprocess
from dataclasses import dataclass

from tests.chaos.trouble import ENDS, Play, Trouble, again
from tests.chaos.world import Wrong

START, RATE = 0.5, 8e6
"""Seconds that a program takes to start; bytes per second of a slow run."""


@dataclass(frozen=True)
class Terminated(Trouble):
    """who: `client` or `supernode`. moments: seconds after its start at which a download gets SIGTERM; one for the supernode."""

    who: str
    moments: tuple[float, ...]

    slow = True

    @classmethod
    def draw(cls, chance: random.Random, size: int) -> Terminated:
        who = chance.choice(("client", "client", "supernode"))
        count = chance.choice((1, 1, 2, 3)) if who == "client" else 1
        return cls(who, tuple(chance.uniform(0, START + size / RATE) for _ in range(count)))

    @property
    def leaves_the_origin(self) -> bool:
        return self.who == "supernode"

    def strike(self, play: Play) -> None:
        if self.who == "supernode":
            play.wait(self.moments[0])
            try:
                play.world.stop(ENDS)
            finally:
                play.world.begin()
            return
        for moment in self.moments:
            if play.wait(moment):
                return
            _end(play)
            play.start()

    def afterwards(self, play: Play) -> None:
        if self.who == "supernode":
            again(play, "after the supernode's start", "--notbs", "--pattern", "cdn")

    def __str__(self) -> str:
        return f"SIGTERM:{self.who} after {', '.join(f'{moment:.2f}' for moment in self.moments)}"


def _end(play: Play) -> None:
    process = play.process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    try:
        out, err = process.communicate(timeout=ENDS * play.world.patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Wrong(f"late: not over {ENDS * play.world.patience:.0f} s after SIGTERM") from None
    said = err.decode(errors="replace").strip()
    if process.returncode not in (0, 143, -signal.SIGTERM) or "Traceback" in said:
        raise Wrong(f"exit {process.returncode} after SIGTERM: {said[-600:]}")
    if play.stream:
        whole = (play.world.stage.www / play.url.partition("?")[0].rpartition("/")[2]).read_bytes()
        if out != whole if process.returncode == 0 else not whole.startswith(out):
            raise Wrong(f"wrong file: {len(out)} bytes of a stream that was told to end")
    elif play.output.exists():
        if play.world.stage.digest(str(play.output)) != play.digest:
            raise Wrong("wrong file: of a download that was told to end")
        play.output.unlink()
    elif process.returncode == 0:
        raise Wrong("exit 0 after SIGTERM and no output")
