"""Processes that connect to hand over a stream, and fail to."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine.net import fd_passing
from dfengine.peer.served_downloads import SILENCE, ServedDownloads
from dfengine.storage.home import Entry, Home
from dfengine.storage.stream_memory import StreamMemory


def test_a_process_that_hands_over_nothing_is_disconnected(tmp_path: Path) -> None:
    home, clock = Home(str(tmp_path / "home")), [100.0]
    hosted = ServedDownloads(home, fd_passing.listen(home.sockets), None, lambda: clock[0])
    silent = fd_passing.send_descriptors(home.sockets, b"", [])
    hosted.accept()
    hosted.sweep(100.0 + SILENCE)
    silent.setblocking(False)
    with pytest.raises(BlockingIOError):
        silent.recv(1)
    hosted.sweep(100.1 + SILENCE)
    silent.settimeout(5.0)
    assert silent.recv(1) == b""
    silent.close()
    hosted.close()


def test_a_stream_that_has_ended_on_arrival_does_not_run(tmp_path: Path) -> None:
    """A connection that is reset is readable once for uvloop: the stream and its end arrive together."""
    home = Home(str(tmp_path / "home"))
    hosted = ServedDownloads(home, fd_passing.listen(home.sockets), None, lambda: 100.0)
    file = StreamMemory.allocate(Geometry(100))
    fd_passing.send_descriptors(home.sockets, Entry("f-1-2.000", "t" * 64, "c", "", [], "", 0, 0, 60.0).encode(), file.descriptors).close()
    hosted.accept()
    assert hosted.names() == ["f-1-2.000"]
    assert not hosted.running
    file.close()
    hosted.close()


def test_the_name_of_a_served_stream_cannot_be_taken(tmp_path: Path) -> None:
    home = Home(str(tmp_path / "home"))
    hosted = ServedDownloads(home, fd_passing.listen(home.sockets), None, lambda: 100.0)
    lines, files = [], []
    for cid in ("first", "second"):
        files.append(StreamMemory.allocate(Geometry(100)))
        message = Entry("f-1-2.000", "t" * 64, cid, "", [], "", 0, 0, 60.0).encode()
        lines.append(fd_passing.send_descriptors(home.sockets, message, files[-1].descriptors))
        hosted.accept()
    shared = hosted.entry("f-1-2.000")
    assert shared is not None
    assert shared.cid == "first"
    assert lines[1].recv(1) == b"", "the second connection is closed"
    for line in lines:
        line.close()
    for file in files:
        file.close()
    hosted.close()


def test_a_host_without_free_descriptors_does_not_retry_accept_in_a_loop(tmp_path: Path) -> None:
    home, loop = Home(str(tmp_path / "home")), asyncio.new_event_loop()
    listener = fd_passing.listen(home.sockets)
    full = [True]
    tries: list[bool] = []

    class Listener:
        """As the listener, but without a free descriptor for connections."""

        fileno, close = staticmethod(listener.fileno), staticmethod(listener.close)

        @staticmethod
        def accept() -> tuple[socket.socket, Any]:
            tries.append(full[0])
            if full[0]:
                raise OSError(errno.EMFILE, "too many open files")
            return listener.accept()

    hosted = ServedDownloads(home, Listener(), loop, lambda: 100.0)  # type: ignore[arg-type]
    silent = fd_passing.send_descriptors(home.sockets, b"", [])
    loop.run_until_complete(asyncio.sleep(0.05))
    assert len(tries) == 1
    full[0] = False
    hosted.withdraw_deleted()
    loop.run_until_complete(asyncio.sleep(0.05))
    assert len(tries) == 3
    assert len(hosted._fresh) == 1
    silent.close()
    hosted.close()
    loop.close()
