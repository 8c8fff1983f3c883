"""The supernode's copies on disk: HOME/download/<first 3>/<taskId>, with a record and a description beside each.

A copy is the plain file. After a crash its record and description show which pieces were fetched.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from dfengine._piece import Geometry
from dfengine.errors import LocalError, OutOfResources, StorageError
from dfengine.location import is_content
from dfengine.manifest import HEAD_BYTES, shared_base
from dfengine.origin.piece_claims import missing
from dfengine.origin.request import selection
from dfengine.origin.version import Version
from dfengine.storage.descriptors import Descriptors
from dfengine.storage.hashing import hasher
from dfengine.storage.os_errors import EXHAUSTED, storage_error
from dfengine.storage.record import Record
from dfengine.supernode.copies.copy import Copy
from dfengine.task import redacted_url, task_id

if TYPE_CHECKING:
    from dfengine.storage.hashing import Hasher

TASK_ID = re.compile(r"[0-9a-f]{64}")


class Description(msgspec.Struct, kw_only=True):
    """Metadata of a copy. The headers of requests are not stored.

    generation: names this version of the origin's file. md5: of the raw file; "" while unknown.
    digest: algorithm of the record's piece digests. verified: how the origin's certificate was verified; None: unknown.
    vary: the request's values of the harmless headers that the response depends on; see `origin.request.selection`.
    tree: which of a tree's two tasks it is a copy of; "": of none. open: see `copies.fetch_request.FetchRequest.open`; None: unknown.
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
    vary: dict[str, str] = {}
    tree: str = ""
    open: bool | None = None

    def matches(self, headers: Iterable[tuple[str, str]]) -> bool:
        """Whether this copy may answer a request with these headers (RFC 9111 section 4.1)."""
        return not self.vary or selection(headers, self.vary) == self.vary

    def version(self, length: int) -> Version:
        """Return the version that the origin named, of a file of `length` bytes."""
        return Version(self.etag, self.last_modified, length, self.dated, self.coding)

    def resume_at(self, file: Copy) -> tuple[int, Version | None]:
        """Return where to resume `file`: its first missing byte, and the version. (0, None): from the start, or no validator."""
        version, gaps = self.version(file.geometry.length), missing(file.available, file.geometry.count)
        if not (version.binds and gaps and gaps[0][0]):
            return 0, None
        return file.geometry.content(gaps[0][0])[0], version

    def set_version(self, version: Version) -> None:
        """Record the validators of the origin's current response."""
        self.etag, self.last_modified, self.dated, self.coding = version.etag, version.last_modified, version.dated, version.coding


COPIES = "download"
"""Directory of the copies in a supernode's home."""


class Cache:
    """All copies below one directory. digest: `xxh3`, or `blake3` (its first 128 bits), which forged pieces cannot match.

    max_length: maximum bytes of a copy. Raises LocalError if the directory cannot be used.
    """

    def __init__(self, home: str, digest: str = "xxh3", max_length: int = 4 << 40) -> None:
        self.digest = digest
        self.max_length = max_length
        self.path = os.path.join(home, COPIES)
        self._descriptors = Descriptors()
        self._copies: weakref.WeakValueDictionary[str, Copy] = weakref.WeakValueDictionary()
        # Threads of one fetch, or of a stopped fetch and the task's next one, may write files of the same task.
        self.lock = threading.RLock()
        try:
            # Copies may need credentials at the origin: other users of this host must not read them.
            os.makedirs(self.path, mode=0o700, exist_ok=True)
        except OSError as error:
            raise LocalError(f"cannot use {self.path}: {error.strerror}") from error

    def _file_path(self, task: str, kind: str = "") -> str:
        return os.path.join(self.path, task[:3], task + kind)

    def has(self, task: str) -> bool:
        """Whether the task has a copy, complete or not."""
        return os.path.exists(self._file_path(task, ".json"))

    def load(self, task: str, verified: str = "") -> tuple[Copy, Description] | None:
        """Load the copy left by an earlier process, complete or not. None: no copy, an unusable one, or one `verified` in another way.

        A copy whose record and description have different generations is removed. Raises OutOfResources.
        """
        try:
            with open(self._file_path(task, ".json"), "rb") as file:
                description = msgspec.json.decode(file.read(1 << 16), type=Description)
            if (description.digest, description.verified) != (self.digest, verified):
                return None
            copy = self._opened(task, Copy.open(self._file_path(task), self._file_path(task, ".record")))
            if copy.geometry != Geometry(copy.geometry.length):
                return None
            if copy.record.generation != description.generation.encode()[:16]:
                self.remove(task)
                return None
            description.md5 = ""  # the bytes may have changed since
            # The three files are not written atomically: a copy counts as complete only if its record agrees.
            description.complete = description.complete and copy.record.is_complete()
            return copy, description
        except OutOfResources:
            raise
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise storage_error(f"cannot read {self._file_path(task)}", error) from error
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, StorageError):
            return None

    def _opened(self, task: str, copy: Copy) -> Copy:
        copy.attach(self._descriptors, self.piece_digest)
        self._copies[task] = copy
        return copy

    def piece_digest(self, content: memoryview) -> bytes:
        """Return the 16 bytes that the record stores."""
        check = self.hasher()
        check.update(content)
        return self.finish(check)

    def hasher(self) -> Hasher:
        """Return a hasher for a piece's content as it arrives."""
        return hasher(self.digest)

    @staticmethod
    def finish(check: Hasher) -> bytes:
        """Return the 16 bytes that the record stores, from a `hasher` that was fed the whole piece."""
        return bytes(check.digest()[:16])

    def check_length(self, length: int) -> None:
        """Raise StorageError if a file of `length` bytes (-1: unknown) is too long for a copy."""
        if length > self.max_length:
            raise StorageError(f"the file has {length} bytes, this supernode takes up to {self.max_length} (--max-length)")

    def create(self, task: str, geometry: Geometry, description: Description) -> Copy:
        """Create an empty copy. An older one is unlinked, not overwritten, because uploads may still read it.

        Raises StorageError, also if the file is too long.
        """
        self.check_length(geometry.length)
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            os.makedirs(os.path.join(self.path, task[:3]), exist_ok=True)
        except OSError as error:
            raise storage_error(f"cannot write {self.path}", error) from error
        self.remove(task)
        paths = self._file_path(task), self._file_path(task, ".record")
        file = self._opened(task, Copy.create(*paths, geometry, description.generation.encode()))
        self.write_description(task, description)
        return file

    def write_description(self, task: str, description: Description) -> None:
        """Write the description. Raises StorageError."""
        path = self._file_path(task, ".json")
        try:
            with self.lock, open(path + ".new", "wb") as file:
                file.write(msgspec.json.encode(description))
                file.flush()
                os.rename(path + ".new", path)
        except OSError as error:
            raise storage_error(f"cannot write {path}", error) from error

    def remove(self, task: str) -> None:
        """Remove the copy from the disk. Uploads that have it open finish."""
        copy = self._copies.pop(task, None)
        if copy is not None:
            copy.detach()
        for kind in (".json", ".record", ""):
            with contextlib.suppress(OSError):
                os.unlink(self._file_path(task, kind))

    def touch(self, task: str, now: float) -> None:
        """Record unix time `now` as the copy's last use."""
        with contextlib.suppress(OSError):
            os.utime(self._file_path(task, ".json"), (now, now))

    def free_bytes(self) -> int:
        """Free bytes of the file system. If the directory was removed, create it again and return 0."""
        try:
            room = os.statvfs(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                os.makedirs(self.path, mode=0o700, exist_ok=True)
            return 0
        return room.f_bavail * room.f_frsize

    def copies(self) -> Iterator[tuple[float, str, int]]:
        """(unix time of last use, task, bytes on the disk) of every copy."""
        for task, entry in self._entries():
            with contextlib.suppress(OSError):
                yield entry.stat().st_mtime, task, self._disk_bytes(task)

    def tasks(self) -> Iterator[str]:
        """Tasks of all copies."""
        return (task for task, _ in self._entries())

    def _entries(self) -> Iterator[tuple[str, os.DirEntry[str]]]:
        try:
            folders = list(os.scandir(self.path))
        except OSError:
            return
        for folder in folders:
            with contextlib.suppress(OSError):
                for entry in os.scandir(folder.path):
                    task, dot, kind = entry.name.partition(".")
                    if kind == "json" and dot and TASK_ID.fullmatch(task):
                        yield task, entry

    def copy(self, task: str) -> tuple[float, str, int] | None:
        """Return the same tuple as `copies` for one task; None: no copy."""
        with contextlib.suppress(OSError):
            return os.stat(self._file_path(task, ".json")).st_mtime, task, self._disk_bytes(task)
        return None

    def summary(self, task: str) -> tuple[str, int, int, int, str, str, bool] | None:
        """Read from the disk: (URL, bytes, pieces, pieces on disk, Description.tree, the name of the shared directory's data if this is its
        manifest, else "", Description.open). -1: unknown. None: no copy."""
        try:
            with open(self._file_path(task, ".json"), "rb") as file:
                description = msgspec.json.decode(file.read(1 << 16), type=Description)
            record = Record.follow(self._file_path(task, ".record"))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, StorageError):
            return None
        try:
            geometry = record.geometry
            base = self._base(task) if is_content(description.url) and 0 in record.available else ""
            url, known = description.url, description.open
            open_ = known if known is not None else redacted_url(url) == url and task_id(url) == task
            return url, geometry.length, geometry.count, record.available.count(), description.tree, base, open_
        except StorageError:
            return None
        finally:
            record.close()

    def _base(self, task: str) -> str:
        with contextlib.suppress(OSError), open(self._file_path(task), "rb") as file:
            return shared_base(file.read(HEAD_BYTES))
        return ""

    def _disk_bytes(self, task: str) -> int:
        taken = 0
        for kind in ("", ".record"):
            with contextlib.suppress(OSError):
                taken += os.stat(self._file_path(task, kind)).st_blocks * 512
        return taken
