"""A served tree: its pieces are read from its files, and are never wrong, even if the files were changed."""

from __future__ import annotations

import os
import random
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine._piece import Geometry
from dfengine.errors import BadRange, BadValue, StorageError
from dfengine.net._sendfile import FileSlice
from dfengine.storage import shared_tree
from dfengine.storage.hashing import content_digest
from dfengine.storage.home import Home
from dfengine.storage.part_file import PartFile
from dfengine.storage.served_file import ServedFile
from dfengine.storage.shared_tree import decode, encode
from dfengine.storage.tree_file import TreeFile
from tests.own_descriptors import own_descriptors
from tests.storage.test_tree_file import PIECE, TASK, Tree, bodies, names

NAME = "tree-1-2.000"


class Served:
    """A tree that is being downloaded, and the peer server's home."""

    def __init__(self, path: Path, sizes: list[int]) -> None:
        self.tree = Tree(path / "out", dict(zip(names(len(sizes)), bodies(sizes), strict=True)))
        self.home = Home(str(path / "home"))
        self.file: TreeFile = self.tree.open()
        self.home.share_tree(NAME, self.file, self.tree.target, task="t", cid="c", node="", expire=60.0)

    def end(self) -> None:
        """End the download."""
        self.file.finish_all()
        self.home.keep_record(NAME, self.file)
        self.tree.target.discard()
        self.file.close()
        self.tree.target.close()

    def shared(self) -> ServedFile:
        found = self.home.find(NAME)
        assert found is not None
        return found

    def sent(self, shared: ServedFile, n: int) -> bytes | None:
        """Piece n as it is sent. None: the request is refused, or the response cut off."""
        offset, length = self.tree.geometry.content(n)
        if not shared.has_range(offset, length):
            return None
        try:
            fd, place, bits, piece, owner = shared.locate(offset, length)
        except StorageError:
            return None
        part = FileSlice(fd, place, length, owner, bits, piece, *shared.check(offset, length, owner))
        if not part.resident():
            part.load()
        try:
            return part.read(0, length)
        except EOFError:
            return None


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path, [10, 40, 7, 100, 0, 31, 64, 5, 3, 200])


def test_pieces_are_served_during_the_download_and_afterwards(served: Served) -> None:
    tree, shared = served.tree, served.shared()
    order = [*range(tree.geometry.count)][::-1]
    for at, n in enumerate(order):
        tree.write(served.file, n)
        for each in order:
            assert served.sent(shared, each) == (tree.piece(each) if each in order[: at + 1] else None)
    served.end()
    tree.check()
    for open_since in (shared, served.shared()):
        for n in order:
            assert served.sent(open_since, n) == tree.piece(n)
            assert served.sent(open_since, n) == tree.piece(n)


@pytest.mark.parametrize("how", ["change", "cut", "grow", "remove", "replace", "link", "directory"])
def test_wrong_bytes_of_a_changed_file_are_never_served(served: Served, how: str) -> None:
    tree = served.tree
    tree.write_all(served.file)
    served.end()
    before = served.shared()
    right = {n for n in range(tree.geometry.count) if n % 2}
    assert all(served.sent(before, n) == tree.piece(n) for n in right)
    for path, body in tree.files.items():
        place, stat = tree.path / path, (tree.path / path).stat()
        if how == "change":
            place.write_bytes(bytes(byte ^ 1 for byte in body))
            os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        elif how in ("cut", "grow"):
            place.write_bytes(body[:-1] if how == "cut" else body + b"x")
        else:
            place.unlink()
            if how == "replace":
                place.write_bytes(bytes(len(body)))
            elif how == "link":
                place.symlink_to("/etc/hostname")
            elif how == "directory":
                place.mkdir()
    for shared in (before, served.shared()):
        for n in range(tree.geometry.count):
            assert served.sent(shared, n) in (None, tree.piece(n))
    fresh = served.shared()
    assert not any(served.sent(fresh, n) for n in range(tree.geometry.count) if len(tree.piece(n)) > 1), "a missing piece is served"


def test_only_changed_pieces_are_withdrawn(served: Served) -> None:
    tree = served.tree
    tree.write_all(served.file)
    served.end()
    (tree.path / "file0").write_bytes(b"0" * 10)
    shared = served.shared()
    assert [n for n in range(tree.geometry.count) if served.sent(shared, n) is None] == [0]
    (tree.path / "file0").write_bytes(tree.files["file0"])
    assert served.sent(served.shared(), 0) == tree.piece(0)


def test_a_range_across_pieces_is_refused(served: Served) -> None:
    served.tree.write_all(served.file)
    shared = served.shared()
    with pytest.raises(BadRange):
        shared.locate(30, 10)
    served.end()


def test_a_replaced_directory_is_not_served(served: Served) -> None:
    served.tree.write_all(served.file)
    served.end()
    assert not served.home.withdraw_deleted()
    served.tree.path.rename(served.tree.path.with_name("moved"))
    served.tree.path.mkdir()
    assert served.home.find(NAME) is None
    assert [entry.name for entry in served.home.withdraw_deleted()] == [NAME]
    assert not any(path.is_file() for path in Path(served.home.path).rglob("*"))


def test_a_killed_download_does_not_count_as_running(served: Served) -> None:
    assert served.home.running(NAME)
    served.tree.stop(served.file)
    assert not served.home.running(NAME)
    assert [entry.name for entry in served.home.sweep(1e12)] == [NAME]


def test_descriptors_are_closed(served: Served) -> None:
    served.tree.write_all(served.file)
    served.end()
    before = len(own_descriptors())
    shared = served.shared()
    for n in range(served.tree.geometry.count):
        served.sent(shared, n)
    shared.close()
    assert len(os.listdir("/proc/self/fd")) == before


@given(st.lists(st.tuples(st.binary(min_size=1).filter(lambda path: b"\0" not in path), st.integers(0, 1 << 40))))
def test_a_layout_is_decoded_as_it_was_encoded(files: list[tuple[bytes, int]]) -> None:
    paths, sizes = [path for path, _ in files], [size for _, size in files]
    found, read = decode(encode(paths, sizes))
    assert (found, list(read)) == (paths, sizes)


@given(st.binary() | st.tuples(st.integers(0, 3), st.binary()).map(lambda given: b"dftree1\n" + struct.pack("=q", given[0]) + given[1]))
def test_invalid_layouts_are_refused(content: bytes) -> None:
    try:
        paths, sizes = decode(content)
    except BadValue:
        return
    assert encode(paths, sizes) == content


@pytest.mark.parametrize("path", [b"../x", b"/x", b"a//b", b"a/./b", b"a/..", b"..", b".", b"a/", b"", b"a\0b"])
def test_a_layout_that_leads_out_of_the_directory_is_refused(path: bytes) -> None:
    from dfengine.storage._scatter import Scatter

    with pytest.raises(BadValue):
        Scatter([path], [1], 32, -1)


def test_a_manifest_is_removed_with_its_entry(tmp_path: Path) -> None:
    """It is stored in the home directory, for this entry only."""
    home = Home(str(tmp_path / "home"))
    path = tmp_path / "home" / "trees" / "m.manifest"
    target = PartFile(str(path), TASK)
    file = target.open(Geometry(10, PIECE), b"v1")
    home.share("m", file, target, task="t", cid="c", node="", expire=60.0)
    file.write(0, b"0123456789", content_digest(b"0123456789"))
    target.finish(file, keep=lambda: home.keep_record("m", file))
    file.close()
    (tmp_path / "home" / "trees" / "left.manifest").write_bytes(b"of a killed run")
    now = path.stat().st_mtime
    home.sweep(now)
    assert sorted(os.listdir(path.parent)) == ["left.manifest", "m.manifest"]
    home.sweep(now + 61)
    assert os.listdir(path.parent) == ["left.manifest"]
    home.sweep(now + 86400)
    assert not os.listdir(path.parent)


def test_pieces_are_sent_to_several_threads_at_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads compare while others look pieces up, and few are cached. A changed file is detected by some thread."""
    monkeypatch.setattr(shared_tree, "KEPT", 100)
    tree = served.tree
    tree.write_all(served.file)
    served.end()
    (tree.path / "file0").write_bytes(b"0" * 10)
    shared, count = served.shared(), tree.geometry.count
    wrong: list[object] = []

    def ask(seed: int) -> None:
        try:
            for n in random.Random(seed).choices(range(count), k=400):
                if served.sent(shared, n) not in ((tree.piece(n),) if n else (None,)):
                    wrong.append(n)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    shared.close()
    assert shared_tree._gathered.size == 0
