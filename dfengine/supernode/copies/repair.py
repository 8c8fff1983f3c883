"""Verifies a copy that was found on the disk before it is served, and fetches missing pieces again. Runs in the fetch's thread.

Missing pieces are requested by Range with the copy's validator. Without a validator the whole file is read again and compared with the
pieces on disk; if it differs, another generation begins.
"""

from __future__ import annotations

from collections.abc import Callable

from dfengine.errors import OriginChanged, OriginUnreachable, OutOfResources, StorageError
from dfengine.origin.piece_claims import missing
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.origin_reading import open_origin, read_gaps


def verify_found(fetch: Fetch, file: Copy, right: Callable[[int], None]) -> None:
    """Compare every piece in the record with its digest: call `right` for each right one, `fetch.damaged` for each other.

    The piece that a stream waits for is compared first. Raises OriginUnreachable if the process ends, OutOfResources.
    """
    waiting, buffer = dict.fromkeys(n for n in file.record.available if n not in file.available), file.buffer()
    while waiting:
        if fetch.stopped:
            raise OriginUnreachable("the supernode is going away")
        wanted = fetch.wanted_piece
        n = wanted if wanted in waiting else next(iter(waiting))
        del waiting[n]
        if file.verify(n, buffer):
            right(n)
        else:
            fetch.piece_damaged(n)


def missing_runs(file: Copy) -> list[tuple[int, int]]:
    """Return the runs [first, past) of missing pieces; none while the file's length is unknown."""
    count = file.geometry.count
    return missing(file.available, count) if count >= 0 else []


def fetch_missing(fetch: Fetch, file: Copy) -> bool:
    """Fetch the missing pieces. False: the origin has another version, or the copy's file was removed; a new generation must begin.

    Raises OriginError, StorageError.
    """
    try:
        for n in file.drop_truncated():
            fetch.piece_damaged(n)
    except OutOfResources:
        raise
    except StorageError:
        return False
    known, length = fetch.description, file.geometry.length
    version = known.version(length)
    origin, body = open_origin(fetch, found=(file, known) if version.binds else None)
    same = version.covers(body.version) if version.binds else body.length in (-1, length)
    if not same:
        body.close()
        return False
    try:
        read_gaps(fetch, origin, body, file, missing_runs(file) if version.binds else [(0, file.geometry.count)], compare=not version.binds)
    except OriginChanged:
        return False
    return True
