"""Open files through a 1.x supernode, which chooses the pieces that it offers and names no version."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

import dfengine
from dfengine.errors import OriginChanged
from dfengine.files import File
from tests.e2e.standin import MIB, LegacySupernode, Origin, eventually, say

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
def test_reads_succeed_with_the_pieces_that_the_supernode_offers(opened: Any, unknown: bool) -> None:
    whole = content(1)
    with LegacySupernode(whole, unknown=unknown) as node:
        file = opened(node)
        for offset in (0, 20 * PIECE, SIZE - 5, 7 * PIECE - 3):
            assert file.pread(offset, 100) == whole[offset : offset + 100]
        assert file.size == SIZE
        assert file.read() == whole
        eventually(lambda: node.count("/peer/piece/suc") == 41, "every piece announced")


def test_no_pieces_are_requested_while_no_read_waits(opened: Any) -> None:
    """Stored pieces are announced, and a later map completes the file."""
    whole = content(1)
    with LegacySupernode(whole) as node:
        file = opened(node)
        assert file.pread(0, 10) == whole[:10]
        transfer = file.opened()._transfer
        eventually(lambda: transfer.parked and sum(map(len, node.written.values())) == transfer.plan.stored, "announced stored pieces")
        here, asked = transfer.plan.stored, node.count("/peer/task")
        assert here < 20
        time.sleep(0.5)
        assert (transfer.plan.stored, node.count("/peer/task")) == (here, asked)
        assert file.map() == whole
        (cid,) = node.written
        eventually(lambda: node.written[cid] == node.arrived[cid] == set(range(41)), "the report of every piece")


def test_a_supernode_that_lost_the_download_may_have_another_version(opened: Any) -> None:
    """The stored pieces are verified by the origin, which sends the rest."""
    whole = content(1)
    with LegacySupernode(whole) as node, Origin(whole) as origin:
        file = opened(node, origin.url)
        assert file.pread(0, 10) == whole[:10]
        node.forget()
        node.content = content(2)
        assert file.pread(30 * PIECE, 10) == whole[30 * PIECE : 30 * PIECE + 10]
        assert file.read() == whole
        assert file.opened()._fetching.place.byte_counts.origin > 0


def test_reads_fail_if_the_supernode_lost_the_download_and_the_origin_changed(opened: Any) -> None:
    whole = content(1)
    with LegacySupernode(whole) as node, Origin(content(2)) as origin:
        file = opened(node, origin.url)
        assert file.pread(0, 10) == whole[:10]
        node.forget()
        with pytest.raises(OriginChanged):
            file.pread(30 * PIECE, 10)
        assert file.pread(0, 10) == whole[:10]


class RestartedSupernode(LegacySupernode):
    """It restarts with `later` content while its only piece is under way, and sends that piece after the next registration."""

    def __init__(self, content: bytes, later: bytes) -> None:
        self.later, self.requested, self.pulled_again = later, threading.Event(), threading.Event()
        super().__init__(content, known=lambda n: n == 0 or self.restarted)

    @property
    def restarted(self) -> bool:
        return self.content is self.later

    def _pull(self, query: dict[str, str]) -> dict[str, Any]:
        if len(self.registered) > 1:
            self.pulled_again.set()
        elif self.requested.is_set():
            self.forget()
            self.content = self.later
        return super()._pull(query)

    def _piece(self, request: BaseHTTPRequestHandler) -> None:
        if self.restarted:
            super()._piece(request)
            return
        framed = self.framed(0)
        self.requested.set()
        self.pulled_again.wait(30)
        say(request, 206, framed)

    def stop(self) -> None:
        self.pulled_again.set()
        super().stop()


def test_a_piece_under_way_is_not_mixed_with_those_of_a_restarted_supernode(opened: Any) -> None:
    first, later = content(1), content(2)
    with RestartedSupernode(first, later) as node, Origin(later) as origin:
        assert opened(node, origin.url).read() == later
        assert node.restarted
