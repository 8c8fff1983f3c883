"""Writes finished copies to the object store, behind the downloads: one after the other, in a thread of its own.

What is written is read from the copy and compared with its digests, so no damage of the disk gets into the store. A copy that is there is
not written again. While the store fails, what is to be written waits; of more than MOST the oldest are forgotten, and written when their
tasks are fetched the next time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress

import msgspec
from blake3 import blake3

from dfengine.errors import DfengineError, StorageError
from dfengine.net.event_log import SILENT, EventLog
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.restoring import may_be_stored
from dfengine.supernode.copies.store import Store, StoreError
from dfengine.supernode.copies.stored import Stored, encode_digests, is_stored
from dfengine.tree import DATA

MOST = 1000
"""Copies that wait."""

KNOWN = 100_000
"""Copies that are remembered to be there."""

TRIES = 5
"""Of one copy."""

PAUSE = 1.0
"""Seconds between two checks whether the store may be asked again."""

Work = tuple[Copy, Stored, bool, int]


class WriteBehind:
    """`note` on the loop's thread."""

    def __init__(self, store: Store, events: EventLog = SILENT) -> None:
        self._store = store
        self._events = events
        self._news = threading.Condition()
        self._waiting: OrderedDict[str, Work] = OrderedDict()
        """Task -> its copy, what is to be said of it (no digests yet), whether the store has it wrong, tries."""
        self._there: OrderedDict[str, str] = OrderedDict()
        """Task -> generation."""
        self._thread: threading.Thread | None = None
        self._stopped = False

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, fetch: Fetch) -> None:
        """Its copy is complete."""
        file, known = fetch.file, fetch.description
        doubted, fetch.doubted = fetch.doubted, False
        if file is None or not known.complete or fetch.claim is not None or not may_be_stored(fetch.wanted):
            return
        if fetch.leader:
            return  # who leads the task writes it
        length = file.geometry.length
        if not is_stored(length, known.version(length), known.tree == DATA) or fetch.unbound:
            return
        if self._there.get(fetch.task) == known.generation and not doubted:
            return
        stored = Stored(
            task=fetch.task, length=length, generation=known.generation, digests="", etag=known.etag, last_modified=known.last_modified,
            dated=known.dated, coding=known.coding, vary=dict(known.vary), tree=known.tree,
        )  # fmt: skip
        self._add(file, stored, doubted, 0)

    def _add(self, file: Copy, stored: Stored, doubted: bool, tries: int) -> None:
        with self._news:
            self._waiting[stored.task] = file, stored, doubted, tries
            self._waiting.move_to_end(stored.task)
            while len(self._waiting) > MOST:
                self._waiting.popitem(last=False)
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="store-write", daemon=True)
                self._thread.start()
            self._news.notify_all()

    def _next(self) -> Work | None:
        """Waits for one; None: the process ends."""
        with self._news:
            while not self._stopped:
                if self._waiting and not self._store.resting:
                    return self._waiting.popitem(last=False)[1]
                self._news.wait(PAUSE if self._waiting else None)
        return None

    def _run(self) -> None:
        while (work := self._next()) is not None:
            file, stored, doubted, tries = work
            try:
                self._write(file, stored, doubted)
            except StoreError as error:
                self._store.failed(stored.task, error)
                if tries + 1 < TRIES and not self._stopped:
                    self._add(file, stored, doubted, tries + 1)
            except DfengineError as error:  # it left the disk, or is wrong there
                self._events.warning("not_stored", task=stored.task, reason=str(error))
            except Exception as error:
                self._events.warning("not_stored", task=stored.task, reason=repr(error)[:300])

    def _write(self, file: Copy, stored: Stored, doubted: bool) -> None:
        """Raises StoreError, StorageError."""
        if doubted or not self._store.has(stored):
            buffer = file.buffer()
            digests = encode_digests(blake3(content).digest() for content in self._pieces(file, buffer))
            found = msgspec.structs.replace(stored, digests=digests)
            self._store.write(found, self._same(self._pieces(file, buffer), iter(found.digest_list())))
            self._events.info("stored", task=stored.task, length=stored.length)
        self._store.works()
        with self._news:
            self._there[stored.task] = stored.generation
            while len(self._there) > KNOWN:
                self._there.popitem(last=False)

    def _pieces(self, file: Copy, buffer: memoryview) -> Iterator[memoryview]:
        """Each as its digest in the record says. Raises StorageError."""
        for n in range(file.geometry.count):
            if self._stopped:
                raise StorageError("the supernode is going away")
            content = buffer[: file.read_into(n, buffer)]
            if n not in file.here or not file.agrees(n, content):
                raise StorageError(f"piece {n} of the copy is not what it was")
            yield content

    @staticmethod
    def _same(pieces: Iterator[memoryview], digests: Iterator[bytes]) -> Iterator[memoryview]:
        """The copy may have become another one since it was hashed."""
        for content, digest in zip(pieces, digests, strict=True):
            held = memoryview(bytes(content))  # the next piece comes into the same memory
            if blake3(held).digest() != digest:
                raise StorageError("the copy changed while it was stored")
            yield held

    def close(self) -> None:
        """The process ends: what is under way is given up."""
        with suppress(RuntimeError), self._news:
            self._stopped = True
            self._news.notify_all()
