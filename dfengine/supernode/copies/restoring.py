"""Reads a copy that this supernode has not on its disk from the object store. Runs in the fetch's thread.

The origin says first whether the stored version still holds, by a conditional request that costs no byte of the file; an origin that is
down is not waited for, as with a copy on the disk. A piece counts if it has the digest in the sealed head. When the store fails, or
has WRONG pieces that are not right, the origin sends what is missing, by range.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

from blake3 import blake3

from dfengine.errors import OriginUnreachable
from dfengine.supernode.copies.cache import Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.store import PIECE, TICK, Piece, Store, StoreError
from dfengine.supernode.copies.stored import Stored
from dfengine.supernode.copies.wanted import Wanted
from dfengine.tree import MANIFEST

WRONG = 3
"""Pieces that are not as they should be, after which no more of the copy are read."""

AHEAD = 4
"""Pieces of one copy that are read at once."""


def may_be_stored(wanted: Wanted) -> bool:
    """Everybody who may register may have it, also from the store, and all supernodes name its task alike.

    A tree's manifest is made anew, since its files may have changed.
    """
    return wanted.public and not (wanted.tree is not None and wanted.tree.part == MANIFEST)


def find(fetch: Fetch) -> Stored | None:
    """What the store has of the fetch's task. Raises OriginUnreachable if the process ends."""
    if fetch.store is None or not may_be_stored(fetch.wanted):
        return None
    found = fetch.store.find(fetch.task, partial(_check, fetch))
    return found if found is not None and description(fetch, found).answers(fetch.wanted.headers) else None


def description(fetch: Fetch, found: Stored) -> Description:
    """Of a copy of it that has no piece yet."""
    return Description(
        url=fetch.wanted.url, generation=found.generation, etag=found.etag, last_modified=found.last_modified, digest=fetch.cache.digest,
        dated=found.dated, coding=found.coding, verified=fetch.wanted.verified, vary=found.vary, tree=found.tree,
        open=fetch.wanted.open,
    )  # fmt: skip


def fill(fetch: Fetch, file: Copy, found: Stored) -> None:
    """Read from the store what the copy lacks, as far as that is there and right. Raises OriginUnreachable, StorageError."""
    store, digests = fetch.store, found.digest_list()
    assert store is not None
    waiting = dict.fromkeys(n for n in range(file.geometry.count) if n not in file.here)
    reading: dict[int, Piece] = {}
    received_at, wrong = time.monotonic(), 0
    with ExitStack() as left:
        left.callback(_close, reading)
        while waiting or reading:
            _check(fetch)
            _begin(fetch, store, found, file, waiting, reading)
            for n in [n for n, piece in reading.items() if piece.call.over.is_set()]:
                received_at = time.monotonic()
                try:
                    _take(fetch, file, n, reading[n].call.result(), digests[n])
                except StoreError as error:
                    store.failed(fetch.task, StoreError(f"{found.name}: {error}", own=error.own or error.absent))
                    fetch.doubted = True
                    wrong += 1 if error.own else WRONG
                finally:
                    reading.pop(n).close()
            if any(time.monotonic() - piece.started > PIECE for piece in reading.values()):
                store.failed(fetch.task, StoreError(f"{found.name}: a piece does not come within {PIECE:g} s"))
                return
            if wrong >= WRONG:
                return
            if not reading and waiting and time.monotonic() - received_at > PIECE:
                return  # other copies have all turns, and do not end
            with fetch.news:
                fetch.news.wait_for(lambda: fetch.stopped or any(piece.call.over.is_set() for piece in reading.values()), TICK)
    if not wrong:
        store.works()


def _begin(fetch: Fetch, store: Store, found: Stored, file: Copy, waiting: dict[int, None], reading: dict[int, Piece]) -> None:
    """As many reads as may be under way; what a stream waits for first."""
    while waiting and len(reading) < AHEAD:
        n = fetch.wanted_piece if fetch.wanted_piece in waiting else next(iter(waiting))
        piece = store.read(found.name, *file.geometry.content(n), fetch.notify)
        if piece is None:
            return
        reading[n] = piece
        del waiting[n]


def _take(fetch: Fetch, file: Copy, n: int, content: bytes, digest: bytes) -> None:
    """Raises StoreError where it is not what it should be, StorageError."""
    if blake3(content).digest() != digest:
        raise StoreError(f"piece {n} is wrong", own=True)
    fetch.room.keep_free()
    own = fetch.cache.piece_digest(memoryview(content))
    fetch.room.write(fetch.task, lambda: file.write(n, memoryview(content), own), len(content), lambda: fetch.missing_bytes)
    fetch.arrived(n)


def _close(reading: dict[int, Piece]) -> None:
    for piece in reading.values():
        piece.close()


def _check(fetch: Fetch) -> None:
    if fetch.stopped:
        raise OriginUnreachable("the supernode is going away")
