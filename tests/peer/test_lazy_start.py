"""The wait for a first connection: which commands wait, and what ends the wait."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from dfengine.peer import lazy_start


@pytest.fixture(autouse=True)
def hangup() -> Iterator[None]:
    """Restore the handler of SIGHUP: processes that other tests start inherit it."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def test_a_connection_ends_the_wait_and_is_not_lost(listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()):
        assert not lazy_start.wait([listener.fileno()], 60)
        listener.setblocking(False)  # the connection is pending already
        listener.accept()[0].close()


def test_the_wait_ends_after_its_timeout(listener: socket.socket) -> None:
    assert not lazy_start.wait([listener.fileno()], 0)


def test_a_signal_ends_the_wait_and_its_handler_is_restored(listener: socket.socket) -> None:
    before = signal.getsignal(signal.SIGTERM)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGTERM))
    timer.start()
    assert lazy_start.wait([listener.fileno()], 60)
    timer.join()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("option", lazy_start.SOCKETS)
def test_the_listening_socket_is_taken_from_the_arguments(option: str, listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    def wait(sockets: list[int]) -> bool:
        seen.append(sockets)
        return True

    monkeypatch.setattr(lazy_start, "wait", wait)
    monkeypatch.setattr(lazy_start, "stopped", False)
    lazy_start.await_first(["peer", "--home", "/some where", option, "7", "--alivetime", "300.000"])
    assert (seen, lazy_start.stopped) == ([[7]], True)


@pytest.mark.parametrize(
    "arguments", [[], ["peer"], ["peer", "--home", "x"], ["get", "--socket-fd", "7"], ["peer", "--socket-fd", "x"], ["peer", "--socket-fd"]]
)
def test_other_commands_do_not_wait(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_start, "wait", lambda sockets: pytest.fail("this command must not wait"))
    lazy_start.await_first(arguments)
    assert not lazy_start.stopped
