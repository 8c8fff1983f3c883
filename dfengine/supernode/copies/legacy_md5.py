"""Computes the md5s that only Dragonfly 1.x needs: of each framed piece and of the raw file. They cost more than a piece's other work."""

from __future__ import annotations

import contextlib

from dfengine._piece import TAIL
from dfengine.errors import OriginUnreachable, OutOfResources, StorageError
from dfengine.storage.hashing import hasher
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch

POLL = 1.0
"""Seconds between two checks without a notification; notifications wake the thread at once."""


def compute_md5s(fetch: Fetch) -> Copy | None:
    """Compute the md5s of pieces as they arrive, of one generation after the other, in a thread of its own.

    Returns the copy whose md5s are all known; None: the fetch failed, or was stopped.
    """
    while not fetch.ended:
        with fetch.changed:
            fetch.changed.wait_for(lambda: fetch.file is not None or fetch.ended, POLL)
        file = fetch.file
        if file is not None and compute(fetch, file):
            with contextlib.suppress(StorageError, OriginUnreachable):
                fetch.use_files(lambda: fetch.cache.write_description(fetch.task, fetch.description))
            return file
    return None


def compute(fetch: Fetch, file: Copy, wait: bool = True) -> bool:
    """Record the md5 of each piece of `file` in order, and the raw file's in the description; each is reported by an event.

    wait: for missing pieces. False: the fetch failed or began another generation, or, without `wait`, a piece is missing.
    """
    whole = hasher("md5")
    description, buffer = fetch.description, file.buffer()
    n = 0
    while (count := file.geometry.count) < 0 or n < count:
        with fetch.changed:
            while wait and not (n in file.available or file.geometry.count == n or fetch.ended or file is not fetch.file):
                fetch.changed.wait(POLL)
        if fetch.ended or file is not fetch.file:
            return False
        if n not in file.available:
            if wait:
                continue  # the length turned out to end right before n
            return False
        # The md5 must be of verified bytes: a piece that was right when it arrived may have changed on the disk.
        try:
            if not file.verify(n, buffer):
                fetch.piece_damaged(n)
                continue
        except OutOfResources:
            if not wait:
                return False
            with fetch.changed:
                fetch.changed.wait(POLL)
            continue
        length = file.geometry.content(n)[1]
        whole.update(buffer[:length])
        framed = hasher("md5")
        framed.update(file.geometry.head(n))
        framed.update(buffer[:length])
        framed.update(TAIL)
        file.md5s[n] = framed.digest()
        fetch.post(fetch.events.fetch_md5, fetch, n)
        n += 1
    if file is not fetch.file:
        return False
    description.md5 = whole.hexdigest()
    fetch.notify()
    return True
