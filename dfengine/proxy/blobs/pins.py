"""Blobs of a proxy's home as its user sees and steers them: which are there, and which are pinned.

    HOME/pinned-blobs/NAME    the blob of this name stays, whatever is evicted; an empty file

A running proxy looks there whenever it evicts, so a pin needs no word to it.
"""

from __future__ import annotations

import contextlib
import os
import re

from dfengine.proxy.blobs.eviction import remove
from dfengine.storage.failure import storage_error
from dfengine.storage.protected import is_own_folder
from dfengine.value import Value

BLOBS = "blobs"
PINNED = "pinned-blobs"

_NAME = re.compile(r"[0-9a-f]{64}(?:\.[0-9a-f]{16})?")


class Blob(Value):
    """name: of its file; see `store.name_of`. used: unix seconds. inode: of its data, which a download of this host may have, too."""

    name: str
    path: str
    length: int
    used: float
    pinned: bool
    inode: int

    @property
    def content(self) -> str:
        """`df:sha256:HEX`."""
        return f"df:sha256:{self.name.partition('.')[0]}"


def listed(home: str) -> list[Blob]:
    """All of them, by name. home: the directory of a proxy's downloads; one that has no blobs has none."""
    kept, found = pinned(home), []
    with contextlib.suppress(OSError), os.scandir(os.path.join(home, BLOBS)) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    found.append(Blob(entry.name, entry.path, status.st_size, status.st_atime, entry.name in kept, status.st_ino))
    return sorted(found, key=lambda blob: blob.name)


def pinned(home: str) -> frozenset[str]:
    """Names of blobs that stay; they need not be there."""
    folder = os.path.join(home, PINNED)
    with contextlib.suppress(OSError):
        if is_own_folder(folder):
            return frozenset(filter(_NAME.fullmatch, os.listdir(folder)))
    return frozenset()


def pin(home: str, name: str, stays: bool) -> None:
    """The blob stays until this is called with False. Raises StorageError."""
    path = os.path.join(home, PINNED, name)
    try:
        if stays:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    except OSError as error:
        raise storage_error(f"cannot write {path}", error) from error


def drop(home: str, blob: Blob) -> None:
    """It leaves the disk, pinned or not. Raises StorageError."""
    pin(home, blob.name, False)
    remove(home, os.path.join(home, BLOBS), {blob.name: blob.inode})
