"""Open files through a supernode that knows only 1.x: it offers what it likes, and names no version."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dfengine
from dfengine.errors import OriginChanged
from dfengine.files import File
from tests.e2e.standin import MIB, LegacySupernode, Origin, eventually

PIECE = MIB - 5
SIZE = 40 * PIECE + 77


def content(seed: int) -> bytes:
    return random.Random(seed).randbytes(SIZE)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    files: list[File] = []

    def begin(node: LegacySupernode, url: str = "http://127.0.0.1:1/file", **more: Any) -> File:
        nodes = [f"127.0.0.1:{node.port}"]
        file = dfengine.open(url, nodes=nodes, home=tmp_path, pattern="cdn", ip="127.0.0.1", quiet=True, **more)
        assert isinstance(file, File)
        files.append(file)
        return file

    yield begin
    for file in files:
        file.close()


@pytest.mark.parametrize("unknown", [False, True])
def test_reads_take_what_is_offered(opened: Any, unknown: bool) -> None:
    whole = content(1)
    with LegacySupernode(whole, unknown=unknown) as node:
        file = opened(node)
        for offset in (0, 20 * PIECE, SIZE - 5, 7 * PIECE - 3):
            assert file.pread(offset, 100) == whole[offset : offset + 100]
        assert file.size == SIZE
        assert file.read() == whole
        eventually(lambda: node.count("/peer/piece/suc") == 41, "every piece announced")


def test_nothing_is_asked_for_while_nobody_reads(opened: Any) -> None:
    """But what is here is announced, and the file is whole in the end."""
    whole = content(1)
    with LegacySupernode(whole) as node:
        file = opened(node)
        assert file.pread(0, 10) == whole[:10]
        transfer = file.opened()._transfer
        eventually(lambda: transfer.parked and sum(map(len, node.written.values())) == transfer.plan.stored, "what is here was announced")
        here, asked = transfer.plan.stored, node.count("/peer/task")
        assert here < 20
        time.sleep(0.5)
        assert (transfer.plan.stored, node.count("/peer/task")) == (here, asked)
        assert file.map() == whole
        (cid,) = node.written
        eventually(lambda: node.written[cid] == node.arrived[cid] == set(range(41)), "everything was told")


def test_one_that_forgot_us_is_not_believed_to_have_the_same_version(opened: Any) -> None:
    """The origin proves what is here, and has the rest."""
    whole = content(1)
    with LegacySupernode(whole) as node, Origin(whole) as origin:
        file = opened(node, origin.url)
        assert file.pread(0, 10) == whole[:10]
        node.forget()
        node.content = content(2)
        assert file.pread(30 * PIECE, 10) == whole[30 * PIECE : 30 * PIECE + 10]
        assert file.read() == whole
        assert file.opened()._fetching.place.byte_counts.origin > 0


def test_one_that_forgot_us_and_an_origin_that_changed(opened: Any) -> None:
    whole = content(1)
    with LegacySupernode(whole) as node, Origin(content(2)) as origin:
        file = opened(node, origin.url)
        assert file.pread(0, 10) == whole[:10]
        node.forget()
        with pytest.raises(OriginChanged):
            file.pread(30 * PIECE, 10)
        assert file.pread(0, 10) == whole[:10]
