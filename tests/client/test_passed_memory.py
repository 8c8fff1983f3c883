"""A peer server considers a process running as long as the process may write to memory that it has handed over."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine.client import passed_memory
from dfengine.client.passed_memory import PassedMemory
from dfengine.net import fd_passing
from dfengine.peer.served_downloads import ServedDownloads
from dfengine.settings import GetSettings
from dfengine.storage.home import Entry, Home
from dfengine.storage.memory_file import MemoryFile

GEOMETRY = Geometry(100)
ENTRY = Entry("f-1-2.000", "t", "c", "", [], "", 0, 0, 60.0)


class HandedOverPlace:
    """A place that was handed over to a peer server."""

    def __init__(self, path: Path) -> None:
        self.home = Home(str(path / "home"))
        self.hosted = ServedDownloads(self.home, fd_passing.listen(self.home.sockets), None, lambda: 100.0)
        self.place = PassedMemory(GetSettings(url="http://host/f", output="f"))
        self.file = MemoryFile.allocate(GEOMETRY, b"one")
        self.again()

    def again(self) -> None:
        self.place.hand_over(self.home.sockets, ENTRY, self.file)
        self.hosted.accept()

    def runs(self) -> bool:
        """Whether the peer server considers the process able to write there."""
        stream = self.hosted._streams[ENTRY.name]
        self.hosted._readable(stream)
        return stream.sock is not None

    def close(self) -> None:
        self.place.release_memory()
        self.hosted.close()
        self.file.close()


@pytest.fixture
def given(tmp_path: Path) -> Iterator[HandedOverPlace]:
    made = HandedOverPlace(tmp_path)
    yield made
    made.close()


def test_a_place_handed_over_again_counts_as_running(given: HandedOverPlace) -> None:
    """As a file that was read from the origin, and returns to the swarm."""
    given.again()
    assert given.runs()
    given.place.close()
    assert not given.runs()


def test_a_place_with_a_stuck_thread_counts_as_running(given: HandedOverPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck: list[socket.socket] = []
    monkeypatch.setattr(passed_memory, "_stuck", stuck)
    given.place.stuck = True
    given.place.close()
    assert given.runs()
    stuck.pop().close()
    assert not given.runs()


def test_digests_are_published_to_the_peer_server(given: HandedOverPlace) -> None:
    digests: dict[str, str] = {"md5": "ab"}
    given.place.publish_digests(digests)
    assert given.runs()
    assert given.hosted._streams[ENTRY.name].digests == digests


def test_a_withdrawn_place_is_released_at_once(given: HandedOverPlace) -> None:
    given.place.withdraw()
    stream: Any = given.hosted._streams[ENTRY.name]
    given.hosted._readable(stream)
    assert given.hosted.names() == []
    assert given.hosted.withdraw_deleted() == [ENTRY], "supernodes are notified"
