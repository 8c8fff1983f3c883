"""Files that were fetched with credentials: a task for each set of them, so that one client's token opens nothing for another.

    task' = HMAC-SHA256(key, task + the credentials)        task itself where there are none

A client is told its task at registration, 1.x's too, so its own rule for ids stays as it is. The key is this supernode's own, kept
beside its copies: an id is seen by peers and in logs, and must not let a password be guessed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable

from dfengine.errors import LocalError
from dfengine.origin.request import is_private

KEY_BYTES = 32


class Credentials:
    """home: the supernode's directory."""

    def __init__(self, home: str) -> None:
        self._path = os.path.join(home, "credentials.key")
        self._key = b""

    def apart(self, task: str, headers: Iterable[tuple[str, str]]) -> str:
        """The id of `task` for those who send just these credentials. Raises LocalError when the key cannot be kept."""
        private = sorted((name.lower(), value) for name, value in headers if is_private(name))
        if not private:
            return task
        import hmac

        self._key = self._key or self._kept()
        # A NUL is in no header: no two sets are written alike.
        text = "\0".join([task, *(part for header in private for part in header)])
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hex()

    def _kept(self) -> bytes:
        try:
            with contextlib.suppress(FileExistsError):
                fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                with open(fd, "wb") as out:
                    out.write(secrets.token_bytes(KEY_BYTES))
            with open(self._path, "rb") as file:
                key = file.read()
            if len(key) != KEY_BYTES:
                # A process died while it wrote it: copies that were made with no key are none.
                os.unlink(self._path)
                return self._kept()
        except OSError as error:
            raise LocalError(f"cannot keep {self._path}: {error.strerror}") from error
        return key
