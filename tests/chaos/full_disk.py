"""A full disk: a tmpfs per run that is filled except for some bytes, at the beginning or during the download."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.trouble import ENDS, Play, Trouble, again, check
from tests.chaos.world import Wrong
from tests.e2e.scene import filled, until

SIZE = 24 << 20
"""Bytes of the disk: the largest file and its record fit."""

PLACES = ("supernode", "output", "output and home")
HOST = 9


@dataclass(frozen=True)
class FullDisk(Trouble):
    """place: the files on the disk. left: free bytes after `after` seconds, 0.0 = from the beginning."""

    place: str
    left: int
    after: float

    file = True
    slow = True

    @classmethod
    def draw(cls, chance: random.Random, size: int) -> FullDisk:
        left = int(math.exp(chance.uniform(0, math.log(size + 20_000)))) - 1
        return cls(chance.choice(PLACES), left, chance.choice((0.0, chance.uniform(0.2, 1.5))))

    @property
    def codes(self) -> frozenset[int]:
        return frozenset() if self.place == "supernode" else frozenset((7,))

    @property
    def leaves_the_origin(self) -> bool:
        return self.place == "supernode"

    @contextmanager
    def around(self, play: Play) -> Iterator[None]:
        disk, world = self._disk(play), play.world
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "dfchaos", disk], check=True)
        home = world.node.home
        try:
            if self.place == "supernode":
                world.stop(ENDS)
                world.begin("--disk-low", "0", "--disk-high", "0", home=disk / "supernode")
            else:
                play.output = disk / play.name
            if self.place == "output and home":
                play.host, play.home = HOST, disk / f"home-{HOST}"
            if not self.after:
                self._fill(play)
            yield
        finally:
            if self.place == "supernode":
                world.stop(ENDS)
                world.begin(home=home)
            if play.home is not None:
                _end_peer(play.home)
            for path in (play.output, *disk.glob(f".{play.output.name}.*")):
                path.unlink(missing_ok=True)
            # A peer server checks every 2 s whether its files still exist.
            until(lambda: not subprocess.run(["umount", disk], check=False, stderr=subprocess.DEVNULL).returncode, "unmounting", 20.0)
            disk.rmdir()

    def strike(self, play: Play) -> None:
        if self.after and not play.wait(self.after):
            self._fill(play)

    def afterwards(self, play: Play) -> None:
        """With free space again the supernode stores the file, and the failed download completes."""
        (self._disk(play) / "ballast").unlink(missing_ok=True)
        if self.place == "supernode":
            again(play, "with room again", "--notbs", "--pattern", "cdn")
            return
        if not play.output.exists():
            play.world.arm({})
            check(play.start(), "with room again", play.world.patience)
        if play.world.stage.digest(str(play.output)) != play.digest:
            raise Wrong("wrong file: with room again")

    def _disk(self, play: Play) -> Path:
        return play.world.stage.path / f"disk-{play.name}"

    def _fill(self, play: Play) -> None:
        filled(self._disk(play) / "ballast", min(self.left, _free(self._disk(play))))

    def __str__(self) -> str:
        return f"full disk:{self.place} but {self.left}{f' after {self.after:.2f}' if self.after else ''}"


def _free(disk: Path) -> int:
    state = os.statvfs(disk)
    return state.f_bavail * state.f_frsize


def _end_peer(home: Path) -> None:
    """End the peer server of a home, if it has one."""
    lock = home / "peer.lock"
    with contextlib.suppress(OSError, ValueError, ProcessLookupError):
        pid = json.loads(lock.read_text())["pid"]
        os.kill(pid, signal.SIGTERM)
        until(lambda: not os.path.exists(f"/proc/{pid}"), "the peer server's end", 20.0)
