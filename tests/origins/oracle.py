"""The oracle: curl's result for a behaviour."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.origins.behaviour import Behaviour, Delivers
from tests.origins.server import Server

CONTINUED = 24
"""Maximum number of runs of `curl -C -` for a file."""

NEVER = 1e6
"""Seconds after which a server that is down would listen."""


@dataclass(frozen=True)
class Answer:
    """The outcome of a download. data: the bytes under the output's name, None if there is no such file; said: its stderr."""

    code: int
    data: bytes | None
    said: str


@contextmanager
def servers(behaviour: Behaviour) -> Iterator[Server]:
    """A fresh server of this behaviour, and its second one."""
    with ExitStack() as stack:
        other = stack.enter_context(Server(behaviour.other, behaviour.versions)) if behaviour.other else None
        late = NEVER if behaviour.down else behaviour.late
        yield stack.enter_context(Server(behaviour.script, behaviour.versions, late=late, other=other))


def url_of(behaviour: Behaviour, server: Server) -> str:
    """The URL at a server."""
    other = server.other.address if server.other else ""
    return "http://" + behaviour.url.format(address=server.address, port=server.port, other=other)


def environment(behaviour: Behaviour, server: Server, home: Path) -> dict[str, str]:
    """Environment of a process: this one's without proxies, and the behaviour's variables."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy") and not name.startswith("DFENGINE_")}
    return kept | {"HOME": str(home)} | {name: value.format(address=server.address) for name, value in behaviour.env}


def read(path: Path) -> bytes | None:
    """A file's bytes, None if there is none."""
    return path.read_bytes() if path.exists() else None


def ask(behaviour: Behaviour, folder: Path, headers: tuple[str, ...]) -> Answer:
    """Run `curl -fsSL` against a fresh server, with --retry or repeatedly with -C - where the behaviour requires it."""
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / "curl"
    by = behaviour.expect.by if isinstance(behaviour.expect, Delivers) else ""
    command = ["curl", "-q", "-fsSLg", "-m", "60", "-o", str(output)]
    if by == "retry":
        command += ["--retry", "6", "--retry-all-errors", "--retry-delay", "1"]
    elif by == "continue":
        command += ["-C", "-"]
    for header in headers:
        command += ["-H", header]
    with servers(behaviour) as server:
        command += [*behaviour.curl, url_of(behaviour, server)]
        for _ in range(CONTINUED if by == "continue" else 1):
            done = subprocess.run(command, capture_output=True, env=environment(behaviour, server, folder), timeout=120)
            if done.returncode == 0:
                break
        # Not every version of curl writes an empty file.
        data = read(output)
        if done.returncode == 0 and data is None:
            data = b""
    output.unlink(missing_ok=True)
    return Answer(done.returncode, data, done.stderr.decode(errors="replace"))
