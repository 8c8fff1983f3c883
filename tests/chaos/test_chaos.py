"""A few dozen chaos runs, and tests of the proxy's faults."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import left
from tests.chaos.proxy import Fault, Proxy
from tests.chaos.run import run
from tests.chaos.scenario import Scenario
from tests.chaos.world import World, world

FOUND = {
    1033: "a duplicated response shifts all later ones",
    1021: "a trickling origin is never given up",
    2008: "a head cut before its Content-Length counts as an empty file",
    2043: "the same in a stream",
}
"""Seeds of faults that a wrong implementation mishandles."""


PATIENCE = 6.0
"""Patience of `World`: these tests find hangs; a soak on an otherwise idle machine checks that runs end in time."""


@pytest.fixture(scope="module")
def made() -> Iterator[World]:
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="dfchaos-", dir=folder) as path, world(Path(path), PATIENCE) as all_of_it:
        yield all_of_it


@pytest.mark.parametrize("seed", [*range(14), *FOUND])
def test_faults_on_links_and_processes_never_corrupt_files_or_hang_downloads(made: World, seed: int) -> None:
    outcome = run(made, Scenario.of(seed, ()))
    assert not outcome.wrong, str(outcome)


TROUBLED = {
    "damage": (0, 7, 12, 35),
    "disk": (5, 17, 33),
    "frozen": (2, 7, 9),
    "mute": (10, 12, 13),
    "term": (0, 2),
}
"""Seeds of each trouble, by kind, which cover every place of each."""


@pytest.mark.parametrize(("kind", "seed"), [(kind, seed) for kind, seeds in TROUBLED.items() for seed in seeds])
def test_troubles_never_corrupt_files_or_hang_downloads(made: World, kind: str, seed: int) -> None:
    scenario = Scenario.of(seed, (kind,))
    assert scenario.trouble is not None
    outcome = run(made, scenario)
    assert not outcome.wrong, str(outcome)


def test_runs_leave_no_connections_or_files_open(made: World) -> None:
    assert not left.at_the_end(made)


def test_a_seed_determines_the_scenario() -> None:
    assert Scenario.of(7) == Scenario.of(7)
    assert len({str(Scenario.of(seed)) for seed in range(50)}) > 45


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """Sends back the received bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                while data := sock.recv(4096):
                    sock.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def through(echo: tuple[str, int], fault: Fault, data: bytes) -> bytes:
    """Send `data` through a proxy with one fault and return the echoed bytes until the connection ends."""
    proxy = Proxy(("127.0.0.1", 0), echo)
    proxy.arm(fault)
    got = b""
    try:
        with socket.create_connection(proxy.address, 10.0) as sock:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(4096):
                got += part
    finally:
        proxy.close()
    return got


DATA = bytes(range(200))


def test_the_proxy_applies_each_kind_of_fault(echo: tuple[str, int]) -> None:
    assert through(echo, Fault("flip", 7, 0, True), DATA) == DATA[:7] + b"\x06" + DATA[8:]
    assert through(echo, Fault("flip", 7, 0, False), DATA) == DATA[:7] + b"\x06" + DATA[8:]
    assert through(echo, Fault("flip", 7, 0, True, 1, 1), DATA) == DATA, "another connection's fault"
    assert through(echo, Fault("duplicate", 190, 100, True), DATA) == DATA + DATA[190:]
    assert through(echo, Fault("truncate", 50, 0, True), DATA) == DATA[:50]
    assert through(echo, Fault("delay", 50, 10, True), DATA) == DATA
    assert through(echo, Fault("trickle", 190, 0, False), DATA) == DATA
    with pytest.raises(ConnectionResetError):
        through(echo, Fault("cut", 50, 0, False), DATA)
    with pytest.raises(TimeoutError):
        stalled(echo)


def stalled(echo: tuple[str, int]) -> None:
    """Read from a connection that stalls."""
    proxy = Proxy(("127.0.0.1", 0), echo)
    proxy.arm(Fault("stall", 0, 0, True))
    try:
        with socket.create_connection(proxy.address, 0.2) as sock:
            sock.sendall(DATA)
            sock.recv(1)
    finally:
        proxy.close()
