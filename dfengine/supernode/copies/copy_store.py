"""The object store of finished copies: `--store`, by obstore (extra `objects`). Its failures cost time at most.

Each call runs in a daemon thread of its own, and the caller abandons it after a deadline: a silent store blocks nothing. A store that fails
is not used for BACKOFF seconds, then twice as long, up to MAX_BACKOFF; meanwhile copies are fetched from their origins, as without a
store. Pieces in memory are bounded by READS.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dfengine.errors import BadValue, DfengineError
from dfengine.location import OBJECTS, Location, parse
from dfengine.net.event_log import NO_EVENTS, EventLog
from dfengine.supernode.copies import stored_head
from dfengine.supernode.copies.stored_head import MAX_HEAD, StoredHead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfengine.settings import SupernodeSettings

HEAD_SECONDS = 5.0
"""Seconds to read the head of a stored copy."""

PIECE = 20.0
"""Seconds to read a piece."""

WRITE = 120
"""Seconds to write one part."""

READS = 8
"""Pieces being read or in memory, of all copies together."""

BACKOFF, MAX_BACKOFF = 30.0, 300.0
"""Seconds for which a store that failed is not used: first, and at most."""

PART, PARTS, AT_ONCE = 8 << 20, 9000, 2
"""Minimum bytes of a part that is written; maximum parts of an object; parts written at once."""

TICK = 0.1
"""Seconds between two checks of a waiting thread."""


class StoreError(DfengineError):
    """The store failed. absent: the object does not exist. wrong_object: the object is wrong, but the store itself works."""

    def __init__(self, message: str, absent: bool = False, wrong_object: bool = False) -> None:
        super().__init__(message)
        self.absent, self.wrong_object = absent, wrong_object


class Call:
    """A request to the store in a daemon thread. `ended` is set when it has ended; then `result` returns its result, or raises."""

    def __init__(self, work: Callable[[], Any], on_end: Callable[[], None] = lambda: None) -> None:
        self._work = work
        self._on_end = on_end
        self.ended = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None
        try:
            threading.Thread(target=self._run, name="store", daemon=True).start()
        except RuntimeError as error:  # no thread can be started
            self._end(error)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._result = self._work()
        except BaseException as raised:
            error = raised.with_traceback(None)
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self._error = error
        self.ended.set()
        self._on_end()

    def result(self) -> Any:
        """Return the result. Raises StoreError."""
        if self._error is not None:
            # A copy: a raised error references the frames that it passes, which reference this call.
            raise copy(self._error) if isinstance(self._error, StoreError) else StoreError(f"it fails: {self._error!r}"[:300])
        return self._result


class PieceRead:
    """A piece that is being read, or was: it occupies one of READS until `close`."""

    def __init__(self, work: Callable[[], Any], turns: threading.Semaphore, ended: Callable[[], None]) -> None:
        self._turns = turns
        self._lock = threading.Lock()
        self._ended_or_closed = False
        self.started = time.monotonic()
        self.call = Call(work, lambda: self._end(ended))

    def _end(self, ended: Callable[[], None]) -> None:
        with self._lock:
            left, self._ended_or_closed = self._ended_or_closed, True
        if left:
            self._turns.release()
        ended()

    def close(self) -> None:
        """Release the piece; call once. The thread's memory is released when the thread has ended."""
        with self._lock:
            over, self._ended_or_closed = self._ended_or_closed, True
        if over:
            self._turns.release()


class CopyStore:
    """The store. Any thread may use it. keys: for seals; heads are sealed with the first, and accepted with any."""

    def __init__(self, location: Location, keys: Sequence[bytes], events: EventLog = NO_EVENTS) -> None:
        self._location = location
        self._keys = tuple(keys)
        self._events = events
        self._prefix = "" if location.scheme == "file" else location.key.strip("/")
        self._turns = threading.Semaphore(READS)
        self._lock = threading.Lock()
        self._backoff, self._backoff_until = BACKOFF, 0.0
        self.read_bytes = self.written_bytes = self.failures = 0
        """Sums since the start."""

    @classmethod
    def from_settings(cls, settings: SupernodeSettings, events: EventLog) -> CopyStore | None:
        """Create the store of the settings; None: no store is configured. Raises BadValue, LocalError without the extra."""
        if not settings.store:
            return None
        from dfengine.net.secret import read_secrets

        location = parse(settings.store)
        if location.scheme not in (*OBJECTS, "file") or location.version:
            raise BadValue(f"--store {settings.store[:200]!r} is not s3://BUCKET/PREFIX, gs://, az:// or file:///DIR")
        own = settings.store_key_file
        secrets = read_secrets([own], "store's key") if own else read_secrets(settings.secret_file)
        if not secrets:
            raise BadValue("--store needs a key that the store does not have: --store-key-file, or --secret-file")
        made = cls(location, [stored_head.seal_key(secret) for secret in secrets], events)
        made.check()
        return made

    def check(self) -> None:
        """Check that the store can be used. Raises BadValue, LocalError without the extra."""
        if self._location.scheme == "file" and not os.path.isdir(self._location.key):
            raise BadValue(f"--store: {self._location.key} is no directory")
        _ = self._reads

    @cached_property
    def _reads(self) -> Any:
        return self._client(timeout=int(PIECE), tries=2)

    @cached_property
    def _writes(self) -> Any:
        return self._client(timeout=WRITE, tries=3)

    def _client(self, timeout: int, tries: int) -> Any:
        from dfengine.origin.object_store import check_installed, store

        if self._location.scheme == "file":
            check_installed(self._location)
            from obstore.store import LocalStore

            return LocalStore(self._location.key)
        return store(self._location.replace(key="", version=""), timeout=timeout, tries=tries)

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name

    @property
    def backing_off(self) -> bool:
        """Whether the store is not used for now because it failed recently."""
        return time.monotonic() < self._backoff_until

    def failed(self, task: str, error: StoreError) -> None:
        """Record a failure. A store that works, but not for this copy, stays in use."""
        if error.absent:
            return
        with self._lock:
            self.failures += 1
            if not error.wrong_object:
                self._backoff_until = time.monotonic() + self._backoff
                self._backoff = min(MAX_BACKOFF, 2 * self._backoff)
        self._events.warning("store_failed", task=task, reason=str(error))

    def succeeded(self) -> None:
        """Record a success."""
        self._backoff = BACKOFF

    def find(self, task: str, check: Callable[[], object]) -> StoredHead | None:
        """Return the stored copy of a task; None: none, an invalid one, or the store fails. check: called while waiting; may raise."""
        if self.backing_off:
            return None
        call, end = Call(lambda: self._read(stored_head.head_name(task), None, MAX_HEAD)), time.monotonic() + HEAD_SECONDS
        try:
            while not call.ended.wait(TICK):
                check()
                if time.monotonic() > end:
                    raise StoreError(f"it does not answer within {HEAD_SECONDS:g} s")
            found = self._unsealed(call.result(), task)
            self.succeeded()
            return found
        except StoreError as error:
            self.failed(task, error)
            return None

    def _unsealed(self, head: bytes, task: str) -> StoredHead:
        try:
            return stored_head.unseal(head, self._keys, task)
        except BadValue as error:
            raise StoreError(str(error), wrong_object=True) from None

    def read(self, name: str, start: int, length: int, ended: Callable[[], None]) -> PieceRead | None:
        """Begin to read bytes of an object; None: READS pieces are being read. ended: called by the reading thread at its end."""
        if not self._turns.acquire(blocking=False):
            return None
        return PieceRead(lambda: self._read(name, (start, start + length), length), self._turns, ended)

    def _read(self, name: str, part: tuple[int, int] | None, most: int) -> bytes:
        """Read an object, or a part of it of `most` bytes. Raises StoreError."""
        import obstore

        content = bytearray()
        with _store_errors():
            found = obstore.get(self._reads, self._path(name), options={"range": part} if part is not None else None)
            for chunk in found.stream(min_chunk_size=1 << 20):
                content += chunk
                if len(content) > most:
                    raise StoreError(f"{name} is longer than it may be", wrong_object=True)
        if part is not None and len(content) < most:
            raise StoreError(f"{name} is cut short", wrong_object=True)
        self.read_bytes += len(content)
        return bytes(content)

    def has(self, found: StoredHead) -> bool:
        """Whether the store already has the same version, whole by its reported size. Raises StoreError. Blocks the calling thread."""
        import obstore

        try:
            known = self._unsealed(self._read(stored_head.head_name(found.task), None, MAX_HEAD), found.task)
            with _store_errors():
                return known.same_version(found) and obstore.head(self._reads, self._path(found.name))["size"] == found.length
        except StoreError as error:
            if error.absent or error.wrong_object:
                return False
            raise

    def write(self, found: StoredHead, content: Iterator[memoryview]) -> None:
        """Write the data, then the head, so that no head is without data. Raises StoreError, and errors of `content`. Blocks as `has`."""
        import obstore

        size = max(PART, -(-found.length // PARTS))
        with _store_errors(writes=True):
            obstore.put(self._writes, self._path(found.name), content, chunk_size=size, max_concurrency=AT_ONCE)
            obstore.put(self._writes, self._path(stored_head.head_name(found.task)), stored_head.seal(found, self._keys[0]))
        self.written_bytes += found.length


class _store_errors:
    """Convert obstore's errors to StoreError. writes: a missing object means that the bucket does not exist."""

    def __init__(self, writes: bool = False) -> None:
        self._writes = writes

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, DfengineError):
            return
        from obstore.exceptions import BaseError, NotFoundError

        from dfengine.origin.object_store import reason

        if isinstance(error, NotFoundError | FileNotFoundError):
            raise StoreError("the bucket is missing" if self._writes else "the object does not exist", absent=not self._writes) from None
        if isinstance(error, BaseError | OSError):
            # An object that ends before the requested range: the store itself works.
            raise StoreError(reason(error), wrong_object=re.search(r"(?i)\b(range|416)\b", reason(error)) is not None) from None


