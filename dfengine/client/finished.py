"""The description of a finished output, by which the same `get` run again fetches nothing while the file is current.

It is kept as an extended attribute of the file itself, which goes where the file goes and ends with it; where a file system has none,
the file is fetched anew. A file that was changed since, or that another URL was asked for, is not it.
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

    from dfengine.client.watch import Watch
    from dfengine.origin.version import Version

ATTRIBUTE = b"user.dfengine"
SOON = 5.0
"""Seconds between the note and the rename that gives the file its name, at most; what happens to the file later is a change."""

STEP = 1 << 20
"""Bytes read at once."""


class Finished(Value):
    """task: as identity.identify names it. generation: of the origin's file. length: bytes. mtime: of the data, ns, when it was verified.
    noted: unix seconds, when this was written.
    The others are the origin's validators, "" where only a supernode was asked; xxh3: hex, "" if it was not computed.
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
        """What the origin can be asked about, None when its validators are not known."""
        from dfengine.origin.version import Version

        if not self.etag and not self.last_modified:
            return None
        return Version(self.etag, self.last_modified, self.length, self.dated, self.coding)


def note(fd: int, task: str, generation: str, version: Version | None, xxh3: str) -> None:
    """The open file is complete and verified. Nothing fails by it."""
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


def find(path: str, task: str) -> Finished | None:
    """What the file at `path` is, if it is this task's and was not changed since."""
    try:
        data = os.stat(path)
        found = Finished(**json.loads(os.getxattr(path, ATTRIBUTE)))
        same = (found.task, found.length, found.mtime) == (task, data.st_size, data.st_mtime_ns)
        texts = (found.generation, found.etag, found.last_modified, found.coding, found.xxh3)
        # Who writes into a file can set its mtime back, and not its ctime; whose file it is can write any note.
        same = same and data.st_ctime <= float(found.noted) + SOON
        same = same and data.st_uid in (os.geteuid(), 0) and not data.st_mode & stat.S_IWOTH
        good = stat.S_ISREG(data.st_mode) and all(type(text) is str for text in texts) and type(found.dated) is bool
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if same and good and found.generation else None


def digests(path: str, algorithms: Iterable[str], watch: Watch) -> dict[str, str]:
    """Hex digests of the file at `path` by algorithm. Raises StorageError, TimedOut."""
    hashes = {algorithm: hasher(algorithm) for algorithm in algorithms}
    step = memoryview(bytearray(STEP))
    try:
        with open(path, "rb", buffering=0) as file:
            while got := file.readinto(step):
                watch.check(None)
                for each in hashes.values():
                    each.update(step[:got])
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    return {algorithm: each.hexdigest() for algorithm, each in hashes.items()}


def has(path: str, expected: list[Digest], watch: Watch) -> bool:
    """The file at `path` is there, and has all the expected digests, of which there is one at least."""
    if not expected or not os.path.isfile(path):
        return False
    try:
        found = digests(path, {digest.algorithm for digest in expected}, watch)
    except StorageError:
        return False
    return all(found[digest.algorithm] == digest.hex for digest in expected)
