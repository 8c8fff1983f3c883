"""Blobs of a proxy's home for its user: listing, pinning and removal.

    HOME/pinned-blobs/NAME    an empty file: the blob of this name is never evicted

A running proxy reads this directory at each eviction, so a pin needs no notification.
"""

from __future__ import annotations

import contextlib
import os
import re

from dfengine.proxy.blobs.eviction import remove
from dfengine.storage.os_errors import storage_error
from dfengine.storage.path_protection import is_own_folder
from dfengine.value import Value

BLOBS = "blobs"
PINNED = "pinned-blobs"

_NAME = re.compile(r"[0-9a-f]{64}(?:\.[0-9a-f]{16})?")


class Blob(Value):
    """name: of its file; see `blob_store.name_of`. used: unix seconds. inode: of its data, shared with a download of this host or not."""

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
    """All blobs, by name. home: the directory of a proxy's downloads; it may have no blobs."""
    kept, found = pinned(home), []
    with contextlib.suppress(OSError), os.scandir(os.path.join(home, BLOBS)) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    found.append(Blob(entry.name, entry.path, status.st_size, status.st_atime, entry.name in kept, status.st_ino))
    return sorted(found, key=lambda blob: blob.name)


def pinned(home: str) -> frozenset[str]:
    """Names of pinned blobs, which need not exist."""
    folder = os.path.join(home, PINNED)
    with contextlib.suppress(OSError):
        if is_own_folder(folder):
            return frozenset(filter(_NAME.fullmatch, os.listdir(folder)))
    return frozenset()


def pin(home: str, name: str, stays: bool) -> None:
    """Pin the blob, or unpin it if `stays` is False. Raises StorageError."""
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
    """Remove the blob from the disk, pinned or not. Raises StorageError."""
    pin(home, blob.name, False)
    remove(home, os.path.join(home, BLOBS), {blob.name: blob.inode})
