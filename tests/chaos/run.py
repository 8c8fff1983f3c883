"""One seeded run: its faults, and the conditions that must hold afterwards.

    exit 0        the output exists and has the origin's digest
    exit not 0    no output under its name; a documented code, one line on stderr
    always        the download ends within its deadline

A single fault leaves another way to the file (another source, another connection, the origin), so such runs must end with 0.
A download may fail only if the origin fails permanently, or if the origin's bytes are changed in transit, which only
`--digest` detects: then the digest is given and exit code 5 is allowed too.
"""

from __future__ import annotations

import contextlib
import hashlib
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import left
from tests.chaos.scenario import Scenario
from tests.chaos.short import LONGEST
from tests.chaos.trouble import ENDS, Play, Trouble
from tests.chaos.world import LINKS, World, Wrong

CODES = frozenset((0, 3, 4, 5, 6, 8))
KINDS = ("wrong file", "late", "left behind")
"""Failures that are counted separately; all others count as `failed`."""


@dataclass(frozen=True)
class Outcome:
    """The result of a run; `seconds` are the download's. wrong: the violated condition, or ""."""

    scenario: Scenario
    code: int
    seconds: float
    wrong: str

    @property
    def kind(self) -> str:
        """One of KINDS, or `failed`; "" if no condition was violated."""
        return next((kind for kind in KINDS if self.wrong.startswith(kind)), "failed") if self.wrong else ""

    def __str__(self) -> str:
        end = f"WRONG: {self.wrong}" if self.wrong else "well"
        return f"seed {self.scenario.seed}: {self.scenario}: exit {self.code} in {self.seconds:.2f} s: {end}"


def run(world: World, scenario: Scenario) -> Outcome:
    """Run one scenario."""
    play = _play(world, scenario)
    trouble = scenario.trouble or Trouble()
    began, seconds, code, wrong = time.monotonic(), 0.0, -1, ""
    try:
        with trouble.around(play):
            if any(link == "peer" for link, _ in scenario.faults):
                world.seed(play.url, play.name)
            world.arm({link: tuple(fault for on, fault in scenario.faults if on == link) for link in LINKS})
            began = time.monotonic()
            play.start()
            if scenario.hit:
                _hit(play, scenario)
            trouble.strike(play)
            code, out, err = _end(play, began + world.patience * LONGEST * (3 if scenario.creeps else 1))
            seconds = time.monotonic() - began
            _judge(play, scenario, code, out, err)
            if not scenario.changed:
                trouble.afterwards(play)
    except (Wrong, AssertionError) as error:
        wrong = str(error) or repr(error)
        seconds = seconds or time.monotonic() - began
    finally:
        if play.process is not None and play.process.poll() is None:
            play.process.kill()
            play.process.communicate()
        world.alive()
        world.forget()
    for path in (play.output, *play.output.parent.glob(f".{play.output.name}.*")):
        with contextlib.suppress(OSError):
            path.unlink()
    return Outcome(scenario, code, seconds, wrong or left.after_a_run(world, play.name))


def _play(world: World, scenario: Scenario) -> Play:
    name, digest = f"run{scenario.seed}", world.files[scenario.name]
    options = [part for option in scenario.options for part in ((option, f"sha256:{digest}") if option == "--digest" else (option,))]
    if scenario.hit or (scenario.trouble is not None and scenario.trouble.slow):
        # Slow enough that the download is still running when the fault happens.
        options += ["--locallimit", "8M"]
    url = world.url(scenario.folder, scenario.name, name)
    return Play(world, name, url, world.stage.path / name, scenario.stream, digest, options)


def _end(play: Play, deadline: float) -> tuple[int, bytes, bytes]:
    """Wait for exit code, stdout and stderr. deadline: monotonic seconds."""
    assert play.process is not None
    try:
        out, err = play.process.communicate(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise Wrong("late: not over in time") from None
    return play.process.returncode, out, err


def _hit(play: Play, scenario: Scenario) -> None:
    over = play.wait(scenario.after)
    if scenario.hit.startswith("supernode"):
        play.world.restart(empty=scenario.hit == "supernode emptied")
        return
    process = play.process
    assert process is not None
    if not over:
        process.send_signal(signal.SIGKILL if scenario.hit == "client killed" else signal.SIGTERM)
    try:
        _, err = process.communicate(timeout=ENDS * play.world.patience)
    except subprocess.TimeoutExpired:
        raise Wrong(f"late: not over {ENDS * play.world.patience:.0f} s after a signal") from None
    if process.returncode not in (*CODES, -signal.SIGKILL, 143, -signal.SIGTERM):
        raise Wrong(f"a stopped client ends with {process.returncode}: {err.decode()[-300:]}")
    if play.output.exists() and _sha256(play.output) != play.digest:
        raise Wrong("wrong file: of a killed download")
    play.start()


def _judge(play: Play, scenario: Scenario, code: int, out: bytes, err: bytes) -> None:
    """Raise Wrong if a condition is violated."""
    said = err.decode(errors="replace").strip()
    if code not in CODES | scenario.codes:
        raise Wrong(f"exit code {code}: {said[-600:]}")
    if "Traceback" in said:
        raise Wrong(f"a traceback: {said[-600:]}")
    if scenario.stream:
        found = hashlib.sha256(out).hexdigest()
        if code == 0 and found != play.digest:
            raise Wrong(f"wrong file: the stream has {len(out)} bytes")
        if code and not (play.world.stage.www / scenario.name).read_bytes().startswith(out):
            raise Wrong("wrong file: what a failed stream delivered is not the file's beginning")
    elif code == 0:
        if not play.output.exists():
            raise Wrong("exit 0 and no output")
        if _sha256(play.output) != play.digest:
            raise Wrong(f"wrong file: the output has {play.output.stat().st_size} bytes")
    elif play.output.exists():
        raise Wrong(f"left behind: an output under its name and exit {code}")
    if code and scenario.must_succeed and code not in scenario.codes:
        raise Wrong(f"there was a way and it was not found: {said[-600:]}")
    if code and (not said or "\n" in said):
        raise Wrong(f"not one clear line: {said!r}")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
