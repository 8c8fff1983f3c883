"""Processes that open a file and read it, for end-to-end tests of several of one host."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import Any

from tests.e2e.scene import MIB, Scene, Supernode, until

LIMIT = 24 * MIB
"""Bytes per second."""

READER = """
import dfengine, hashlib, json, sys
url, node, ip, home, limit, start, store, digest = sys.argv[1:]
given = {"digest": digest} if digest else {}
with dfengine.open(url, nodes=[node], ip=ip, home=home, locallimit=int(limit), quiet=True, store=store, **given) as file:
    digest, size, at = hashlib.sha256(), file.size, 0
    print("opened", flush=True)
    if start == "one":
        print(hashlib.sha256(file.pread(size - 1000, 1000)).hexdigest(), flush=True)
        sys.stdin.readline()
    for part in range(4 if start == "quarters" else 0):
        sys.stdin.readline()
        for offset in range(size * (part + 1) // 4 - 1, size * part // 4, -(1 << 20)):
            assert len(file.pread(max(0, offset - 99), 100)) == min(100, offset + 1)
        print("part", flush=True)
    if start == "back":
        for offset in range(size - 1, -1, -(1 << 20)):
            assert len(file.pread(max(0, offset - 99), 100)) == min(100, offset + 1)
    if start == "fails":
        try:
            file.map()
        except dfengine.DigestMismatch:
            print("failed", flush=True)
            sys.stdin.read()
    while at < size:
        content = file.pread(at, 1 << 20)
        digest.update(content)
        at += len(content)
    counts = file.opened()._fetching.place.byte_counts
    fetched = counts.peers + counts.supernode + counts.origin
    found = {"sha256": digest.hexdigest(), "host": counts.host, "fetched": fetched}
    if given:
        file.map()
        found["hashed"] = file.opened()._transfer.digester is not None
    print(json.dumps(found), flush=True)
    sys.stdin.read()
"""


class Reader:
    """A process that opens the file, says so, reads all of it, says how that went, and keeps it open until it is told to end.

    start: "back": from the end first; "one": the last 1000 bytes first, whose sha256 it says, and `go_on` is waited for; "quarters": a part
    of each piece of one quarter after the other, and `go_on` is waited for before each; "fails": it has another digest than is given.
    """

    def __init__(
        self, stage: Scene, url: str, node: Supernode, start: str = "", store: str = "", limit: int = LIMIT, digest: str = ""
    ) -> None:
        home = stage.path / "home-2"
        stage.homes.add(home)
        command = [sys.executable, "-c", READER, url, node.node, "127.0.0.2", str(home), str(limit), start, store, digest]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stage._processes.append(self.process)

    def line(self) -> str:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        return self.process.stdout.readline().decode() or self.process.stderr.read().decode()

    def opened(self) -> None:
        assert self.line() == "opened\n"

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.line())
        return found

    def opened_and_read(self) -> dict[str, Any]:
        """Both, one after the other."""
        self.opened()
        return self.read()

    def go_on(self) -> None:
        """It does what comes next."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def part(self) -> None:
        """Wait until a quarter was read."""
        assert self.line() == "part\n"

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0

    def kill(self) -> None:
        assert self.process.stdin is not None
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()


def memory(readers: list[Reader]) -> int:
    """Bytes of the memory and of the parts on disk that these processes have open, each counted once."""
    found = {}
    for reader in readers:
        folder = f"/proc/{reader.process.pid}/fd"
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                name = os.readlink(f"{folder}/{fd}")
                if "dfengine-file" in name or ".part" in name:
                    state = os.stat(f"{folder}/{fd}")
                    found[state.st_ino] = state.st_blocks * 512
    return sum(found.values())


def quarters(readers: list[Reader], count: int) -> None:
    """They read so many quarters more."""
    for _ in range(count):
        for reader in readers:
            reader.go_on()
        for reader in readers:
            reader.part()


def in_a_quarter(readers: list[Reader]) -> None:
    """They read one more, and are in the middle of it: no piece of the next one is fetched before they go on."""
    size = memory(readers)
    for reader in readers:
        reader.go_on()
    until(lambda: memory(readers) > size, "a piece of the next quarter")
