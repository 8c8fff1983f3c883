"""The wait for a first visitor: what ends it, and what it says meanwhile."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from dfengine.peer import visitor


@pytest.fixture
def lock(tmp_path: Path):
    fd = os.open(tmp_path / "peer.lock", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b'{"ip":"127.0.0.1","port":15001}', 0)
    yield fd
    os.close(fd)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def test_a_visitor_ends_it_and_its_connection_is_kept(lock: int, listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname()):
        assert not visitor.wait(lock, [listener.fileno()], 60)
        assert listener.accept()[0].close() is None


def test_it_ends_by_itself_and_has_said_its_pid(lock: int, listener: socket.socket) -> None:
    assert not visitor.wait(lock, [listener.fileno()], 0)
    assert json.loads(os.pread(lock, 4096, 0)) == {"ip": "127.0.0.1", "port": 15001, "pid": os.getpid()}


def test_a_signal_ends_it_and_its_handler_is_as_before(lock: int, listener: socket.socket) -> None:
    before = signal.getsignal(signal.SIGTERM)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGTERM))
    timer.start()
    assert visitor.wait(lock, [listener.fileno()], 60)
    timer.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_address_that_cannot_be_read_is_left_to_the_server(lock: int, listener: socket.socket) -> None:
    os.ftruncate(lock, 0)
    assert not visitor.wait(lock, [listener.fileno()], 60)
