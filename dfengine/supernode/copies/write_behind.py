"""Writes finished copies to the object store in the background, one after the other, in a thread of its own.

Written bytes are read from the copy and compared with its digests, so that no damaged byte of the disk gets into the store. A copy that the
store already has is not written again. While the store fails, copies wait; of more than MAX_WAITING the oldest are dropped, and written
when their tasks are fetched the next time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress

import msgspec
from blake3 import blake3

from dfengine.errors import DfengineError, StorageError
from dfengine.net.event_log import NO_EVENTS, EventLog
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.copy_store import CopyStore, StoreError
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.object_store_restore import may_be_stored
from dfengine.supernode.copies.stored_head import StoredHead, encode_digests, is_worth_storing
from dfengine.tree import DATA

MAX_WAITING = 1000
"""Maximum number of waiting copies."""

KNOWN = 100_000
"""Maximum number of copies remembered as stored."""

TRIES = 5
"""Attempts for one copy."""

PAUSE = 1.0
"""Seconds between two checks whether the store may be used again."""

Work = tuple[Copy, StoredHead, bool, int]


class WriteBehind:
    """The queue of copies to store. `enqueue` is called on the loop's thread."""

    def __init__(self, store: CopyStore, events: EventLog = NO_EVENTS) -> None:
        self._store = store
        self._events = events
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, Work] = OrderedDict()
        """Task -> (its copy, its head without digests, whether the stored copy is wrong, attempts)."""
        self._stored: OrderedDict[str, str] = OrderedDict()
        """Task -> generation in the store."""
        self._thread: threading.Thread | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._waiting)

    def enqueue(self, fetch: Fetch) -> None:
        """Queue the fetch's complete copy."""
        file, known = fetch.file, fetch.description
        wrong, fetch.stored_copy_wrong = fetch.stored_copy_wrong, False
        if file is None or not known.complete or fetch.claim is not None or not may_be_stored(fetch.request):
            return
        if fetch.leader:
            return  # the supernode that leads the task writes it
        length = file.geometry.length
        if not is_worth_storing(length, known.version(length), known.tree == DATA) or fetch.unbound:
            return
        if self._stored.get(fetch.task) == known.generation and not wrong:
            return
        stored = StoredHead(
            task=fetch.task, length=length, generation=known.generation, digests="", etag=known.etag, last_modified=known.last_modified,
            dated=known.dated, coding=known.coding, vary=dict(known.vary), tree=known.tree,
        )  # fmt: skip
        self._add(file, stored, wrong, 0)

    def _add(self, file: Copy, stored: StoredHead, wrong: bool, tries: int) -> None:
        with self._changed:
            self._waiting[stored.task] = file, stored, wrong, tries
            self._waiting.move_to_end(stored.task)
            while len(self._waiting) > MAX_WAITING:
                self._waiting.popitem(last=False)
            if self._thread is None and not self._stopped:
                thread = threading.Thread(target=self._run, name="store-write", daemon=True)
                with suppress(RuntimeError):  # too many threads: this copy waits for the next one
                    thread.start()
                    self._thread = thread
            self._changed.notify_all()

    def _next(self) -> Work | None:
        """Wait for a copy; None: the process ends."""
        with self._changed:
            while not self._stopped:
                if self._waiting and not self._store.backing_off:
                    return self._waiting.popitem(last=False)[1]
                self._changed.wait(PAUSE if self._waiting else None)
        return None

    def _run(self) -> None:
        while (work := self._next()) is not None:
            file, stored, wrong, tries = work
            try:
                self._write(file, stored, wrong)
            except StoreError as error:
                self._store.failed(stored.task, error)
                if tries + 1 < TRIES and not self._stopped:
                    self._add(file, stored, wrong, tries + 1)
            except DfengineError as error:  # the copy was evicted, or is damaged
                self._events.warning("not_stored", task=stored.task, reason=str(error))
            except Exception as error:
                self._events.warning("not_stored", task=stored.task, reason=repr(error)[:300])

    def _write(self, file: Copy, stored: StoredHead, wrong: bool) -> None:
        """Write one copy, unless the store has it. Raises StoreError, StorageError."""
        if wrong or not self._store.has(stored):
            buffer = file.buffer()
            digests = encode_digests(blake3(content).digest() for content in self._pieces(file, buffer))
            found = msgspec.structs.replace(stored, digests=digests)
            self._store.write(found, self._verified(self._pieces(file, buffer), iter(found.digest_list())))
            self._events.info("stored", task=stored.task, length=stored.length)
        self._store.succeeded()
        with self._changed:
            self._stored[stored.task] = stored.generation
            while len(self._stored) > KNOWN:
                self._stored.popitem(last=False)

    def _pieces(self, file: Copy, buffer: memoryview) -> Iterator[memoryview]:
        """Yield each piece after comparing it with its digest in the record. Raises StorageError."""
        for n in range(file.geometry.count):
            if self._stopped:
                raise StorageError("the supernode is going away")
            content = buffer[: file.read_into(n, buffer)]
            if n not in file.available or not file.matches_digest(n, content):
                raise StorageError(f"piece {n} of the copy is not what it was")
            yield content

    @staticmethod
    def _verified(pieces: Iterator[memoryview], digests: Iterator[bytes]) -> Iterator[memoryview]:
        """Yield the pieces after comparing them with their digests again: the copy may have been replaced since it was hashed."""
        for content, digest in zip(pieces, digests, strict=True):
            held = memoryview(bytes(content))  # the next piece is read into the same memory
            if blake3(held).digest() != digest:
                raise StorageError("the copy changed while it was stored")
            yield held

    def close(self) -> None:
        """Stop because the process ends; a copy in progress is abandoned."""
        with suppress(RuntimeError), self._changed:
            self._stopped = True
            self._changed.notify_all()
