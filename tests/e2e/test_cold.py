"""Pieces that are on disk but not in the page cache are served like all others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.scene import MIB, Scene

SIZE = 40 * MIB + 7


def forget(home: Path) -> int:
    """Drop every file below `home` from the page cache; returns their size in bytes."""
    total = 0
    for path in home.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDWR)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            total += os.fstat(fd).st_size
            os.close(fd)
    return total


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "tls"])
def test_a_copy_outside_of_the_page_cache_is_loaded_and_served(stage: Scene, tmp_path: Path, sealed: bool) -> None:
    digest = stage.file("cold", SIZE)
    url = stage.origin() + "/cold"
    options: tuple[str, ...] = ()
    context = None
    if sealed:
        authority = Authority(stage.path)
        options, context = authority.options("host", "IP:127.0.0.1"), authority.context("test")
    node = stage.supernode(*options, "--revalidate-interval", "1h", home=tmp_path / "copies", tls=context)
    stage.get(url, "first", "--pattern", "cdn", *options, nodes=(node,))
    assert node.metric("dfengine_pieces_read_from_disk_total") == 0
    assert forget(node.home / "download") > SIZE
    stage.get(url, "second", "--pattern", "cdn", *options, nodes=(node,))
    assert stage.digest("second") == digest
    assert 1 <= node.metric("dfengine_pieces_read_from_disk_total") <= 11
