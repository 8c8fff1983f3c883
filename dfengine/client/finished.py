"""The description of a finished output: with it, the same `get` run again fetches nothing while the file is current.

It is stored as an extended attribute of the file, so it moves with the file and is deleted with it. On a file system without extended
attributes, the file is fetched again. A description is not used if the file was changed since, or belongs to another URL.
"""

from __future__ import annotations

import json
import os
import stat
import time

from dfengine.errors import StorageError
from dfengine.storage.hashing import hasher
from dfengine.task import Digest
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.client.monitor import Monitor
    from dfengine.origin.version import Version

ATTRIBUTE = b"user.dfengine"
SOON = 5.0
"""Longest time in seconds between the note and the rename to the output's name; a later ctime means that the file was changed."""

STEP = 1 << 20
"""Bytes per read."""


class Finished(Value):
    """Description of a finished output. task: the id from identity.identify. generation: of the origin's file. length: bytes.
    mtime: of the file when its data was verified, in ns. noted: when the description was written, unix seconds. xxh3: hex, "" if not
    computed. The other fields are the origin's validators, "" if only a supernode was asked.
    """

    task: str
    generation: str
    length: int
    mtime: int
    noted: float = 0.0
    etag: str = ""
    last_modified: str = ""
    dated: bool = True
    coding: str = ""
    xxh3: str = ""

    def version(self) -> Version | None:
        """The version to use in a conditional request to the origin; None when its validators are unknown."""
        from dfengine.origin.version import Version

        if not self.etag and not self.last_modified:
            return None
        return Version(self.etag, self.last_modified, self.length, self.dated, self.coding)


def write_description(fd: int, task: str, generation: str, version: Version | None, xxh3: str) -> None:
    """Store the description of the open file, which is complete and verified. Errors are ignored."""
    if not generation:
        return
    data = os.fstat(fd)
    found = Finished(task=task, generation=generation, length=data.st_size, mtime=data.st_mtime_ns, noted=time.time(), xxh3=xxh3)
    if version is not None and version.name == generation:
        found = found.replace(etag=version.etag, last_modified=version.last_modified, dated=version.dated, coding=version.coding)
    try:
        os.setxattr(fd, ATTRIBUTE, json.dumps(found.__dict__).encode())
    except (OSError, ValueError):
        return


def read_description(path: str, task: str) -> Finished | None:
    """Return the description of the file at `path` if it is this task's and the file was not changed since, else None."""
    try:
        data = os.stat(path)
        found = Finished(**json.loads(os.getxattr(path, ATTRIBUTE)))
        same = (found.task, found.length, found.mtime) == (task, data.st_size, data.st_mtime_ns)
        texts = (found.generation, found.etag, found.last_modified, found.coding, found.xxh3)
        # A writer can reset a file's mtime, but not its ctime. The file's owner can write any note.
        same = same and data.st_ctime <= float(found.noted) + SOON
        same = same and data.st_uid in (os.geteuid(), 0) and not data.st_mode & stat.S_IWOTH
        good = stat.S_ISREG(data.st_mode) and all(type(text) is str for text in texts) and type(found.dated) is bool
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if same and good and found.generation else None


def hash_file(path: str, algorithms: Iterable[str], monitor: Monitor) -> dict[str, str]:
    """Return hex digests of the file at `path` by algorithm. Raises StorageError, TimedOut."""
    hashes = {algorithm: hasher(algorithm) for algorithm in algorithms}
    step = memoryview(bytearray(STEP))
    try:
        with open(path, "rb", buffering=0) as file:
            while got := file.readinto(step):
                monitor.check(None)
                for each in hashes.values():
                    each.update(step[:got])
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    return {algorithm: each.hexdigest() for algorithm, each in hashes.items()}


def has_digests(path: str, expected: list[Digest], monitor: Monitor) -> bool:
    """Whether the file at `path` exists, has all expected digests, and was not changed while it was read. False if none is expected."""
    if not expected or not os.path.isfile(path):
        return False
    try:
        before = os.stat(path)
        found = hash_file(path, {digest.algorithm for digest in expected}, monitor)
        after = os.stat(path)
    except (OSError, StorageError):
        return False
    same = os.path.samestat(before, after) and (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return same and all(found[digest.algorithm] == digest.hex for digest in expected)
