"""A bearer token from a file, which requests carry as `Authorization: Bearer TOKEN` (RFC 6750)."""

from __future__ import annotations

import hmac

from dfengine.net.http import Request


class BearerToken:
    """The token in `file`, a path with mode 0600, or "" for none. False without a token. Raises BadValue."""

    def __init__(self, file: str = "") -> None:
        self._file = file
        self._token = b""
        self.reread()

    def reread(self) -> None:
        """Read the file again. Raises BadValue; the previous token then stays in use."""
        if self._file:
            from dfengine.net.secret import read_secret

            self._token = read_secret(self._file, "token")

    def __bool__(self) -> bool:
        return bool(self._token)

    @property
    def text(self) -> str:
        """The token as text, to send to other supernodes, which have the same; "" without a token."""
        return self._token.decode("ascii", "replace")

    def equals(self, token: bytes) -> bool:
        """Compare with the token in constant time; False without a token."""
        return bool(self._token) and hmac.compare_digest(token, self._token)

    def is_in(self, request: Request) -> bool:
        """Whether the request carries the token."""
        kind, _, value = request.headers.get("authorization", "").strip().partition(" ")
        return kind.lower() == "bearer" and self.equals(value.strip().encode("utf-8", "replace"))
