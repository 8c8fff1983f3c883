"""A random key that a process stores in its home, for names that no other process can make and that stay valid after a restart."""

from __future__ import annotations

import contextlib
import os
import secrets

from dfengine.errors import LocalError

BYTES = 32


def own_key(path: str) -> bytes:
    """Return the key at `path`, created if the file does not exist. Raises LocalError when it cannot be read or stored."""
    try:
        with contextlib.suppress(FileExistsError):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(fd, "wb") as out:
                out.write(secrets.token_bytes(BYTES))
        with open(path, "rb") as file:
            key = file.read()
        if len(key) != BYTES:
            # A process died while writing it, so no name was made with this key.
            os.unlink(path)
            return own_key(path)
    except OSError as error:
        raise LocalError(f"cannot store {path}: {error.strerror}") from error
    return key
