"""A token in a file, which a request shows as `Authorization: Bearer TOKEN` (RFC 6750)."""

from __future__ import annotations

import hmac

from dfengine.net.http import Request


class BearerToken:
    """file: its path, mode 0600, "" for none; false if there is none. Raises BadValue."""

    def __init__(self, file: str = "") -> None:
        self._file = file
        self._token = b""
        self.reread()

    def reread(self) -> None:
        """Read the file again. Raises BadValue, and then the token of before stays in use."""
        if self._file:
            from dfengine.net.secret import read_secret

            self._token = read_secret(self._file, "token")

    def __bool__(self) -> bool:
        return bool(self._token)

    @property
    def text(self) -> str:
        """Shown to other supernodes, whose token is the same; "" for none."""
        return self._token.decode("ascii", "replace")

    def equals(self, shown: bytes) -> bool:
        """Compared in constant time; False where there is no token."""
        return bool(self._token) and hmac.compare_digest(shown, self._token)

    def shown(self, request: Request) -> bool:
        """The request shows it."""
        kind, _, value = request.headers.get("authorization", "").strip().partition(" ")
        return kind.lower() == "bearer" and self.equals(value.strip().encode("utf-8", "replace"))
