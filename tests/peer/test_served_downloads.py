"""Who connects to hand over a stream, and does not."""

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
from dfengine.storage.slots import SlotFile


def test_a_process_that_hands_over_nothing_is_hung_up_on(tmp_path: Path) -> None:
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


def test_a_stream_that_is_over_when_it_comes_runs_no_more(tmp_path: Path) -> None:
    """A connection that is reset is readable once for uvloop: the stream and its end come together."""
    home = Home(str(tmp_path / "home"))
    hosted = ServedDownloads(home, fd_passing.listen(home.sockets), None, lambda: 100.0)
    file = SlotFile.allocate(Geometry(100))
    fd_passing.send_descriptors(home.sockets, Entry("f-1-2.000", "t" * 64, "c", "", [], "", 0, 0, 60.0).encode(), file.descriptors).close()
    hosted.accept()
    assert hosted.names() == ["f-1-2.000"]
    assert not hosted.running
    file.close()
    hosted.close()


def test_nobody_takes_the_name_of_a_stream_that_is_served(tmp_path: Path) -> None:
    home = Home(str(tmp_path / "home"))
    hosted = ServedDownloads(home, fd_passing.listen(home.sockets), None, lambda: 100.0)
    lines, files = [], []
    for cid in ("first", "second"):
        files.append(SlotFile.allocate(Geometry(100)))
        message = Entry("f-1-2.000", "t" * 64, cid, "", [], "", 0, 0, 60.0).encode()
        lines.append(fd_passing.send_descriptors(home.sockets, message, files[-1].descriptors))
        hosted.accept()
    shared = hosted.entry("f-1-2.000")
    assert shared is not None
    assert shared.cid == "first"
    assert lines[1].recv(1) == b"", "it is hung up on"
    for line in lines:
        line.close()
    for file in files:
        file.close()
    hosted.close()


def test_a_host_without_descriptors_does_not_ask_for_them_over_and_over(tmp_path: Path) -> None:
    home, loop = Home(str(tmp_path / "home")), asyncio.new_event_loop()
    listener = fd_passing.listen(home.sockets)
    full = [True]
    tries: list[bool] = []

    class Listener:
        """As the listener, but without a descriptor for who connects."""

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
