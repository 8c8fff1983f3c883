"""The supernode's copies on disk: HOME/download/<first 3>/<taskId>, a record and a description beside each.

A copy is the plain file; what was fetched before a crash is found again by its record and its description.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import msgspec

from dfengine._piece import Geometry
from dfengine.errors import LocalError, StorageError
from dfengine.origin.version import Version
from dfengine.origin.work import missing
from dfengine.storage.descriptors import Descriptors
from dfengine.storage.failure import storage_error
from dfengine.storage.hashing import hasher
from dfengine.supernode.copies.copy import Copy

TASK_ID = re.compile(r"[0-9a-f]{64}")


class Description(msgspec.Struct, kw_only=True):
    """What is known of a copy besides its bytes. Nothing of the requests' headers is kept.

    generation: names this version of the origin's file. md5: of the raw file, "" while unknown.
    digest: algorithm of the record's piece digests. verified: how the origin's certificate was (`origin.verification`), None: not known.
    """

    url: str
    generation: str
    etag: str = ""
    last_modified: str = ""
    md5: str = ""
    complete: bool = False
    digest: str = "xxh3"
    dated: bool = True
    coding: str = ""
    verified: str | None = None

    def version(self, length: int) -> Version:
        """What the origin said of its file, which has `length` bytes."""
        return Version(self.etag, self.last_modified, length, self.dated, self.coding)

    def rest(self, file: Copy) -> tuple[int, Version | None]:
        """From which byte on `file` lacks what, and of which version; (0, None): all of it, or nothing tells versions apart."""
        version, gaps = self.version(file.geometry.length), missing(file.here, file.geometry.count)
        if not (version.binds and gaps and gaps[0][0]):
            return 0, None
        return file.geometry.content(gaps[0][0])[0], version

    def learn(self, version: Version) -> None:
        """The origin says this of its file now."""
        self.etag, self.last_modified, self.dated, self.coding = version.etag, version.last_modified, version.dated, version.coding


COPIES = "download"
"""The directory of the copies, in a supernode's home."""


class Cache:
    """All copies below one directory. digest: `xxh3`, or `blake3` (its first 128 bits), which keeps out who forges pieces.

    longest: bytes that a copy may have.

    Raises LocalError when it cannot be used.
    """

    def __init__(self, home: str, digest: str = "xxh3", longest: int = 4 << 40) -> None:
        self.digest = digest
        self.longest = longest
        self.path = os.path.join(home, COPIES)
        self._descriptors = Descriptors()
        self._copies: weakref.WeakValueDictionary[str, Copy] = weakref.WeakValueDictionary()
        # A fetch and the thread that computes its md5s both write the description, of one shared value: the last written is the whole.
        self._describing = threading.Lock()
        try:
            # Copies that credentials opened are not for this host's other users.
            os.makedirs(self.path, mode=0o700, exist_ok=True)
        except OSError as error:
            raise LocalError(f"cannot use {self.path}: {error.strerror}") from error

    def _at(self, task: str, kind: str = "") -> str:
        return os.path.join(self.path, task[:3], task + kind)

    def load(self, task: str, verified: str = "") -> tuple[Copy, Description] | None:
        """The copy that an earlier process left, complete or not; None when there is none that can be used, or that was `verified` so."""
        try:
            with open(self._at(task, ".json"), "rb") as file:
                description = msgspec.json.decode(file.read(1 << 16), type=Description)
            if (description.digest, description.verified) != (self.digest, verified):
                return None
            copy = self._kept(task, Copy.open(self._at(task), self._at(task, ".record")))
            if copy.geometry != Geometry(copy.geometry.length):
                return None
            description.md5 = ""  # of bytes that nobody has compared since
            # The three files are not replaced as one: only with all its pieces is a copy complete.
            description.complete = description.complete and copy.record.all_here()
            return copy, description
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, StorageError):
            return None

    def _kept(self, task: str, copy: Copy) -> Copy:
        copy.keep_in(self._descriptors, self.piece_digest)
        self._copies[task] = copy
        return copy

    def piece_digest(self, content: memoryview) -> bytes:
        """16 bytes, as the record keeps them."""
        check = self.hasher()
        check.update(content)
        return self.kept(check)

    def hasher(self) -> Any:
        """For a piece's content as it comes; its updates release the GIL."""
        return hasher(self.digest)

    @staticmethod
    def kept(check: Any) -> bytes:
        """Of a `hasher`, when all of the piece was given: 16 bytes, as the record keeps them."""
        return bytes(check.digest()[:16])

    def check_length(self, length: int) -> None:
        """Raises StorageError for a file of so many bytes (-1: unknown) that is longer than a copy may be."""
        if length > self.longest:
            raise StorageError(f"the file has {length} bytes, this supernode takes up to {self.longest} (--max-length)")

    def create(self, task: str, geometry: Geometry, description: Description) -> Copy:
        """A fresh copy. The old one's file is unlinked and not overwritten: it may be on its way to somebody.

        Raises StorageError, also for one that is too long.
        """
        self.check_length(geometry.length)
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            os.makedirs(os.path.join(self.path, task[:3]), exist_ok=True)
        except OSError as error:
            raise storage_error(f"cannot write {self.path}", error) from error
        self.remove(task)
        file = self._kept(task, Copy.create(self._at(task), self._at(task, ".record"), geometry, description.generation.encode()))
        self.describe(task, description)
        return file

    def describe(self, task: str, description: Description) -> None:
        """Write the description anew. Raises StorageError."""
        path = self._at(task, ".json")
        try:
            with self._describing, open(path + ".new", "wb") as file:
                file.write(msgspec.json.encode(description))
                file.flush()
                os.rename(path + ".new", path)
        except OSError as error:
            raise storage_error(f"cannot write {path}", error) from error

    def remove(self, task: str) -> None:
        """The copy leaves the disk; whoever has it open goes on reading it."""
        copy = self._copies.pop(task, None)
        if copy is not None:
            copy.vanish()
        for kind in (".json", ".record", ""):
            with contextlib.suppress(OSError):
                os.unlink(self._at(task, kind))

    def touch(self, task: str, now: float) -> None:
        """It was used at unix time `now`."""
        with contextlib.suppress(OSError):
            os.utime(self._at(task, ".json"), (now, now))

    def free(self) -> int:
        """Bytes that the file system has left; 0 when somebody has removed the directory, which is made again."""
        try:
            room = os.statvfs(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                os.makedirs(self.path, mode=0o700, exist_ok=True)
            return 0
        return room.f_bavail * room.f_frsize

    def copies(self) -> Iterator[tuple[float, str, int]]:
        """(unix time of last use, task, bytes that it takes on the disk) of every copy."""
        try:
            folders = list(os.scandir(self.path))
        except OSError:
            return
        for folder in folders:
            with contextlib.suppress(OSError):
                for entry in os.scandir(folder.path):
                    task, dot, kind = entry.name.partition(".")
                    if kind == "json" and dot and TASK_ID.fullmatch(task):
                        yield entry.stat().st_mtime, task, self._taken(task)

    def _taken(self, task: str) -> int:
        taken = 0
        for kind in ("", ".record"):
            with contextlib.suppress(OSError):
                taken += os.stat(self._at(task, kind)).st_blocks * 512
        return taken
