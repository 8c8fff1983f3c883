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
from dfengine.net.http_client import Connection
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


class HolderConnections:
    """Connections to the holders of the content. sources: returns a piece's holders. dial: connects to one.

    blame: called with a holder that sent wrong bytes. on_wrong_digest: called when the whole content does not have the announced digest.
    connections: contains each connection while it is open; another thread may stop it.
    """

    def __init__(
        self, sources: Callable[[int], Sequence[Source]], dial: Callable[[str, int], Connection], blame: Callable[[Source, int], None],
        on_wrong_digest: Callable[[], None], connections: set[Connection],
    ) -> None:
        self.sources = sources
        self.on_wrong_digest = on_wrong_digest
        self._dial = dial
        self._blame = blame
        self._connections = connections
        self._open: dict[tuple[str, int], Connection] = {}

    def read(self, source: Source, geometry: Geometry, n: int, buffer: memoryview) -> int:
        """Read piece n's content into `buffer`; return its length in bytes. Raises RemoteError."""
        where = source.ip, source.port
        connection = self._open.get(where)
        try:
            if connection is None:
                connection = self._open[where] = self._dial(*where)
                self._connections.add(connection)
            return read_piece(connection, source, geometry, n, buffer)
        except RemoteError:
            self._drop(where)
            raise

    def report_wrong(self, source: Source, n: int) -> None:
        """Drop a source that sent other bytes than were announced, and report it."""
        self._drop((source.ip, source.port))
        self._blame(source, n)

    def _drop(self, where: tuple[str, int]) -> None:
        connection = self._open.pop(where, None)
        if connection is not None:
            self._connections.discard(connection)
            connection.close()

    def close(self) -> None:
        for where in list(self._open):
            self._drop(where)


def replicate(fetch: Fetch, holders: HolderConnections) -> None:
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
        holders.on_wrong_digest()
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
    if found is not None and claim.has_pieces(found[0].geometry.length, bytes(found[0].record.digests)):
        file, fetch.description = found
    else:
        fetch.description = Description(url=fetch.request.url, generation=claim.generation, digest=fetch.cache.digest,
                                        verified=fetch.request.verified, open=fetch.request.open)
        fetch.disk.check_fits(claim.geometry.length)
        create = partial(fetch.cache.create, fetch.task, claim.geometry, fetch.description)
        file = fetch.disk.write(fetch.task, lambda: fetch.use_files(create))
        for n in range(claim.geometry.count):
            fetch.disk.write(fetch.task, partial(file.record.set_digest, n, claim.digest(n)))
    fetch.file = file
    return file


def _read(fetch: Fetch, claim: Claim, file: Copy, holders: HolderConnections) -> None:
    """Read and verify the whole content. Raises DigestMismatch, SourceGone, StorageError."""
    whole, buffer, task = sha256(), file.buffer(), fetch.task
    for n in range(claim.geometry.count):
        if n in file.record.available and n not in file.available and file.verify(n, buffer):
            fetch.piece_stored(n)
        if n in file.available:
            content = buffer[: file.read_into(n, buffer)]
        else:
            content = _piece(fetch, claim, n, holders, buffer)
            fetch.disk.keep_free()
            digest = file.record.digest(n)
            fetch.disk.write(task, partial(file.write, n, content, digest), len(content), lambda: fetch.missing_bytes)
            fetch.piece_stored(n)
            claim.failure = ""
        whole.update(content)
    if whole.hexdigest() != fetch.request.url.rpartition(":")[2]:
        raise DigestMismatch(f"the content shared as {fetch.request.url} has another digest, sha256:{whole.hexdigest()}")


def _piece(fetch: Fetch, claim: Claim, n: int, holders: HolderConnections, buffer: memoryview) -> memoryview:
    """Read piece n with the announced digest from any holder. Raises SourceGone when no holder sends it."""
    end, why = time.monotonic() + PATIENCE, "no host has it"
    while True:
        for source in holders.sources(n):
            with contextlib.suppress(RemoteError):
                content = buffer[: holders.read(source, claim.geometry, n, buffer)]
                if fetch.cache.piece_digest(content) == claim.digest(n):
                    return content
                holders.report_wrong(source, n)
            why = f"{source.ip}:{source.port} does not send it"
            if fetch.stopped:
                break
        with fetch.changed:
            fetch.changed.wait_for(lambda: fetch.stopped, PAUSE)
        if fetch.stopped or time.monotonic() > end:
            raise SourceGone(f"piece {n} of {fetch.request.url} cannot be read: {why}")
