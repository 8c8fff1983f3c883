"""The description of a finished output: with it, the same `get` run again fetches nothing while the file is current.

It is stored as an extended attribute of the file, so it moves with the file and is deleted with it. On a file system without extended
attributes, the file is fetched again. A description is not used if the file was changed since, or belongs to another URL. A file of an
earlier boot is examined first, once: after a power failure it may lack its data, and have the description.
"""

from __future__ import annotations

import json
import os
import stat
import time

from dfengine.errors import StorageError
from dfengine.storage.boot import boot_id, has_holes
from dfengine.storage.hashing import hasher
from dfengine.storage.output_note import ATTRIBUTE, is_unchanged
from dfengine.task import Digest
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine.origin.version import Version

STEP = 1 << 20
"""Bytes per read."""


class Finished(Value):
    """Description of a finished output. task: the id from identity.identify. generation: of the origin's file. length: bytes.
    mtime: of the file when its data was verified, in ns. noted: when the description was written, unix seconds. xxh3: hex, "" if not
    computed. boot: in which the data was written, or was last known to be on the disk; "" unknown. The other fields are the origin's
    validators, "" if only a supernode was asked.
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
    boot: str = ""

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
    found = Finished(task=task, generation=generation, length=data.st_size, mtime=data.st_mtime_ns, xxh3=xxh3)
    if version is not None and version.name == generation:
        found = found.replace(etag=version.etag, last_modified=version.last_modified, dated=version.dated, coding=version.coding)
    _write(fd, found)


def _write(fd: int, found: Finished) -> Finished:
    """Store the description with the present time and boot, and return it; an error is ignored, and `found` returned."""
    noted = found.replace(noted=time.time(), boot=boot_id())
    try:
        os.setxattr(fd, ATTRIBUTE, json.dumps(noted.__dict__).encode())
    except (OSError, ValueError):
        return found
    return noted


def confirm(path: str, found: Finished, check: Callable[[], None]) -> Finished | None:
    """Return the description, noted again for the present boot, if the data of the file at `path` is on the disk; else None.

    Reads the whole file if it is of an earlier boot and `found` has its digest. check: called between reads; it may raise.
    """
    if found.boot and found.boot == boot_id():
        return found
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # With its digest, a file may have holes of its own.
        good = hash_file(fd, ["xxh3"], check)["xxh3"] == found.xxh3 if found.xxh3 else not has_holes(fd)
        now = read_description(fd, found.task)
        # The peer server may have removed its link meanwhile, and noted the output again.
        return _write(fd, found) if good and now is not None and now.replace(noted=found.noted) == found else None
    except (OSError, StorageError):
        return None
    finally:
        os.close(fd)


def read_description(path: str | int, task: str) -> Finished | None:
    """Return the description of the file at `path`, or of an open one, if it is this task's and the file was not changed since, else None.

    Its data may be lost if `boot` is not the present one: see `confirm`.
    """
    try:
        data = os.stat(path)
        found = Finished(**json.loads(os.getxattr(path, ATTRIBUTE)))
        same = found.task == task and is_unchanged(data, found.__dict__)
        texts = (found.generation, found.etag, found.last_modified, found.coding, found.xxh3, found.boot)
        # The file's owner can write any note.
        same = same and data.st_uid in (os.geteuid(), 0) and not data.st_mode & stat.S_IWOTH
        good = stat.S_ISREG(data.st_mode) and all(type(text) is str for text in texts) and type(found.dated) is bool
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if same and good and found.generation else None


def hash_file(path: str | int, algorithms: Iterable[str], check: Callable[[], None]) -> dict[str, str]:
    """Return hex digests of the file at `path`, or of an open one from its position on, by algorithm. Raises StorageError.

    check: called between reads; it may raise.
    """
    hashes = {algorithm: hasher(algorithm) for algorithm in algorithms}
    step = memoryview(bytearray(STEP))
    try:
        with open(path, "rb", buffering=0, closefd=isinstance(path, str)) as file:
            while got := file.readinto(step):
                check()
                for each in hashes.values():
                    each.update(step[:got])
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    return {algorithm: each.hexdigest() for algorithm, each in hashes.items()}


def has_digests(path: str, expected: list[Digest], check: Callable[[], None]) -> bool:
    """Whether the file at `path` exists, has all expected digests, and was not changed while it was read. False if none is expected."""
    if not expected or not os.path.isfile(path):
        return False
    try:
        before = os.stat(path)
        found = hash_file(path, {digest.algorithm for digest in expected}, check)
        after = os.stat(path)
    except (OSError, StorageError):
        return False
    same = os.path.samestat(before, after) and (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return same and all(found[digest.algorithm] == digest.hex for digest in expected)
