"""One seeded run: what goes wrong, where, and what must hold afterwards.

    exit 0        the output is there and has the origin's digest
    exit not 0    no output under its name; a documented code, one line on stderr
    always        it ends within its deadline

A single fault leaves another way to the file (another source, another connection, the origin), so such runs must end with 0.
Only an origin that fails for ever may end a download, and one whose bytes are changed on the way, which nobody but
`--digest` can tell: there the digest is given and 5 is an answer too.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.proxy import KINDS, Fault
from tests.chaos.short import LONGEST
from tests.chaos.world import FOLDERS, LINKS, SIZES, World

CODES = frozenset((0, 3, 4, 5, 6, 8))
PROCESSES = ("client killed", "client stopped", "supernode killed", "supernode emptied")
"""What happens to a process, besides faults on links."""

CHANGES = ("duplicate", "flip")


@dataclass(frozen=True)
class Scenario:
    """What one run is; everything follows from its seed. hit: what happens to a process after `after` seconds, "" = nothing."""

    seed: int
    name: str
    folder: str
    faults: tuple[tuple[str, Fault], ...]
    hit: str
    after: float
    options: tuple[str, ...]
    stream: bool

    @classmethod
    def of(cls, seed: int) -> Scenario:
        """The scenario of a seed."""
        chance = random.Random(seed)
        name = chance.choice(list(SIZES))
        faults = []
        hit = chance.choice(PROCESSES) if chance.random() < 0.12 else ""
        for _ in range(chance.choice((1, 1, 1, 2)) if not hit else chance.choice((0, 1))):
            link = chance.choice(LINKS)
            kind = chance.choice(KINDS)
            span = 600 if link == "control" or chance.random() < 0.3 else max(2, SIZES[name])
            at = int(math.exp(chance.uniform(0, math.log(span)))) - 1
            amount = chance.randrange(1, 700) if kind == "delay" else chance.randrange(1, 5000)
            first = chance.choice((0, 0, 0, 1, 2))
            last = -1 if chance.random() < 0.25 else first + chance.choice((0, 0, 1, 3))
            faults.append((link, Fault(kind, at, amount, chance.random() < 0.85, first, last)))
        options: list[str] = []
        changed = any(link == "origin" and fault.kind in CHANGES for link, fault in faults)
        if changed or chance.random() < 0.2:
            options.append("--digest")
        if chance.random() < 0.15:
            options += ["--pattern", "cdn"]
        stream = not hit.startswith("client") and not options and chance.random() < 0.25
        return cls(seed, name, chance.choice(FOLDERS), tuple(faults), hit, chance.uniform(0.1, 0.6), tuple(options), stream)

    @property
    def must_succeed(self) -> bool:
        """There is a way to the file all the time."""
        return not any(link == "origin" and (fault.last < 0 or fault.kind in CHANGES) for link, fault in self.faults)

    def __str__(self) -> str:
        faults = " ".join(f"{link}:{fault}" for link, fault in self.faults)
        what = " ".join(filter(None, (faults, self.hit and f"{self.hit} after {self.after:.2f}", *self.options)))
        return f"{'stream' if self.stream else 'get'} {self.folder}{self.name} {what}"


@dataclass(frozen=True)
class Outcome:
    """How a run went. wrong: what must not be, "" if all is well."""

    scenario: Scenario
    code: int
    seconds: float
    wrong: str

    def __str__(self) -> str:
        end = f"WRONG: {self.wrong}" if self.wrong else "well"
        return f"seed {self.scenario.seed}: {self.scenario}: exit {self.code} in {self.seconds:.2f} s: {end}"


def run(world: World, seed: int) -> Outcome:
    """Play one scenario."""
    scenario = Scenario.of(seed)
    url = world.url(scenario.folder, scenario.name, f"run{seed}-{world.links['control'].address[1]}")
    output = world.stage.path / f"out-{seed}"
    digest = world.files[scenario.name]
    if any(link == "peer" for link, _ in scenario.faults):
        world.arm({})
        world.seed(url, str(seed))
    world.arm({link: tuple(fault for on, fault in scenario.faults if on == link) for link in LINKS})
    options = [f"sha256:{digest}" if before == "--digest" else option for before, option in _pairs(scenario.options)]
    if scenario.hit.startswith("client") or scenario.hit.startswith("supernode"):
        # Slow enough that there is something to hit.
        options += ["--locallimit", "8M"]
    began = time.monotonic()
    process = world.start(url, "-" if scenario.stream else output, *world.through, *options, "--quiet")
    try:
        wrong = _hit(world, scenario, process)
        if scenario.hit.startswith("client") and not wrong:
            if output.exists():
                wrong = "" if _sha256(output) == digest else "the output of a killed download is wrong"
            process = world.start(url, output, *world.through, *options, "--quiet")
        out, err = process.communicate(timeout=max(0.1, LONGEST - (time.monotonic() - began)))
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return Outcome(scenario, -9, time.monotonic() - began, f"not over after {LONGEST:.0f} s")
    finally:
        world.forget()
    seconds = time.monotonic() - began
    wrong = wrong or _judge(world, scenario, process.returncode, out, err, output)
    for path in (output, *world.stage.path.glob(f".{output.name}.*")):
        with contextlib.suppress(OSError):
            path.unlink()
    return Outcome(scenario, process.returncode, seconds, wrong)


def _pairs(options: tuple[str, ...]) -> list[tuple[str, str]]:
    """Options with a place for the digest behind `--digest`, each with the one before it."""
    spread = [part for option in options for part in ((option, "") if option == "--digest" else (option,))]
    return list(zip(["", *spread], spread, strict=False))


def _hit(world: World, scenario: Scenario, process: subprocess.Popen[bytes]) -> str:
    if not scenario.hit:
        return ""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(scenario.after)
    if scenario.hit.startswith("supernode"):
        world.restart(empty=scenario.hit == "supernode emptied")
        return ""
    process.send_signal(signal.SIGKILL if scenario.hit == "client killed" else signal.SIGTERM)
    _, err = process.communicate(timeout=10)
    if process.returncode not in (*CODES, -signal.SIGKILL, 143, -signal.SIGTERM):
        return f"a stopped client ends with {process.returncode}: {err.decode()[-300:]}"
    return ""


def _judge(world: World, scenario: Scenario, code: int, out: bytes, err: bytes, output: Path) -> str:
    said = err.decode(errors="replace").strip()
    if code not in CODES:
        return f"exit code {code}: {said[-600:]}"
    if "Traceback" in said:
        return f"a traceback: {said[-600:]}"
    whole = world.files[scenario.name]
    if scenario.stream:
        found = hashlib.sha256(out).hexdigest()
        if code == 0 and found != whole:
            return f"the stream is wrong: {len(out)} bytes"
        if code and not (world.stage.www / scenario.name).read_bytes().startswith(out):
            return "what a failed stream delivered is not the file's beginning"
    elif code == 0:
        if not output.exists():
            return "exit 0 and no output"
        if _sha256(output) != whole:
            return f"the output is wrong: {output.stat().st_size} bytes"
    elif output.exists():
        return f"exit {code} and an output under its name"
    if code and scenario.must_succeed:
        return f"there was a way and it was not found: {said[-600:]}"
    if code and (not said or "\n" in said):
        return f"not one clear line: {said!r}"
    return ""


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
