"""Complaints about pieces of the supernode's own copies: damaged pieces are found, and one client cannot crowd out others."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine.supernode.copies import scrubber as module
from dfengine.supernode.copies.cache import Cache, Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.scrubber import Scrubber

PIECES = 8
SIZE = (4 << 20) - 5
ALICE, BOB = "10.0.0.1", "10.0.0.2"


def copy_in(home: Path) -> Copy:
    file = Cache(str(home)).create("ab" * 32, Geometry(PIECES * SIZE), Description(url="u", generation="g"))
    for n in range(PIECES):
        content = bytes([n]) * file.geometry.content(n)[1]
        file.write(n, content, xxhash.xxh3_128_digest(content))
    return file


async def settled(scrubber: Scrubber) -> None:
    while any(until == float("inf") for until, _ in scrubber._known.values()):
        await asyncio.sleep(0.01)


def test_one_client_cannot_use_all_room_for_complaints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 4)

    async def play() -> None:
        file, damaged = copy_in(tmp_path), list[int]()
        fetch: Any = SimpleNamespace(task="t", file=file, piece_damaged=damaged.append)
        scrubber = Scrubber(asyncio.get_running_loop(), 50)
        os.pwrite(file.fd, b"x", 5 * SIZE)
        for n in range(5):
            scrubber.scrub(fetch, n, ALICE)
        assert list(scrubber._known) == [("t", 0), ("t", 1)]
        scrubber.scrub(fetch, 5, BOB)
        await settled(scrubber)
        assert damaged == [5]
        assert scrubber._shares.amount_of(BOB) == 0
        scrubber.scrub_unreadable(fetch, file, 6, PIECES)
        await settled(scrubber)
        assert scrubber._shares.amount_of(ALICE) == 2
        scrubber._known = {key: (0.0, address) for key, (_, address) in scrubber._known.items()}
        scrubber._full_until = 0.0
        scrubber.scrub(fetch, 0, ALICE)
        assert scrubber._shares.amount_of(ALICE) == 1, "expired results are not counted"
        await settled(scrubber)
        scrubber.close()

    asyncio.run(play())


def test_a_verified_piece_is_not_read_again_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        file, proved = copy_in(tmp_path), list[int]()

        def verify(n: int, buffer: object) -> bool:
            proved.append(n)
            return True

        monkeypatch.setattr(file, "verify", verify)
        fetch: Any = SimpleNamespace(task="t", file=file, piece_damaged=lambda n: None)
        scrubber = Scrubber(asyncio.get_running_loop())
        for address in (ALICE, BOB):
            scrubber.scrub(fetch, 3, address)
            await settled(scrubber)
        assert proved == [3]
        scrubber._known["t", 3] = 0.0, ALICE
        scrubber.scrub(fetch, 3, BOB)
        await settled(scrubber)
        assert proved == [3, 3]
        assert scrubber._shares.amount_of(ALICE) == 0
        scrubber.close()

    asyncio.run(play())
