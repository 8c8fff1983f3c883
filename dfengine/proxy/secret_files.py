"""Files that hold what opens something: read once, at the start, and only if nobody else can read them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from dfengine.errors import BadValue, LocalError
from dfengine.proxy.forward.authority import KEY
from dfengine.proxy.registry import logins
from dfengine.proxy.s3 import signature as s3_signature

if TYPE_CHECKING:
    from dfengine.settings import ProxySettings

LONGEST_TOKEN = 4096


def secrets(settings: ProxySettings) -> list[str]:
    """Paths of the files of a proxy that open something."""
    own = os.path.join(settings.home, KEY), settings.ca_key, settings.tls_key, settings.token_file, settings.s3_keys
    return [path for path in (*own, settings.registry_auth, *settings.secret_file) if path]


def read_token(path: str) -> str:
    """What stands in the file, "" for no file. Raises BadValue, LocalError."""
    try:
        return _secret("--token-file", path, LONGEST_TOKEN).decode("ascii").strip() if path else ""
    except UnicodeError as error:
        raise LocalError(f"--token-file {path} cannot be read: {error}") from None


def read_logins(path: str) -> dict[str, str]:
    """See logins.read; empty for no file. Raises BadValue, LocalError."""
    return logins.read(_secret("--registry-auth", path, logins.LONGEST), path) if path else {}


def read_keys(path: str) -> dict[str, str]:
    """See signature.parse_keys; empty for no file. Raises BadValue, LocalError."""
    if not path:
        return {}
    try:
        return s3_signature.parse_keys(_secret("--s3-keys", path, s3_signature.LONGEST_FILE).decode("ascii"), f"--s3-keys {path}")
    except UnicodeError:
        raise BadValue(f"--s3-keys {path} holds other characters than those of keys and secrets") from None


def _secret(option: str, path: str, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise BadValue(f"{option} {path} can be read by others: chmod 600")
            return file.read(most)
    except OSError as error:
        raise LocalError(f"{option} {path} cannot be read: {error.strerror}") from None
