"""The pieces of this host's leader, as another download of the task sees them: its file or memory, its record, its page of signals.

Law: a piece is taken from here only if all that is here is of one version: while the record names that version and nothing speaks against
it, or when the whole file was verified. What is here is the word of a process of this user, as a record that is resumed from.
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
    """What the leader's place holds is not what its record says, or cannot be read."""


def output_key(path: str) -> str:
    """Names an output path; of any length."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()


@contextlib.contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise Unusable(str(error)) from None


class LeaderPlace:
    """Use `adopt`. file: the data with its record, to be read only. memory: it is a stream's. output: key of the leader's output path.

    algorithms: of the whole file's digests that the leader computes.
    """

    def __init__(self, file: PieceFile, page: SignalPage, output: str, algorithms: list[str]) -> None:
        self.file = file
        self.page = page
        self.output = output
        self.algorithms = algorithms
        self.generation = file.record.generation
        self.opened = -1.0
        """When the leader opened it, in monotonic seconds; -1: nobody knows."""
        self.leader = -1
        """Number of the leader whose it is; -1: nobody knows."""
        self.taken = False
        """The file is somebody else's to close."""

    @classmethod
    def adopt(cls, message: Any, descriptors: Sequence[int], page: SignalPage) -> LeaderPlace:
        """From the leader's message and its `descriptors`, which the result owns then. Raises StorageError for what cannot be used."""
        output, algorithms = message.get("output"), message.get("algorithms")
        if type(output) is not str or type(algorithms) is not list or not all(type(name) is str for name in algorithms):
            raise StorageError("a leader says nothing that is known here")
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
            raise StorageError(f"{len(descriptors)} descriptors are no leader's place")
        place, opened = cls(file, page, output, algorithms), message.get("at")
        place.opened = float(opened) if isinstance(opened, int | float) else -1.0
        return place

    @property
    def descriptors(self) -> list[int]:
        """Those that it closes."""
        return [] if self.taken else self.file.descriptors

    @property
    def sealed(self) -> bool:
        """The leader has verified the whole file."""
        try:
            return bool(self.file.record.complete_mtime)
        except StorageError:
            return False

    @property
    def trusted(self) -> bool:
        """By the law: pieces that are here may be taken. Look before and after each; the bits are up to date then. Raises Unusable."""
        sealed = self.sealed
        with _usable():
            self.file.record.refresh()
        return sealed or (bool(self.generation) and self.file.record.generation == self.generation and not self.page.unproved)

    def holds(self, n: int) -> bool:
        """Piece n is here now. Raises Unusable."""
        with _usable():
            return n < self.file.record.capacity and self.file.record.holds(n, n + 1)

    def digest(self, n: int) -> bytes:
        """Of piece n: xxh3-128, as the leader found it. Raises Unusable."""
        with _usable():
            return self.file.record.digest(n)

    def agrees(self, record: Record) -> bool:
        """Every piece of its record is that of `record`, whose length is known."""
        with contextlib.suppress(StorageError):
            return self.file.geometry == record.geometry and all(self.digest(n) == record.digest(n) for n in range(record.geometry.count))
        return False

    def lent(self, record: Record, algorithms: Sequence[str]) -> dict[str, str]:
        """Digests of the whole file that the leader has published, for the file whose pieces `record` has; empty: not yet."""
        digests = self.page.digests
        if not algorithms or not {*algorithms} <= {*digests} or not self.agrees(record):
            return {}
        return {name: digests[name] for name in algorithms}

    def is_named(self, path: str) -> bool:
        """The leader's file is verified, unchanged, and lies at `path`."""
        with contextlib.suppress(OSError, StorageError):
            return self.sealed and self.file.unchanged() and os.path.samestat(os.lstat(path), os.fstat(self.file.fd))
        return False

    def close(self) -> None:
        """Its descriptors, not the page; again: nothing."""
        if not self.taken:
            self.taken = True
            self.file.close()
