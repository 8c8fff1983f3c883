"""Reads shared content from its holders into a copy, and verifies it against the digest in its name. Runs in a thread of its own.

A piece is offered once it has the digest that its sharer announced. The copy is complete, and the claim proved, when the whole content has
the digest in the name. Otherwise the task fails for all downloads, because its sharers announced wrong digests.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256

from dfengine._piece import Geometry
from dfengine.errors import DfengineError, DigestMismatch, RemoteError, SourceGone, StorageError
from dfengine.net.dial import Connection
from dfengine.supernode.copies.announced_content import Claim
from dfengine.supernode.copies.cache import Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_thread import fail
from dfengine.supernode.copies.piece_reading import read_piece
from dfengine.wire import Source

PATIENCE = 30.0
"""Seconds without a piece from any host after which this reading ends; the next one resumes there."""

PAUSE = 1.0
"""Seconds between two rounds of requests to all holders of a piece."""


class Holders:
    """Connections to the holders of the content. sources: returns a piece's holders. dial: connects to one.

    blame: called with a holder that sent wrong bytes. lied: called when the whole content does not have the announced digest.
    connections: contains each connection while it is open; another thread may stop it.
    """

    def __init__(
        self, sources: Callable[[int], Sequence[Source]], dial: Callable[[str, int], Connection], blame: Callable[[Source, int], None],
        lied: Callable[[], None], connections: set[Connection],
    ) -> None:
        self.sources = sources
        self.lied = lied
        self._dial = dial
        self._blame = blame
        self._connections = connections
        self._kept: dict[tuple[str, int], Connection] = {}

    def read(self, source: Source, geometry: Geometry, n: int, buffer: memoryview) -> int:
        """Read piece n's content into `buffer`; return its length in bytes. Raises RemoteError."""
        where = source.ip, source.port
        connection = self._kept.get(where)
        try:
            if connection is None:
                connection = self._kept[where] = self._dial(*where)
                self._connections.add(connection)
            return read_piece(connection, source, geometry, n, buffer)
        except RemoteError:
            self._drop(where)
            raise

    def wrong(self, source: Source, n: int) -> None:
        """Drop a source that sent other bytes than were announced, and report it."""
        self._drop((source.ip, source.port))
        self._blame(source, n)

    def _drop(self, where: tuple[str, int]) -> None:
        connection = self._kept.pop(where, None)
        if connection is not None:
            self._connections.discard(connection)
            connection.close()

    def close(self) -> None:
        for where in list(self._kept):
            self._drop(where)


def replicate(fetch: Fetch, holders: Holders) -> None:
    """Read the missing pieces of the copy. A wrong claim fails its task; no error is raised."""
    claim = fetch.claim
    assert claim is not None
    try:
        file = _begin(fetch, claim)
        _read(fetch, claim, file, holders)
        fetch.description.complete = True
        fetch.describe()
        file.release()
        claim.proved, claim.failure = True, ""
    except DigestMismatch as error:
        holders.lied()
        fail(fetch, error)
    except DfengineError as error:
        claim.failure = str(error)
    except Exception as error:
        fail(fetch, StorageError(f"the copy failed: {error!r}"))
    finally:
        holders.close()


def _begin(fetch: Fetch, claim: Claim) -> Copy:
    """Return the existing copy, or an empty one. Raises StorageError, OriginUnreachable if the fetch is stopped."""
    if fetch.file is not None and fetch.file.path:
        return fetch.file
    found = fetch.use_files(lambda: fetch.cache.load(fetch.task))
    if found is not None and claim.same(found[0].geometry.length, bytes(found[0].record.digests)):
        file, fetch.description = found
    else:
        fetch.description = Description(url=fetch.wanted.url, generation=claim.generation, digest=fetch.cache.digest,
                                        verified=fetch.wanted.verified, open=fetch.wanted.open)
        fetch.room.check(claim.geometry.length)
        create = partial(fetch.cache.create, fetch.task, claim.geometry, fetch.description)
        file = fetch.room.write(fetch.task, lambda: fetch.use_files(create))
        for n in range(claim.geometry.count):
            fetch.room.write(fetch.task, partial(file.record.set_digest, n, claim.digest(n)))
    fetch.file = file
    return file


def _read(fetch: Fetch, claim: Claim, file: Copy, holders: Holders) -> None:
    """Read and verify the whole content. Raises DigestMismatch, SourceGone, StorageError."""
    whole, buffer, task = sha256(), file.buffer(), fetch.task
    for n in range(claim.geometry.count):
        if n in file.record.available and n not in file.available and file.verify(n, buffer):
            fetch.arrived(n)
        if n in file.available:
            content = buffer[: file.read_into(n, buffer)]
        else:
            content = _piece(fetch, claim, n, holders, buffer)
            fetch.room.keep_free()
            digest = file.record.digest(n)
            fetch.room.write(task, partial(file.write, n, content, digest), len(content), lambda: fetch.missing_bytes)
            fetch.arrived(n)
            claim.failure = ""
        whole.update(content)
    if whole.hexdigest() != fetch.wanted.url.rpartition(":")[2]:
        raise DigestMismatch(f"the content shared as {fetch.wanted.url} has another digest, sha256:{whole.hexdigest()}")


def _piece(fetch: Fetch, claim: Claim, n: int, holders: Holders, buffer: memoryview) -> memoryview:
    """Read piece n with the announced digest from any holder. Raises SourceGone when no holder sends it."""
    end, why = time.monotonic() + PATIENCE, "no host has it"
    while True:
        for source in holders.sources(n):
            with contextlib.suppress(RemoteError):
                content = buffer[: holders.read(source, claim.geometry, n, buffer)]
                if fetch.cache.piece_digest(content) == claim.digest(n):
                    return content
                holders.wrong(source, n)
            why = f"{source.ip}:{source.port} does not send it"
            if fetch.stopped:
                break
        with fetch.news:
            fetch.news.wait_for(lambda: fetch.stopped, PAUSE)
        if fetch.stopped or time.monotonic() > end:
            raise SourceGone(f"piece {n} of {fetch.wanted.url} cannot be read: {why}")
