"""Any thread can end a download's waits on connections."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dfengine.client.download_dialer import DownloadDialer
from dfengine.errors import Cancelled, SourceGone

LONG = 30.0
"""Seconds, longer than any wait of these tests."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Accepts connections without responding."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def in_thread(run: Any) -> tuple[threading.Thread, list[BaseException]]:
    raised: list[BaseException] = []

    def call() -> None:
        try:
            run()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, raised


def test_shutdown_ends_a_wait_for_a_response(listener: socket.socket) -> None:
    dialer = DownloadDialer()
    line = dialer.connect(*listener.getsockname())
    began = time.monotonic()
    thread, raised = in_thread(lambda: line.request("GET", "/", timeout=LONG))
    with listener.accept()[0] as accepted:
        accepted.recv(1 << 16)
        dialer.shutdown(Cancelled("enough"))
        thread.join(LONG)
    assert isinstance(raised[0], SourceGone)
    assert time.monotonic() - began < LONG / 2
    line.close()


def test_shutdown_ends_a_connect() -> None:
    """To a server with a full backlog, where the kernel retries for a long time."""
    dialer = DownloadDialer()
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(full.getsockname())
        began = time.monotonic()
        thread, raised = in_thread(lambda: dialer.connect(*full.getsockname(), timeout=LONG))
        while not dialer._connecting:
            time.sleep(0.001)
        dialer.shutdown(Cancelled("enough"))
        thread.join(LONG)
        assert isinstance(raised[0], SourceGone)
        assert time.monotonic() - began < LONG / 2
    assert not dialer._connecting


def test_no_connection_is_made_between_shutdown_and_reopen(listener: socket.socket) -> None:
    dialer = DownloadDialer()
    dialer.check()
    error = Cancelled("enough")
    dialer.shutdown(error)
    with pytest.raises(SourceGone):
        dialer.connect(*listener.getsockname())
    with pytest.raises(Cancelled) as raised:
        dialer.check()
    assert raised.value is error
    dialer.reopen()
    dialer.check()
    dialer.connect(*listener.getsockname()).close()


def test_a_socket_refused_before_its_connect_is_closed(listener: socket.socket) -> None:
    dialer = DownloadDialer()
    made: list[socket.socket] = []

    def opened(each: socket.socket) -> None:
        made.append(each)
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        dialer.connect(*listener.getsockname(), opened=opened)
    assert made[0].fileno() == -1


def test_shutdown_does_not_affect_closed_connections(listener: socket.socket) -> None:
    dialer = DownloadDialer()
    line = dialer.connect(*listener.getsockname())
    line.close()
    with socket.socket() as other:  # it may reuse the number
        other.connect(listener.getsockname())
        dialer.shutdown(Cancelled("enough"))
        assert other.send(b"x") == 1
