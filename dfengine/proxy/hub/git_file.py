"""Small files of a Hub's repository are named by git: the SHA-1 of `blob LENGTH`, NUL and the content (gitformat-pack(5), objects)."""

from __future__ import annotations

import hashlib
import os

from dfengine.errors import DigestMismatch, StorageError
from dfengine.proxy.upstream.withheld_tail import git_name

BLOCK = 1 << 20


def check_git_file(fd: int, sha1: str) -> str:
    """The SHA-256, in hex, of a file whose git name is `sha1`. Raises DigestMismatch if it has another name, StorageError."""
    length, at = os.fstat(fd).st_size, 0
    name, digest = git_name(length), hashlib.sha256()
    try:
        while block := os.pread(fd, BLOCK, at):
            name.update(block)
            digest.update(block)
            at += len(block)
    except OSError as error:
        raise StorageError(f"the file cannot be read again: {error.strerror}") from error
    if name.hexdigest() != sha1:
        raise DigestMismatch(f"the file's git name is {name.hexdigest()}, but the hub states {sha1}")
    return digest.hexdigest()
