"""A download into a file that copies its pieces from this host's leader, which names no version: a 1.x supernode's."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine.client.assembly import Assembly
from dfengine.client.file_from_leader import COPIED, FileFromLeader
from dfengine.client.leader_place import LeaderPlace
from dfengine.client.monitor import Monitor
from dfengine.settings import GetSettings
from dfengine.storage.hashing import content_digest
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.signal_page import SignalPage
from dfengine.task import Digest

GEOMETRY = Geometry(3 * (1 << 20) - 100, 1 << 20)
PIECES = range(GEOMETRY.count)
MONITOR = Monitor(0.0, None, "")


def write(file: PieceFile, version: int, *pieces: int) -> None:
    for n in pieces:
        content = bytes([version + n]) * GEOMETRY.content(n)[1]
        file.write(n, content, content_digest(content))


def whole(version: int) -> bytes:
    return b"".join(bytes([version + n]) * GEOMETRY.content(n)[1] for n in PIECES)


OLD, NEW = 10, 20


@pytest.fixture
def joining(tmp_path: Path) -> Iterator[Any]:
    """Membership with a leader that has verified the file of NEW."""
    file = PieceFile.create(str(tmp_path / "data"), str(tmp_path / "record"), GEOMETRY, b"")
    write(file, NEW, *PIECES)
    file.mark_complete()
    page, called = SignalPage.create(), threading.Event()
    page.publish_digests({"sha256": hashlib.sha256(whole(NEW)).hexdigest()})
    place = LeaderPlace(file, page, "x", ["sha256"])
    made = SimpleNamespace(joined=True, leads=False, done=True, place=place, waiting=None, wake=called.set)

    def receive(seconds: float) -> None:
        called.wait(seconds)
        called.clear()

    def resign() -> None:
        made.joined = False

    made.receive, made.resign = receive, resign
    yield made
    file.close()
    page.close()


def assembly(tmp_path: Path, digest: Digest | None = None) -> Assembly:
    return Assembly(GetSettings(url="http://o/f", output=str(tmp_path / "out"), digest=digest), "t" * 64)


def leave_pieces(tmp_path: Path, version: int) -> None:
    """Leave a part with pieces, as a download that was stopped."""
    place = assembly(tmp_path)
    write(place.open(GEOMETRY, b"").file, version, 0, 1)
    place.close()


@pytest.mark.parametrize("expects", [False, True])
@pytest.mark.parametrize(("resumed", "copied"), [(OLD, 3), (NEW, 1)])
def test_resumed_pieces_count_only_if_they_equal_the_leaders(
    joining: Any, tmp_path: Path, resumed: int, copied: int, expects: bool
) -> None:  # fmt: skip
    leave_pieces(tmp_path, resumed)
    place = assembly(tmp_path, Digest("sha256", hashlib.sha256(whole(NEW)).hexdigest()) if expects else None)
    try:
        assert FileFromLeader(joining, place, MONITOR).run() == COPIED
        assert place.byte_counts.host == sum(GEOMETRY.content(n)[1] for n in [*PIECES][-copied:])
        assert not place.doubtful, "the leader has verified the pieces"
        assert place.unproved_version, "a leader of 1.x may have verified another version than the one that the user's digest is for"
        place.verify(MONITOR)
        place.finish()
        assert (tmp_path / "out").read_bytes() == whole(NEW)
    finally:
        place.close()


def test_pieces_that_never_equal_the_leaders_are_fetched_instead(joining: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LeaderPlace, "same_digests", lambda *_: False)
    leave_pieces(tmp_path, NEW)
    place = assembly(tmp_path, Digest("sha256", "0" * 64))
    try:
        assert FileFromLeader(joining, place, MONITOR).run() == ""
        assert not joining.joined
        assert place.transfer is None
        assert (place.delegated, place.delegated_digests) == ([], {})
    finally:
        place.close()


def test_digests_of_discarded_pieces_are_forgotten(tmp_path: Path) -> None:
    """The next pieces would be compared by the leader's or the former digests, and never hashed."""
    place = assembly(tmp_path, Digest("sha256", "0" * 64))
    try:
        place.delegated = ["sha256"]
        assert place.open(GEOMETRY, b"").digester is None
        place.delegated_digests = {"sha256": "0" * 64}
        place.digests = {"sha256": "0" * 64}
        place.forget()
        assert (place.delegated, place.delegated_digests, place.digests) == ([], {}, {})
        assert place.open(GEOMETRY, b"").digester is not None
    finally:
        place.close()
