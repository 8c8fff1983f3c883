"""Silent damage of copies on a disk: a changed byte or page, or a truncated file."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.trouble import ENDS, Play, Trouble, again

PAGE = 4096
WAYS = ("byte", "page", "cut")
PLACES = ("stopped", "running", "host")


@dataclass(frozen=True)
class Damage(Trouble):
    """way: the damage at byte `at` of the copy; place: its owner, a supernode that is stopped meanwhile, a running one or a host.

    timed: the file's times are restored, as after a fault of the disk itself.
    """

    way: str
    place: str
    at: int
    timed: bool

    @classmethod
    def draw(cls, chance: random.Random, size: int) -> Damage:
        return cls(chance.choice(WAYS), chance.choice(PLACES), chance.randrange(size), chance.random() < 0.7)

    @contextmanager
    def around(self, play: Play) -> Iterator[None]:
        world = play.world
        if self.place == "host":
            self._hurt(world.seed(play.url, play.name))
        else:
            world.fetch(play.url)
            copy = world.copy(play.url)
            if self.place == "stopped":
                world.stop(ENDS)
            self._hurt(copy)
            if self.place == "stopped":
                world.begin()
        yield

    def afterwards(self, play: Play) -> None:
        """The supernode's copy is repaired: downloads that accept only this copy get the file, twice."""
        if self.place != "host":
            again(play, "from a damaged copy", "--notbs", "--pattern", "cdn")
            again(play, "from a healed copy", "--notbs", "--pattern", "cdn", host=4)

    def _hurt(self, path: Path) -> None:
        state = path.stat()
        if self.way == "cut":
            os.truncate(path, self.at)
        else:
            with open(path, "r+b") as file:
                file.seek(self.at - self.at % PAGE if self.way == "page" else self.at)
                old = file.read(min(PAGE, state.st_size) if self.way == "page" else 1)
                file.seek(-len(old), os.SEEK_CUR)
                file.write(bytes(len(old)) if self.way == "page" else bytes([old[0] ^ 1 << self.at % 8]))
        if self.timed:
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    def __str__(self) -> str:
        return f"damage:{self.way}@{self.at}:{self.place}{'' if self.timed else ':touched'}"
