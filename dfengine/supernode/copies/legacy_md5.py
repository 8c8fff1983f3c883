"""The md5s that only 1.x needs: of each framed piece, and of the raw file. They cost more than everything else a piece costs."""

from __future__ import annotations

import hashlib
import mmap
import threading
from typing import TYPE_CHECKING

from dfengine._piece import TAIL

if TYPE_CHECKING:
    from dfengine.supernode.copies.fetch import Fetch

POLL = 1.0
"""Seconds between two looks when no news came; news wake at once."""

_TAIL = bytes([TAIL])


def compute(fetch: Fetch, more: threading.Condition) -> bool:
    """Follow the pieces in order, record each one's md5, and put the raw file's into the description. `more` tells of news.

    True when the end was reached; False when the fetch failed or began anew.
    """
    with more:
        more.wait_for(lambda: fetch.file is not None or fetch.over, None)
    file = fetch.file
    if file is None:
        return False
    whole = hashlib.md5(usedforsecurity=False)
    geometry = file.geometry
    size = geometry.content_size if geometry.length < 0 else max(1, min(geometry.content_size, geometry.length))
    buffer = memoryview(mmap.mmap(-1, size))  # as fetch.Fetch's
    n = 0
    while (count := file.geometry.count) < 0 or n < count:
        with more:
            while not (n in file.here or file.geometry.count == n or fetch.over or file is not fetch.file):
                more.wait(POLL)
        if fetch.over or file is not fetch.file:
            return False
        if n not in file.here:
            continue  # the length turned out to end right before n
        # Of these very bytes: a piece that was right when it came may have changed on the disk.
        if not file.prove(n, buffer):
            fetch.damaged(n)
            continue
        length = file.geometry.content(n)[1]
        whole.update(buffer[:length])
        framed = hashlib.md5(file.geometry.head(n), usedforsecurity=False)
        framed.update(buffer[:length])
        framed.update(_TAIL)
        file.md5s[n] = framed.digest()
        fetch.md5_known(n)
        n += 1
    fetch.description.md5 = whole.hexdigest()
    return True
