"""A download's waits on connections end from any thread."""

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
"""Seconds that nothing here waits for."""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Takes connections, and answers nothing."""
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


def test_a_wait_for_an_answer_is_cut(listener: socket.socket) -> None:
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


def test_a_connect_is_cut() -> None:
    """To a server whose queue is full: the kernel tries for a long time."""
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


def test_nothing_connects_between_cut_and_mend(listener: socket.socket) -> None:
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


def test_a_socket_that_is_cut_before_it_connects_is_closed(listener: socket.socket) -> None:
    dialer = DownloadDialer()
    made: list[socket.socket] = []

    def opened(each: socket.socket) -> None:
        made.append(each)
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        dialer.connect(*listener.getsockname(), opened=opened)
    assert made[0].fileno() == -1


def test_connections_that_are_closed_are_left_alone(listener: socket.socket) -> None:
    dialer = DownloadDialer()
    line = dialer.connect(*listener.getsockname())
    line.close()
    with socket.socket() as other:  # it may have the number
        other.connect(listener.getsockname())
        dialer.shutdown(Cancelled("enough"))
        assert other.send(b"x") == 1
