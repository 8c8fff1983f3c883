"""A behaviour run in one way: alone, by a supernode, or resumed after a SIGKILL in mid-body."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.origins.behaviour import Behaviour, Fails
from tests.origins.judge import Run, judge
from tests.origins.oracle import Answer, ask, environment, read, servers, url_of
from tests.origins.server import Server

DFENGINE = [sys.executable, "-m", "dfengine"]
WAYS = ("alone", "supernode", "resumed")
FIRST_BYTES = 0.6
"""Seconds that a download has to store received bytes before it is killed."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run. wrong: the fault, "" if there is none."""

    name: str
    way: str
    code: int
    seconds: float
    wrong: str

    def __str__(self) -> str:
        return f"{self.name} {self.way}: exit {self.code} in {self.seconds:.1f} s: {self.wrong or 'well'}"


class Supernode:
    """A `dfengine supernode` on free ports; use as a context."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        command = [*DFENGINE, "supernode", "--port", "0", "--download-port", "0", "--host", "127.0.0.1", "--advertise-ip", "127.0.0.1"]
        self.process = subprocess.Popen([*command, "--home-dir", str(home)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode().split()
        assert line[:1] == ["ready"], line
        self.node = line[1].removeprefix("control=")

    def __enter__(self) -> Supernode:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def ways(behaviour: Behaviour) -> tuple[str, ...]:
    """The ways in which a behaviour is run."""
    return tuple(way for way in WAYS if way in behaviour.ways and (way != "resumed" or behaviour.resumed != "no"))


def run(behaviour: Behaviour, way: str, folder: Path, node: str = "", oracle: tuple[Answer, ...] = ()) -> Outcome:
    """Run a behaviour in an empty folder. node: a supernode that is independent of the environment, "" = start one if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    rounds = (behaviour.headers, behaviour.then) if behaviour.then else (behaviour.headers,)
    oracle = oracle or tuple(ask(behaviour, folder, headers) for headers in rounds)
    began = time.monotonic()
    wrong, done = "", Run(0, None, "", 0.0, False, "")
    with servers(behaviour) as server, contextlib.ExitStack() as stack:
        if way == "supernode" and (behaviour.env or not node):
            node = stack.enter_context(Supernode(folder / "supernode", environment(behaviour, server, folder))).node
        for n, headers in enumerate(rounds):
            done = _download(behaviour, way, folder / f"round-{n}", node, server, headers)
            wrong = wrong or judge(behaviour, way, oracle[n], done, server)
    return Outcome(behaviour.name, way, done.code, time.monotonic() - began, wrong)


def _download(behaviour: Behaviour, way: str, folder: Path, node: str, server: Server, headers: tuple[str, ...]) -> Run:
    folder.mkdir(exist_ok=True)
    output = folder / "output"
    command = [
        *DFENGINE, "get", url_of(behaviour, server), "-o", str(output), "--home", str(folder / "home"), "--ip", "127.0.0.2",
        "--pattern", "cdn", "--identifier", f"{behaviour.name}-{way}", *behaviour.options,
    ]
    # Ports are reused: the identifier prevents a shared supernode from mixing up files of different servers.
    for header in headers:
        command += ["--header", header]
    if way == "supernode":
        # --notbs shows whether the supernode reads the origin. Origins' refusals are reported to `get` itself.
        command += ["--node", node, *(() if isinstance(behaviour.expect, Fails) else ("--notbs",))]
    env = environment(behaviour, server, folder)
    left = ""
    if way == "resumed":
        left = _killed(command, env, output, server)
        if behaviour.replaced:
            server.now = 1
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    try:
        _, err = process.communicate(timeout=behaviour.bound)
        hung = False
    except subprocess.TimeoutExpired:
        process.kill()
        _, err = process.communicate()
        hung = True
    done = Run(process.returncode, read(output), err.decode(errors="replace"), time.monotonic() - began, hung, left)
    for path in folder.glob("*output*"):
        path.unlink()
    return done


def _killed(command: list[str], env: dict[str, str], output: Path, server: Server) -> str:
    """Start a download and kill it in mid-body when some bytes are stored. Return the fault in its remains, or ""."""
    size = len(server.versions[0])
    server.gate.close(size * 6 // 10, size // 10)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    try:
        end = time.monotonic() + 30.0
        while process.poll() is None and not server.gate.reached.wait(0.02) and time.monotonic() < end:
            pass
        _settled(process, output)
    finally:
        process.kill()
        process.wait()
        server.gate.open()
    end = time.monotonic() + 10.0
    while server.busy and time.monotonic() < end:
        time.sleep(0.01)
    data = read(output)
    return "" if data is None or (process.returncode == 0 and data in server.versions) else "an output under its name after a kill"


def _settled(process: subprocess.Popen[bytes], output: Path) -> None:
    """Wait until bytes are stored beside the output and no more arrive. The wait is short, since none need to be stored."""
    end, before, same = time.monotonic() + FIRST_BYTES, "", 0
    while process.poll() is None and time.monotonic() < end and same < 5:
        kept = []
        for path in sorted(output.parent.glob(f".{output.name}.*")):
            with contextlib.suppress(FileNotFoundError):
                kept.append(path.stat())
        now = str([(each.st_size, each.st_blocks, each.st_mtime_ns) for each in kept])
        same = same + 1 if any(each.st_blocks for each in kept) and now == before else 0
        before = now
        time.sleep(0.02)
