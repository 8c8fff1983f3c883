"""The thread of a fetch: it reads the file from its origin, or finds an earlier copy and revalidates it with the origin.

Pieces are offered as they arrive. After a broken connection the next request starts at the exact byte. A response with another validator
does not yet mean another file: it is compared with the copy piece by piece, and only a different piece begins another generation. A copy
that still lacks pieces is not completed from such a response under a generation that others use, see `copy_writer`: the next generation
has a random name, and names no version until it is complete.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from dfengine._piece import Geometry
from dfengine.copy_states import FAILED, RUNNING, SUCCESS, WAITING
from dfengine.errors import (
    DfengineError,
    DigestMismatch,
    OriginChanged,
    OriginError,
    OriginUnreachable,
    OutOfResources,
    SourceGone,
    StorageError,
)
from dfengine.origin.piece_claims import ENDLESS, missing
from dfengine.origin.request import selection
from dfengine.origin.retry import transient
from dfengine.storage.hashing import hasher
from dfengine.supernode.copies import following, object_store_restore
from dfengine.supernode.copies.cache import Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.copy_writer import MixedVersions
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.legacy_md5 import compute
from dfengine.supernode.copies.origin_reading import close_cancel, open_origin, read_gaps
from dfengine.supernode.copies.own_origin_rules import may_use_leader
from dfengine.supernode.copies.repair import fetch_missing, missing_runs, verify_found
from dfengine.tree import DATA

if TYPE_CHECKING:
    from dfengine.origin.origin_interface import Answer, Origin
    from dfengine.supernode.copies.stored_head import StoredHead
    from dfengine.task import Digest

UNSTABLE = 16
"""`Fetch.revalidate_factor` after an origin sent the same bytes with another validator; it doubles each further time."""

MAX_MIXED = 4
"""Generations in a row that may end because responses of several versions arrived; after one more the fetch fails."""

Found = tuple[Copy, Description]


def run(fetch: Fetch) -> None:
    """Fetch the file, or find that an earlier copy is current. Never raises."""
    _guarded(fetch, lambda: _run(fetch))


def refetch_lost(fetch: Fetch) -> None:
    """Fetch lost pieces of a complete copy again. Never raises."""
    _guarded(fetch, lambda: _finish(fetch, fetch.file) if fetch.file is not None else None)


def _guarded(fetch: Fetch, work: Callable[[], None]) -> None:
    try:
        work()
    except DfengineError as error:
        fail(fetch, error)
    except Exception as error:
        fail(fetch, StorageError(f"the fetch failed: {error!r}"))
    finally:
        close_cancel(fetch)


def fail(fetch: Fetch, error: DfengineError) -> None:
    """End the fetch with this error."""
    # Its traceback would keep this fetch and the copy's descriptors until the garbage collector runs.
    error.__cause__ = error.__context__ = None
    fetch.error = error.with_traceback(None)
    if isinstance(error, DigestMismatch | OriginChanged) or _spoils_copy(fetch, error):
        # Before the state changes: the next fetch's copy has the same name, and may need the room.
        with contextlib.suppress(OriginUnreachable):
            fetch.use_files(lambda: fetch.cache.remove(fetch.task))
    if fetch.file is not None:
        fetch.file.release()
        fetch.disk.space_freed()
    fetch.state = FAILED
    fetch.notify()
    fetch.post(fetch.events.fetch_failed, fetch)


def _spoils_copy(fetch: Fetch, error: DfengineError) -> bool:
    """Whether the copy may be unusable after this error of its files."""
    return fetch.file is not None and isinstance(error, StorageError) and not isinstance(error, OutOfResources)


def _run(fetch: Fetch) -> None:
    found: Found | None
    if fetch.file is None:
        found = fetch.use_files(lambda: fetch.cache.load(fetch.task, fetch.request.verified))
    else:
        found = fetch.file, fetch.description
    if found is not None and not found[1].matches(fetch.request.headers):
        found = None  # made by a request to which the origin responds with another file
    if found is not None and found[1].complete:
        _revalidate(fetch, *found)
    elif found is None and fetch.store is not None and (stored := object_store_restore.find(fetch)) is not None:
        _restore(fetch, stored)
    else:
        _fetch(fetch, found)


def _restore(fetch: Fetch, stored: StoredHead) -> None:
    """Fill a new copy from the object store, if its version is still current. Raises OriginError, StorageError."""
    known = object_store_restore.description(fetch, stored)
    if known.tree != DATA:  # whose task itself names the version
        try:
            origin, body = open_origin(fetch, stored.version)
        except OriginError as error:
            if not transient(error):
                raise
        else:
            known.vary = known.vary | selection(fetch.request.headers, body.vary)
            if not (body.not_modified or stored.version.covers(body.version)):
                incomplete = _read(fetch, origin, body, None, _follows(fetch))
                if incomplete is not None:
                    _fetch(fetch, incomplete)
                return
            body.close()
    fetch.disk.check_fits(stored.length)
    fetch.description = known
    create = partial(fetch.cache.create, fetch.task, Geometry(stored.length), known)
    file = fetch.file = fetch.disk.write(fetch.task, lambda: fetch.use_files(create))
    fetch.from_cache, fetch.reads_origin, fetch.state = True, False, RUNNING
    fetch.post(fetch.events.fetch_head, fetch)
    fetch.notify()
    object_store_restore.fill(fetch, file, stored)
    _finish(fetch, file)


def _fetch(fetch: Fetch, found: Found | None) -> None:
    """Follow the task's leader, or read the origin, until the copy is complete. Raises OriginError, StorageError."""
    if found is not None:
        verify_found(fetch, found[0], lambda n: None)
    while True:  # once more each time another supernode takes the lead from this one
        follows = _follows(fetch)
        if follows:
            result = following.follow(fetch, found)
            if result == following.CHANGED:
                return _renew(fetch)
            if fetch.file is not None:
                found = fetch.file, fetch.description
                if result == following.COMPLETE or (fetch.file.geometry.length >= 0 and not missing_runs(fetch.file)):
                    return _finish(fetch, fetch.file)
        fetch.leader = ""
        origin, body = open_origin(fetch, found=found)
        if fetch.file is not None and not fetch.description.version(fetch.file.geometry.length).covers(body.version):
            body.close()  # another version than the one that the leading supernode has
            return _renew(fetch)
        found = _read(fetch, origin, body, found, follows)
        if found is None:
            return


def _follows(fetch: Fetch) -> bool:
    """Whether the task's leader is followed. If not, the origin is read here, and no notice of another leader counts."""
    follows = following.may_follow(fetch) and may_use_leader(fetch.request.url, fetch.access)
    if not follows:
        with fetch.changed:
            fetch.new_leader = ""
    return follows


def _read(fetch: Fetch, origin: Origin, body: Answer, found: Found | None, follows: bool) -> Found | None:
    """Read the origin's response into a copy. Return None when the copy is complete, the incomplete copy when another supernode has
    taken the lead and this one `follows`. Raises OriginError, StorageError."""
    try:
        file, gaps = _begin(fetch, body, found)
    except BaseException:
        body.close()
        raise
    _set_interruptible(fetch, follows)
    mixed = False
    try:
        read_gaps(fetch, origin, body, file, gaps)
    except MixedVersions:
        if fetch.mixed_versions > MAX_MIXED:
            raise
        mixed = True
    except SourceGone:
        if fetch.stopped or not (follows and fetch.new_leader):
            raise
        fetch.reads_origin = False
        return file, fetch.description
    finally:
        _set_interruptible(fetch, False)
    if mixed:
        _renew(fetch)
    else:
        _finish(fetch, file)
    return None


def _set_interruptible(fetch: Fetch, whether: bool) -> None:
    with fetch.changed:
        fetch.interruptible = whether
        if whether and fetch.new_leader and fetch.cancel is not None:
            fetch.cancel.set()


def _begin(fetch: Fetch, body: Answer, found: Found | None) -> tuple[Copy, list[tuple[int, int]]]:
    """Create or resume the copy for the origin's response. Returns it with the runs of missing pieces."""
    version = body.version
    if found is not None and found[1].version(found[0].geometry.length).covers(version):
        # Resume after a restart: the version is the same.
        fetch.description, fetch.file = found[1], found[0]
        fetch.from_cache = True
    else:
        # Registries use the same name for the same content, even if one of them sends wrong bytes: a wrong copy must not be resumed.
        named = not (fetch.request.wrong_fetches or fetch.mixed_versions)
        generation = (version.name if named else "") or secrets.token_hex(8)
        fetch.description = Description(url=fetch.request.url, generation=generation,
                                        digest=fetch.cache.digest, verified=fetch.request.verified, open=fetch.request.open,
                                        tree=fetch.request.tree.part if fetch.request.tree is not None else "")
        fetch.unbound = fetch.mixed_versions > 0
        if not fetch.unbound:
            fetch.description.set_version(version)
        if not fetch.description.version(body.length).binds:
            fetch.own_generation = generation
        fetch.description.vary = selection(fetch.request.headers, body.vary)
        fetch.from_cache = False
        fetch.disk.check_fits(body.length)
        create = partial(fetch.cache.create, fetch.task, Geometry(body.length), fetch.description)
        fetch.file = fetch.disk.write(fetch.task, lambda: fetch.use_files(create))
    fetch.state, fetch.reads_origin = RUNNING, True
    fetch.post(fetch.events.fetch_head, fetch)
    fetch.notify()
    fetch.post(fetch.events.fetch_pieces, fetch, fetch.file.available.copy())
    count = fetch.file.geometry.count
    return fetch.file, missing(fetch.file.available, count) if count >= 0 else [(0, ENDLESS)]


def _revalidate(fetch: Fetch, file: Copy, known: Description) -> None:
    """Check with the origin whether a complete copy is still current."""
    fresh, version = fetch.file is None, known.version(file.geometry.length)
    if fetch.request.tree is not None and fetch.request.tree.part == DATA:
        return _use_copy(fetch, file, known, fresh)  # the task itself names the version: its manifest's identity
    try:
        origin, body = open_origin(fetch, version)
    except OriginError as error:
        if not transient(error) and fresh:
            raise
        if not transient(error):
            fetch.post(fetch.events.fetch_refused, fetch, error)
        # While the origin is down or busy, downloads continue from the complete copy.
        _use_copy(fetch, file, known, fresh)
        return
    known.vary = known.vary | selection(fetch.request.headers, body.vary)
    if body.not_modified or version.covers(body.version):
        body.close()
        _use_copy(fetch, file, known, fresh)
    elif not _has_same_bytes(fetch, origin, body, file, known, fresh):
        _renew(fetch, report=not fresh)


def _renew(fetch: Fetch, report: bool = True) -> None:
    """Begin the next generation, because the origin has another file. report: downloads may use the previous one, and end."""
    if report:
        fetch.post(_end_generation, fetch)
        with fetch.changed:
            fetch.changed.wait_for(lambda: fetch.file is None or fetch.stopped)
        if fetch.stopped:
            raise OriginUnreachable("the supernode is going away")
    _fetch(fetch, None)


def _end_generation(fetch: Fetch) -> None:
    """Remove the file, on the loop's thread: handlers of the task's downloads use the file until then."""
    fetch.events.fetch_renewed(fetch)
    with fetch.changed:
        fetch.file, fetch.state = None, WAITING
        fetch.changed.notify_all()


def _has_same_bytes(fetch: Fetch, origin: Origin, body: Answer, file: Copy, known: Description, fresh: bool) -> bool:
    """Compare a response with another validator, or none, with the copy's bytes. Running downloads continue meanwhile.

    fresh: the copy was just loaded; it is not offered before it is compared.
    """
    if body.length not in (-1, file.geometry.length):
        body.close()
        return False
    fetch.description = known
    try:
        verify_found(fetch, file, lambda n: None)
        known.set_version(read_gaps(fetch, origin, body, file, [(0, file.geometry.count)], compare=True))
    except OriginChanged:
        return False
    except OriginError:
        # The response broke off: the comparison has no result, and the copy stays valid as before.
        if fresh:
            raise
        return True
    fetch.revalidate_factor = min(fetch.revalidate_factor * 2, 1 << 20) if fetch.revalidate_factor > 1 else UNSTABLE
    # If the disk stays full, the older description remains: after a restart the copy is compared again.
    with contextlib.suppress(StorageError):
        fetch.describe()
        fetch.unbound = False
    _use_copy(fetch, file, known, fresh)
    return True


def _use_copy(fetch: Fetch, file: Copy, known: Description, fresh: bool) -> None:
    fetch.description, fetch.file = known, file
    if not fresh:
        fetch.state = SUCCESS
        return
    fetch.from_cache, fetch.reads_origin, fetch.state = True, False, RUNNING
    fetch.post(fetch.events.fetch_head, fetch)
    fetch.post(fetch.events.fetch_pieces, fetch, file.available.copy())
    verify_found(fetch, file, fetch.piece_stored)
    _finish(fetch, file)


def _finish(fetch: Fetch, file: Copy) -> None:
    """Fetch pieces that were dropped meanwhile, wait for the md5 if the task needs one, then declare the copy complete."""
    if file.geometry.length < 0:  # no piece counts as missing
        raise StorageError("the length of the file is unknown, so its copy is not complete")
    while True:
        fetch.notify()
        if missing_runs(file):
            if not fetch_missing(fetch, file):
                return _renew(fetch)
        elif fetch.request.md5 and not fetch.md5:
            _await_md5(fetch, file)
        else:
            break
    if fetch.request.md5 and fetch.md5 != fetch.request.md5:
        raise DigestMismatch(f"the origin's file has md5 {fetch.md5}, {fetch.request.md5} was expected")
    expected = fetch.request.expected_digest(fetch.description.etag)
    if expected is not None and not fetch.description.complete:
        _verify_whole(fetch, file, expected)
    if not fetch.description.complete or fetch.unbound:
        fetch.description.complete, fetch.unbound = True, False
        fetch.describe()
    fetch.mixed_versions = 0
    file.release()
    fetch.state = SUCCESS
    fetch.post(fetch.events.fetch_ended, fetch)


def _verify_whole(fetch: Fetch, file: Copy, expected: Digest) -> None:
    """Verify the whole copy. Raises DigestMismatch if its digest is not the one in its task's or URL's name, or from its hub."""
    whole, buffer = hasher(expected.algorithm), file.buffer()
    for n in range(file.geometry.count):
        if fetch.stopped:
            raise OriginUnreachable("the supernode is going away")
        if not file.verify(n, buffer):
            raise StorageError("a piece of the copy changed on the disk")
        whole.update(buffer[: file.geometry.content(n)[1]])
    if whole.hexdigest() != expected.hex:
        raise DigestMismatch(f"{fetch.request.url} has the {expected.algorithm} {whole.hexdigest()}, not the one in its name")


def _await_md5(fetch: Fetch, file: Copy) -> None:
    """Wait until the md5 is known or a piece was dropped. Raises OriginUnreachable if the process ends."""
    with fetch.changed:
        while fetch.computing_md5 and not (fetch.md5 or fetch.stopped or missing_runs(file)):
            fetch.changed.wait(1.0)
    if fetch.stopped:
        raise OriginUnreachable("the supernode is going away")
    if not fetch.md5:
        # No thread computes the md5: the previous one ended with another generation, or failed.
        compute(fetch, file, wait=False)
