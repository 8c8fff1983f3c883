"""Errors of a program's timeouts: they name the awaited event, the underlying failure, and a remedy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

import dfengine
from dfengine.errors import SupernodeError, TimedOut
from tests.e2e.scene import MIB, Scene, until

PIECE = 4 * MIB - 5
CALLS = ["open", "get", "stream", "download"]


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of a server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def options(stage: Scene) -> dict[str, Any]:
    home = stage.path / "home-2"
    stage.homes.add(home)
    return {"ip": "127.0.0.2", "home": home}


def call(name: str, stage: Scene, url: str, **options: Any) -> None:
    output = stage.path / "out"
    if name == "open":
        dfengine.open(url, **options).close()
    elif name == "get":
        dfengine.get(url, output, **options)
    elif name == "download":
        dfengine.download(url, output, **options).wait()
    elif name == "preheat":
        dfengine.preheat(url, **options).wait()
    else:
        with dfengine.stream(url, **options) as file:
            file.read(1)


ADVICE = r"(give it longer|run it again)"


@pytest.mark.parametrize("name", CALLS)
def test_timeouts_name_an_origin_that_never_responds(stage: Scene, mute: str, options: dict[str, Any], name: str) -> None:
    with pytest.raises(TimedOut, match=rf"within 0\.5 s: waits for an answer of the origin http://{mute}.*{ADVICE}"):
        call(name, stage, f"http://{mute}/f", timeout=0.5, **options)


@pytest.mark.parametrize("name", CALLS)
def test_timeouts_and_errors_name_an_origin_that_refuses_connections(stage: Scene, options: dict[str, Any], name: str) -> None:
    """A download fails once the pause before another attempt exceeds the remaining time; an open file waits until its timeout."""
    with pytest.raises((TimedOut, dfengine.OriginUnreachable), match=r"127\.0\.0\.1:1 cannot be reached: Connection refused"):
        call(name, stage, "http://127.0.0.1:1/f", timeout=0.5, **options)


@pytest.mark.parametrize("name", [*CALLS, "preheat"])
def test_timeouts_name_a_supernode_that_never_responds(stage: Scene, mute: str, options: dict[str, Any], name: str) -> None:
    with pytest.raises(TimedOut, match=rf"within 0\.5 s: (asks supernode )?{mute}.*{ADVICE}"):
        call(name, stage, "http://127.0.0.1:1/f", nodes=mute, timeout=0.5, **options)


@pytest.mark.parametrize("name", CALLS)
def test_timeouts_name_both_a_refusing_supernode_and_a_silent_origin(stage: Scene, mute: str, options: dict[str, Any], name: str) -> None:
    said = rf"an answer of the origin http://{mute}; .*supernode 127\.0\.0\.1:1 cannot be connected to: Connection refused.*{ADVICE}"
    with pytest.raises(TimedOut, match=said):
        call(name, stage, f"http://{mute}/f", nodes="127.0.0.1:1", timeout=0.5, **options)


def test_a_preheat_without_a_supernode_at_the_address_fails(stage: Scene, options: dict[str, Any]) -> None:
    with pytest.raises(SupernodeError, match=r"127\.0\.0\.1:1 cannot be connected to: Connection refused: name one that runs"):
        call("preheat", stage, "http://127.0.0.1:1/f", nodes="127.0.0.1:1", **options)
    web = stage.origin().removeprefix("http://")
    with pytest.raises(SupernodeError, match=r"does not answer as a supernode does \(HTTP 40.\)"):
        call("preheat", stage, "http://127.0.0.1:1/f", nodes=web, **options)


def test_a_preheat_that_exceeds_its_timeout_names_the_supernode(stage: Scene, options: dict[str, Any]) -> None:
    stage.file("f", 40 * PIECE)
    url, node = stage.origin(slow="1m") + "/slow/f", stage.supernode()
    with pytest.raises(TimedOut, match=rf"within 0\.7 s: .*supernode {node.node}.*the supernode may continue; give it longer"):
        call("preheat", stage, url, nodes=node.node, timeout=0.7, **options)
    preheat = dfengine.preheat(url, nodes=node.node, **options)
    with pytest.raises(TimeoutError, match=f"still runs: .*supernode {node.node}"):
        preheat.wait(0.5)
    preheat.cancel()


def test_waiting_for_a_running_download_names_the_awaited_event(stage: Scene, mute: str, options: dict[str, Any]) -> None:
    download = dfengine.download(f"http://{mute}/f", stage.path / "out", **options)
    with pytest.raises(TimeoutError, match=f"still runs: waits for an answer of the origin http://{mute}"):
        download.wait(0.7)
    download.cancel()
    with pytest.raises(dfengine.Cancelled):
        download.wait(60)


def test_a_read_that_times_out_names_slow_sources_or_the_lost_supernode(stage: Scene, options: dict[str, Any]) -> None:
    stage.file("f", 40 * PIECE)
    url, node = stage.origin(slow="1m") + "/slow/f", stage.supernode()
    with dfengine.open(url, nodes=node.node, timeout=0.8, **options) as file:
        with pytest.raises(TimedOut, match=r"piece 30 was not received within 0\.8 s: nothing failed, so its sources are slow: read again"):
            file.pread(30 * PIECE, 10)
        stage.kill(node.process)
        refused = f"supernode {node.node} lost, seeking it again; {node.node} cannot be connected to: Connection refused: read again"

        def told() -> str:
            with pytest.raises(TimedOut) as raised:
                file.pread(30 * PIECE, 10)
            return refused if refused in str(raised.value) else ""

        assert until(told, "an error that names the lost supernode")
