"""A tree's pieces are the bytes of its files, in any order of arrival, whatever other programs put into the directory."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfengine._piece import Geometry
from dfengine.errors import BadValue, DfengineError, StorageError
from dfengine.storage import folder_lock, tree_target
from dfengine.storage._scatter import Scatter
from dfengine.storage.hashing import content_digest
from dfengine.storage.tree_file import TreeFile
from dfengine.storage.tree_target import TreeTarget
from tests.own_descriptors import own_descriptors

PIECE = 37
"""Framed bytes of a piece, 32 of them content."""

TASK = "0123456789ab" * 4


def bodies(sizes: Sequence[int], seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    return [chance.randbytes(size) for size in sizes]


def names(count: int) -> list[str]:
    """Paths in several directories."""
    return [("", "a/", "a/b/", "c/")[n % 4] + f"file{n}" for n in range(count)]


class Tree:
    """Files, the target below `path`, and the pieces' contents."""

    def __init__(self, path: Path, files: dict[str, bytes], piece: int = PIECE, **columns: Any) -> None:
        self.path, self.files = path, files
        self.data = b"".join(files.values())
        self.geometry = Geometry(len(self.data), piece)
        self.target = TreeTarget(str(path), TASK, list(files), [len(body) for body in files.values()], **columns)

    def open(self) -> TreeFile:
        return self.target.open(self.geometry, b"v1")

    def piece(self, n: int) -> bytes:
        offset, length = self.geometry.content(n)
        return self.data[offset : offset + length]

    def write(self, file: TreeFile, n: int) -> None:
        file.write(n, self.piece(n), content_digest(self.piece(n)))

    def write_all(self, file: TreeFile) -> None:
        for n in range(self.geometry.count):
            if n not in file.available:
                self.write(file, n)

    def finish(self, file: TreeFile) -> None:
        file.finish_all()
        self.target.discard()
        file.close()
        self.target.close()

    def stop(self, file: TreeFile) -> None:
        """Stop as a kill does, without cleanup."""
        file.close()
        self.target.close()

    def check(self, but: Sequence[str] = ()) -> None:
        """Every file has its bytes, and nothing else exists."""
        found = {str(path.relative_to(self.path)): path.read_bytes() for path in self.path.rglob("*") if not path.is_dir()}
        assert found == {name: body for name, body in self.files.items() if name not in but}
        assert not any(path.name.startswith(".dfengine") for path in self.path.iterdir())


@given(sizes=st.lists(st.integers(0, 100), min_size=1, max_size=12), order=st.randoms(use_true_random=False), stops=st.integers(0, 3),
       parts=st.booleans())
@settings(max_examples=150, deadline=None)
def test_pieces_in_any_order_with_restarts_make_the_files(sizes: list[int], order: random.Random, stops: int, parts: bool) -> None:
    with TemporaryDirectory() as folder:
        files = dict(zip(names(len(sizes)), bodies(sizes), strict=True))
        tree = Tree(Path(folder) / "out", files)
        file = tree.open()
        pieces = [*range(tree.geometry.count)]
        order.shuffle(pieces)
        ends = {order.randrange(len(pieces)) for _ in range(stops)}
        written = set()
        for at, n in enumerate(pieces):
            if parts and file.accepts_parts(n) and tree.piece(n):
                middle = len(tree.piece(n)) // 2
                file.write_part(n, 0, tree.piece(n)[:middle])
                file.write_part(n, middle, tree.piece(n)[middle:])
                file.publish(n, content_digest(tree.piece(n)))
            else:
                tree.write(file, n)
            written.add(n)
            for each in written:
                buffer = memoryview(bytearray(32))
                assert bytes(buffer[: file.read_into(each, buffer)]) == tree.piece(each)
            for path, body in files.items():
                # A file has its name only when it is complete.
                assert not (tree.path / path).exists() or (tree.path / path).read_bytes() == body
            if at in ends:
                tree.stop(file)
                file = tree.open()
                assert set(file.available) == written
        assert not file.failed
        tree.finish(file)
        tree.check()


@given(data=st.data(), sizes=st.lists(st.integers(0, 200), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_changed_files_are_not_resumed(data: st.DataObject, sizes: list[int]) -> None:
    with TemporaryDirectory() as folder:
        files = dict(zip(names(len(sizes)), bodies(sizes), strict=True))
        tree = Tree(Path(folder) / "out", files)
        file = tree.open()
        for n in data.draw(st.sets(st.integers(0, tree.geometry.count - 1))):
            tree.write(file, n)
        tree.stop(file)
        touched = [path for path in tree.path.rglob("*") if path.is_file() and path.name != "record" and path.stat().st_size]
        if touched:
            victim = data.draw(st.sampled_from(sorted(touched)))
            how = data.draw(st.sampled_from(("change", "cut", "remove", "grow")))
            body = victim.read_bytes()
            if how == "remove":
                victim.unlink()
            else:
                victim.write_bytes({"change": bytes([body[0] ^ 1]) + body[1:], "cut": body[:-1], "grow": body + b"x"}[how])
        file = tree.open()
        for n in file.available:
            buffer = memoryview(bytearray(32))
            assert bytes(buffer[: file.read_into(n, buffer)]) == tree.piece(n)
        tree.write_all(file)
        tree.finish(file)
        tree.check()


def test_links_that_lead_out_of_the_tree_are_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").symlink_to(outside)
    (out / "top").symlink_to(outside / "kept")
    tree = Tree(out, {"a/inner": b"1" * 10, "a/long": b"2" * 100, "b": b"3" * 10, "top": b"4" * 10})
    file = tree.open()
    tree.write_all(file)
    file.finish_all()
    assert sorted(tree.files)[:2] == [os.fsdecode(file.scatter.path(n)) for n in sorted(file.failed)]
    assert all("symbolic link" in str(why) for why in file.failed.values())
    tree.stop(file)
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_bytes() == b"mine"
    assert (out / "b").read_bytes() == b"3" * 10
    assert not (out / "top").is_symlink()
    assert (out / "top").read_bytes() == b"4" * 10


def test_a_link_planted_during_the_download_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = Tree(tmp_path / "out", {"a/one": b"1" * 32, "a/two": b"2" * 32, "b": b"3" * 20})
    file = tree.open()
    tree.write(file, 0)
    (tmp_path / "out" / "a").rename(tmp_path / "moved")
    (tmp_path / "out" / "a").symlink_to(outside)
    tree.write(file, 1)
    tree.write(file, 2)
    file.finish_all()
    assert list(file.failed) == [1]
    with pytest.raises(StorageError):
        file.read_into(0, memoryview(bytearray(32)))
    tree.stop(file)
    assert not list(outside.iterdir())


@pytest.mark.parametrize("kind", ["directory", "full", "fifo", "socketless"])
def test_a_directory_in_place_of_a_file_fails_and_other_kinds_are_replaced(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if kind == "fifo":
        os.mkfifo(out / "b")
    elif kind == "socketless":
        (out / "b").symlink_to("nowhere")
    else:
        (out / "b").mkdir()
        if kind == "full":
            (out / "b" / "c").touch()
    tree = Tree(out, {"a": b"1" * 10, "b": b"2" * 10, "c": b"3" * 100})
    file = tree.open()
    tree.write_all(file)
    file.finish_all()
    if kind in ("directory", "full"):
        assert {n: str(why) for n, why in file.failed.items()} == {1: f"cannot write {out / 'b'}: a directory has its name"}
        assert 0 not in file.available
    else:
        assert not file.failed
        assert (out / "b").read_bytes() == b"2" * 10
    assert (out / "a").read_bytes() == b"1" * 10
    assert (out / "c").read_bytes() == b"3" * 100
    tree.stop(file)


def test_a_file_in_place_of_a_directory_is_reported_by_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_bytes(b"x")
    tree = Tree(out, {"a/b": b"1" * 10, "c": b"2"})
    file = tree.open()
    tree.write_all(file)
    assert f"{out / 'a'} is no directory" in str(file.failed[0])
    tree.stop(file)


@pytest.mark.parametrize("size", [10, 100, 0])
@pytest.mark.parametrize("right", [True, False])
def test_a_file_with_another_digest_than_the_manifests_does_not_get_its_name(tmp_path: Path, size: int, right: bool) -> None:
    files = {"a": b"1" * 10, "b": bytes(size), "c": b"3" * 40}
    told = hashlib.sha256(bytes(size) + b"" * right if right else b"other").hexdigest()
    tree = Tree(tmp_path / "out", files, digests=["", f"sha256:{told}", ""])
    file = tree.open()
    pieces = [*range(tree.geometry.count)][::-1]
    for n in pieces[1:] + pieces[:1]:
        tree.write(file, n)
    file.finish_all()
    assert list(file.failed) == ([] if right else [1])
    tree.target.discard()
    tree.stop(file)
    tree.check(but=[] if right else ["b"])


@pytest.mark.parametrize("length", [0, 3])
def test_a_truncated_part_ends_the_download(tmp_path: Path, length: int) -> None:
    tree = Tree(tmp_path / "out", {"a": b"1" * 100})
    file = tree.open()
    tree.write(file, 0)
    os.truncate(next((tmp_path / "out").glob(".dfengine.*/p0")), length)
    with pytest.raises(StorageError, match="cut short"):
        tree.write(file, 1)
    tree.stop(file)


BEGIN = """
import sys, threading
from tests.storage.test_tree_file import Path, Tree

tree = Tree(Path(sys.argv[1]), {f"f{n}": bytes([n]) * 64 for n in range(40)})
file, turn, failed = tree.open(), threading.Barrier(2), []

def write(mine):
    try:
        for n in range(40):
            turn.wait(60)
            tree.write(file, 2 * n + mine)
    except BaseException as error:
        failed.append(error)
        turn.abort()

running = [threading.Thread(target=write, args=(mine,)) for mine in range(2)]
for thread in running:
    thread.start()
for thread in running:
    thread.join()
assert not failed, failed
tree.finish(file)
tree.check()
"""


def test_two_threads_may_begin_the_same_file(tmp_path: Path) -> None:
    """No thread mistakes a part that another thread is creating for a truncated one; strace delays each look at its size."""
    slow = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=newfstatat", "-e", "inject=newfstatat:delay_exit=2000"]
    subprocess.run([*slow, sys.executable, "-c", BEGIN, str(tmp_path / "out")], check=True, timeout=240, cwd=Path(__file__).parents[2])


def test_files_get_the_modes_and_times_of_the_manifest(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "out", {"a": b"1", "b": b"2" * 100, "c": b""}, modes=[0o750, 0o600, -1], mtimes=[10**18 + 5, 7 * 10**9, -1])
    file = tree.open()
    tree.write_all(file)
    tree.finish(file)
    found = [(tmp_path / "out" / name).stat() for name in "abc"]
    assert [stat.S_IMODE(each.st_mode) for each in found[:2]] == [0o750, 0o600]
    assert [each.st_mtime_ns for each in found[:2]] == [10**18 + 5, 7 * 10**9]
    tree.check()


def marks(*versions: int) -> bytes:
    return b"".join(version.to_bytes(16, "little") for version in versions)


def test_unchanged_files_of_an_earlier_download_are_kept(tmp_path: Path) -> None:
    files = dict(zip(names(8), bodies([10, 40, 7, 100, 0, 31, 64, 5]), strict=True))
    out = tmp_path / "out"
    tree = Tree(out, files, marks=marks(*range(1, 9)))
    assert not tree.target.find_kept()
    file = tree.open()
    tree.write_all(file)
    tree.finish(file)
    again = Tree(out, files, marks=marks(*range(1, 9)))
    assert again.target.find_kept(), "the file system has no extended attributes"
    again.target.close()
    before = (out / "file0").stat().st_ino
    (out / "a/file1").write_bytes(files["a/file1"])
    os.utime(out / "a/file1", ns=((out / "a/file1").stat().st_mtime_ns + 1,) * 2)
    (out / "c/file3").unlink()
    new = dict(files, **{"a/file5": b"n" * 31})
    third = Tree(out, new, marks=marks(1, 2, 3, 4, 5, 66, 7, 8))
    assert not third.target.find_kept()
    assert third.target.kept == [0, 2, 4, 6, 7]
    file = third.open()
    assert 0 < file.available.count() < third.geometry.count
    third.write_all(file)
    third.finish(file)
    third.check()
    assert (out / "file0").stat().st_ino == before


def lose(path: Path, blocks: bytes = b"") -> None:
    """Leave of the file what a power failure leaves: size, times and note, and of its bytes none, or these."""
    before = path.stat()
    os.truncate(path, 0)
    path.write_bytes(blocks)
    os.truncate(path, before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("noted", ["another boot", "no boot", "unknown boot"])
def test_files_without_their_data_are_not_kept_after_a_power_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: str
) -> None:
    sizes = [3 << 16, 40, 0, 2 << 16]
    files, out = dict(zip("abcd", bodies(sizes), strict=True)), tmp_path / "out"
    monkeypatch.setattr(tree_target, "boot_id", lambda: "" if noted == "unknown boot" else "aa" * 16)
    tree = Tree(out, files, 1 << 16, marks=marks(1, 2, 3, 4))
    file = tree.open()
    tree.write_all(file)
    tree.finish(file)
    if noted == "no boot":  # as earlier versions wrote it
        for name in files:
            os.setxattr(out / name, "user.dfengine.tree", os.getxattr(out / name, "user.dfengine.tree")[:32])
    lose(out / "a", files["a"][: 1 << 16])
    lose(out / "b")
    monkeypatch.setattr(tree_target, "boot_id", lambda: "bb" * 16)
    again = Tree(out, files, 1 << 16, marks=marks(1, 2, 3, 4))
    assert not again.target.find_kept()
    assert again.target.kept == [2, 3]
    assert [os.getxattr(out / name, "user.dfengine.tree")[32:] for name in "cd"] == [b"\xbb" * 16] * 2
    file = again.open()
    again.write_all(file)
    again.finish(file)
    again.check()
    lose(out / "d")  # which the present boot has examined: only a reboot loses data
    assert Tree(out, files, 1 << 16, marks=marks(1, 2, 3, 4)).target.find_kept()


@pytest.mark.parametrize("boot", ["", "cc" * 16])
def test_whole_files_of_an_earlier_boot_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boot: str) -> None:
    """boot: the present one; "": unknown."""
    files, out = dict(zip("abc", bodies([100, 0, 5000]), strict=True)), tmp_path / "out"
    tree = Tree(out, files, marks=marks(1, 2, 3))
    file = tree.open()
    tree.write_all(file)
    tree.finish(file)
    monkeypatch.setattr(tree_target, "boot_id", lambda: boot)
    for _ in range(2):
        assert Tree(out, files, marks=marks(1, 2, 3)).target.find_kept()
    with pytest.raises(BadValue, match="16 bytes"):
        Scatter([b"a"], [1], 32, -1, boot=b"short")


def test_cleanup_removes_the_remains_of_a_download_killed_at_its_end(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "out", {"a": b"1" * 100, "b": b"2"}, marks=marks(1, 2))
    file = tree.open()
    tree.write_all(file)
    file.finish_all()
    tree.stop(file)
    assert tree.target.find_kept()
    tree.target.cleanup()
    tree.target.cleanup()
    tree.target.close()
    tree.check()


def test_an_interrupt_while_present_pieces_are_hashed_releases_the_directory(tmp_path: Path) -> None:
    files = {"a": b"1" * 100, "b": b"2"}
    tree = Tree(tmp_path / "out", files)
    file = tree.open()
    tree.write(file, 0)
    tree.stop(file)
    before = sorted(own_descriptors())

    def stop() -> None:
        raise KeyboardInterrupt

    stopped = Tree(tmp_path / "out", files, check=stop)
    with pytest.raises(KeyboardInterrupt) as raised:
        stopped.open()
    stopped.target.close()
    assert raised.value is not None
    assert sorted(os.listdir("/proc/self/fd")) == before
    again = Tree(tmp_path / "out", files)
    file = again.open()
    assert list(file.available) == [0]
    again.write_all(file)
    again.finish(file)
    again.check()


def test_two_downloads_of_one_tree_do_not_write_at_once(tmp_path: Path) -> None:
    first, second = (Tree(tmp_path / "out", {"a": b"1" * 100}) for _ in range(2))
    file = first.open()
    with pytest.raises(StorageError, match="another download"):
        second.open()
    first.stop(file)
    second.stop(second.open())


def test_a_refused_second_download_does_not_remove_the_first_ones_directory(tmp_path: Path) -> None:
    first, second = (Tree(tmp_path / "out", {"a": b"1" * 100}) for _ in range(2))
    first.target.prepare()
    with pytest.raises(StorageError, match="another download"):
        second.target.prepare()
    second.target.close()
    file = first.open()
    first.write_all(file)
    first.finish(file)
    first.check()


@pytest.mark.parametrize("way", ["itself", "link"])
def test_two_trees_are_not_written_to_one_directory_at_once(tmp_path: Path, way: str) -> None:
    """Whatever their tasks are. The lock file of a killed process does not lock."""
    out = tmp_path / "out"
    out.mkdir()
    (out / folder_lock.NAME).touch(0o400)
    (tmp_path / "link").symlink_to("out")
    first = Tree(out, {"a": b"1" * 100})
    second = TreeTarget(str(out if way == "itself" else tmp_path / "link"), "ab" * 32, ["b"], [1])
    file = first.open()
    for attempt in (second.prepare, second.lock):
        with pytest.raises(StorageError, match=r"another download writes a tree to .*/out: wait for it"):
            attempt()
    first.write_all(file)
    first.finish(file)
    first.check()
    assert sorted(os.listdir(out)) == ["a"]
    second.prepare()
    second.close()
    assert sorted(os.listdir(out)) == ["a"]


def test_a_download_that_deletes_does_not_start_below_another_tree(tmp_path: Path) -> None:
    first = Tree(tmp_path / "out", {"a": b"1" * 100})
    file = first.open()
    second = TreeTarget(str(tmp_path / "out/sub/deep"), "ab" * 32, ["b"], [1])
    with pytest.raises(StorageError, match=r"writes a tree to .*/out: .*--delete"):
        second.lock(deletes=True)
    assert not (tmp_path / "out/sub").exists(), "a refused download leaves its directory"
    second.lock()
    second.close()
    first.stop(file)


@pytest.mark.parametrize("planted", ["link", "folder", "fifo"])
def test_a_planted_lock_file_is_refused_without_waiting(tmp_path: Path, planted: str) -> None:
    place = tmp_path / folder_lock.NAME
    plants: dict[str, Callable[[], None]] = {
        "link": lambda: place.symlink_to("/dev/zero"), "folder": place.mkdir, "fifo": lambda: os.mkfifo(place),
    }  # fmt: skip
    plants[planted]()
    with pytest.raises(StorageError, match="is no file: remove it"):
        Tree(tmp_path, {"a": b"1"}).open()
    assert not folder_lock.is_held(str(tmp_path))


def test_checking_the_lock_does_not_disturb_locking(tmp_path: Path) -> None:
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            folder_lock.is_held(str(tmp_path / "out"))

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / folder_lock.NAME).touch()
    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(50):
            target = TreeTarget(str(tmp_path / "out"), TASK, ["a"], [1])
            target.lock()
            target.close()
    finally:
        stop.set()
        looking.join()


@pytest.mark.parametrize("planted", ["file", "link", "loose"])
def test_a_planted_directory_of_parts_is_refused(tmp_path: Path, planted: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    place = out / f".dfengine.{TASK[:12]}"
    if planted == "file":
        place.touch()
    elif planted == "link":
        place.symlink_to(tmp_path)
    else:
        place.mkdir()
        place.chmod(0o777)
    with pytest.raises(StorageError):
        Tree(out, {"a": b"1"}).open()


def test_reserved_names_and_a_file_as_the_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="used here"):
        Tree(tmp_path / "out", {".dfengine.x/record": b"1"})
    (tmp_path / "file").touch()
    with pytest.raises(DfengineError, match="no directory"):
        Tree(tmp_path / "file", {"a": b"1"})


def test_a_tree_of_another_length_than_the_manifests_is_refused(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "out", {"a": b"1" * 10})
    with pytest.raises(BadValue, match="bytes"):
        tree.target.open(Geometry(11, PIECE), b"v1")
    tree.target.close()


@pytest.mark.parametrize("state", ["old", "young", "held", "other"])
def test_abandoned_parts_are_removed_when_the_directory_is_written_to_again(tmp_path: Path, state: str) -> None:
    tree = Tree(tmp_path / "out", {"a": b"1" * 100})
    left = tmp_path / "out" / (".dfengine.ffffffffffff" if state != "other" else ".dfengine.mine")
    left.mkdir(parents=True)
    (left / "record").write_bytes(b"x")
    if state != "young":
        os.utime(left / "record", (1e9, 1e9))
    fd = os.open(left, os.O_RDONLY)
    if state == "held":
        fcntl.flock(fd, fcntl.LOCK_EX)
    tree.stop(tree.open())
    os.close(fd)
    assert left.exists() == (state != "old")
    assert (tmp_path / "out" / f".dfengine.{TASK[:12]}").exists()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_directory_moved_during_the_download_is_detected(tmp_path: Path, replaced: bool) -> None:
    tree = Tree(tmp_path / "out", {"a": b"1"})
    file = tree.open()
    try:
        tree.target.check_in_place()
        (tmp_path / "out").rename(tmp_path / "elsewhere")
        if replaced:
            (tmp_path / "out").mkdir()
        with pytest.raises(StorageError, match="was moved or replaced"):
            tree.target.check_in_place()
    finally:
        file.close()
        tree.target.close()
