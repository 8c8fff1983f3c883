"""A file changes at the origin while processes of a host have it open: later readers receive the present version."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

import dfengine
from dfengine import aio
from dfengine.client.present_version import FRESH
from tests.e2e.readers import Reader
from tests.e2e.scene import MIB, Scene, until

SIZE = 8 * MIB + 77


def sha256(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()


def from_host(file: dfengine.File) -> int:
    """Bytes received from another download of this host."""
    return int(file.opened()._fetching.place.byte_counts.host)


def settings(stage: Scene, node: str) -> dict[str, Any]:
    home: Path = stage.path / "home-2"
    stage.homes.add(home)
    return {"nodes": [node], "ip": "127.0.0.2", "home": home, "quiet": True}


@pytest.mark.parametrize("store", ["memory", "disk"])
@pytest.mark.parametrize("whole", [True, False])
def test_later_readers_receive_the_present_version_beside_a_long_open_file(stage: Scene, store: str, whole: bool) -> None:
    """Both versions are on the host at once, and each is shared by the readers that opened it."""
    node = stage.supernode("--revalidate-interval", "0")
    url, old = f"{stage.origin()}/f", stage.file("f", SIZE)
    given = settings(stage, node.node)
    holder = Reader(stage, url, node, "" if whole else "one", store, limit=0)
    holder.opened()
    if whole:
        assert holder.read()["sha256"] == old
    else:
        assert holder.line().strip() == sha256((stage.www / "f").read_bytes()[-1000:])
        time.sleep(FRESH)  # so that the holder's place is old
    with dfengine.open(url, store=store, **given) as same:
        assert sha256(same.read() if whole else same.pread(SIZE - 9, 9)) == (old if whole else sha256((stage.www / "f").read_bytes()[-9:]))
        until(lambda: from_host(same) > 0, "bytes of the holder, whose version is the present one")
    new = stage.file("f", SIZE + 5)
    with dfengine.open(url, store=store, **given) as first, dfengine.open(url, store=store, **given) as second:
        assert [sha256(each.read()) for each in (first, second)] == [new, new]
        until(lambda: from_host(second) == SIZE + 5, "bytes of the first reader of the present version")
        with dfengine.open(url, store=store, digest=f"sha256:{new}", **given) as file:
            assert sha256(file.map()) == new

        async def read() -> str:
            async with await aio.open(url, store=store, **given) as file:
                return sha256(await file.read())

        assert asyncio.run(read()) == new
        with dfengine.stream(url, **given) as stream:
            assert sha256(stream.read()) == new
    holder.kill()


def test_without_a_supernode_readers_join_the_open_version(stage: Scene) -> None:
    node = stage.supernode()
    url, old = f"{stage.origin()}/f", stage.file("f", SIZE)
    given = settings(stage, node.node)
    with dfengine.open(url, **given) as holder:
        assert sha256(holder.read()) == old
        node.process.kill()
        node.process.wait()
        with dfengine.open(url, **given) as file:
            assert sha256(file.read()) == old
            until(lambda: from_host(file) == SIZE, "bytes of the holder")
