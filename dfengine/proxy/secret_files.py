"""Files with secrets: read at the start and at SIGHUP, and only if no other user can read them."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from dfengine.errors import BadValue, LocalError
from dfengine.proxy.forward.certificate_authority import KEY
from dfengine.proxy.hub import xet
from dfengine.proxy.registry import logins
from dfengine.proxy.s3 import signature as s3_signature

if TYPE_CHECKING:
    from dfengine.settings import ProxySettings

MAX_TOKEN = 4096

MAX_FILES = 256
"""Maximum number of tracked files, earlier ones included."""


def secrets(settings: ProxySettings) -> list[str]:
    """Paths of a proxy's files that contain secrets."""
    own = [os.path.join(settings.home, name) for name in (KEY, xet.KEY)]
    given = settings.ca_key, settings.tls_key, settings.token_file, settings.s3_keys
    return [path for path in (*own, *given, settings.registry_auth, *settings.secret_file) if path]


class Secrets:
    """The secret files, present and replaced: a replaced file may have another name, and its secret may still be valid.

    For any thread. Each file is kept open by a descriptor, so that no other file gets its inode number.
    """

    def __init__(self, settings: ProxySettings) -> None:
        self._turn = threading.Lock()
        self._held: OrderedDict[tuple[int, int], int] = OrderedDict()
        """(device, inode) -> descriptor."""
        self.reload(settings)

    def reload(self, settings: ProxySettings) -> None:
        """Use the paths of these settings from now on."""
        self._home, self._paths = os.path.realpath(settings.home), secrets(settings)
        self._hold()

    def _hold(self) -> None:
        with self._turn:
            for path in self._paths:
                with contextlib.suppress(OSError):
                    self._take(path)
            while len(self._held) > MAX_FILES:
                os.close(self._held.popitem(last=False)[1])

    def _take(self, path: str) -> None:
        found = os.stat(path)
        if (found.st_dev, found.st_ino) not in self._held:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            found = os.fstat(fd)
            before = self._held.setdefault((found.st_dev, found.st_ino), fd)
            if before != fd:
                os.close(fd)
        self._held.move_to_end((found.st_dev, found.st_ino))

    def has(self, fd: int) -> bool:
        """Whether an open file is one of them, or is below the home. Raises OSError."""
        found, place = os.fstat(fd), os.readlink(f"/proc/self/fd/{fd}")
        self._hold()
        return (found.st_dev, found.st_ino) in self._held or place.startswith(f"{self._home}/")

    def close(self) -> None:
        """Close the descriptors, when the process ends."""
        with self._turn:
            while self._held:
                os.close(self._held.popitem()[1])


def read_token(path: str) -> str:
    """The token in the file, "" for no file. Raises BadValue, LocalError."""
    try:
        return _secret("--token-file", path, MAX_TOKEN).decode("ascii").strip() if path else ""
    except UnicodeError as error:
        raise LocalError(f"--token-file {path} cannot be read: {error}") from None


def read_logins(path: str) -> dict[str, str]:
    """See logins.read; empty for no file. Raises BadValue, LocalError."""
    return logins.read(_secret("--registry-auth", path, logins.MAX_BYTES), path) if path else {}


def read_keys(path: str) -> dict[str, str]:
    """See signature.parse_keys; empty for no file. Raises BadValue, LocalError."""
    if not path:
        return {}
    try:
        return s3_signature.parse_keys(_secret("--s3-keys", path, s3_signature.MAX_FILE).decode("ascii"), f"--s3-keys {path}")
    except UnicodeError:
        raise BadValue(f"--s3-keys {path} contains characters that keys and secrets do not have") from None


def _secret(option: str, path: str, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise BadValue(f"{option} {path} can be read by others: chmod 600")
            return file.read(most)
    except OSError as error:
        raise LocalError(f"{option} {path} cannot be read: {error.strerror}") from None
