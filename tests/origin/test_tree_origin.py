"""Trees: their manifests, and their data read file by file, from a server with changing, false and truncated responses."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfengine._piece import Geometry
from dfengine.errors import BadListing, BadValue, OriginChanged, OriginError, OriginSlow, SourceGone, TreeChanged
from dfengine.globs import Globs
from dfengine.manifest import Manifest, decode
from dfengine.origin import tree_origin
from dfengine.origin.cancel import Cancel
from dfengine.origin.local_root import UnrestrictedRoots
from dfengine.origin.manifest_origin import ManifestOrigin
from dfengine.origin.origin_settings import OriginSettings
from dfengine.origin.tree_listing import ListingCache, divided, manifest, may_be_fresh
from dfengine.origin.tree_origin import FILES_AHEAD, TreeOrigin, http_date
from dfengine.origin.version import Version
from tests.origins.directory import Directory
from tests.origins.hub import Hub
from tests.own_descriptors import own_descriptors

FILES = {"a": b"1" * 10, "b/c d%": b"2" * 20, "b/empty": b"", "b/x": b"3" * 300, "zero": b"", "é": b"5"}
PIECE = Geometry(1).content_size


def origin_settings(**more: Any) -> OriginSettings:
    return OriginSettings(**{"roots": UnrestrictedRoots(), "may_sign": lambda location: False, **more})


def data(files: dict[str, bytes]) -> bytes:
    return b"".join(files[path] for path in sorted(files))


def read(
    origin: TreeOrigin | ManifestOrigin, start: int = 0, end: int | None = None, step: int = 1 << 16, version: Version | None = None
) -> bytes:
    body = origin.open(start, end, version=version)
    try:
        whole, room = bytearray(), memoryview(bytearray(step))
        while got := body.read_into(room):
            whole += room[:got]
        assert not body.remaining
        assert body.start == start + len(whole)
        return bytes(whole)
    finally:
        body.close()


@pytest.mark.parametrize("index", ["json", "html", "rounded"])
def test_the_data_of_a_tree_is_its_files_in_order(cancel: Cancel, index: str) -> None:
    with Directory(FILES, index) as served:
        made = manifest(served.url, origin_settings(), cancel)
        assert made.paths == sorted(FILES)
        assert made.sizes == [len(FILES[path]) for path in sorted(FILES)]
        assert decode(made.encode()) == made
        assert len(served.asked("HEAD")) == (len(FILES) if index == "rounded" else 0)
        assert read(TreeOrigin(made, origin_settings(), cancel)) == data(FILES)
        assert sorted(served.asked("GET")) == sorted(FILES)


@pytest.mark.parametrize("kind", ["json", "html"])
def test_lock_and_part_files_of_downloads_are_not_listed(cancel: Cancel, kind: str) -> None:
    """Another download of this program writes to the directory, or was killed there."""
    used = {".dfengine.lock": b"", ".dfengine.0123456789ab/record": b"x", "sub/.dfengine.x": b"y"}
    with Directory(FILES | used, kind) as served:
        made = manifest(served.url, origin_settings(), cancel)
        assert set(made.paths) == {*FILES, "sub/.dfengine.x"}


def test_files_are_fetched_over_few_connections(cancel: Cancel) -> None:
    files = {f"{n:03}": bytes([n]) * n for n in range(200)}
    with Directory(files) as served:
        made = manifest(served.url, origin_settings(), cancel)
        before = served.connections
        assert read(TreeOrigin(made, origin_settings(), cancel)) == data(files)
        assert served.connections - before <= FILES_AHEAD + 1
        assert sorted(served.asked("GET")) == sorted(files)


def test_an_origin_that_allows_one_request_at_a_time_gets_one_at_a_time(cancel: Cancel) -> None:
    files = {f"{n:02}": b"x" * (n + 1) for n in range(30)}
    with Directory(files) as served:
        made = manifest(served.url, origin_settings(), cancel)
        served.alone = True
        origin, whole = TreeOrigin(made, origin_settings(), cancel), bytearray()
        while len(whole) < made.length:
            # As a reader does: received bytes count, and refused requests are repeated.
            try:
                body = origin.open(len(whole), version=origin.version)
            except OriginError:
                continue
            room = memoryview(bytearray(99))
            with contextlib.suppress(OriginError):
                while got := body.read_into(room):
                    whole += room[:got]
            body.close()
        assert bytes(whole) == data(files)
        assert origin.ahead == 0 or served.most == 1


def test_a_server_that_closes_connections_unannounced_is_read_over_new_ones(cancel: Cancel) -> None:
    files = {f"{n:02}": b"x" * (n + 1) for n in range(40)}
    with Directory(files) as served:
        made = manifest(served.url, origin_settings(), cancel)
        served.hangs_up = True
        origin = TreeOrigin(made, origin_settings(), cancel)
        assert read(origin) == data(files)
        assert served.connections >= 40


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.data())
def test_any_range_has_the_same_bytes_as_the_whole(cancel: Cancel, sizes: list[int], drawn: st.DataObject) -> None:
    chance = random.Random(sum(sizes))
    files = {f"{n}": chance.randbytes(size) for n, size in enumerate(sizes)}
    served = RANGED
    served.files = files
    whole = data(files)
    start = drawn.draw(st.integers(0, len(whole)))
    end = drawn.draw(st.none() | st.integers(start, len(whole)))
    step = drawn.draw(st.integers(1, 64))
    made = manifest(served.url, origin_settings(), cancel)
    assert read(TreeOrigin(made, origin_settings(), cancel), start, end, step) == whole[start:end]


RANGED = Directory({})


@pytest.fixture(autouse=True, scope="module")
def _ranged() -> Iterator[None]:
    with RANGED:
        yield


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_origin, "AGAIN", 0.001)


def test_globs_select_files_and_change_the_manifests_identity(cancel: Cancel) -> None:
    with Directory(FILES) as served:
        made = manifest(served.url, origin_settings(), cancel, Globs(("b/*",), ("x",)))
        assert made.paths == ["b/c d%", "b/empty"]
        assert read(TreeOrigin(made, origin_settings(), cancel)) == FILES["b/c d%"]
        assert set(served.asked()) == {"b/c d%", "b/empty"}
        assert made.identity != manifest(served.url, origin_settings(), cancel).identity


@pytest.mark.parametrize(("files", "globs", "said"), [({}, Globs(), "no file below it"), (FILES, Globs(("none",)), "selected, of 6")])
def test_a_tree_without_files_is_not_found(cancel: Cancel, files: dict[str, bytes], globs: Globs, said: str) -> None:
    with Directory(files) as served, pytest.raises(OriginError, match=said) as caught:
        manifest(served.url, origin_settings(), cancel, globs)
    assert caught.value.status == 404


def test_a_range_of_a_directory_is_refused(cancel: Cancel) -> None:
    with pytest.raises(BadValue, match="Range"):
        manifest("http://127.0.0.1:9/", origin_settings(headers=[("Range", "bytes=0-1")]), cancel)


@given(st.integers(0, 100_000_000_000))
def test_listed_dates_are_formatted_as_http_dates(when: int) -> None:
    assert http_date(when) == formatdate(when, usegmt=True)


# FALSE AND CHANGED RESPONSES


@pytest.mark.parametrize("path", ["a", "b/x", "b/empty", "zero", "é"])
@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("more", [-1, 1])
def test_a_wrong_listed_size_ends_in_an_error_that_names_the_file(cancel: Cancel, path: str, lengths: bool, more: int) -> None:
    with Directory(FILES, "html") as served:
        served.lengths = lengths
        served.lies = {path: max(0, len(FILES[path]) + more)}
        if served.lies[path] == len(FILES[path]):
            return
        made = manifest(served.url, origin_settings(), cancel)
        with pytest.raises((OriginChanged, OriginError), match=f"{path}: .*"):
            read(TreeOrigin(made, origin_settings(), cancel))


@pytest.mark.parametrize("index", ["json", "html"])
def test_a_file_changed_between_listing_and_reading_is_detected(cancel: Cancel, index: str) -> None:
    files = dict(FILES)
    with Directory(files, index) as served:
        made = manifest(served.url, origin_settings(), cancel)
        if index == "json":
            files["b/x"], served.modified = b"4" * 300, served.modified + 60
        else:
            files["b/x"] = b"4" * 301  # only the size is listed
        with pytest.raises(TreeChanged, match=r"tree has changed"):
            read(TreeOrigin(made, origin_settings(), cancel))


def test_a_listed_file_that_was_removed_is_a_change_of_the_tree(cancel: Cancel) -> None:
    files = dict(FILES)
    with Directory(files) as served:
        made = manifest(served.url, origin_settings(), cancel)
        del files["b/x"]
        with pytest.raises(TreeChanged, match=r"b/x: .*404.*tree has changed"):
            read(TreeOrigin(made, origin_settings(), cancel))


def test_a_stale_server_among_several_is_requested_again(cancel: Cancel) -> None:
    files = dict(FILES)
    with Directory(files) as served:
        made = manifest(served.url, origin_settings(), cancel)
        served.stale = {"b/x": 2}
        assert read(TreeOrigin(made, origin_settings(), cancel)) == data(FILES)
        assert not served.stale["b/x"]


def test_a_file_of_several_pieces_is_bound_by_its_own_responses_validators(cancel: Cancel) -> None:
    files = {"a": b"1" * 10, "b": random.Random(1).randbytes(PIECE * 2), "c": b"3" * 10}
    with Directory(files, "html") as served:
        made = manifest(served.url, origin_settings(), cancel)
        assert served.asked("HEAD") == ["b"]
        assert divided(made.sizes) == [1]
        assert made.etags[1]
        origin = TreeOrigin(made, origin_settings(), cancel)
        assert origin.version.binds
        whole = data(files)
        assert read(origin, PIECE, PIECE + 500, version=origin.version) == whole[PIECE : PIECE + 500]
        files["b"] = files["b"][::-1]
        with pytest.raises(OriginChanged, match="b: "):
            read(origin, PIECE, None, version=origin.version)


@pytest.mark.parametrize("lately", [True, False])
def test_a_listed_date_binds_unless_it_is_recent(cancel: Cancel, lately: bool) -> None:
    files = {"a": b"1" * 10, "b": random.Random(1).randbytes(PIECE * 2)}
    with Directory(files) as served:
        served.modified = int(time.time()) - 5 if lately else 1_600_000_000
        made = manifest(served.url, origin_settings(), cancel)
        assert served.asked("HEAD") == (["b"] if lately else [])
        assert bool(made.etags[1]) is lately
        origin = TreeOrigin(made, origin_settings(), cancel)
        assert origin.version.binds
        assert read(origin, PIECE, version=origin.version) == data(files)[PIECE:]
        served.modified -= 60
        files["b"] = files["b"][::-1]
        with pytest.raises(TreeChanged, match="b: "):
            read(origin, PIECE, version=origin.version)


@pytest.mark.parametrize("head", [True, False])
def test_files_without_validators_are_not_resumed(cancel: Cancel, head: bool) -> None:
    files = {"a": b"1" * 10, "b": b"2" * PIECE * 2}
    with Directory(files, "html") as served:
        served.etags = served.dates = False
        served.head = head
        made = manifest(served.url, origin_settings(), cancel)
        origin = TreeOrigin(made, origin_settings(), cancel)
        assert not origin.version.binds
        assert read(origin) == data(files)
        with pytest.raises(OriginChanged, match="b: nothing proves"):
            read(origin, 500)
        with pytest.raises(OriginChanged):
            origin.open(10, version=origin.version)


def test_a_broken_file_is_resumed_at_its_byte(cancel: Cancel) -> None:
    files = {"a": b"1" * 10, "b": b"2" * 1000, "c": b"3"}
    with Directory(files, "html") as served:
        made = manifest(served.url, origin_settings(), cancel)
        served.cut = {"b": 100}
        origin = TreeOrigin(made, origin_settings(), cancel)
        body, whole, room = origin.open(), bytearray(), memoryview(bytearray(50))
        while len(whole) < 110:
            whole += room[: body.read_into(room)]
        with pytest.raises(OriginError, match="b: "):
            body.read_into(room)
        body.close()
        assert len(whole) == 110
        assert bytes(whole) + read(origin, len(whole), version=origin.version) == data(files)
        files["b"] = b"4" * 1000
        with pytest.raises(TreeChanged, match="b: "):
            read(origin, 110, version=origin.version)


def test_an_origin_without_ranges_refuses_a_range_and_is_read_past_known_bytes(cancel: Cancel) -> None:
    files = {"a": b"1" * 1000, "b": b"2"}
    with Directory(files) as served:
        served.ranges = False
        origin = TreeOrigin(manifest(served.url, origin_settings(), cancel), origin_settings(), cancel)
        with pytest.raises(OriginError, match="whole file"):
            read(origin, 500, 600, version=origin.version)
        assert read(origin, 500, version=origin.version) == data(files)[500:]


def test_many_slow_files_together_are_below_the_minimum_rate(cancel: Cancel, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{n:02}": b"x" for n in range(99)}
    monkeypatch.setattr(tree_origin, "SILENCE", 0.0)
    with Directory(files) as served:
        made = manifest(served.url, origin_settings(), cancel)
        assert read(TreeOrigin(made, origin_settings(floor=1000.0), cancel)) == data(files)
        served.change = lambda path: time.sleep(0.002)
        with pytest.raises(OriginSlow, match="less than"):
            read(TreeOrigin(made, origin_settings(floor=1e9), cancel))


def test_a_cancel_ends_a_read(cancel: Cancel) -> None:
    files = {f"{n}": b"x" for n in range(9)}
    with Directory(files) as served:
        origin = TreeOrigin(manifest(served.url, origin_settings(), cancel), origin_settings(), cancel)
        served.change = lambda path: cancel.set() if path == "5" else None
        with pytest.raises(SourceGone):
            read(origin, step=1)


def test_files_of_unstated_size_are_refused_by_name(cancel: Cancel) -> None:
    with Directory({"a": b"1"}, "rounded") as served:
        served.lengths = False
        with pytest.raises(BadListing, match="'a'"):
            manifest(served.url, origin_settings(), cancel)
        served.head = False
        with pytest.raises(OriginError, match=r"a: .*405"):
            manifest(served.url, origin_settings(), cancel)


def test_no_thread_or_descriptor_remains(cancel: Cancel) -> None:
    threads, descriptors = threading.active_count(), len(own_descriptors())
    with Directory(FILES, "rounded") as served:
        origin = TreeOrigin(manifest(served.url, origin_settings(), cancel), origin_settings(), cancel)
        origin.open().close()
        read(origin)
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors


# THE MANIFEST AS A FILE


def test_a_manifest_is_readable_as_a_file_with_a_version(cancel: Cancel) -> None:
    files = dict(FILES)
    with Directory(files) as served:
        made = list[Manifest]()
        origin = ManifestOrigin(served.url, Globs(), origin_settings(), cancel, made=made.append)
        encoded = read(origin)
        assert made == [decode(encoded)]
        version = origin.open(unless=Version("x")).version
        assert origin.open(0, unless=version).not_modified
        listed = len(served.seen)
        assert read(origin, 10, 20, version=version) == encoded[10:20]
        assert len(served.seen) == listed
        files["new"] = b"1"
        body = origin.open(unless=version)
        assert not body.not_modified
        with pytest.raises(OriginChanged):
            origin.open(5, version=version)


# OTHER KINDS


def test_a_local_directory_is_a_tree(cancel: Cancel, tmp_path: Path) -> None:
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    (tmp_path / "a").chmod(0o755)
    made = manifest(f"file://{tmp_path}", origin_settings(), cancel)
    assert made.modes[0] == 0o755
    origin = TreeOrigin(made, origin_settings(), cancel)
    assert read(origin) == data(FILES)
    assert read(origin, 5, 100, version=origin.version) == data(FILES)[5:100]
    (tmp_path / "b/x").write_bytes(b"4" * 300)
    with pytest.raises(TreeChanged, match="b/x: "):
        read(origin)


def test_a_hub_repository_is_a_tree_of_one_commit(cancel: Cancel, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        files = {"README.md": b"x" * 50, "model/large.bin": random.Random(2).randbytes(60_000), "b": b""}
        commit = hub.add("org/name", files)
        made = manifest("hf://org/name", origin_settings(), cancel)
        assert made.base == f"hf://org/name@{commit}/"
        assert read(TreeOrigin(made, origin_settings(), cancel)) == data(files)
        hub.add("org/name", {**files, "README.md": b"y" * 50})
        assert read(TreeOrigin(made, origin_settings(), cancel)) == data(files)


# LISTED AGAIN


@pytest.mark.parametrize("index", ["json", "html", "rounded"])
def test_an_unchanged_listing_returns_the_same_manifest(cancel: Cancel, index: str) -> None:
    files = {**FILES, "b/large": b"1" * PIECE * 2}
    with Directory(files, index) as served:
        kept = dict[str, Manifest]()
        before = ListingCache(kept.get)
        made = manifest(served.url, origin_settings(), cancel, before=before)
        kept[made.identity] = made
        asked = sorted(served.seen)
        served.seen.clear()
        assert manifest(served.url, origin_settings(), cancel, before=before) is made
        assert sorted(served.seen) == asked
        served.seen.clear()
        files["b/more"] = b"2"
        again = manifest(served.url, origin_settings(), cancel, before=before)
        kept[again.identity] = again
        assert again == manifest(served.url, origin_settings(), cancel)
        assert "b/more" in again.paths
        assert manifest(served.url, origin_settings(), cancel, before=before) is again


def test_changes_visible_only_in_a_files_own_response_change_the_manifest(cancel: Cancel) -> None:
    files = {**FILES, "b/large": b"1" * PIECE * 2}
    with Directory(files, "html") as served:
        kept = dict[str, Manifest]()
        before = ListingCache(kept.get)
        made = manifest(served.url, origin_settings(), cancel, before=before)
        kept[made.identity] = made
        files["b/large"] = b"2" * PIECE * 2
        again = manifest(served.url, origin_settings(), cancel, before=before)
        kept[again.identity] = again
        assert again.identity != made.identity
        assert again == manifest(served.url, origin_settings(), cancel)


def test_a_listing_uses_one_connection(cancel: Cancel) -> None:
    with Directory({f"{n}/x": b"1" for n in range(30)}) as served:
        before = ListingCache()
        manifest(served.url, origin_settings(), cancel, before=before)
        assert len(served.seen) == 31
        assert served.connections == 1


@given(zone=st.integers(-48, 56).map(lambda quarters: 900 * quarters), age=st.floats(0, 118), now=st.floats(1e9, 2e9))
def test_a_change_of_the_last_two_minutes_is_fresh_in_every_time_zone(zone: int, age: float, now: float) -> None:
    changed = now - age
    assert may_be_fresh(int(changed // 60) * 60 + zone, now) or changed // 60 * 60 < now - 120
    assert not may_be_fresh(int(now) - 86400, now)
    assert not may_be_fresh(int(now) - 450 + zone, now)


@pytest.mark.parametrize("hours", [-12, 0, 5.75, 14])
def test_a_file_changed_twice_within_a_minute_changes_the_manifest_in_every_time_zone(cancel: Cancel, hours: float) -> None:
    files = {**FILES}
    with Directory(files, "html") as served:
        served.modified, served.zone = int(time.time()), int(hours * 3600)
        made = manifest(served.url, origin_settings(), cancel)
        files["a"] = bytes(len(files["a"]))
        assert manifest(served.url, origin_settings(), cancel).identity != made.identity


@pytest.mark.parametrize("age", [0, 86_400])
def test_a_changed_file_changes_the_manifest_whatever_the_index_shows(cancel: Cancel, age: int) -> None:
    files = {**FILES}
    with Directory(files, "html") as served:
        served.modified = int(time.time()) - age
        made = manifest(served.url, origin_settings(), cancel)
        assert len(served.asked("HEAD")) == (0 if age else len(FILES))
        files["a"] = bytes(len(files["a"]))
        served.modified += 60 if age else 0
        assert manifest(served.url, origin_settings(), cancel).identity != made.identity


def test_compared_pages_are_not_requested_again(cancel: Cancel) -> None:
    files = {f"{n}/x": b"1" for n in range(9)}
    with Directory(files) as served:
        kept = dict[str, Manifest]()
        before = ListingCache(kept.get)
        made = manifest(served.url, origin_settings(), cancel, before=before)
        kept[made.identity] = made
        served.seen.clear()
        files["8/y"] = b"2"
        manifest(served.url, origin_settings(), cancel, before=before)
        assert len(served.seen) == 10
