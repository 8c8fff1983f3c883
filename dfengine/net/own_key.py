"""A key of this process's own, kept in its home: it makes names that no other process can make, and that stay valid after a restart."""

from __future__ import annotations

import contextlib
import os
import secrets

from dfengine.errors import LocalError

BYTES = 32


def own_key(path: str) -> bytes:
    """The key at `path`, made where there is none. Raises LocalError when it cannot be kept."""
    try:
        with contextlib.suppress(FileExistsError):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(fd, "wb") as out:
                out.write(secrets.token_bytes(BYTES))
        with open(path, "rb") as file:
            key = file.read()
        if len(key) != BYTES:
            # A process died while it wrote it: what was named with no key is nothing.
            os.unlink(path)
            return own_key(path)
    except OSError as error:
        raise LocalError(f"cannot keep {path}: {error.strerror}") from error
    return key
