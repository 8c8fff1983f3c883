"""What a run may be troubled by, besides its links: a module each, drawn from the run's seed.

    damage.py      copies that change on a disk, a supernode's or a host's
    full_disk.py   a disk without room, from a random byte on
    frozen.py      processes that are stopped and go on later, or never
    mute.py        sources that claim every piece and say nothing
    signals.py     SIGTERM at a random moment, and another start
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.chaos.short import LONGEST
from tests.chaos.world import World, Wrong

ENDS = 10.0
"""Seconds in which a process must have ended that was told to."""


@dataclass
class Play:
    """A run under way: `process` downloads `url` to `output` ("-" in a stream); `options` are those of its command."""

    world: World
    name: str
    url: str
    output: Path
    stream: bool
    digest: str
    options: list[str] = field(default_factory=list)
    host: int = 3
    home: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    frozen: list[int] = field(default_factory=list)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """The download; also its next try."""
        target = "-" if self.stream else self.output
        command = *self.world.through, *self.options, *options, "--quiet"
        self.process = self.world.start(self.url, target, *command, host=self.host, home=self.home)
        return self.process

    def wait(self, seconds: float) -> bool:
        """The download is over, within `seconds`. For the moment at which something is hit, which is a part of its seed."""
        assert self.process is not None
        try:
            # What it has said by then is kept for the next call.
            self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


class Trouble:
    """Nothing. A kind overrides what it needs; what must not be is raised as Wrong.

    swarm: its downloads ask peers. file: they are no streams. slow: they are held to 8 MB/s, so that there is something to hit.
    """

    swarm: ClassVar[bool] = False
    file: ClassVar[bool] = False
    slow: ClassVar[bool] = False

    @property
    def codes(self) -> frozenset[int]:
        """What the download may end with besides, although there is a way."""
        return frozenset()

    @property
    def leaves_the_origin(self) -> bool:
        """The origin may be the only way to the file: where that one is troubled too, there need be none."""
        return False

    @contextmanager
    def around(self, play: Play) -> Iterator[None]:
        """Set up before the download starts, undo when it is over."""
        yield

    def strike(self, play: Play) -> None:
        """What happens while it runs."""

    def afterwards(self, play: Play) -> None:
        """What must hold when it is over, with all links whole."""


def again(play: Play, when: str, *options: str, host: int = 3) -> None:
    """Download the file once more, with links that are whole: it must be right, and be there. Raises Wrong."""
    play.world.arm({})
    output = play.world.stage.path / f"{play.name}-again"
    process = play.world.start(play.url, output, *play.world.through, *options, "--quiet", host=host)
    check(process, when, play.world.patience)
    found = play.world.stage.digest(output.name)
    output.unlink()
    if found != play.digest:
        raise Wrong(f"wrong file: {when}")


def check(process: subprocess.Popen[bytes], when: str, patience: float) -> None:
    """It ends well and in time. Raises Wrong."""
    try:
        _, err = process.communicate(timeout=LONGEST * patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Wrong(f"late: {when}: not over after {LONGEST * patience:.0f} s") from None
    if process.returncode:
        raise Wrong(f"{when}: exit {process.returncode}: {err.decode(errors='replace').strip()[-600:]}")
