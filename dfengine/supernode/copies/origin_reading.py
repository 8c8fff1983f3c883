"""A fetch asks its origin, and reads the answer into the copy; in threads of the fetch."""

from __future__ import annotations

import random
import threading
import time

from dfengine.errors import OriginChanged, OriginError, OriginUnreachable, SourceGone
from dfengine.origin.body import Body
from dfengine.origin.cancel import Cancel
from dfengine.origin.http import HttpOrigin
from dfengine.origin.reader import Reader
from dfengine.origin.retry import Retry, transient
from dfengine.origin.version import Version
from dfengine.supernode.copies.arrival import Arrivals
from dfengine.supernode.copies.cache import Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch

TRIES = 5
"""Tries in a row, after the first, that may bring nothing before a fetch fails."""

RUN = 16 << 20
"""Bytes that one connection is given to fetch at once: small, since what comes first is offered first."""

LEAST_RATE = 16 << 10
"""Bytes per second below which a connection to the origin is given up: its thread is one of a bounded number."""


def _origin(fetch: Fetch) -> HttpOrigin:
    """With a cancel of its own: the one before may have been used to end a reader's last waits."""
    wanted = fetch.wanted
    with fetch.news:
        _drop_cancel(fetch)
        cancel = fetch.cancel = Cancel()
        if fetch.stopped:
            cancel.set()
    return HttpOrigin(wanted.url, wanted.headers, cancel=cancel, insecure=wanted.insecure, cacerts=wanted.cacerts,
                      floor=LEAST_RATE, access=fetch.access)


def _drop_cancel(fetch: Fetch) -> None:
    """Under `fetch.news`."""
    cancel, fetch.cancel = fetch.cancel, None
    if cancel is not None:
        cancel.close()


def end_waits(fetch: Fetch) -> None:
    """Nobody waits for the origin: the descriptor for it is not kept as long as the task."""
    with fetch.news:
        _drop_cancel(fetch)


def ask(fetch: Fetch, unless: Version | None = None, found: tuple[Copy, Description] | None = None) -> tuple[HttpOrigin, Body]:
    """The origin, and its answer to a plain GET, or to a conditional one (`unless`). One that fails for the moment is asked again.

    found: a copy that lacks pieces; of its version the file is asked for from the first of them on, if its version binds.
    Raises OriginError.
    """
    origin, retry = _origin(fetch), Retry(TRIES)
    start, version = found[1].rest(found[0]) if found is not None else (0, None)
    while True:
        fetch.origin_requests += 1
        try:
            body = origin.open(start, version=version, unless=unless)
        except SourceGone as error:
            raise OriginUnreachable("the supernode is going away") from error
        except OriginError as error:
            if start and (not transient(error) or isinstance(error, OriginChanged)):
                # Another version, or an origin that knows no ranges: its answer to a plain GET says which.
                start, version = 0, None
                continue
            wait = retry.pause(error, time.monotonic(), random.random()) if unless is None else None
            if wait is None:
                raise
            fetch.waits = str(error)
        else:
            fetch.waits = ""
            return origin, body
        with fetch.news:
            fetch.news.wait_for(lambda: fetch.stopped, wait)


def read(fetch: Fetch, origin: HttpOrigin, body: Body, file: Copy, gaps: list[tuple[int, int]], compare: bool = False) -> None:
    """By this thread, and as many more as the origin grants connections. compare: see Reader. Raises what ended the reader."""
    # A file of a few runs is shared by all connections too, and not taken by the first one as a whole.
    pieces = sum(past - first for first, past in gaps)
    longest = min(RUN // file.geometry.content_size + 1, -(-pieces // fetch.connections))
    reader = fetch.reader = Reader(
        origin, Arrivals(fetch, file), body, gaps, connections=fetch.connections, longest=longest, retry=Retry(TRIES),
        grants=fetch.grants, chance=random.random, eager=False, compare=compare,
    )
    # A lead that stands before pieces that are here needs a thread of its own.
    threads = min(fetch.connections, pieces + (gaps[:1] > [(1, 0)]))
    more = [threading.Thread(target=reader.work, name="origin", daemon=True) for _ in range(threads - 1)]
    for thread in more:
        thread.start()
    reader.work()
    for thread in more:
        thread.join()
    fetch.origin_requests += reader.requests
    fetch.past_bytes, fetch.reader = fetch.past_bytes + reader.bytes, None
    if reader.error is not None:
        raise reader.error
    if fetch.stopped:
        raise OriginUnreachable("the supernode is going away")
    if reader.version is not body.version:
        fetch.description.learn(reader.version)
