"""Which leaders of a host have the present version, by what a supernode states."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.client import present_version
from dfengine.client.leader_place import Unusable
from dfengine.client.present_version import PresentVersion
from dfengine.errors import SourceGone
from dfengine.settings import GetSettings


class Unreadable:
    @property
    def geometry(self) -> Any:
        raise Unusable


def file(length: int) -> Any:
    return SimpleNamespace(geometry=SimpleNamespace(length=length)) if length > -2 else Unreadable()


@pytest.mark.parametrize(
    ("generation", "length", "named", "stated", "stays"),
    [
        (b"g", 8, b"g", 8, True), (b"g", 8, b"h", 8, False), (b"", 8, b"h", 8, False),
        # A supernode of 1.x names no version: only lengths tell.
        (b"", 8, b"", 8, True), (b"", 8, b"", 9, False), (b"g", 8, b"", 9, False), (b"", 8, b"", -1, True), (b"", -1, b"", 9, True),
        (b"", -2, b"", 9, True),
        # No supernode answers.
        (b"g", 8, None, 9, True),
    ],
)  # fmt: skip
def test_a_leader_of_another_version_or_length_is_left(
    generation: bytes, length: int, named: bytes | None, stated: int, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def join(*_: Any) -> Any:
        if named is None:
            raise SourceGone("refused")
        return SimpleNamespace(generation=named, geometry=SimpleNamespace(length=stated), connection=SimpleNamespace(close=lambda: None))

    monkeypatch.setattr(present_version, "join", join)
    monkeypatch.setattr(present_version, "leave", lambda _: None)
    place: Any = SimpleNamespace(generation=generation, file=file(length), opened_at=-1.0)
    joining: Any = SimpleNamespace(joined=True, already_open=True, done=False, place=place, resign=lambda: None)
    joining.leave_outdated = lambda: setattr(joining, "joined", False)
    monitor: Any = SimpleNamespace(
        set_state=lambda *_: None, check=lambda _: None, deadline=1e12, pause=lambda _: None, note_failure=lambda _: None
    )
    own: Any = SimpleNamespace(patience=None, required_generation=b"")
    anything: Any = None
    PresentVersion(GetSettings(url="http://h/f", output="out"), anything, lambda: [anything], lambda: anything, own, monitor).join(joining)
    assert joining.joined == stays
