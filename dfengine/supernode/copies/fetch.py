"""One task's copy: fetched from the origin piece by piece, or found from before and asked after.

A fetch runs in a thread and reports to the loop. Its states:

    NEW       nothing is known yet             -> RUNNING, SUCCESS (a cached copy still holds), FAILED
    RUNNING   pieces arrive                    -> SUCCESS, FAILED
    SUCCESS   all is here and as expected      -> RUNNING (the origin's file changed), FAILED (it is gone)
    FAILED    for all, with a reason           final

Pieces are offered as they arrive. A broken connection is gone on from at the exact byte. An answer of another version is a question and
no verdict: it is compared with what is here, piece by piece, and only a piece that differs makes another file of it.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import threading
import time
from collections.abc import Callable

from dfengine._piece import Geometry
from dfengine.errors import DfengineError, DigestMismatch, OriginChanged, OriginError, OriginUnreachable, SourceGone, StorageError
from dfengine.net.access import Access
from dfengine.origin.body import Body
from dfengine.origin.cancel import Cancel
from dfengine.origin.connections import Grants
from dfengine.origin.http import HttpOrigin
from dfengine.origin.reader import Reader
from dfengine.origin.retry import Retry, transient
from dfengine.origin.version import Version
from dfengine.origin.work import ENDLESS, missing
from dfengine.supernode.copies.arrival import Arrivals
from dfengine.supernode.copies.cache import Cache, Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.events import Events
from dfengine.supernode.copies.eviction import CopyRoom, Room
from dfengine.supernode.copies.legacy_md5 import compute
from dfengine.supernode.copies.repair import complete, prove_found
from dfengine.supernode.copies.wanted import Wanted

NEW, RUNNING, SUCCESS, FAILED = "WAITING", "RUNNING", "SUCCESS", "FAILED"
"""1.x's names of the states."""

TRIES = 5
"""Tries in a row, after the first, that may bring nothing before a fetch fails."""

RUN = 16 << 20
"""Bytes that one connection is given to fetch at once: small, since what comes first is offered first."""

LEAST_RATE = 16 << 10
"""Bytes per second below which a connection to the origin is given up: its thread is one of a bounded number."""

UNSTABLE = 16
"""After an origin gave the same bytes under another version, its copy is trusted so many times as long, and twice as long each time."""


class Fetch:
    """One task's copy. Fields are written by its threads before the event that tells of them."""

    def __init__(
        self, task: str, wanted: Wanted, cache: Cache, post: Callable[..., object], events: Events, access: Access | None = None, *,
        connections: int = 4, grants: Grants | None = None, room: Room | None = None,
    ) -> None:
        self.task = task
        self.wanted = wanted
        self.state = NEW
        self.error: DfengineError | None = None
        self.file: Copy | None = None
        self.description = Description(url=wanted.url, generation="", verified=wanted.verified)
        self.origin_requests = self._past_bytes = 0
        self.from_cache = False
        self.waits = ""
        """Why the origin is asked again after a pause, "" while it is not."""
        self.wanted_piece = -1
        """The piece that a stream waits for, -1: none. Set on the loop's thread."""
        self.trust = 1
        """How many times the usual a complete copy is trusted before its origin is asked."""
        self.stopped = False
        self.hasher, self.kept, self.check_length = cache.hasher, cache.kept, cache.check_length
        self._cache = cache
        self._access = access
        self.room = CopyRoom(room, task)
        self._connections = connections
        self._grants = grants or Grants()
        self._post = post
        self._events = events
        self._cancel: Cancel | None = None
        self._source: HttpOrigin | None = None
        self._reader: Reader | None = None
        self._more = threading.Condition()
        self.following = False
        self.asking = False
        """Its origin is being asked whether the complete copy still holds. Of the loop's thread."""
        self.failure_told = self._unbound = False

    @property
    def geometry(self) -> Geometry:
        """Of the task. Raises StorageError before the head is known."""
        if self.file is None:
            raise StorageError("the origin has not answered yet")
        return self.file.geometry

    @property
    def over(self) -> bool:
        """It failed, or the process ends: nothing more comes."""
        return self.state == FAILED or self.stopped

    @property
    def origin_bytes(self) -> int:
        """Bytes of bodies from the origin."""
        return self._past_bytes + (self._reader.bytes if self._reader is not None else 0)

    @property
    def md5(self) -> str:
        """Of the raw file, "" while unknown."""
        return self.description.md5

    def wants(self, una: int, end: int) -> None:
        """A stream waits for pieces of [una, end): the first that is missing is fetched next. On the loop's thread."""
        missing = self.file.here.first_clear(max(una, 0)) if self.file is not None else -1
        self.wanted_piece = missing if missing < end else -1

    # In a thread of the pool

    def run(self) -> None:
        """Fetch, or find that the copy from before still holds; never raises."""
        self._guarded(self._run)

    def mend(self) -> None:
        """Fetch again what a copy that was complete lacks; never raises."""
        self._guarded(lambda: self._finish(self.file) if self.file is not None else None)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except DfengineError as error:
            self._fail(error)
        except Exception as error:
            self._fail(StorageError(f"the fetch failed: {error!r}"))
        finally:
            with self._more:
                self._drop_cancel()

    def _run(self) -> None:
        loaded = self._cache.load(self.task, self.wanted.verified) if self.file is None else (self.file, self.description)
        if loaded is not None and loaded[1].complete:
            self._again(*loaded)
        else:
            self._anew(loaded)

    def _anew(self, loaded: tuple[Copy, Description] | None) -> None:
        """Pieces into the copy until the file ends. Raises OriginError and its kin, StorageError."""
        if loaded is not None:
            prove_found(self, loaded[0], lambda n: None)
        body = self.answer(loaded=loaded)
        try:
            file, gaps = self._begin(body, loaded)
        except BaseException:
            body.close()
            raise
        self.read(body, file, gaps)
        self._finish(file)

    def _origin(self) -> HttpOrigin:
        """With a cancel of its own: the one before may have been used to end a reader's last waits."""
        wanted = self.wanted
        with self._more:
            self._drop_cancel()
            cancel = self._cancel = Cancel()
            if self.stopped:
                cancel.set()
        return HttpOrigin(wanted.url, wanted.headers, cancel=cancel, insecure=wanted.insecure, cacerts=wanted.cacerts,
                          floor=LEAST_RATE, access=self._access)

    def _drop_cancel(self) -> None:
        """Nobody waits: its descriptor is not kept as long as the task. Under the lock."""
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel.close()

    def answer(self, unless: Version | None = None, loaded: tuple[Copy, Description] | None = None) -> Body:
        """The answer to a plain GET, or to a conditional one. An origin that fails for the moment is waited for, and so are who asked.

        loaded: a copy that lacks pieces; of its version the file is asked for from the first of them on, if its version binds.
        """
        origin, retry = self._origin(), Retry(TRIES)
        self._source = origin
        start, version = loaded[1].rest(loaded[0]) if loaded is not None else (0, None)
        while True:
            self.origin_requests += 1
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
                self.waits = str(error)
            else:
                self.waits = ""
                return body
            with self._more:
                self._more.wait_for(lambda: self.stopped, wait)

    def _again(self, file: Copy, known: Description) -> None:
        """There is a complete copy: does it still hold?"""
        fresh, version = self.file is None, known.version(file.geometry.length)
        try:
            body = self.answer(version)
        except OriginError as error:
            if not transient(error) and fresh:
                raise
            if not transient(error):
                self._post(self._events.fetch_refused, self, error)
            # An origin that is down, or busy, takes nothing from downloads of a copy that was complete.
            self._keep(file, known, fresh)
            return
        if body.not_modified or version.covers(body.version):
            body.close()
            self._keep(file, known, fresh)
        elif self._is_same(body, file, known, fresh):
            return
        else:
            if not fresh:
                self._post(self._events.fetch_renewed, self)
            self.file, self.state = None, NEW
            self._anew(None)

    def _is_same(self, body: Body, file: Copy, known: Description, fresh: bool) -> bool:
        """The answer has another version, or none: its bytes are compared with the copy's, whose downloads go on meanwhile.

        fresh: nobody uses the copy yet, and nobody is given it before it is compared.
        """
        if body.length not in (-1, file.geometry.length):
            body.close()
            return False
        self.description = known
        try:
            prove_found(self, file, lambda n: None)
            self.read(body, file, [(0, file.geometry.count)], compare=True)
        except OriginChanged:
            return False
        except OriginError:
            # It broke off: what it was is not known, and the copy is no worse than before.
            if fresh:
                raise
            return True
        self.trust = min(self.trust * 2, 1 << 20) if self.trust > 1 else UNSTABLE
        known.learn(body.version)
        self._cache.describe(self.task, known)
        self._keep(file, known, fresh)
        return True

    def _keep(self, file: Copy, known: Description, fresh: bool) -> None:
        self.file, self.description = file, known
        if not fresh:
            self.state = SUCCESS
            return
        self.from_cache, self.state = True, RUNNING
        self._post(self._events.fetch_head, self)
        self._post(self._events.fetch_pieces, self, file.here.copy())
        prove_found(self, file, self.arrived)
        self._finish(file)

    def _begin(self, body: Body, loaded: tuple[Copy, Description] | None) -> tuple[Copy, list[tuple[int, int]]]:
        """The origin's head is here: the copy's geometry follows, and which pieces are to be fetched."""
        version = body.version
        if loaded is not None and loaded[1].version(loaded[0].geometry.length).covers(version):
            # Resumed after a restart: the same version of the file.
            self.file, self.description = loaded
            self.from_cache = True
        else:
            self.description = Description(url=self.wanted.url, generation=version.name or secrets.token_hex(8),
                                           digest=self._cache.digest, verified=self.wanted.verified)
            self.description.learn(version)
            self.from_cache = False
            self.room.check(body.length)
            self.file = self.room.write(lambda: self._cache.create(self.task, Geometry(body.length), self.description))
        self.state = RUNNING
        self._post(self._events.fetch_head, self)
        with self._more:
            self._more.notify_all()
        self._post(self._events.fetch_pieces, self, self.file.here.copy())
        count = self.file.geometry.count
        return self.file, missing(self.file.here, count) if count >= 0 else [(0, ENDLESS)]

    def read(self, body: Body, file: Copy, gaps: list[tuple[int, int]], compare: bool = False) -> None:
        """By this thread, and as many more as the origin grants connections. compare: see Reader. Raises what ended the reader."""
        assert self._source is not None
        # A file of a few runs is shared by all connections too, and not taken by the first one as a whole.
        pieces = sum(past - first for first, past in gaps)
        longest = min(RUN // file.geometry.content_size + 1, -(-pieces // self._connections))
        reader = self._reader = Reader(
            self._source, Arrivals(self, file), body, gaps, connections=self._connections, longest=longest, retry=Retry(TRIES),
            grants=self._grants, chance=random.random, eager=False, compare=compare,
        )
        # A lead that stands before pieces that are here needs a thread of its own.
        threads = min(self._connections, pieces + (gaps[:1] > [(1, 0)]))
        more = [threading.Thread(target=reader.work, name="origin", daemon=True) for _ in range(threads - 1)]
        for thread in more:
            thread.start()
        reader.work()
        for thread in more:
            thread.join()
        self.origin_requests += reader.requests
        self._past_bytes, self._reader = self._past_bytes + reader.bytes, None
        if reader.error is not None:
            raise reader.error
        if self.stopped:
            raise OriginUnreachable("the supernode is going away")
        if reader.version is not body.version:
            self.description.learn(reader.version)

    def unbind(self) -> None:
        """Pieces of another answer are about to come: a copy that is found after a crash is not gone on from."""
        self.description.learn(Version())
        self._unbound = True
        self.room.write(lambda: self._cache.describe(self.task, self.description))

    def arrived(self, n: int) -> None:
        """Piece n is in the copy."""
        with self._more:
            self._more.notify_all()
        self._post(self._events.fetch_piece, self, n)

    def rest(self) -> int:
        """Bytes of the copy that are still to come, as far as that is known."""
        return 0 if self.file is None else max(0, self.file.geometry.length - self.file.here.count() * self.file.geometry.content_size)

    def damaged(self, n: int) -> None:
        """Piece n was found to be wrong, and is dropped. In any thread."""
        self._post(self._events.fetch_damaged, self, n)

    def _finish(self, file: Copy) -> None:
        """Every piece was read, or found; those that were dropped since are fetched again."""
        if not complete(self, file, self._more):
            self._post(self._events.fetch_renewed, self)
            self.file, self.state = None, NEW
            return self._anew(None)
        if self.wanted.md5 and self.md5 != self.wanted.md5:
            raise DigestMismatch(f"the origin's file has md5 {self.md5}, {self.wanted.md5} was expected")
        if not self.description.complete or self._unbound:
            self.description.complete, self._unbound = True, False
            self.room.write(lambda: self._cache.describe(self.task, self.description))
        file.rest()
        self.state = SUCCESS
        self._post(self._events.fetch_ended, self)

    def _fail(self, error: DfengineError) -> None:
        # Its stack would keep this fetch, and the copy's descriptors, until the collector comes by.
        error.__cause__ = error.__context__ = None
        self.error = error.with_traceback(None)
        if isinstance(error, DigestMismatch | OriginChanged) or (self.file is not None and isinstance(error, StorageError)):
            # Before others may begin anew: the copy that they make has the same name, and perhaps its room.
            self._cache.remove(self.task)
        if self.file is not None:
            self.file.rest()
            self.room.freed()
        self.state = FAILED
        with self._more:
            self._more.notify_all()
        self._post(self._events.fetch_failed, self)

    def follow(self) -> None:
        """The md5s that 1.x wants, behind the pieces as they come; in a thread, ends when the file does or the fetch fails."""
        try:
            if compute(self, self._more) and not self.stopped:
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
        """The process ends, or nobody knows the task any more: wake the threads."""
        with self._more:
            self.stopped = True
            self.state = FAILED if self.state in (NEW, RUNNING) else self.state
            if self._cancel is not None:
                self._cancel.set()
            self._more.notify_all()
