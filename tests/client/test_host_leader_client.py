"""A download's reactions to its peer server's messages about the leader."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.client import host_leader_client as joinings
from dfengine.client.download import BaseDownload
from dfengine.client.host_leader_client import HostLeaderClient
from dfengine.net import fd_passing
from dfengine.storage.signal_page import SignalPage
from tests.own_descriptors import own_descriptors

MEMORY = {"output": "", "algorithms": [], "memory": True}


class Server:
    """The other end of the connection, with a leader."""

    def __init__(self) -> None:
        self.page = SignalPage.create()
        self._own, theirs = socket.socketpair()
        fd_passing.send_message(self._own, {"told": "follow", "slot": 0, "leader": 1}, [self.page.fd])
        self.joining = HostLeaderClient.begin(theirs, "key", "opened", first=False)

    def say(self, words: dict[str, Any], descriptors: list[int]) -> None:
        fd_passing.send_message(self._own, words, descriptors)
        for fd in descriptors:
            os.close(fd)
        self.joining.receive(10.0)

    def heard(self) -> list[str]:
        """Messages of the download."""
        self._own.settimeout(10.0)
        said: list[str] = []
        while "part" not in said:
            for words, descriptors in fd_passing.receive_messages(self._own, 8) or []:
                fd_passing.discard(descriptors)
                said += [words[name] for name in ("say",) if name in words]
        return said

    def reports(self) -> bool:
        """Whether the download has reported its leader as silent."""
        self._own.setblocking(False)
        try:
            heard = fd_passing.receive_messages(self._own, 8) or []
        except BlockingIOError:
            return False
        for _, descriptors in heard:
            fd_passing.discard(descriptors)
        return any("silent" in words for words, _ in heard)

    def close(self) -> None:
        self.joining.close()
        self._own.close()
        self.page.close()


class Clock:
    """The clock of joinings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.monotonic()
        monkeypatch.setattr(joinings, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.mark.parametrize(
    "place", [MEMORY, {**MEMORY, "output": 7}, {**MEMORY, "algorithms": "md5"}, {"output": "", "algorithms": []}, None, 7]
)
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_leader_with_an_unusable_place_is_not_followed(server: Server, place: Any, count: int) -> None:
    """Another place may never arrive, so a download that waits would wait as long as the leader runs."""
    assert server.joining.joined
    before = len(own_descriptors())
    # Memory that its owner could truncate while it is read.
    server.say({"told": "open", "place": place}, [os.memfd_create("unsealed", os.MFD_CLOEXEC) for _ in range(count)])
    assert not server.joining.joined
    assert server.joining.place is None
    assert "part" in server.heard()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("answers", [True, False])
def test_a_leader_without_a_place_is_left_after_a_while(server: Server, monkeypatch: pytest.MonkeyPatch, answers: bool) -> None:
    """Its message may be held by a peer server that is suspended, which then cannot name the next leader either."""
    monkeypatch.setattr(joinings, "PLACELESS", 0.05)
    monkeypatch.setattr(joinings, "SILENT", 0.05)
    server.joining.patience = 0.05
    while server.joining.joined:
        server.page.beat()
        server.joining.receive(0.01)
        if answers and server.reports():
            server.say({"told": "lead", "left": False}, [])
    assert server.joining.leads is answers


def test_a_leader_without_progress_is_reported(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joinings, "STALLED", 10.0)
    monkeypatch.setattr(joinings, "PLACELESS", 8.0)
    clock = Clock(monkeypatch)
    joining: Any = server.joining
    joining.place = SimpleNamespace(close=bool, descriptors=[])
    waits = [True, 0]
    joining.waiting = lambda: tuple(waits)

    def look(seconds: int, progress: int = 0) -> bool:
        """Run at most so many seconds in which the leader beats. Return whether it is reported."""
        for _ in range(seconds):
            clock.now += 1.0
            server.page.beat(progress)
            joining.receive(0.0)
            if server.reports():
                return True
        return False

    joining.leader_page.want(0, [7])
    assert not look(9)
    server.page.changed()
    assert not look(9)
    assert not look(9, progress=5)
    waits[1] = 1
    assert not look(9, progress=5)
    waits[0] = False
    assert not look(100, progress=5)
    waits[0] = True
    assert look(11, progress=5)
    server.say({"told": "follow", "slot": 1, "leader": 2}, [os.dup(server.page.fd)])
    joining.place = SimpleNamespace(close=bool, descriptors=[])
    assert server.page.wanted() == [], "the previous leader still has wanted pieces"
    assert not look(20, progress=5), "the next leader is reported after less than twice the time"
    assert look(2, progress=5)


def test_a_signal_during_the_start_of_the_beating_thread_is_reported_and_its_page_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    own, theirs = socket.socketpair()
    start = threading.Thread.start
    beating: list[threading.Thread] = []

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        beating.append(thread)
        raise KeyboardInterrupt

    with own:
        before = own_descriptors()
        monkeypatch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            HostLeaderClient.begin(theirs, "key", "opened", first=True)
        assert not beating[0].is_alive()
        assert len(own_descriptors()) == len(before) - 1, "only the socket is gone, and nothing is left of the page"


@pytest.mark.parametrize("stuck", [False, True])
def test_a_closed_download_leads_no_longer(stuck: bool) -> None:
    """A thread may be stuck, and the memory then stays allocated. The download still resigns, as it fetches nothing for its followers."""
    said: list[str] = []
    joining = SimpleNamespace(resign=lambda: said.append("pass_on"), close=lambda: said.append("close"))
    download: Any = SimpleNamespace(_place=SimpleNamespace(close=bool, stuck=stuck), _joining=joining)
    BaseDownload._close_joining(download)
    assert said == ["pass_on" if stuck else "close"]
