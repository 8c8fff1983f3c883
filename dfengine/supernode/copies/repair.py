"""A copy that was found on the disk is compared with its record before it is served, and what is wrong is fetched again.

Both run in a fetch's thread. A piece that is missing from a copy is asked of the origin by Range, under the version that the copy is of.
Where nothing binds the version, all of the file comes again and what is here is compared with it; another version is another generation.
"""

from __future__ import annotations

from collections.abc import Callable

from dfengine.errors import OriginChanged, OriginUnreachable, StorageError
from dfengine.origin.work import missing
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.origin_reading import ask, read


def prove_found(fetch: Fetch, file: Copy, proved: Callable[[int], None]) -> None:
    """Compare every piece that the record says is here; `proved` is called for each that is right, `fetch.damaged` for each other.

    The piece that a stream waits for is next. Raises OriginUnreachable when the process ends.
    """
    waiting, buffer = dict.fromkeys(n for n in file.record.here if n not in file.here), file.buffer()
    while waiting:
        if fetch.stopped:
            raise OriginUnreachable("the supernode is going away")
        wanted = fetch.wanted_piece
        n = wanted if wanted in waiting else next(iter(waiting))
        del waiting[n]
        if file.prove(n, buffer):
            proved(n)
        else:
            fetch.damaged(n)


def lacks(file: Copy) -> list[tuple[int, int]]:
    """Runs of pieces that are not here, of a file of known length; none while it is not known."""
    count = file.geometry.count
    return missing(file.here, count) if count >= 0 else []


def fetch_missing(fetch: Fetch, file: Copy) -> bool:
    """Fetch what the copy lacks. False: it must begin anew, for the origin has another version, or the file is gone.

    Raises OriginError, StorageError.
    """
    try:
        for n in file.cut_off():
            fetch.damaged(n)
    except StorageError:
        return False
    known, length = fetch.description, file.geometry.length
    version = known.version(length)
    origin, body = ask(fetch, found=(file, known) if version.binds else None)
    same = version.covers(body.version) if version.binds else body.length in (-1, length)
    if not same:
        body.close()
        return False
    try:
        read(fetch, origin, body, file, lacks(file) if version.binds else [(0, file.geometry.count)], compare=not version.binds)
    except OriginChanged:
        return False
    return True
