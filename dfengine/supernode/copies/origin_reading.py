"""Requests of a fetch to its origin, and reading the response into the copy. Runs in the fetch's threads."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING

from dfengine.errors import OriginChanged, OriginError, OriginTruncated, OriginUnreachable, SourceGone
from dfengine.manifest import Manifest
from dfengine.origin.cancel import Cancel
from dfengine.origin.manifest_origin import ManifestOrigin
from dfengine.origin.origin_settings import OriginSettings
from dfengine.origin.reader import Reader
from dfengine.origin.request import with_traceparent
from dfengine.origin.retry import transient
from dfengine.origin.schemes import origin as origin_of
from dfengine.origin.tree_listing import manifest
from dfengine.origin.tree_origin import TreeOrigin
from dfengine.origin.version import Version
from dfengine.supernode.copies.cache import Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.copy_writer import CopyWriter
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import MIN_RATE
from dfengine.tree import MANIFEST, TreeTask

if TYPE_CHECKING:
    from dfengine.origin.origin_interface import Answer, Origin

RUN = 16 << 20
"""Maximum bytes assigned to one connection at once. Small, because pieces are offered in the order of their arrival."""


def _origin(fetch: Fetch) -> Origin:
    """Return the origin with a new Cancel: the previous one may have been set by the end of a reader."""
    wanted = fetch.request
    with fetch.changed:
        _drop_cancel(fetch)
        cancel = fetch.cancel = Cancel()
        if fetch.stopped:
            cancel.set()
    origin_settings = _origin_settings(fetch)
    fetch.current_url = wanted.url
    if wanted.tree is None:
        return origin_of(wanted.url, origin_settings, cancel, (lambda: fetch.request.signed) if wanted.signed else None)
    if wanted.tree.part == MANIFEST:
        return ManifestOrigin(wanted.url, wanted.tree.globs, origin_settings, cancel, before=fetch.last_listing, made=fetch.manifests.add,
                              listing=lambda: fetch.budget.listing(fetch.address))
    return TreeOrigin(_manifest(fetch, wanted.tree, origin_settings, cancel), origin_settings, cancel)


def _manifest(fetch: Fetch, tree: TreeTask, origin_settings: OriginSettings, cancel: Cancel) -> Manifest:
    """Return the manifest of the tree that is fetched. Raises OriginChanged if the directory has another one now, or as `tree_listing`."""
    known = fetch.manifests.get(tree.manifest, fetch.request.url)
    if known is None:
        with fetch.budget.listing(fetch.address) as limits:
            known = manifest(fetch.request.url, origin_settings, cancel, tree.globs, limits)
        fetch.manifests.add(known)
    if known.identity != tree.manifest:
        raise OriginChanged(f"{fetch.request.url[:200]} has other files now: ask for its manifest again")
    return known


def _origin_settings(fetch: Fetch) -> OriginSettings:
    wanted = fetch.request
    return OriginSettings(roots=fetch.own.roots, may_sign=fetch.own.may_sign, insecure=wanted.insecure,
                  headers=with_traceparent(wanted.url, wanted.headers, wanted.traceparent),
                  cacerts=wanted.cacerts, floor=MIN_RATE, access=fetch.access, content=wanted.content)


def _drop_cancel(fetch: Fetch) -> None:
    """Close the Cancel. The caller holds `fetch.changed`."""
    cancel, fetch.cancel = fetch.cancel, None
    if cancel is not None:
        cancel.close()


def close_cancel(fetch: Fetch) -> None:
    """Close the Cancel's descriptor once no thread waits for the origin, since the fetch lives as long as the task."""
    with fetch.changed:
        _drop_cancel(fetch)


def open_origin(fetch: Fetch, unless: Version | None = None, found: tuple[Copy, Description] | None = None) -> tuple[Origin, Answer]:
    """Send a GET, or a conditional one (`unless`), and return the origin with its response. Transient failures are retried.

    found: an incomplete copy; if its version has a validator, the request starts at the copy's first missing piece.
    Raises OriginError.
    """
    origin = _origin(fetch)
    retry = fetch.start_requests(origin)
    start, version = found[1].resume_at(found[0]) if found is not None else (0, None)
    while True:
        started = time.monotonic()
        try:
            retry.raise_if_paused(started, random.random())
            fetch.origin_requests += 1
            body = origin.open(start, version=version, unless=unless)
        except SourceGone as error:
            raise OriginUnreachable("the supernode is going away") from error
        except OriginError as error:
            if start and (not transient(error) or isinstance(error, OriginChanged)):
                # Another version, or an origin without ranges: the response to a plain GET shows which.
                start, version = 0, None
                continue
            wait = retry.pause(error, time.monotonic(), random.random())
            if wait is None or unless is not None:
                raise
            fetch.retry_reason, fetch.retry_at = str(error), time.time() + wait
            fetch.origin_errors += 1
        else:
            fetch.retry_reason = ""
            retry.answered(started)
            fetch.post(fetch.events.fetch_responded, fetch, time.monotonic() - started)
            return origin, body
        with fetch.changed:
            fetch.changed.wait_for(lambda: fetch.stopped, wait)


def read_piece(fetch: Fetch, file: Copy, n: int, longest: float) -> float:
    """Read piece n alone, under the version of the description. Returns its bytes per second, including the time to its first byte.

    longest: seconds after which reading stops. Raises OriginError, SourceGone when it is cancelled, StorageError.
    """
    origin = _origin(fetch)
    started, (start, length) = time.monotonic(), file.geometry.content(n)
    fetch.start_requests(origin).raise_if_paused(started, random.random())
    fetch.origin_requests += 1
    body = origin.open(start, start + length, version=fetch.description.version(file.geometry.length))
    try:
        if not body.ranged:
            raise OriginChanged(f"{body.place} answers a range with the whole file")
        piece = CopyWriter(fetch, file).begin_piece(n)
        while piece.received < length and n not in file.available:
            count = body.read_into(piece.buffer(length - piece.received))
            if not count:
                raise OriginTruncated(f"{body.place} ends its answer at byte {body.start}")
            piece.advance(count)
            fetch.past_bytes += count
            if time.monotonic() - started > longest:
                return piece.received / (time.monotonic() - started)
    finally:
        body.close()
    rate = piece.received / max(time.monotonic() - started, 1e-3)
    if n not in file.available:
        piece.finish()
        piece.publish()
    return rate


def read_gaps(fetch: Fetch, origin: Origin, body: Answer, file: Copy, gaps: list[tuple[int, int]], compare: bool = False) -> Version:
    """Read runs of pieces (`gaps`) into the copy, by this thread and further ones, as many as the origin allows connections.

    compare: see Reader. Returns the version of all pieces, which is another one than that of `body` if that response broke off and the next
    ones were of another version. Raises the error that ended the reader.
    """
    # Otherwise the first connection would read a small file as a whole.
    pieces = sum(past - first for first, past in gaps)
    longest = min(RUN // file.geometry.content_size + 1, -(-pieces // fetch.connections))
    with fetch.turns.reading(origin.key) as turns:
        reader = fetch.reader = Reader(
            origin, CopyWriter(fetch, file, compare), body, gaps, connections=fetch.connections, longest=longest,
            retry=fetch.start_requests(origin), connection_limits=fetch.connection_limits, chance=random.random, turns=turns,
            compare=compare,
        )
        # If the body starts before the first missing piece, reading it needs a thread of its own.
        threads = min(fetch.connections, pieces + (gaps[:1] > [(1, 0)]))
        more: list[threading.Thread] = []
        # A process at its limit of threads reads with those that it could start.
        with contextlib.suppress(RuntimeError):
            for _ in range(threads - 1):
                thread = threading.Thread(target=reader.work, name="origin", daemon=True)
                thread.start()
                more.append(thread)
        reader.work()
        for thread in more:
            thread.join()
    # Each response of a tree's data combines many requests; the first one was counted when it was sent.
    fetch.origin_requests += origin.requests - 1 if isinstance(origin, TreeOrigin) else reader.requests
    fetch.past_bytes, fetch.reader = fetch.past_bytes + reader.bytes, None
    if reader.error is not None:
        raise reader.error
    if fetch.stopped:
        raise OriginUnreachable("the supernode is going away")
    if fetch.unbound or reader.version is not body.version:
        fetch.description.set_version(reader.version)
    return reader.version
