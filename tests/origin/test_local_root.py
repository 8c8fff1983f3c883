"""Local files that may be opened, and refused ones."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dfengine.errors import BadValue, OriginError
from dfengine.origin import local_root
from dfengine.origin.local_root import Roots, UnrestrictedRoots
from tests.own_descriptors import own_descriptors


@pytest.fixture(name="root", params=["openat2", "walk"])
def one_root(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the kernel's openat2, and as on a kernel without it."""
    if request.param == "walk":
        monkeypatch.setattr(local_root, "_OPENAT2", 100_000)
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_bytes(b"inside")
    (tmp_path / "outside").write_bytes(b"outside")
    return root


def read(roots: Roots, path: object) -> bytes:
    with open(roots.open(str(path)), "rb") as file:
        return file.read()


def test_a_file_below_a_root_is_read(root: Path) -> None:
    assert read(Roots([str(root)]), root / "sub" / "file") == b"inside"
    assert read(Roots(["/nothing".replace("nothing", "tmp"), str(root)]), root / "sub" / "file") == b"inside"
    fd = Roots([str(root)]).open(str(root))
    os.close(fd)


@pytest.mark.parametrize("path", ["../outside", "sub/../../outside", "./sub/file", "sub\0", "/etc/passwd"])
def test_paths_that_are_not_plain_or_outside_the_root_are_refused(root: Path, path: str) -> None:
    with pytest.raises(OriginError) as error:
        Roots([str(root)]).open(path if path.startswith("/") else f"{root}/{path}")
    assert error.value.status == 403


def test_a_root_does_not_include_directories_with_the_same_prefix(root: Path, tmp_path: Path) -> None:
    (tmp_path / "root2").mkdir()
    (tmp_path / "root2" / "x").write_bytes(b"1")
    with pytest.raises(OriginError, match="below no --origin-root") as error:
        Roots([str(root)]).open(f"{tmp_path}/root2/x")
    assert error.value.status == 403


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "../../outside", "/proc/self/fd/0", "/proc/self/root/etc/hostname"])
@pytest.mark.parametrize("where", ["sub/link", "link"])
def test_links_that_leave_the_root_are_refused(root: Path, target: str, where: str) -> None:
    target = target if where == "link" or target.startswith("/") else "../" + target
    (root / where).symlink_to(target)
    with pytest.raises(OriginError) as error:
        Roots([str(root)]).open(f"{root}/{where}")
    assert error.value.status in (403, 404)


def test_a_link_to_a_directory_outside_is_refused(root: Path, tmp_path: Path) -> None:
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(OriginError):
        Roots([str(root)]).open(f"{root}/out/outside")


def test_devices_pipes_sockets_and_missing_files_are_refused(root: Path) -> None:
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        for name, status in (("fifo", 403), ("socket", 403), ("none", 404), ("sub/file/x", 404), ("n" * 300, 404)):
            with pytest.raises(OriginError) as error:
                Roots([str(root)]).open(f"{root}/{name}")
            assert error.value.status == status
    with pytest.raises(OriginError) as error:
        Roots(["/dev"]).open("/dev/null")
    assert error.value.status == 403


def test_without_roots_files_are_refused_and_invalid_roots_are_named(root: Path) -> None:
    with pytest.raises(OriginError, match="--origin-root DIR") as error:
        Roots([]).open(str(root / "sub" / "file"))
    assert error.value.status == 403
    for given in ("relative", f"{root}/none", f"{root}/sub/file"):
        with pytest.raises(BadValue, match="--origin-root"):
            Roots([given])


def test_a_link_inside_the_root_is_followed(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "x").write_bytes(b"inside")
    (tmp_path / "link").symlink_to("blobs/x")
    assert read(Roots([str(tmp_path)]), tmp_path / "link") == b"inside"


def test_a_download_may_read_all_files_of_its_user(root: Path) -> None:
    assert read(UnrestrictedRoots(), root / "sub" / "file") == b"inside"
    with pytest.raises(OriginError):
        UnrestrictedRoots().open(f"{root}/none")


def test_no_descriptor_remains_open(root: Path) -> None:
    os.mkfifo(root / "fifo")
    before = len(own_descriptors())
    for path in (root / "fifo", root / "none", root / "sub" / "x", root / "sub" / "file"):
        try:
            os.close(Roots([str(root)]).open(str(path)))
        except OriginError:
            continue
    assert len(os.listdir("/proc/self/fd")) == before
