"""A few dozen chaos runs, and that the proxy does what its faults say."""

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
    1033: "an answer that came twice shifted all later ones",
    1021: "an origin that trickled was waited for without end",
    2008: "a head cut before its Content-Length was an empty file",
    2043: "the same in a stream",
}
"""Seeds that once found something."""


PATIENCE = 6.0
"""Of `World`: here a hang is found; that runs end in time is found by a soak that has the machine to itself."""


@pytest.fixture(scope="module")
def made() -> Iterator[World]:
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="dfchaos-", dir=folder) as path, world(Path(path), PATIENCE) as all_of_it:
        yield all_of_it


@pytest.mark.parametrize("seed", [*range(14), *FOUND])
def test_never_corrupt_never_hung(made: World, seed: int) -> None:
    outcome = run(made, Scenario.of(seed, ()))
    assert not outcome.wrong, str(outcome)


TROUBLED = {
    "damage": (0, 7, 12, 35),
    "disk": (5, 17, 33),
    "frozen": (2, 7, 9),
    "mute": (10, 12, 13),
    "term": (0, 2),
}
"""Seeds of each trouble, by kind: each place that one may strike is among them."""


@pytest.mark.parametrize(("kind", "seed"), [(kind, seed) for kind, seeds in TROUBLED.items() for seed in seeds])
def test_what_troubles_a_run_spoils_no_file(made: World, kind: str, seed: int) -> None:
    scenario = Scenario.of(seed, (kind,))
    assert scenario.trouble is not None
    outcome = run(made, scenario)
    assert not outcome.wrong, str(outcome)


def test_nothing_is_left_behind(made: World) -> None:
    assert not left.at_the_end(made)


def test_a_seed_is_a_scenario() -> None:
    assert Scenario.of(7) == Scenario.of(7)
    assert len({str(Scenario.of(seed)) for seed in range(50)}) > 45


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """Sends back what it gets."""
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
    """What comes back of `data` through a proxy with one fault; the connection's end ends it."""
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


def test_what_the_proxy_does(echo: tuple[str, int]) -> None:
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
    """A read from a connection that stalls."""
    proxy = Proxy(("127.0.0.1", 0), echo)
    proxy.arm(Fault("stall", 0, 0, True))
    try:
        with socket.create_connection(proxy.address, 0.2) as sock:
            sock.sendall(DATA)
            sock.recv(1)
    finally:
        proxy.close()
