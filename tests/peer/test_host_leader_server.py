"""Downloads that join at the peer server: messages, their descriptors, and invalid messages."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfengine.net import fd_passing
from dfengine.peer.host_leader_election import FILE, OPENED, STREAM
from dfengine.peer.served_downloads import ServedDownloads
from dfengine.storage.home import Home
from dfengine.storage.signal_page import SignalPage
from tests.own_descriptors import own_descriptors


class Host:
    """A peer server's half that handles messages at each `turn`."""

    def __init__(self, path: Path) -> None:
        self.home = Home(str(path / "home"))
        self.hosted = ServedDownloads(self.home, fd_passing.listen(self.home.sockets), None, lambda: 100.0)

    def turn(self) -> None:
        """Handle the messages received by now."""
        self.hosted.accept()
        self.hosted._rendezvous.read()

    def join(self, key: str = "k", kind: str = FILE) -> tuple[socket.socket, list[dict[str, Any]]]:
        """Return a download's connection, and its first messages."""
        page = SignalPage.create()
        line = fd_passing.connect(self.home.sockets)
        line.settimeout(5.0)
        fd_passing.send_message(line, {"join": key, "kind": kind}, [page.fd])
        page.close()
        self.turn()
        return line, told(line)


def told(line: socket.socket) -> list[dict[str, Any]]:
    """Receive messages, with the number of their descriptors."""
    heard = fd_passing.receive_messages(line, 8)
    assert heard is not None
    for _, descriptors in heard:
        fd_passing.discard(descriptors)
    return [{**words, "fds": len(descriptors)} for words, descriptors in heard]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    before = len(own_descriptors())
    found = Host(tmp_path)
    yield found
    found.hosted.close()
    assert len(os.listdir("/proc/self/fd")) == before, "descriptors are left open"


def test_a_leaders_file_is_handed_to_its_followers(host: Host, tmp_path: Path) -> None:
    first, words = host.join()
    assert words == [{"told": "lead", "left": False, "fds": 0}]
    second, words = host.join()
    assert [each["told"] for each in words] == ["follow"]
    assert words[0]["fds"] == 1
    assert host.hosted.running
    with open(tmp_path / "data", "wb") as data:
        fd_passing.send_message(first, {"open": {"a": 1}}, [data.fileno(), data.fileno()])
    host.turn()
    assert told(second) == [{"told": "open", "place": {"a": 1}, "fds": 2}]
    third, words = host.join(kind=STREAM)
    assert words[0]["told"] == "follow"
    assert told(third) == [{"told": "open", "place": {"a": 1}, "fds": 2}]
    first.close()
    host.turn()
    assert told(second) == [{"told": "lead", "left": True, "fds": 0}]
    assert told(third)[0]["told"] == "follow"
    fd_passing.send_message(second, {"say": "done"})
    host.turn()
    assert told(third) == [{"told": "done", "fds": 0}]
    second.close()
    third.close()
    host.turn()
    assert not host.hosted.running


def test_an_open_file_is_told_its_role_and_its_source_at_once(host: Host, tmp_path: Path) -> None:
    first, _ = host.join()
    second, words = host.join(kind=OPENED)
    assert words == [{"told": "lead", "left": False, "leader": 0, "slot": 0, "open": False, "fds": 1}]
    third, words = host.join(kind=OPENED)
    assert [each["told"] for each in words] == ["follow"]
    with open(tmp_path / "data", "wb") as data:
        fd_passing.send_message(second, {"open": {"b": 1}}, [data.fileno()])
        host.turn()
        assert told(third) == [{"told": "open", "place": {"b": 1}, "fds": 1}]
        fd_passing.send_message(first, {"open": {"a": 1}}, [data.fileno(), data.fileno()])
        host.turn()
        assert told(second) == [{"told": "open", "place": {"a": 1}, "fds": 2}]
    first.close()
    host.turn()
    assert told(second) == [{"told": "lead", "left": False, "fds": 0}], "it fetches"
    second.close()
    host.turn()
    assert told(third) == [{"told": "lead", "left": True, "fds": 0}]
    third.close()
    host.turn()


def test_a_leader_whose_end_is_not_yet_noticed_gets_no_followers(host: Host) -> None:
    first, _ = host.join()
    first.close()
    second, words = host.join()
    assert words == [{"told": "lead", "left": False, "fds": 0}]
    second.close()
    host.turn()


@pytest.mark.parametrize(
    "words",
    [
        {"join": 1, "kind": FILE}, {"join": "k" * 500, "kind": FILE}, {"join": "k"}, {"join": "k", "kind": []}, {"join": "k", "kind": "x"},
        {"join": None},
    ],
)
def test_an_invalid_join_closes_the_connection(host: Host, words: dict[str, Any]) -> None:
    page = SignalPage.create()
    line = fd_passing.connect(host.home.sockets)
    fd_passing.send_message(line, words, [page.fd])
    host.turn()
    line.settimeout(5.0)
    assert line.recv(1) == b""
    line.close()
    page.close()


@pytest.mark.parametrize(
    "content", [b"x\n", b"[]\n", b'{"say":"done"}', b"[" * 9000 + b"\n", b"\xff\n", b"\n", b'{"say":"done"}\n1\n'], ids=range(7)
)
def test_an_invalid_message_of_a_leader_counts_as_its_end(host: Host, content: bytes) -> None:
    first, _ = host.join()
    second, _ = host.join()
    first.send(content)
    host.turn()
    assert told(second)[0]["told"] == "lead"
    first.close()
    second.close()
    host.turn()


@pytest.mark.parametrize("words", [{}, {"say": []}, {"say": "leave"}, {"silent": "1"}, {"silent": 1 << 70}, {"open": {}}, {"join": "k"}])
def test_unknown_messages_change_nothing(host: Host, words: dict[str, Any]) -> None:
    first, _ = host.join()
    second, _ = host.join()
    for line in (first, second):
        fd_passing.send_message(line, words)
    host.turn()
    third, found = host.join()
    assert found[0]["told"] == "follow"
    for line in (first, second, third):
        line.close()
    host.turn()


def test_the_end_of_a_connection_is_noticed_together_with_its_last_message(host: Host) -> None:
    """A connection that is reset is readable once for uvloop: its last message and its end arrive together."""
    line, _ = host.join()
    fd_passing.send_message(line, {"say": "done"}, [])
    line.close()
    host.turn()
    assert not host.hosted.running


def test_a_follower_that_opens_a_file_of_its_own_is_alone(host: Host) -> None:
    first, _ = host.join()
    second, words = host.join()
    assert words[0]["told"] == "follow"
    third, words = host.join()
    assert words[0]["told"] == "follow"
    fd_passing.send_message(second, {"open": {}}, [second.fileno()])
    host.turn()
    first.close()
    host.turn()
    assert told(third) == [{"told": "lead", "left": True, "fds": 0}], "a download that does not know that it leads gets no followers"
    for line in (second, third):
        line.close()
    host.turn()


@pytest.mark.parametrize("lives", [False, True])
def test_a_successor_is_told_whether_its_disconnected_leader_has_ended(host: Host, lives: bool) -> None:
    """A stopped leader does not read and is disconnected, but may still write when it continues."""
    file, _ = host.join()
    leader, _ = host.join(kind=OPENED)
    follower, words = host.join(kind=OPENED)
    assert words[0]["told"] == "follow"
    for _ in range(300 if lives else 1):
        fd_passing.send_message(file, {"open": {"place": "x" * 4000}}, [file.fileno()])
        host.turn()
    if not lives:
        leader.close()
        host.turn()
    assert told(follower)[0] == {"told": "lead", "left": not lives, "leader": 0, "slot": 0, "open": True, "fds": 1}
    for line in (file, leader, follower):
        line.close()
    host.turn()


def test_a_follower_that_does_not_read_does_not_prevent_later_joins(host: Host) -> None:
    first, _ = host.join()
    deaf, _ = host.join()
    place = {"place": "x" * 4000}
    for _ in range(300):
        fd_passing.send_message(first, {"open": place}, [first.fileno()])
        host.turn()
    other, words = host.join()
    assert words[0]["told"] == "follow"
    for line in (first, deaf, other):
        line.close()
    host.turn()
