"""A stream that copies its pieces from this host's leaders."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine.client.leader_place import LeaderPlace
from dfengine.client.monitor import Monitor
from dfengine.settings import GetSettings
from dfengine.storage.hashing import content_digest
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.signal_page import SignalPage
from dfengine.streaming.stream_buffer import StreamBuffer
from dfengine.streaming.stream_from_leader import PIECES_AHEAD, StreamFromLeader

COUNT, PIECE = 2 * PIECES_AHEAD, 1 << 16
CONTENT = PIECE - 5


@pytest.fixture
def leaders(tmp_path: Path) -> Iterator[list[LeaderPlace]]:
    """Two leaders with verified files of different versions, which no generation names."""
    places = []
    for version in (1, 2):
        file = PieceFile.create(str(tmp_path / f"data{version}"), str(tmp_path / f"record{version}"), Geometry(COUNT * CONTENT, PIECE), b"")
        for n in range(COUNT):
            content = bytes([version]) * CONTENT
            file.write(n, content, content_digest(content))
        file.mark_complete()
        places.append(LeaderPlace(file, SignalPage.create(), "x", []))
    yield places
    for place in places:
        place.close()
        place.page.close()


def test_no_piece_is_copied_from_a_next_leader_without_a_version(leaders: list[LeaderPlace]) -> None:
    memory = StreamBuffer(GetSettings(url="http://o/f", output="-", window=COUNT))
    joining: Any
    joining = SimpleNamespace(joined=True, leads=False, done=False, place=leaders[0], slot=0, waiting=None, patience=0.0)
    called, followed = threading.Event(), threading.Event()
    received = 0

    def receive(seconds: float) -> None:
        nonlocal received
        called.wait(seconds)
        called.clear()
        if joining.place is leaders[1]:
            received += 1
            if received == 2:  # the stream has seen the next leader
                followed.set()
        elif memory.transfer is not None and memory.transfer.progress()[0] == PIECES_AHEAD:
            joining.place = leaders[1]

    joining.receive, joining.wake = receive, called.set
    joining.report = joining.resign = lambda: None
    results: list[bool] = []
    stream = StreamFromLeader(joining, memory, Monitor(0.0, None, ""))
    thread = threading.Thread(target=lambda: results.append(stream.run()), daemon=True)
    thread.start()
    try:
        assert followed.wait(30.0)
        transfer = memory.transfer
        assert transfer is not None
        for n in range(COUNT):
            while transfer.wait_for(n, 1.0) is None:
                assert thread.is_alive(), f"piece {n} is missing"
            location = memory.piece_location(transfer, n)
            assert location is not None
            fd, offset, length = location
            assert os.pread(fd, length, offset) == b"\1" * CONTENT, f"piece {n} is of another version"
            memory.consumed(n)
        thread.join(30.0)
        assert results == [True]
    finally:
        memory.close()
        thread.join(30.0)
