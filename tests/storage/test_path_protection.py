"""Protection against files that other users of a host place where a download writes."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from dfengine._piece import Geometry
from dfengine.client import finished, local_peer
from dfengine.errors import LocalError, StorageError
from dfengine.net.dialer import Dialer
from dfengine.storage.home import Home
from dfengine.storage.output_path import opened, prepare
from dfengine.storage.part_file import PartFile
from dfengine.storage.path_protection import removable, resolved
from dfengine.storage.tree_target import TreeTarget
from dfengine.supernode import server

TASK = "0123456789abcdef" * 4
OTHER = 12345
GEOMETRY = Geometry(1050, 105)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder with the mode of /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def file_of(uid: int) -> Callable[[Path], None]:
    def lay(path: Path) -> None:
        path.write_bytes(b"laid")
        os.chown(path, uid, uid)

    return lay


def link(path: Path) -> None:
    path.symlink_to("/nowhere")
    os.lchown(path, OTHER, OTHER)


def fifo(path: Path) -> None:
    os.mkfifo(path)
    os.chown(path, OTHER, OTHER)


def own_fifo(path: Path) -> None:
    os.mkfifo(path)


def unix(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.getcwd()
        os.chdir(path.parent)
        sock.bind(path.name)
        os.chdir(here)


def folder_with_something(path: Path) -> None:
    path.mkdir()
    (path / "x").write_bytes(b"")


LAID = [file_of(OTHER), link, fifo, own_fifo, unix, folder_with_something, Path.mkdir]


@pytest.mark.parametrize("lay", LAID)
@pytest.mark.parametrize("which", [".part", ".record", ".record.{pid}"])
@pytest.mark.parametrize("stems", [1, 2])
def test_a_free_name_is_used_when_others_are_occupied(shared: Path, lay: Callable[[Path], None], which: str, stems: int) -> None:
    out = shared / "out"
    foreseen = PartFile(str(out), TASK)._stems[:stems]
    for stem in foreseen:
        lay(Path(stem + which.format(pid=os.getpid())))
    before = {path: os.lstat(path) for path in shared.iterdir()}
    target = PartFile(str(out), TASK)
    file = target.open(GEOMETRY, b"g")
    for n in range(GEOMETRY.count):
        file.write(n, memoryview(bytes(GEOMETRY.content(n)[1])), bytes(16))
    target.finish(file)
    file.close()
    assert out.read_bytes() == bytes(1050)
    assert (out.stat().st_uid, out.is_symlink()) == (os.geteuid(), False)
    for path, found in before.items():
        own = found.st_uid == os.geteuid() and not stat.S_ISDIR(found.st_mode) and which != ".part"
        assert own or os.path.samestat(os.lstat(path), found), "a planted file was changed"


def test_a_hard_link_to_another_file_of_the_user_is_not_overwritten(shared: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    target = PartFile(str(shared / "out"), TASK)
    os.link(precious, target._stems[0] + ".part")
    file = target.open(GEOMETRY, b"g")
    assert os.fstat(file.fd).st_nlink == 1
    assert precious.read_bytes() == b"mine"
    with open(target.part, "rb") as held, pytest.raises(BlockingIOError):
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file.close()


def test_a_record_name_occupied_after_the_check_costs_only_the_name(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dfengine.storage import part_file as module

    looked = removable

    def raced(path: str) -> bool:
        free = looked(path)
        if path.endswith(".record") and not os.path.exists(path) and len(list(shared.glob(".*.record"))) < 3:
            os.mkdir(path)
        return free

    monkeypatch.setattr(module, "removable", raced)
    target = PartFile(str(shared / "out"), TASK)
    target.open(GEOMETRY, b"g").close()
    assert target.private


@pytest.mark.parametrize("inner", ["out", "folder/out"])
def test_another_users_link_in_a_shared_folder_is_not_followed(shared: Path, tmp_path: Path, inner: str) -> None:
    there = tmp_path / "there"
    there.mkdir()
    laid = shared / inner.split("/")[0]
    laid.symlink_to(there / "file" if inner == "out" else there)
    os.lchown(laid, OTHER, OTHER)
    with pytest.raises(StorageError, match="another user's link"):
        PartFile(str(shared / inner), TASK)
    (tmp_path / "mine").symlink_to(laid)
    with pytest.raises(StorageError, match="another user's link"):
        PartFile(str(tmp_path / "mine") if inner == "out" else str(tmp_path / "mine" / "out"), TASK)
    os.lchown(laid, os.geteuid(), -1)
    assert PartFile(str(shared / inner), TASK).path == str(there / ("file" if inner == "out" else "out"))
    # The folder's owner can change everything in it, so the kernel allows these links.
    os.lchown(laid, OTHER, -1)
    os.chown(shared, OTHER, -1)
    assert PartFile(str(shared / inner), TASK).path.startswith(str(there))
    os.chown(shared, os.geteuid(), -1)
    shared.chmod(0o755)
    assert PartFile(str(shared / inner), TASK).path.startswith(str(there))


@pytest.mark.parametrize("mode", [0o1777, 0o1770])
def test_another_users_file_in_a_shared_folder_is_not_replaced(shared: Path, mode: int) -> None:
    shared.chmod(mode)
    out = shared / "out"
    file_of(OTHER)(out)
    with pytest.raises(StorageError, match="another user's"):
        PartFile(str(out), TASK)
    shared.chmod(0o755)
    assert PartFile(str(out), TASK).path == str(out)


def test_another_users_pipe_in_a_shared_folder_is_not_written_to(shared: Path) -> None:
    pipe = shared / "pipe"
    fifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(StorageError, match="another user's"), opened(str(pipe)):
        raise AssertionError("it was opened")
    os.chown(pipe, os.geteuid(), -1)
    with opened(str(pipe)) as fd:
        os.write(fd, b"mine")
    assert os.read(reader, 10) == b"mine"
    os.close(reader)


def test_an_output_that_another_user_can_change_is_not_reused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"content")
    with open(out, "rb") as file:
        finished.write_description(file.fileno(), TASK, "generation", None, "")
    assert finished.read_description(str(out), TASK) is not None, "the temporary folder's file system needs extended attributes"
    os.chown(out, OTHER, OTHER)
    assert finished.read_description(str(out), TASK) is None
    os.chown(out, os.geteuid(), -1)
    out.chmod(0o666)
    assert finished.read_description(str(out), TASK) is None


@pytest.mark.parametrize("lay", LAID)
def test_the_peers_log_is_not_written_to_a_planted_file(shared: Path, tmp_path: Path, lay: Callable[[Path], None]) -> None:
    """In a home directory of root's, as on a shared disk; the server runs without a log."""
    lay(shared / "peer.log")
    before = os.lstat(shared / "peer.log")
    peer = local_peer.ensure(Home(str(shared)), Dialer(), "127.0.0.1", 0, "f-1-2.000", totallimit=0, alivetime=60.0)
    assert peer.port
    assert peer.sock is not None
    peer.sock.close()
    after = os.lstat(shared / "peer.log")
    assert (after.st_ino, after.st_size, after.st_mtime) == (before.st_ino, before.st_size, before.st_mtime)
    ended = os.pidfd_open(json.loads((shared / "peer.lock").read_bytes())["pid"])
    signal.pidfd_send_signal(ended, signal.SIGTERM)
    assert select.select([ended], [], [], 60.0)[0], "the server does not end"
    os.close(ended)


@pytest.mark.parametrize("laid", ["download", "supernode.lock"])
def test_a_supernodes_home_with_another_users_files_is_refused(shared: Path, laid: str) -> None:
    home, path = shared / "home", shared / "home" / laid
    home.mkdir()
    home.chmod(0o1777)
    for lay in (link, Path.mkdir if laid == "download" else file_of(OTHER)):
        lay(path)
        os.chown(path, OTHER, OTHER, follow_symlinks=False)
        with pytest.raises(LocalError, match="choose another --home-dir"):
            server._locked(str(home))
        path.unlink() if path.is_symlink() or path.is_file() else path.rmdir()
    os.close(server._locked(str(home)))


def test_no_directory_is_created_behind_another_users_link(shared: Path, tmp_path: Path) -> None:
    (shared / "there").symlink_to(tmp_path)
    os.lchown(shared / "there", OTHER, OTHER)
    with pytest.raises(StorageError, match="another user's link"):
        prepare(str(shared / "there" / "new" / "out"), True)
    assert not (tmp_path / "new").exists()


def test_links_are_resolved_as_the_kernel_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "up").symlink_to("a/b/../../a/b")
    (tmp_path / "missing").symlink_to("nowhere/at/all")
    (tmp_path / "absolute").symlink_to(tmp_path / "up" / "x")
    monkeypatch.chdir(tmp_path)
    for path in ("up/out", "missing", "absolute", "./up/../up//out", "a/./b/../out", "new/../out", "/", "//tmp/../etc/hosts"):
        assert resolved(path) == os.path.realpath(path), path
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        resolved("loop/out")


@pytest.mark.parametrize("what", ["directory", "parts", "link"])
def test_another_users_directory_is_not_used_for_a_tree(shared: Path, what: str) -> None:
    out = shared / "out"
    if what == "link":
        (shared / "mine").mkdir()
        out.symlink_to("mine")
        os.chown(out, OTHER, OTHER, follow_symlinks=False)
    else:
        out.mkdir()
        laid = out
        if what == "parts":
            laid = out / f".dfengine.{TASK[:12]}"
            laid.mkdir()
        os.chown(laid, OTHER, OTHER)
    with pytest.raises(StorageError, match="another user's"):
        TreeTarget(str(out), TASK, ["a"], [1]).prepare()
    assert not [path for path in shared.rglob("*") if path.name in ("record", "a")]
