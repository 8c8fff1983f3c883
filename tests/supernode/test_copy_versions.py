"""Reading a copy from its origin: servers behind one name have several versions, and no generation ever has pieces of two of them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine.copy_states import FAILED, SUCCESS
from dfengine.errors import OriginChanged, OriginTruncated, SourceGone
from dfengine.origin import reader as readers
from dfengine.origin import retry as retries
from dfengine.origin.cancel import Cancel
from dfengine.origin.version import Version
from dfengine.supernode.copies import fetch_thread, origin_reading
from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.copies.eviction import DiskSpace
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest

TASK = "ab" * 32
PIECE = Geometry(1).content_size
LENGTH = 5 * PIECE
A = random.Random(1).randbytes(LENGTH)


def but(*pieces: int) -> bytes:
    """A, with other bytes in these pieces."""
    return b"".join(A[at : at + PIECE - 1] + (b"?" if at // PIECE in pieces else A[at + PIECE - 1 : at + PIECE]) for at in
                    range(0, LENGTH, PIECE))  # fmt: skip


FILES = {"A": A, "B": but(3), "C": but(1, 4), "A2": A}


def version(name: str) -> Version:
    return Version(f'"{name}"', length=LENGTH)


class Body:
    """A response: bytes [start, past) of a file, which breaks off after `cut` bytes; -1: it does not."""

    place, vary, end_unknown = "origin:80", frozenset[str](), False

    def __init__(self, origin: Origin, name: str, start: int, past: int, cut: int, same: bool) -> None:
        self.start, self.length, self.remaining, self.version = start, LENGTH, past - start, version(name)
        self.ranged, self.bounded, self.not_modified = bool(start) or past < LENGTH, past < LENGTH, same
        self._origin, self._data, self._end = origin, FILES[name], start + cut if cut >= 0 else past

    def read_into(self, buffer: memoryview, waiting: Callable[[], None] | None = None) -> int:
        if self._origin.cancel.is_set:
            raise SourceGone("the download was stopped")
        count = min(len(buffer), self.remaining, self._end - self.start)
        if not count and self.remaining:
            raise OriginTruncated("origin:80 breaks off its answer")
        buffer[:count] = self._data[self.start : self.start + count]
        self.start, self.remaining = self.start + count, self.remaining - count
        return count

    def close(self) -> None:
        pass


class Origin:
    """Each request uses the next pair of a script: the version of the response, and the bytes after which it breaks off; -1: none. The last
    one is used again and again."""

    key, floor = "http://origin:80", 0.0

    def __init__(self, *script: tuple[str, int]) -> None:
        self.script = list(script)
        self.cancel = Cancel()
        self.unless: list[Version] = []
        self._lock = threading.Lock()

    def open(self, start: int = 0, end: int | None = None, *, version: Version | None = None, unless: Version | None = None,
             waiting: Callable[[], None] | None = None) -> Body:  # fmt: skip
        with self._lock:
            name, cut = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            if unless is not None:
                self.unless.append(unless)
        found = globals()["version"](name)
        if version is not None and not version.covers(found):
            raise OriginChanged("origin:80 answers with another version of the file")
        return Body(self, name, start, LENGTH if end is None else end, cut, unless == found)


class Fetching:
    """A supernode's fetches of one task. offered: generation -> (piece, its bytes), in order."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = Cache(str(home))
        self.offered: dict[str, list[tuple[int, bytes]]] = {}
        self.origin = Origin(("A", -1))
        monkeypatch.setattr(origin_reading, "_origin", self._renewed)
        names = ("fetch_head", "fetch_responded", "fetch_pieces", "fetch_ended", "fetch_failed", "fetch_renewed", "fetch_damaged")
        self._events: Any = SimpleNamespace(**dict.fromkeys(names, lambda *_: None), fetch_piece=self._offer)

    def _renewed(self, fetch: Fetch) -> Origin:
        self.origin.cancel.close()
        self.origin.cancel = Cancel()
        return self.origin

    def _offer(self, fetch: Fetch, n: int, seconds: float) -> None:
        assert fetch.file is not None
        buffer = fetch.file.buffer()
        self.offered.setdefault(fetch.description.generation, []).append((n, bytes(buffer[: fetch.file.read_into(n, buffer)])))

    def fetch(self, connections: int = 1) -> Fetch:
        room = DiskSpace(self.cache, None, None, 0, 0)  # type: ignore[arg-type]
        return Fetch(TASK, FetchRequest("http://origin:80/f"), self.cache, lambda event, *given: event(*given), self._events, room,
                     connections=connections)  # fmt: skip

    def run(self, *script: tuple[str, int], fetch: Fetch | None = None, connections: int = 1) -> Fetch:
        """Run a fetch whose origin has this script."""
        self.origin.script = list(script)
        fetch = fetch or self.fetch(connections)
        fetch_thread.run(fetch)
        return fetch

    def check(self, fetch: Fetch) -> bytes:
        """The content of the complete copy. Of all generations the pieces are of one version, and of the one that has that name."""
        for generation, pieces in self.offered.items():
            files = [FILES[name] for name in FILES if version(name).name == generation] or list(FILES.values())
            assert any(all(file[n * PIECE : n * PIECE + PIECE] == piece for n, piece in pieces) for file in files), generation
        assert (fetch.state, fetch.error) == (SUCCESS, None)
        assert fetch.file is not None
        with open(fetch.file.path, "rb") as file:
            data = file.read()
        loaded = self.cache.load(TASK)
        assert loaded is not None
        assert loaded[1].etag in {f'"{name}"' for name in FILES if FILES[name] == data}, "the copy names another version"
        named = [name for name in FILES if version(name).name == loaded[1].generation]
        assert all(FILES[name] == data for name in named), "the generation names another version"
        return data


@pytest.fixture
def fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetching]:
    monkeypatch.setattr(readers, "ANEW", 0.002)
    monkeypatch.setattr(readers, "TICK", 0.002)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.002)
    found = Fetching(tmp_path, monkeypatch)
    yield found
    found.origin.cancel.close()


@pytest.mark.parametrize("connections", [1, 3])
def test_a_copy_begun_with_one_version_is_not_completed_with_another(fetching: Fetching, connections: int) -> None:
    """A client that has pieces of the first version would add pieces of the other one."""
    fetch = fetching.run(("A", PIECE + 7), ("C", -1), connections=connections)
    assert fetching.check(fetch) == FILES["C"]
    assert version("A").name in fetching.offered
    assert len(fetching.offered) == 2


def test_a_generation_without_a_versions_name_survives_further_versions(fetching: Fetching) -> None:
    """An origin may have another version in each response: downloads are not ended each time."""
    fetch = fetching.run(("A", PIECE + 7), *[("B", -1)] * 4, ("B", 2 * PIECE), ("A2", -1))
    assert fetching.check(fetch) == FILES["A"]
    assert fetch.description.etag == '"A2"'
    assert len(fetching.offered) == 2


def test_a_copy_of_several_versions_is_not_resumed_by_the_next_process(fetching: Fetching) -> None:
    cut = [("C", 3 * PIECE)] + [("C", 0)] * 50
    fetch = fetching.run(("A", PIECE + 7), *[("C", -1)] * 3, *cut)
    assert fetch.state == FAILED
    loaded = fetching.cache.load(TASK)
    assert loaded is not None
    assert not loaded[1].version(LENGTH).binds
    fetch = fetching.run(("C", -1))
    assert fetching.check(fetch) == FILES["C"]
    assert fetch.description.generation == version("C").name


def test_a_resumed_copy_is_not_completed_with_another_version(fetching: Fetching) -> None:
    assert fetching.run(("A", PIECE + 7), ("A", 0)).state == FAILED
    fetch = fetching.run(("A", 7), ("C", -1))
    assert fetch.description.generation != version("A").name
    assert fetching.check(fetch) == FILES["C"]


def test_a_lost_piece_is_not_replaced_with_another_versions(fetching: Fetching) -> None:
    """The pieces that the copy still has may be equal in both versions, and a client may have the lost one."""
    fetch = fetching.run(("A", -1))
    assert fetch.file is not None
    fetch.file.drop(3)
    fetching.run(("B", -1), fetch=fetch)
    assert fetching.check(fetch) == FILES["B"]
    assert fetch.description.generation == version("B").name


def test_a_lost_piece_is_replaced_with_the_same_bytes_of_another_version(fetching: Fetching) -> None:
    fetch = fetching.run(("A", -1))
    before = fetch.description.generation
    assert fetch.file is not None
    fetch.file.drop(3)
    fetching.run(("A2", -1), fetch=fetch)
    assert fetching.check(fetch) == FILES["A"]
    assert fetch.description.generation == before


@pytest.mark.parametrize("again", [True, False])
def test_a_compared_copy_is_labelled_with_the_version_that_was_compared_last(fetching: Fetching, again: bool) -> None:
    """The response of another version broke off where both are still equal. A later 304 to its validator would confirm old bytes."""
    fetch = fetching.run(("A", -1))
    fetching.run(("B", 2 * PIECE), ("A", -1), fetch=fetch if again else None)
    assert fetching.check(fetch) == FILES["A"]
    fetch = fetching.run(("B", -1), fetch=fetch if again else None)
    assert fetching.origin.unless[-1] == version("A")
    assert fetching.check(fetch) == FILES["B"]


def test_a_copy_compared_with_a_new_validator_is_labelled_with_it(fetching: Fetching) -> None:
    fetch = fetching.run(("A", -1))
    fetching.run(("A2", -1), fetch=fetch)
    assert fetching.check(fetch) == FILES["A"]
    fetching.run(("A2", -1), fetch=fetch)
    assert fetching.origin.unless[-1] == version("A2")


def test_a_fetch_reads_with_as_many_threads_as_the_system_permits(fetching: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error would leave the threads that had started with a descriptor that is about to be closed."""
    start, started = threading.Thread.start, list[threading.Thread]()

    def limited(thread: threading.Thread) -> None:
        if thread.name == "origin" and started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    fetch = fetching.run(("A", -1), connections=4)
    assert fetching.check(fetch) == FILES["A"]
    assert len(started) == 1
    assert not started[0].is_alive()


def test_generations_that_end_by_several_versions_are_bounded(fetching: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when each generation comes from a supernode that leads the task."""
    monkeypatch.setattr(Fetch, "own_generation", property(lambda _: "", lambda *_: None), raising=False)
    fetch = fetching.run(*[("A", PIECE + 7), *[("C", 0)] * 3, ("C", 3 * PIECE)] * 1000)
    assert fetch.state == FAILED
    assert isinstance(fetch.error, OriginChanged)
    assert len(fetching.offered) == fetch_thread.MAX_MIXED + 1
