"""Restores a copy that is not on this supernode's disk from the object store. Runs in the fetch's thread.

First a conditional request to the origin, which transfers no byte of the file, checks whether the stored version is still current. As with
a copy on the disk, an origin that is down does not delay this. A piece counts if it has the digest in the sealed head. When the store
fails, or has WRONG wrong pieces, the missing pieces are read from the origin, by range.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

from blake3 import blake3

from dfengine.errors import OriginUnreachable
from dfengine.supernode.copies.cache import Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.copy_store import PIECE, TICK, CopyStore, PieceRead, StoreError
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.copies.stored_head import StoredHead
from dfengine.tree import MANIFEST

WRONG = 3
"""Number of wrong pieces after which no more of the copy are read."""

PIECES_AT_ONCE = 4
"""Pieces of one copy that are read at once."""


def may_be_stored(wanted: FetchRequest) -> bool:
    """Whether a task may be in the store: every client that may register may have it, and all supernodes name the task alike.

    A tree's manifest is always made anew, since its files may have changed.
    """
    return wanted.public and not (wanted.tree is not None and wanted.tree.part == MANIFEST)


def find(fetch: Fetch) -> StoredHead | None:
    """Return the stored copy of the fetch's task. Raises OriginUnreachable if the process ends."""
    if fetch.store is None or not may_be_stored(fetch.request):
        return None
    found = fetch.store.find(fetch.task, partial(_check, fetch))
    return found if found is not None and description(fetch, found).matches(fetch.request.headers) else None


def description(fetch: Fetch, found: StoredHead) -> Description:
    """Return the description of a copy of `found` without pieces."""
    return Description(
        url=fetch.request.url, generation=found.generation, etag=found.etag, last_modified=found.last_modified, digest=fetch.cache.digest,
        dated=found.dated, coding=found.coding, verified=fetch.request.verified, vary=found.vary, tree=found.tree,
        open=fetch.request.open,
    )  # fmt: skip


def fill(fetch: Fetch, file: Copy, found: StoredHead) -> None:
    """Read the missing pieces that the store has and that are right. Raises OriginUnreachable, StorageError."""
    store, digests = fetch.store, found.digest_list()
    assert store is not None
    waiting = dict.fromkeys(n for n in range(file.geometry.count) if n not in file.available)
    reading: dict[int, PieceRead] = {}
    received_at, wrong = time.monotonic(), 0
    with ExitStack() as left:
        left.callback(_close, reading)
        while waiting or reading:
            _check(fetch)
            _begin(fetch, store, found, file, waiting, reading)
            for n in [n for n, piece in reading.items() if piece.call.ended.is_set()]:
                received_at = time.monotonic()
                try:
                    _write_piece(fetch, file, n, reading[n].call.result(), digests[n])
                except StoreError as error:
                    store.failed(fetch.task, StoreError(f"{found.name}: {error}", wrong_object=error.wrong_object or error.absent))
                    fetch.stored_copy_wrong = True
                    wrong += 1 if error.wrong_object else WRONG
                finally:
                    reading.pop(n).close()
            if any(time.monotonic() - piece.started > PIECE for piece in reading.values()):
                store.failed(fetch.task, StoreError(f"{found.name}: a piece does not arrive within {PIECE:g} s"))
                return
            if wrong >= WRONG:
                return
            if not reading and waiting and time.monotonic() - received_at > PIECE:
                return  # other copies use all reads, and do not finish
            with fetch.changed:
                fetch.changed.wait_for(lambda: fetch.stopped or any(piece.call.ended.is_set() for piece in reading.values()), TICK)
    if not wrong:
        store.succeeded()


def _begin(fetch: Fetch, store: CopyStore, found: StoredHead, file: Copy, waiting: dict[int, None], reading: dict[int, PieceRead]) -> None:
    """Start as many reads as allowed; the piece that a stream waits for is first."""
    while waiting and len(reading) < PIECES_AT_ONCE:
        n = fetch.wanted_piece if fetch.wanted_piece in waiting else next(iter(waiting))
        piece = store.read(found.name, *file.geometry.content(n), fetch.notify)
        if piece is None:
            return
        reading[n] = piece
        del waiting[n]


def _write_piece(fetch: Fetch, file: Copy, n: int, content: bytes, digest: bytes) -> None:
    """Write a piece to the copy. Raises StoreError if its digest is wrong, StorageError."""
    if blake3(content).digest() != digest:
        raise StoreError(f"piece {n} is wrong", wrong_object=True)
    fetch.disk.keep_free()
    own = fetch.cache.piece_digest(memoryview(content))
    fetch.disk.write(fetch.task, lambda: file.write(n, memoryview(content), own), len(content), lambda: fetch.missing_bytes)
    fetch.piece_stored(n)


def _close(reading: dict[int, PieceRead]) -> None:
    for piece in reading.values():
        piece.close()


def _check(fetch: Fetch) -> None:
    if fetch.stopped:
        raise OriginUnreachable("the supernode is going away")
