"""Supernodes to which a host announces its shared content."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dfengine import codes
from dfengine.errors import Silent, SourceGone, SupernodeError
from dfengine.net.dialer import Dialer
from dfengine.peer import content_announcer
from dfengine.settings import SupernodeAddress
from dfengine.storage.home import Home
from dfengine.storage.shared_content import SharedContent
from dfengine.wire import Announced as Answer
from dfengine.wire import Announcement

SHARED = SharedContent("df-1", "df:sha256:" + "0" * 64, "/f", 1, "cid", "10.0.0.9", ["a:1", "b:2"], ["b:2"], 1e12)


def test_without_names_content_is_announced_to_the_nodes_of_the_share() -> None:
    assert content_announcer._supernodes(SHARED) == [(SupernodeAddress("a", 1), False), (SupernodeAddress("b", 2), True)]
    assert content_announcer._supernodes(SHARED.replace(nodes=["a b", "c"])) == []
    assert b"names" not in SHARED.encode()  # peer servers of older versions read it


def test_names_are_resolved_anew_and_as_many_supernodes_keep_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SHARED.replace(names=["dns://sn:7=2"])
    assert SharedContent.decode(shared.encode()) == shared
    now: list[SupernodeAddress] = []
    named = [SupernodeAddress("sn", 7, 2, "dns")]
    monkeypatch.setattr(content_announcer, "ordered_cached", lambda nodes, task: now if list(nodes) == named else None)
    assert [(str(node), keep) for node, keep in content_announcer._supernodes(shared)] == [("a:1", False), ("b:2", True)]
    now += [SupernodeAddress("10.0.0.1", 7), SupernodeAddress("10.0.0.2", 7)]
    assert content_announcer._supernodes(shared) == [(now[0], True), (now[1], False)]


class Line:
    """Replaces an Announcer. made: number of connections. told: (path, number of the connection) of each announcement."""

    made = 0
    told: list[tuple[str, int]] = []  # noqa: RUF012 - set anew by the test

    def __init__(self, dialer: Dialer, node: SupernodeAddress) -> None:
        if node.host == "down":
            raise SourceGone("nobody is there")
        Line.made += 1
        self.number = Line.made

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None: ...

    def announce(self, told: Announcement, digests: Callable[[str], bytes]) -> Answer:
        Line.told.append((told.path, self.number))
        if "broken" in told.path:
            raise SupernodeError("too many pieces")
        return Answer(codes.SUCCESS if "good" in told.path else codes.SYSTEM_ERROR)


def test_announcements_share_a_connection_and_a_failure_does_not_delay_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(content_announcer, "Announcer", Line)
    monkeypatch.setattr(Line, "made", 0)
    monkeypatch.setattr(Line, "told", [])
    kept = content_announcer.ContentAnnouncer(Home(str(tmp_path)), 1, lambda: 0.0, lambda: Dialer(()))
    due = [(SHARED.replace(name=name), False) for name in ("good-1", "broken", "good-2", "refused", "good-3")]
    for host in ("a", "down"):
        kept._due = {(shared.name, f"{host}:1"): float("inf") for shared, _ in due}
        begun = time.monotonic()
        kept._announce(SupernodeAddress(host, 1), due)
        pauses = {name: at - begun for (name, _), at in kept._due.items()}
        assert all(content_announcer.ALIVE <= pause < float("inf") for pause in pauses.values())
        assert (pauses["refused"] > 5 * content_announcer.ALIVE) == (host == "a")
    assert [(path.rpartition("/")[2], line) for path, line in Line.told] == [
        ("good-1", 1), ("broken", 1), ("good-2", 2), ("refused", 2), ("good-3", 2),
    ]  # fmt: skip


def test_the_next_supernode_keeps_a_copy_in_place_of_a_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SHARED.replace(nodes=["a:1", "b:2", "c:3"], keep=["a:1", "b:2"])

    def kept(*lost: str) -> list[str]:
        return [str(node) for node, keep in content_announcer._supernodes(shared, lost) if keep]

    assert kept() == ["a:1", "b:2"]
    assert kept("c:3") == ["a:1", "b:2"]
    assert kept("a:1") == ["b:2", "c:3"]
    assert kept("a:1", "b:2") == ["c:3"]
    assert kept("a:1", "b:2", "c:3") == []
    assert not any(keep for _, keep in content_announcer._supernodes(shared.replace(keep=[]), ("a:1",))), "no copy is wanted"
    shared = shared.replace(names=["dns://sn"], keep=["a:1"])
    nodes = [SupernodeAddress("10.0.0.1"), SupernodeAddress("10.0.0.2")]
    monkeypatch.setattr(content_announcer, "ordered_cached", lambda given, task: nodes)
    assert kept() == ["10.0.0.1:8002"]
    assert kept("10.0.0.1:8002") == ["10.0.0.2:8002"]


@pytest.mark.parametrize("fault", ["gone", "silent"])
def test_a_supernode_is_lost_after_minutes_without_an_answer_until_it_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    """On a virtual clock: which supernodes are asked to keep a copy, once a minute."""
    clock, down, asked = [1000.0], {"a:1"}, dict[str, bool]()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(content_announcer, "listed", lambda home: [SHARED.replace(nodes=["a:1", "b:2"], keep=["a:1"])])
    monkeypatch.setattr(content_announcer, "is_whole", lambda home, shared: True)

    class Told:
        def __init__(self, dialer: Dialer, node: SupernodeAddress) -> None:
            self.node = str(node)
            if self.node in down and fault == "gone":
                raise SourceGone("nobody is there")

        def __enter__(self) -> Told:
            return self

        def __exit__(self, *_: object) -> None: ...

        def announce(self, told: Announcement, digests: Callable[[str], bytes]) -> Answer:
            if self.node in down:
                raise Silent("no answer")
            asked[self.node] = told.keep > 0
            return Answer(codes.SUCCESS)

    monkeypatch.setattr(content_announcer, "Announcer", Told)
    made = content_announcer.ContentAnnouncer(Home(str(tmp_path)), 1, lambda: 0.0, lambda: Dialer(()))
    monkeypatch.setattr(made, "_submit", lambda work, *given: work(*given))

    def minutes(n: int) -> dict[str, bool]:
        for _ in range(n):
            asked.clear()
            clock[0] += 60.0
            made.refresh()
        return dict(asked)

    assert minutes(5) == {"b:2": False}, "the supernode may only be restarting"
    assert minutes(3) == {"b:2": True}
    down.clear()
    minutes(1)
    assert minutes(1) == {"a:1": True, "b:2": False}
