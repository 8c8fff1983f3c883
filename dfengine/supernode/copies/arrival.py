"""What comes from an origin goes into a copy: received part by part, hashed and written while it is in the core's cache."""

from __future__ import annotations

import mmap
from typing import Any

from dfengine._piece import Geometry
from dfengine.errors import OriginDiffers, StorageError
from dfengine.origin.version import Version
from dfengine.origin.work import ENDLESS
from dfengine.storage.piece_file import PieceFile
from dfengine.supernode.copies.fetch import Fetch

PART = 512 << 10
"""Bytes received, hashed and written in turn."""


class Arrivals:
    """See origin.sink.Sink: the copy `file` of a fetch."""

    def __init__(self, fetch: Fetch, file: PieceFile) -> None:
        self._fetch = fetch
        self.file = file
        self._parts: list[memoryview] = []

    @property
    def geometry(self) -> Geometry:
        """Of the copy."""
        return self.file.geometry

    @property
    def stopping(self) -> bool:
        """The process ends."""
        return self._fetch.stopped

    def unbind(self) -> None:
        """Pieces of another answer are about to come: the description names no version until the fetch has ended.

        So a copy that is found after a crash is not gone on from.
        """
        self._fetch.description.learn(Version())
        self._fetch.unbound = True
        self._fetch.describe()

    def begin(self, n: int) -> Arriving:
        """Piece n comes; if it is here already, to be compared."""
        if self.file.geometry.length < 0:
            self._fetch.cache.check_length(n * self.file.geometry.content_size)
        if n >= len(self.file.here):
            raise StorageError(f"the origin's file has more than the {n} pieces that there is room for")
        self._fetch.room.keep_low()
        # Of its own pages: malloc would take such buffers of many threads for small ones in time, and keep hundreds of MiB.
        part = self._parts.pop() if self._parts else memoryview(mmap.mmap(-1, PART))
        return Arriving(self._fetch, self.file, n, part, self._parts)

    def held(self) -> list[int]:
        """Pieces of the copy."""
        return list(self.file.here)

    def end(self) -> int:
        """Any piece may come now."""
        return ENDLESS

    def room_for(self, n: int) -> None:
        """There is."""

    def wanted(self) -> int:
        """The piece that a stream waits for, -1: none."""
        return self._fetch.wanted_piece

    def learn_length(self, length: int) -> None:
        """The origin has said, or ended."""
        self._fetch.cache.check_length(length)
        self._fetch.room.write(lambda: self.file.learn_length(length))

    def say(self, text: str) -> None:
        """A supernode has nobody to tell."""


class Arriving:
    """See origin.sink.Piece."""

    def __init__(self, fetch: Fetch, file: PieceFile, n: int, part: memoryview, parts: list[memoryview]) -> None:
        self.got = 0
        self._fetch = fetch
        self._file = file
        self._n = n
        self._known = n in file.here
        self._part = part
        self._parts = parts
        self._put = 0
        self._hash: Any = fetch.cache.hasher()
        self._digest = b""

    def room(self, want: int) -> memoryview:
        """Of the current part."""
        at = self.got - self._put
        return self._part[at : min(PART, at + want)]

    def took(self, count: int) -> None:
        """A part that is full is hashed and, unless it is here, written."""
        self.got += count
        if self.got - self._put == PART:
            self._flush()

    def _flush(self) -> None:
        part = self._part[: self.got - self._put]
        self._hash.update(part)
        if not self._known and part:
            self._fetch.room.write(lambda: self._file.put(self._n, self._put, part), PART, lambda: self._fetch.missing_bytes)
        self._put = self.got

    def whole(self) -> bool:
        """See origin.sink.Piece. Raises OriginDiffers when it is here and was another one, StorageError."""
        self._flush()
        self._parts.append(self._part)
        self._digest = self._fetch.cache.kept(self._hash)
        if self._known and self._digest != self._file.record.digest(self._n):
            raise OriginDiffers("the origin sends other bytes than before")
        return self._known

    def show(self) -> None:
        """Offer it to the swarm."""
        self._fetch.room.write(lambda: self._file.offer(self._n, self._digest))
        self._fetch.arrived(self._n)
