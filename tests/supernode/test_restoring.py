"""Copies in the object store (a directory): their upload, and restoring them when the stored files are damaged, silent or gone."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfengine._piece import Geometry
from dfengine.copy_states import FAILED, SUCCESS
from dfengine.errors import BadValue, OriginError, OriginUnreachable
from dfengine.location import parse
from dfengine.origin.version import Version
from dfengine.settings import SupernodeSettings
from dfengine.supernode.copies import copy_store, fetch_thread, object_store_restore, stored_head
from dfengine.supernode.copies.cache import Cache
from dfengine.supernode.copies.copy_store import CopyStore
from dfengine.supernode.copies.eviction import DiskSpace
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.copies.write_behind import WriteBehind

TASK = "ab" * 32
KEY = stored_head.seal_key(b"a secret of this swarm")
LENGTH = (12 << 20) + 77
CONTENT = random.Random(7).randbytes(LENGTH)
VERSION = Version('"v1"', length=LENGTH)


class Origin:
    """Replaces the origin of a fetch: it has CONTENT and records which pieces were requested."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.version: Version | None = VERSION
        self.error: OriginError | None = None
        self.pieces: list[int] = []
        self.whole = 0
        monkeypatch.setattr(fetch_thread, "open_origin", self._ask)
        monkeypatch.setattr(fetch_thread, "fetch_missing", self._fetch_missing)
        monkeypatch.setattr(fetch_thread, "read_gaps", self._read)

    def _ask(self, fetch: Fetch, unless: Version | None = None, found: Any = None) -> Any:
        if self.error is not None:
            raise self.error
        same = unless == self.version
        return None, SimpleNamespace(version=self.version, length=LENGTH, vary=frozenset(), close=lambda: None, not_modified=same)

    def _fetch_missing(self, fetch: Fetch, file: Any) -> bool:
        self.pieces += fetch_missing(fetch, file)
        return True

    def _read(self, fetch: Fetch, origin: Any, body: Any, file: Any, gaps: Any) -> None:
        self.whole += 1
        fetch_missing(fetch, file)


def fetch_missing(fetch: Fetch, file: Any) -> list[int]:
    found = []
    for n in range(file.geometry.count):
        if n not in file.available:
            start, length = file.geometry.content(n)
            content = memoryview(CONTENT)[start : start + length]
            file.write(n, content, fetch.cache.piece_digest(content))
            found.append(n)
    return found


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Origin:
    return Origin(monkeypatch)


def store_at(path: Path, *keys: bytes) -> CopyStore:
    path.mkdir(exist_ok=True)
    return CopyStore(parse(f"file://{path}"), keys or (KEY,))


def fetched(home: Path, at: CopyStore | None, **wanted: Any) -> Fetch:
    """Run a fetch of a supernode whose disk is `home` to its end."""
    cache, events = Cache(str(home)), SimpleNamespace(**dict.fromkeys(("fetch_head", "fetch_pieces", "fetch_piece", "fetch_ended",
                                                                        "fetch_failed", "fetch_damaged")))  # fmt: skip
    room = DiskSpace(cache, None, None, 0, 0)  # type: ignore[arg-type]
    given: Any = {"url": "http://127.0.0.1:1/f", **wanted}
    fetch = Fetch(TASK, FetchRequest(**given), cache, lambda *_: None, events, room, store=at)
    fetch_thread.run(fetch)
    return fetch


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def written(fetch: Fetch, at: CopyStore) -> WriteBehind:
    behind = WriteBehind(at)
    behind.enqueue(fetch)
    until(lambda: behind._stored)
    behind.close()
    return behind


def right(fetch: Fetch) -> bool:
    assert fetch.state == SUCCESS, fetch.error
    assert fetch.file is not None
    return Path(fetch.file.path).read_bytes() == CONTENT and fetch.file.available.count() == Geometry(LENGTH).count


def test_a_supernode_that_lost_its_disk_restores_from_the_store_without_the_origin(tmp_path: Path, origin: Origin) -> None:
    at = store_at(tmp_path / "store")
    first = fetched(tmp_path / "one", at)
    assert (right(first), origin.whole) == (True, 1)
    written(first, at)
    assert at.written_bytes == LENGTH
    again = written(fetched(tmp_path / "one", at), at)  # from its disk
    assert (at.written_bytes, list(again._stored)) == (LENGTH, [TASK])
    second = fetched(tmp_path / "two", store_at(tmp_path / "store", stored_head.seal_key(b"a newer secret"), KEY))
    assert right(second)
    assert (origin.whole, origin.pieces) == (1, [])
    assert second.description.generation == first.description.generation
    assert second.description.version(LENGTH) == VERSION
    assert [*second.file.record.digests] == [*first.file.record.digests]  # type: ignore[union-attr]


def test_a_stored_copy_is_used_only_if_the_origin_has_its_version_or_is_down(tmp_path: Path, origin: Origin) -> None:
    at = store_at(tmp_path / "store")
    written(fetched(tmp_path / "one", at), at)
    origin.version = Version('"v2"', length=LENGTH)
    assert right(fetched(tmp_path / "two", at))
    assert origin.whole == 2
    origin.error = OriginUnreachable("down")
    down = fetched(tmp_path / "three", at)
    assert (right(down), down.description.etag) == (True, '"v1"')  # as from a disk, while the origin is down
    origin.error = OriginError("gone", 404)
    assert fetched(tmp_path / "four", at).state == FAILED


def test_private_led_and_unversioned_copies_are_not_stored(tmp_path: Path, origin: Origin) -> None:
    at = store_at(tmp_path / "store")
    wishes: tuple[dict[str, Any], ...] = ({"headers": (("Authorization", "x"),)}, {"insecure": True}, {"signed": "http://u"})
    for n, wanted in enumerate(wishes):
        fetch = fetched(tmp_path / str(n), at, **wanted)
        behind = WriteBehind(at)
        behind.enqueue(fetch)
        assert (len(behind), behind._thread) == (0, None)
    fetch = fetched(tmp_path / "led", at)
    fetch.leader = "10.0.0.1:8002"  # the leader stores it
    behind = WriteBehind(at)
    behind.enqueue(fetch)
    assert len(behind) == 0
    origin.version = Version(length=LENGTH)  # without a validator its validity cannot be checked later
    fetch = fetched(tmp_path / "unbound", at)
    behind = WriteBehind(at)
    behind.enqueue(fetch)
    assert len(behind) == 0


DAMAGES = ("flip", "cut", "longer", "empty", "gone", "directory", "head", "no head", "old head")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(DAMAGES), st.integers(0, LENGTH - 1))
def test_a_damaged_store_gives_no_wrong_bytes_and_is_repaired(tmp_path_factory: pytest.TempPathFactory, damage: str, at: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        origin, tmp_path = Origin(monkeypatch), tmp_path_factory.mktemp("lies")
        kept = store_at(tmp_path / "store")
        written(fetched(tmp_path / "one", kept), kept)
        [data] = (tmp_path / "store").rglob("data-*")
        [head] = (tmp_path / "store").rglob("head")
        if damage == "flip":
            with open(data, "r+b") as file:
                file.seek(at)
                byte = file.read(1)
                file.seek(at)
                file.write(bytes([byte[0] ^ 1]))
        elif damage in ("cut", "longer"):
            with open(data, "r+b") as file:
                file.truncate(at if damage == "cut" else LENGTH + at)
        elif damage == "empty":
            data.write_bytes(b"")
        elif damage == "head":
            head.write_bytes(head.read_bytes()[: at % head.stat().st_size])
        elif damage == "no head":
            head.unlink()
        else:
            data.unlink()
            if damage == "directory":
                data.mkdir()
        if damage == "old head":
            head.write_bytes(stored_head.seal(stored_head.unseal(head.read_bytes(), [KEY], TASK), b"another key"))
        fresh = store_at(tmp_path / "store")
        second = fetched(tmp_path / "two", fresh)
        assert right(second)
        if damage != "longer":
            assert origin.pieces or origin.whole == 2
            assert fresh.failures or damage == "no head"
            if damage != "directory":  # the damaged files are replaced
                written(second, fresh)
                third = fetched(tmp_path / "three", store_at(tmp_path / "store"))
                assert (right(third), origin.whole) == (True, 1 + (damage in ("head", "no head", "old head")))


def test_a_silent_store_is_given_up_and_not_requested_for_a_while(tmp_path: Path, origin: Origin, monkeypatch: Any) -> None:
    at, go, asked = store_at(tmp_path / "store"), threading.Event(), []

    def silent(*_: Any) -> bytes:
        asked.append(1)
        go.wait(60)
        return b""

    monkeypatch.setattr(at, "_read", silent)
    monkeypatch.setattr(copy_store, "HEAD_SECONDS", 0.2)
    try:
        assert right(fetched(tmp_path / "one", at))
        assert (origin.whole, at.backing_off) == (1, True)
        assert right(fetched(tmp_path / "two", at))
        assert len(asked) == 1
    finally:
        go.set()


def test_reads_that_time_out_keep_their_turns_until_they_end(tmp_path: Path, origin: Origin, monkeypatch: Any) -> None:
    at = store_at(tmp_path / "store")
    written(fetched(tmp_path / "one", at), at)
    go, read = threading.Event(), at._read

    def slow(name: str, part: Any, most: int) -> bytes:
        if part is not None:
            go.wait(60)
        return read(name, part, most)

    monkeypatch.setattr(at, "_read", slow)
    monkeypatch.setattr(object_store_restore, "PIECE", 0.3)
    monkeypatch.setattr(at, "failed", lambda *_: None)
    for n in range(2, 6):
        assert right(fetched(tmp_path / str(n), at))
    assert not at._turns.acquire(blocking=False), "the reads may still use their memory"
    go.set()
    for _ in range(copy_store.READS):
        assert at._turns.acquire(timeout=60)
    assert not at._turns.acquire(blocking=False)


def test_a_stopped_fetch_does_not_wait_for_the_store(tmp_path: Path, origin: Origin, monkeypatch: Any) -> None:
    at, go = store_at(tmp_path / "store"), threading.Event()
    monkeypatch.setattr(at, "_read", lambda *_: go.wait(60))
    found: list[Fetch] = []
    started = threading.Thread(target=lambda: found.append(fetched(tmp_path / "one", at)))
    real = Fetch.use_files
    begun: list[Fetch] = []

    def use_files(self: Fetch, use: Any) -> Any:
        begun.append(self)
        return real(self, use)

    monkeypatch.setattr(Fetch, "use_files", use_files)
    started.start()
    until(lambda: begun)
    begun[0].stop()
    started.join(60)
    go.set()
    assert found[0].state == FAILED


def test_reads_whose_threads_cannot_start_fail_and_return_their_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    at, ended = store_at(tmp_path / "store"), list[int]()
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", no_thread)
        for n in range(2 * copy_store.READS):
            piece = at.read("x", 0, 1, lambda n=n: ended.append(n))  # type: ignore[misc]
            assert piece is not None
            with pytest.raises(copy_store.StoreError, match="new thread"):
                piece.call.result()
            piece.close()
    assert ended == [*range(2 * copy_store.READS)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"store": "s3://bucket/p"}, "needs a key"), ({"store": "hf://a/b"}, "is not s3"), ({"store": "http://h/"}, "none of the schemes"),
        ({"store": "file:///nowhere/at/all", "key": True}, "no directory"), ({"store": "s3://bucket/p?versionId=1"}, "is not s3"),
    ],
)  # fmt: skip
def test_invalid_store_options_are_rejected(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef")
    key.chmod(0o600)
    with pytest.raises(BadValue, match=said):
        CopyStore.from_settings(SupernodeSettings(store=given["store"], store_key_file=str(key) if given.get("key") else ""), None)  # type: ignore[arg-type]


def test_without_an_option_there_is_no_store() -> None:
    assert CopyStore.from_settings(SupernodeSettings(), None) is None  # type: ignore[arg-type]
