"""One task's copy: fetched from the origin piece by piece, or found from before and asked after.

A fetch runs in a thread and reports to the loop. Its states:

    NEW       nothing is known yet             -> RUNNING, SUCCESS (a cached copy still holds), FAILED
    RUNNING   pieces arrive                    -> SUCCESS, FAILED
    SUCCESS   all is here and as expected      -> RUNNING (the origin's file changed), FAILED (it is gone)
    FAILED    for all, with a reason           final

Pieces are offered as they arrive. A broken connection is taken up again with Range and If-Range; bytes that come a second
time are compared by digest, so two versions never meet in one copy.
"""

from __future__ import annotations

import contextlib
import mmap
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from dfengine._piece import Geometry
from dfengine.errors import DfengineError, DigestMismatch, OriginChanged, OriginError, OriginTruncated, OriginUnreachable, StorageError
from dfengine.net.access import Access
from dfengine.net.origin import Origin, OriginBody
from dfengine.storage.piece_file import PieceFile
from dfengine.supernode.cache import Cache, Description
from dfengine.supernode.legacy_md5 import compute
from dfengine.task import generation

NEW, RUNNING, SUCCESS, FAILED = "WAITING", "RUNNING", "SUCCESS", "FAILED"
"""1.x's names of the states."""

TRIES = 4
"""Connections to the origin in a row that may bring nothing before a fetch that had begun fails."""

PART = 512 << 10
"""Bytes received, hashed and written in turn."""

LEAST_RATE = 16 << 10
"""Bytes per second below which a connection to the origin is given up: its thread is one of a bounded number."""

RETRY_SECONDS = 0.25
"""Before the next connection; doubled while connections bring nothing."""


class Events(Protocol):
    """What a fetch tells; called on the loop's thread."""

    def fetch_head(self, fetch: Fetch) -> None:
        """Length and piece size are known; a copy that was here already is announced piece by piece after it."""

    def fetch_piece(self, fetch: Fetch, n: int) -> None:
        """Piece n is in the copy."""

    def fetch_md5(self, fetch: Fetch, n: int) -> None:
        """The md5 of framed piece n is known; -1: of the whole raw file."""

    def fetch_ended(self, fetch: Fetch) -> None:
        """SUCCESS: all is here, the length is known."""

    def fetch_failed(self, fetch: Fetch) -> None:
        """`fetch.error` says why; nothing of this task is served any more."""

    def fetch_refused(self, fetch: Fetch, error: OriginError) -> None:
        """The origin no longer gives the file of a complete copy; downloads that run may end."""

    def fetch_renewed(self, fetch: Fetch) -> None:
        """The origin's file changed: a new generation begins, the old one is over."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch and what it must be. headers are (name, value) pairs; md5 "" and length 0: anything."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    insecure: bool = False
    cacerts: tuple[bytes, ...] = ()
    md5: str = ""
    length: int = 0


class Fetch:
    """One task's copy. Fields are written by its thread before the event that tells of them."""

    def __init__(
        self, task: str, wanted: Wanted, cache: Cache, post: Callable[..., object], events: Events, access: Access | None = None
    ) -> None:
        self.task = task
        self.wanted = wanted
        self.state = NEW
        self.error: DfengineError | None = None
        self.file: PieceFile | None = None
        self.description = Description(url=wanted.url, generation="")
        self.origin_requests = self.origin_bytes = self._pieces = 0
        self.from_cache = False
        self._cache = cache
        self._access = access
        self._post = post
        self._events = events
        self._body: OriginBody | None = None
        self._part = memoryview(b"")
        self._more = threading.Condition()
        self._stopped = False
        self.following = False
        self.failure_told = False

    @property
    def geometry(self) -> Geometry:
        """Of the task. Raises StorageError before the head is known."""
        if self.file is None:
            raise StorageError("the origin has not answered yet")
        return self.file.geometry

    @property
    def over(self) -> bool:
        """It failed, or the process ends: nothing more comes."""
        return self.state == FAILED or self._stopped

    @property
    def md5(self) -> str:
        """Of the raw file, "" while unknown."""
        return self.description.md5

    # In a thread of the pool

    def run(self) -> None:
        """Fetch, or find that the copy from before still holds; never raises."""
        try:
            self._run()
        except DfengineError as error:
            self._fail(error)
        except Exception as error:
            self._fail(StorageError(f"the fetch failed: {error!r}"))
        finally:
            self._body = None
            self._part = memoryview(b"")

    def _run(self) -> None:
        loaded = self._cache.load(self.task) if self.file is None else (self.file, self.description)
        if loaded is not None and self._again(*loaded):
            return
        tries = 0
        while True:
            before = self._pieces
            try:
                body = self._open()
                try:
                    self._begin(body)
                    self._read(body)
                finally:
                    body.close()
                return
            except (OriginTruncated, OriginUnreachable):
                # Progress is a piece: bytes that are fetched over and over bring nobody anything.
                tries = 0 if self._pieces > before else tries + 1
                if self.file is None or tries >= TRIES or self._stopped:
                    raise
            with self._more:
                self._more.wait(RETRY_SECONDS * (1 << tries))

    def _origin(self) -> Origin:
        wanted = self.wanted
        return Origin(wanted.url, wanted.headers, insecure=wanted.insecure, cacerts=wanted.cacerts, floor=LEAST_RATE, access=self._access)

    def _open(self) -> OriginBody:
        """The file from the first byte that is not here."""
        file, known = self.file, self.description
        start = 0
        if file is not None and (known.etag or known.last_modified):
            first = file.here.first_clear()
            start = max(first, 0) * file.geometry.content_size
        self.origin_requests += 1
        self._body = body = self._origin().open(start, etag=known.etag, last_modified=known.last_modified)
        return body

    def _again(self, file: PieceFile, known: Description) -> bool:
        """There is a copy, complete or not. True when that was all; False when bytes are still to be fetched."""
        if not known.complete:
            if known.etag or known.last_modified:
                self.file, self.description, self.from_cache = file, known, True
            return False
        fresh = self.file is None
        self.origin_requests += 1
        try:
            body = self._origin().open(etag=known.etag, last_modified=known.last_modified, unless_changed=True)
        except OriginError as error:
            if error.status and fresh:
                raise
            if error.status:
                self._post(self._events.fetch_refused, self, error)
            # An origin that is down, or refuses, takes nothing from downloads of a copy that was complete.
            self._keep(file, known, fresh)
            return True
        try:
            if body.not_modified or self._same(body, known):
                self._keep(file, known, fresh)
                return True
            if not fresh:
                self._post(self._events.fetch_renewed, self)
            self.file = None
            self.state = NEW
            self._body = body
            self._begin(body)
            self._read(body)
            return True
        finally:
            body.close()

    def _same(self, body: OriginBody, known: Description) -> bool:
        """An origin that ignores conditional requests still names its file's version."""
        return bool(known.etag or known.last_modified) and (body.etag, body.last_modified) == (known.etag, known.last_modified)

    def _keep(self, file: PieceFile, known: Description, fresh: bool) -> None:
        self.file, self.description = file, known
        self.state = SUCCESS
        if fresh:
            self.from_cache = True
            self._expect(file.geometry.length)
            self._post(self._events.fetch_head, self)
            for n in file.here:
                self._post(self._events.fetch_piece, self, n)
            self._post(self._events.fetch_ended, self)

    def _expect(self, length: int) -> None:
        if self.wanted.length > 0 and length >= 0 and length != self.wanted.length:
            raise OriginChanged(f"the origin's file has {length} bytes, {self.wanted.length} were expected")

    def _begin(self, body: OriginBody) -> None:
        """The origin's head is here: the copy's geometry follows, or is compared with what is known."""
        self._expect(body.length)
        file = self.file
        if file is not None and self.state == NEW:
            # Resumed after a restart: the same file, or a new one?
            same = (body.etag, body.last_modified) == (self.description.etag, self.description.last_modified)
            if not same or body.length != file.geometry.length:
                file, self.file = None, None
        if file is None:
            if body.start:
                raise OriginChanged("the origin's file changed")
            named = generation(body.etag, body.last_modified, body.length) or secrets.token_hex(8)
            self.description = Description(url=self.wanted.url, generation=named, etag=body.etag, last_modified=body.last_modified,
                                           digest=self._cache.digest)
            self.from_cache = False
            self.file = self._cache.create(self.task, Geometry(body.length), self.description)
        elif self.state == RUNNING and body.length != file.geometry.length and file.geometry.length >= 0:
            raise OriginChanged("the origin's file changed its length in mid-fetch")
        if self.state == NEW:
            self.state = RUNNING
            self._post(self._events.fetch_head, self)
            assert self.file is not None
            with self._more:
                self._more.notify_all()
            for n in self.file.here:
                self._post(self._events.fetch_piece, self, n)

    def _read(self, body: OriginBody) -> None:
        """Pieces from `body` into the copy until the file ends. Raises OriginTruncated, OriginChanged, StorageError."""
        file = self.file
        assert file is not None
        # Of its own pages: malloc would take such buffers of many threads for small ones in time, and keep hundreds of MiB.
        self._part = memoryview(mmap.mmap(-1, PART))
        geometry = file.geometry
        n = body.start // geometry.content_size
        while geometry.count < 0 or n < geometry.count:
            size = geometry.content(n)[1]
            got, digest = self._receive(body, file, n, size)
            if got < size:
                if geometry.length >= 0:
                    raise OriginTruncated("the origin's answer ends early")
                file.learn_length(n * geometry.content_size + got)
                if got or n == 0:
                    self._offer(file, n, digest)
                break
            self._offer(file, n, digest)
            n += 1
        self._finish(file)

    def _receive(self, body: OriginBody, file: PieceFile, n: int, size: int) -> tuple[int, bytes]:
        """Piece n into its place, part by part, each hashed and written while it is in the core's cache: (bytes that came, digest).

        A piece that is here already is hashed only. Fewer than `size` bytes: the body has ended.
        """
        known, check, got = n in file.here, self._cache.hasher(), 0
        while got < size:
            part = self._part[: size - got]
            count = 0
            while count < len(part) and (more := body.read_into(part[count:])):
                count += more
                self.origin_bytes += more
            check.update(part[:count])
            if not known and count:
                file.put(n, got, part[:count])
            got += count
            if count < len(part):
                break
        return got, self._cache.kept(check)

    def _offer(self, file: PieceFile, n: int, digest: bytes) -> None:
        """Piece n is in its place."""
        if n in file.here:
            if digest != file.record.digest(n):
                raise OriginChanged("the origin sends other bytes than before")
            return
        file.offer(n, digest)
        self._pieces += 1
        with self._more:
            self._more.notify_all()
        self._post(self._events.fetch_piece, self, n)

    def _finish(self, file: PieceFile) -> None:
        self._expect(file.geometry.length)
        with self._more:
            self._more.notify_all()
        if self.wanted.md5:
            with self._more:
                while not self.md5 and self.following and not self._stopped:
                    self._more.wait(1.0)
            if self.md5 != self.wanted.md5:
                raise DigestMismatch(f"the origin's file has md5 {self.md5}, {self.wanted.md5} was expected")
        self.description.complete = True
        self._cache.describe(self.task, self.description)
        self.state = SUCCESS
        self._post(self._events.fetch_ended, self)

    def _fail(self, error: DfengineError) -> None:
        # Its stack would keep this fetch, and the copy's descriptors, until the collector comes by.
        error.__cause__ = error.__context__ = None
        self.error = error.with_traceback(None)
        if isinstance(error, DigestMismatch | OriginChanged):
            # Before others may begin anew: the copy that they make has the same name.
            self._cache.remove(self.task)
        self.state = FAILED
        with self._more:
            self._more.notify_all()
        self._post(self._events.fetch_failed, self)

    def follow(self) -> None:
        """The md5s that 1.x wants, behind the pieces as they come; in a thread, ends when the file does or the fetch fails."""
        try:
            if compute(self, self._more) and not self._stopped:
                with contextlib.suppress(StorageError):
                    self._cache.describe(self.task, self.description)
                self._post(self._events.fetch_md5, self, -1)
        finally:
            self.following = False
            with self._more:
                self._more.notify_all()

    def md5_known(self, n: int) -> None:
        """The md5 of framed piece n is recorded."""
        self._post(self._events.fetch_md5, self, n)

    def stop(self) -> None:
        """The process ends: wake the thread."""
        self._stopped = True
        self.state = FAILED if self.state in (NEW, RUNNING) else self.state
        body = self._body
        if body is not None:
            body.abort()
        with self._more:
            self._more.notify_all()
