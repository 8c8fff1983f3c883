"""Faults of a run other than on its links: a module for each kind, drawn from the run's seed.

    damage.py      copies that change on a disk, a supernode's or a host's
    full_disk.py   a disk that is full from a random byte on
    frozen.py      processes that are stopped, and continue later or never
    mute.py        sources that claim every piece and do not respond
    signals.py     SIGTERM at a random moment, and a restart
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
"""Seconds within which a process must end after a signal."""


@dataclass
class Play:
    """The state of a run: `process` downloads `url` to `output` ("-" in a stream); `options` are those of its command."""

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
        """Start the download, or start it again."""
        target = "-" if self.stream else self.output
        command = *self.world.through, *self.options, *options, "--quiet"
        self.process = self.world.start(self.url, target, *command, host=self.host, home=self.home)
        return self.process

    def wait(self, seconds: float) -> bool:
        """Wait until the download ends, at most `seconds`; whether it ended. The seed determines the moment of a fault."""
        assert self.process is not None
        try:
            # The output read so far is kept for the next call.
            self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


class Trouble:
    """The empty trouble. A kind overrides the methods that it needs; they raise Wrong for a violated condition.

    swarm: its downloads use peers. file: they are no streams. slow: they are limited to 8 MB/s, so that faults happen while they run.
    """

    swarm: ClassVar[bool] = False
    file: ClassVar[bool] = False
    slow: ClassVar[bool] = False

    @property
    def codes(self) -> frozenset[int]:
        """Additional exit codes that are allowed although a way to the file exists."""
        return frozenset()

    @property
    def leaves_the_origin(self) -> bool:
        """Whether the origin may be the only way to the file; with faults at the origin the download may fail."""
        return False

    @contextmanager
    def around(self, play: Play) -> Iterator[None]:
        """Set up before the download starts, and undo after it."""
        yield

    def strike(self, play: Play) -> None:
        """Apply the fault while the download runs."""

    def afterwards(self, play: Play) -> None:
        """Check conditions after the download, with all links free of faults."""


def again(play: Play, when: str, *options: str, host: int = 3) -> None:
    """Download the file again without faults on links. Raises Wrong if this fails or the file is wrong."""
    play.world.arm({})
    output = play.world.stage.path / f"{play.name}-again"
    process = play.world.start(play.url, output, *play.world.through, *options, "--quiet", host=host)
    check(process, when, play.world.patience)
    found = play.world.stage.digest(output.name)
    output.unlink()
    if found != play.digest:
        raise Wrong(f"wrong file: {when}")


def check(process: subprocess.Popen[bytes], when: str, patience: float) -> None:
    """Raise Wrong unless the process succeeds in time."""
    try:
        _, err = process.communicate(timeout=LONGEST * patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Wrong(f"late: {when}: not over after {LONGEST * patience:.0f} s") from None
    if process.returncode:
        raise Wrong(f"{when}: exit {process.returncode}: {err.decode(errors='replace').strip()[-600:]}")
