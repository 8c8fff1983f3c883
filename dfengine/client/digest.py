"""Computes the digest of the whole file while its pieces arrive, in a thread of its own.

A digest needs bytes in order, but pieces arrive in any order. `FileDigester` hashes along the contiguous frontier. The next piece
in order is hashed from the buffer that it was received in, without a read. A piece that arrived early is read back
from the page cache when the frontier reaches it, while other pieces are still being received.
"""

from __future__ import annotations

import os
import threading

from dfengine.errors import DigestMismatch, StorageError
from dfengine.storage.hashing import hasher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dfengine.storage.hashing import Hasher
    from dfengine.storage.piece_file import PieceFile
    from dfengine.task import Digest

STEP = 512 << 10
"""Bytes per read: they are hashed while they are still in the core's cache."""


def compare(expected: Sequence[Digest], found: Mapping[str, str]) -> None:
    """Compare digests of the whole file. found: hex digest by algorithm. Raises DigestMismatch."""
    for digest in expected:
        if found[digest.algorithm] != digest.hex:
            raise DigestMismatch(f"the file's {digest.algorithm} is {found[digest.algorithm]}, not {digest.hex}")


class FileDigester:
    """Whole-file digests by `algorithms`. Fetch threads call `submit` and `advance`, one thread `run`, any thread `result` and `stop`.

    Invariant: pieces are hashed in order, each once, each after its bit is set in `file.available`.
    """

    def __init__(
        self, file: PieceFile, algorithms: Sequence[str], spares: Sequence[memoryview] = (), *, first: int = 0,
        hashes: Mapping[str, Hasher] | None = None,
    ) -> None:
        """spares: piece buffers that fetch threads get in exchange for one that they hand over.

        hashes: state after the pieces below `first`, from which hashing continues.
        """
        self._file = file
        self._hashes = dict(hashes) if hashes is not None else {algorithm: hasher(algorithm) for algorithm in algorithms}
        self._spares = list(spares)
        self._handed: dict[int, tuple[memoryview, int]] = {}
        self._next = first
        self._changed = threading.Condition()
        self._stopped = False
        self._error: StorageError | None = None
        self._step = memoryview(bytearray(STEP))
        self.read_back = 0
        """Bytes that were read back from the file."""

    def submit(self, n: int, buffer: memoryview, length: int) -> memoryview | None:
        """Offer the written piece n, whose content is buffer[:length]. Takes the buffer and returns a spare; None: the caller keeps it."""
        with self._changed:
            try:
                if self._stopped or n != self._next or n in self._handed or not self._spares:
                    return None
                self._handed[n] = buffer, length
                return self._spares.pop()
            finally:
                self._changed.notify_all()

    def advance(self) -> None:
        """Wake `run`: pieces were written, or the length became known."""
        with self._changed:
            self._changed.notify_all()

    @property
    def hashed(self) -> int:
        """Number of pieces hashed."""
        return self._next

    def _ready(self) -> bool:
        bits = self._file.available
        return self._next < len(bits) and self._next in bits

    def _done(self) -> bool:
        return 0 <= self._file.geometry.count <= self._next

    def run(self) -> None:
        """Hash pieces until the last one, an error, or `stop`."""
        while True:
            with self._changed:
                while not self._stopped and not self._done() and not self._ready():
                    self._changed.wait(1.0)
            if not self.step():
                return

    def step(self) -> bool:
        """Hash the next piece if it is on disk. Return False when there is nothing to do."""
        with self._changed:
            moves = self._file.sequence
            if self._stopped or self._done() or not self._ready():
                return False
            handed = self._handed.pop(self._next, None)
            where = self._file.locate(self._next) if handed is None else (-1, 0, 0)
            if handed is None and (moves & 1 or moves != self._file.sequence):
                return True  # the file was moved, perhaps to a place without this piece
        error: StorageError | None = None
        try:
            self._hash(self._next, handed, where)
        except StorageError as caught:
            error = caught
        with self._changed:
            if error is not None:
                self._error, self._stopped = error, True
            if handed is not None:
                self._spares.append(handed[0])
            self._next += 1
            self._changed.notify_all()
        return True

    def _hash(self, n: int, handed: tuple[memoryview, int] | None, where: tuple[int, int, int]) -> None:
        if handed is not None:
            for hash_ in self._hashes.values():
                hash_.update(handed[0][: handed[1]])
            return
        (fd, offset, length), done = where, 0
        while done < length:
            try:
                got = os.preadv(fd, [self._step[: min(STEP, length - done)]], offset + done)
            except OSError as error:
                raise StorageError(f"cannot read {self._file.path}: {error.strerror}") from error
            if not got:
                if not self._file.may_end(n, done):
                    raise StorageError(f"{self._file.path} was cut short while it was being downloaded")
                return
            for hash_ in self._hashes.values():
                hash_.update(self._step[:got])
            self.read_back += got
            done += got

    def result(self, timeout: float) -> dict[str, str] | None:
        """Wait for the last piece and return hex digests by algorithm; None after `timeout` seconds. Raises StorageError."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._done(), timeout)
            if self._error is not None:
                raise self._error
            if not self._done():
                return None
            return {algorithm: hash_.hexdigest() for algorithm, hash_ in self._hashes.items()}

    def await_hashed(self, n: int) -> bool:
        """Wait until piece n is hashed. Return False if it never will be."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._next > n)
            return self._next > n

    def stop(self) -> None:
        """Make `run` return soon."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
