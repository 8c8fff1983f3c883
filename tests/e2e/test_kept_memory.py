"""What a host's peer server keeps in memory of files and streams that have ended."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from scene import MIB, Scene, until

import dfengine

SIZE = 8 * MIB + 77


def held(pid: int) -> int:
    """Bytes of the memory of files and streams that a process has open, each once."""
    found = {}
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if "memfd:dfengine-file" in os.readlink(fd) or "memfd:dfengine-stream" in os.readlink(fd):
                state = fd.stat()
                found[state.st_ino] = state.st_blocks * 512
        except OSError:
            continue
    return sum(found.values())


def test_a_host_keeps_one_copy_of_a_version(stage: Scene) -> None:
    url, digest, node = f"{stage.origin()}/f", stage.file("f", SIZE), stage.supernode()
    home = stage.path / "home-2"
    stage.homes.add(home)
    settings: dict[str, Any] = {"nodes": [node.node], "ip": "127.0.0.2", "home": home, "quiet": True}

    def read(*ways: Any) -> None:
        for way in ways:
            with way(url, **settings) as file:
                assert hashlib.sha256(file.read()).hexdigest() == digest

    read(*[dfengine.open] * 4)
    pid = stage.peer_pid()
    until(lambda: held(pid) < 2 * SIZE, "one copy of what was opened")
    read(dfengine.stream, dfengine.open, dfengine.stream)
    until(lambda: held(pid) < 2 * SIZE, "one copy of what was opened and streamed")
    assert held(pid) >= SIZE
    result = stage.get(url, "out", host=3, nodes=(node,))
    assert stage.digest("out") == digest
    assert sum(result["from"].values()) == SIZE
