"""The place of this host's leader, as a follower reads it: the leader's file or memory, its record, its page of signals.

Invariant: a piece is copied only if all pieces are known to be of one version: while the record names that version and the page does not
mark it unproved, or when the whole file was verified. The data is trusted like a resumed record: a process of the same user wrote it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os

from dfengine.errors import StorageError
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import Record
from dfengine.storage.signal_page import SignalPage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any


class Unusable(StorageError):
    """The leader's data does not match its record, or cannot be read."""


def output_key(path: str) -> str:
    """Return a fixed-size key of an output path of any length."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise Unusable(str(error)) from None


class LeaderPlace:
    """A leader's pieces; use `adopt`. file: the data with its record, read-only; a stream's is in memory. output: key of the leader's
    output path. algorithms: those of the whole-file digests that the leader computes.
    """

    def __init__(self, file: PieceFile, page: SignalPage, output: str, algorithms: list[str]) -> None:
        self.file = file
        self.page = page
        self.output = output
        self.algorithms = algorithms
        self.generation = file.record.generation
        self.opened_at = -1.0
        """When the leader opened the place, in monotonic seconds; -1: unknown."""
        self.leader = -1
        """Number of the leader that owns the place; -1: unknown."""
        self.detached = False
        """Whether another object closes the file."""

    @classmethod
    def adopt(cls, message: Any, descriptors: Sequence[int], page: SignalPage) -> LeaderPlace:
        """Make a place from the leader's message and its `descriptors`, which the result owns. Raises StorageError if unusable."""
        output, algorithms = message.get("output"), message.get("algorithms")
        if type(output) is not str or type(algorithms) is not list or not all(type(name) is str for name in algorithms):
            raise StorageError("a leader's message is not understood")
        file: PieceFile
        if message.get("memory") is True:
            from dfengine.storage.memory_file import adopt

            file = adopt(descriptors)
        elif len(descriptors) == 2:
            data, record = descriptors
            if os.fstat(data).st_uid != os.geteuid():
                raise StorageError("a leader's file is another user's")
            file = PieceFile("the file of this host's leader", data, Record.followed(record))
            os.close(record)
        else:
            raise StorageError(f"a leader's place has 2 descriptors, not {len(descriptors)}")
        place, opened = cls(file, page, output, algorithms), message.get("at")
        place.opened_at = float(opened) if isinstance(opened, int | float) else -1.0
        return place

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that `close` closes."""
        return [] if self.detached else self.file.descriptors

    @property
    def sealed(self) -> bool:
        """Whether the leader has verified the whole file."""
        try:
            return bool(self.file.record.complete_mtime)
        except StorageError:
            return False

    @property
    def trusted(self) -> bool:
        """Whether pieces may be copied, by the invariant. Check before and after each piece; this refreshes the bits. Raises Unusable."""
        sealed = self.sealed
        with _usable():
            self.file.record.refresh()
        return sealed or (bool(self.generation) and self.file.record.generation == self.generation and not self.page.unproved)

    def holds(self, n: int) -> bool:
        """Whether the leader has piece n now. Raises Unusable."""
        with _usable():
            return n < self.file.record.capacity and self.file.record.has_range(n, n + 1)

    def digest(self, n: int) -> bytes:
        """Return the xxh3-128 of piece n that the leader recorded. Raises Unusable."""
        with _usable():
            return self.file.record.digest(n)

    def same_digests(self, record: Record) -> bool:
        """Whether all pieces have the same digests as in `record`, whose length is known."""
        with contextlib.suppress(StorageError):
            return self.file.geometry == record.geometry and all(self.digest(n) == record.digest(n) for n in range(record.geometry.count))
        return False

    def published_digests(self, record: Record, algorithms: Sequence[str]) -> dict[str, str]:
        """Return the whole-file digests that the leader has published, if `record` has the same pieces; empty if not published yet."""
        digests = self.page.digests
        if not algorithms or not {*algorithms} <= {*digests} or not self.same_digests(record):
            return {}
        return {name: digests[name] for name in algorithms}

    def is_named(self, path: str) -> bool:
        """Whether the leader's file is verified, unchanged, and at `path`."""
        with contextlib.suppress(OSError, StorageError):
            return self.sealed and self.file.unchanged() and os.path.samestat(os.lstat(path), os.fstat(self.file.fd))
        return False

    def close(self) -> None:
        """Close the descriptors, but not the page. A second call has no effect."""
        if not self.detached:
            self.detached = True
            self.file.close()
