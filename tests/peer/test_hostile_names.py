"""A peer server serves registered downloads by their exact name, and never follows links."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dfengine._piece import Geometry
from dfengine.net._sendfile import FileSlice
from dfengine.net.http import BadRequest, Parts, Request
from dfengine.net.token_bucket import TokenBucket
from dfengine.peer.routes import Routes
from dfengine.storage.home import Home
from dfengine.storage.part_file import PartFile

NAME = "file.bin-1-2.3"
CONTENT = b"x" * 1000


@pytest.fixture
def shared(tmp_path: Path) -> Any:
    """Return (home, routes, target) of one complete download."""
    home = Home(str(tmp_path / "home"))
    target = PartFile(str(tmp_path / "out.bin"), "ab" * 32)
    file = target.open(Geometry(len(CONTENT)), b"")
    file.write(0, CONTENT, b"d" * 16)
    home.share(NAME, file, target, task="ab" * 32, cid="c", node="", expire=60.0)
    file.close()
    routes = Routes(home, TokenBucket(0), lambda: 0.0)
    yield home, routes, target
    routes.close()


def status(routes: Routes, name: str) -> int:
    headers = {"range": "bytes=0-4194303", "piecenum": "0", "piecesize": "4194304"}
    try:
        return routes(Request("GET", b"/peer/file/" + name.encode(), headers, b"", "127.0.0.1")).status
    except BadRequest as error:
        return error.status


HOSTILE = [
    NAME[:-1], NAME + "x", NAME.upper(), NAME + "/", "/" + NAME, NAME + "%00", "./" + NAME, "%2e/" + NAME, "../tasks/" + NAME,
    "%2e%2e/data/" + NAME,
    "..%2fdata%2f" + NAME, "..%5c" + NAME, "*", ".", "..", "", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/etc/passwd", NAME + "%0d%0a", "a" * 300,
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_other_spellings_of_a_name_are_refused(shared: Any, name: str) -> None:
    _, routes, _ = shared
    assert status(routes, NAME) == 206
    assert status(routes, name) in (400, 500)


@pytest.mark.parametrize("part", ["tasks", "data", "records"])
def test_links_out_of_the_home_are_not_followed(shared: Any, part: str, tmp_path: Path) -> None:
    home, routes, target = shared
    secret = tmp_path / "secret"
    link = Path(home.path, part, NAME)
    os.rename(link, secret)
    link.symlink_to(secret)
    for path in (target.part, target.record):
        os.unlink(path)
    assert status(routes, NAME) == 500


def test_a_file_that_replaced_the_shared_one_is_not_served(shared: Any) -> None:
    home, routes, target = shared
    with open(target.part, "rb"):  # so that the other file does not get the same inode number
        for path in (Path(home.path, "data", NAME), Path(target.part)):
            path.unlink()
            path.write_bytes(b"s" * 1000)
    assert status(routes, NAME) == 500


def test_unregistered_files_in_the_home_are_not_served(shared: Any) -> None:
    home, routes, _ = shared
    for name in ("stray", "peer.lock"):
        Path(home.path, "data", name).write_bytes(CONTENT)
        assert status(routes, name) == 500


def test_a_response_is_sent_from_the_registered_file(shared: Any) -> None:
    _, routes, target = shared
    headers = {"range": "bytes=0-4194303", "piecenum": "0", "piecesize": "4194304"}
    answer = routes(Request("GET", b"/peer/file/" + NAME.encode(), headers, b"", "127.0.0.1"))
    assert isinstance(answer, Parts)
    part = answer.parts[1]
    assert isinstance(part, FileSlice)
    assert os.path.samestat(os.fstat(part.fd), os.stat(target.part))
