"""What the thread of a fetch does: fetch the file from its origin piece by piece, or find a copy from before and ask whether it holds.

Pieces are offered as they arrive. A broken connection is gone on from at the exact byte. An answer of another version is a question and
no verdict: it is compared with what is here, piece by piece, and only a piece that differs makes another file of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from dfengine._piece import Geometry
from dfengine.errors import DfengineError, DigestMismatch, OriginChanged, OriginError, OriginUnreachable, StorageError
from dfengine.origin.body import Body
from dfengine.origin.http import HttpOrigin
from dfengine.origin.retry import transient
from dfengine.origin.work import ENDLESS, missing
from dfengine.supernode.copies.cache import Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import FAILED, NEW, RUNNING, SUCCESS, Fetch
from dfengine.supernode.copies.legacy_md5 import compute
from dfengine.supernode.copies.origin_reading import ask, end_waits, read
from dfengine.supernode.copies.repair import fetch_missing, lacks, prove_found

UNSTABLE = 16
"""After an origin gave the same bytes under another version, its copy is trusted so many times as long, and twice as long each time."""

Found = tuple[Copy, Description]


def run(fetch: Fetch) -> None:
    """Fetch, or find that the copy from before still holds; never raises."""
    _guarded(fetch, lambda: _run(fetch))


def mend(fetch: Fetch) -> None:
    """Fetch again what a copy that was complete lacks; never raises."""
    _guarded(fetch, lambda: _finish(fetch, fetch.file) if fetch.file is not None else None)


def _guarded(fetch: Fetch, work: Callable[[], None]) -> None:
    try:
        work()
    except DfengineError as error:
        fail(fetch, error)
    except Exception as error:
        fail(fetch, StorageError(f"the fetch failed: {error!r}"))
    finally:
        end_waits(fetch)


def fail(fetch: Fetch, error: DfengineError) -> None:
    """The fetch ends with this error."""
    # Its stack would keep this fetch, and the copy's descriptors, until the collector comes by.
    error.__cause__ = error.__context__ = None
    fetch.error = error.with_traceback(None)
    if isinstance(error, DigestMismatch | OriginChanged) or (fetch.file is not None and isinstance(error, StorageError)):
        # Before others may begin anew: the copy that they make has the same name, and perhaps its room.
        fetch.cache.remove(fetch.task)
    if fetch.file is not None:
        fetch.file.rest()
        fetch.room.freed()
    fetch.state = FAILED
    fetch.notify()
    fetch.post(fetch.events.fetch_failed, fetch)


def _run(fetch: Fetch) -> None:
    found = fetch.cache.load(fetch.task, fetch.wanted.verified) if fetch.file is None else (fetch.file, fetch.description)
    if found is not None and found[1].complete:
        _revalidate(fetch, *found)
    else:
        _fetch(fetch, found)


def _fetch(fetch: Fetch, found: Found | None) -> None:
    """Pieces into the copy until the file ends. Raises OriginError and its kin, StorageError."""
    if found is not None:
        prove_found(fetch, found[0], lambda n: None)
    origin, body = ask(fetch, found=found)
    try:
        file, gaps = _begin(fetch, body, found)
    except BaseException:
        body.close()
        raise
    read(fetch, origin, body, file, gaps)
    _finish(fetch, file)


def _begin(fetch: Fetch, body: Body, found: Found | None) -> tuple[Copy, list[tuple[int, int]]]:
    """The origin's head is here: the copy's geometry follows, and which pieces are to be fetched."""
    version = body.version
    if found is not None and found[1].version(found[0].geometry.length).covers(version):
        # Resumed after a restart: the same version of the file.
        fetch.description, fetch.file = found[1], found[0]
        fetch.from_cache = True
    else:
        fetch.description = Description(url=fetch.wanted.url, generation=version.name or secrets.token_hex(8),
                                        digest=fetch.cache.digest, verified=fetch.wanted.verified)
        fetch.description.learn(version)
        fetch.from_cache = False
        fetch.room.check(body.length)
        fetch.file = fetch.room.write(lambda: fetch.cache.create(fetch.task, Geometry(body.length), fetch.description))
    fetch.state = RUNNING
    fetch.post(fetch.events.fetch_head, fetch)
    fetch.notify()
    fetch.post(fetch.events.fetch_pieces, fetch, fetch.file.here.copy())
    count = fetch.file.geometry.count
    return fetch.file, missing(fetch.file.here, count) if count >= 0 else [(0, ENDLESS)]


def _revalidate(fetch: Fetch, file: Copy, known: Description) -> None:
    """There is a complete copy: does it still hold?"""
    fresh, version = fetch.file is None, known.version(file.geometry.length)
    try:
        origin, body = ask(fetch, version)
    except OriginError as error:
        if not transient(error) and fresh:
            raise
        if not transient(error):
            fetch.post(fetch.events.fetch_refused, fetch, error)
        # An origin that is down, or busy, takes nothing from downloads of a copy that was complete.
        _keep(fetch, file, known, fresh)
        return
    if body.not_modified or version.covers(body.version):
        body.close()
        _keep(fetch, file, known, fresh)
    elif not _is_same(fetch, origin, body, file, known, fresh):
        _renew(fetch, told=not fresh)


def _renew(fetch: Fetch, told: bool = True) -> None:
    """The origin has another file: the next generation begins. told: somebody may use the one before."""
    if told:
        fetch.post(fetch.events.fetch_renewed, fetch)
    fetch.file, fetch.state = None, NEW
    _fetch(fetch, None)


def _is_same(fetch: Fetch, origin: HttpOrigin, body: Body, file: Copy, known: Description, fresh: bool) -> bool:
    """The answer has another version, or none: its bytes are compared with the copy's, whose downloads go on meanwhile.

    fresh: nobody uses the copy yet, and nobody is given it before it is compared.
    """
    if body.length not in (-1, file.geometry.length):
        body.close()
        return False
    fetch.description = known
    try:
        prove_found(fetch, file, lambda n: None)
        read(fetch, origin, body, file, [(0, file.geometry.count)], compare=True)
    except OriginChanged:
        return False
    except OriginError:
        # It broke off: what it was is not known, and the copy is no worse than before.
        if fresh:
            raise
        return True
    fetch.trust = min(fetch.trust * 2, 1 << 20) if fetch.trust > 1 else UNSTABLE
    known.learn(body.version)
    fetch.cache.describe(fetch.task, known)
    _keep(fetch, file, known, fresh)
    return True


def _keep(fetch: Fetch, file: Copy, known: Description, fresh: bool) -> None:
    fetch.description, fetch.file = known, file
    if not fresh:
        fetch.state = SUCCESS
        return
    fetch.from_cache, fetch.state = True, RUNNING
    fetch.post(fetch.events.fetch_head, fetch)
    fetch.post(fetch.events.fetch_pieces, fetch, file.here.copy())
    prove_found(fetch, file, fetch.arrived)
    _finish(fetch, file)


def _finish(fetch: Fetch, file: Copy) -> None:
    """Every piece was read, or found; those that were dropped since are fetched again."""
    while True:
        fetch.notify()
        if lacks(file):
            if not fetch_missing(fetch, file):
                return _renew(fetch)
        elif fetch.wanted.md5 and not fetch.md5:
            _await_md5(fetch, file)
        else:
            break
    if fetch.wanted.md5 and fetch.md5 != fetch.wanted.md5:
        raise DigestMismatch(f"the origin's file has md5 {fetch.md5}, {fetch.wanted.md5} was expected")
    if not fetch.description.complete or fetch.unbound:
        fetch.description.complete, fetch.unbound = True, False
        fetch.describe()
    file.rest()
    fetch.state = SUCCESS
    fetch.post(fetch.events.fetch_ended, fetch)


def _await_md5(fetch: Fetch, file: Copy) -> None:
    """Until the md5 is known, or a piece was found to be wrong. Raises OriginUnreachable when the process ends."""
    with fetch.news:
        while fetch.following and not (fetch.md5 or fetch.stopped or lacks(file)):
            fetch.news.wait(1.0)
    if fetch.stopped:
        raise OriginUnreachable("the supernode is going away")
    if not fetch.md5:
        # The thread that followed has ended, with another generation of the file or by a failure of its own.
        compute(fetch, file, wait=False)
