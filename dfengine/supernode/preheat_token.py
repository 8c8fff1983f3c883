"""A token by which a program that cannot sign requests, such as Harbor, may have files and images fetched ahead, and nothing else.

It is shown as a bearer token (RFC 6750), or as the password of any user (RFC 7617). Where the swarm has a secret, a signed request needs no
token; where it has none, and a token was configured, each request for a preheat needs it.
"""

from __future__ import annotations

import contextlib
import hmac
import re
from base64 import b64decode
from collections.abc import Callable
from typing import TypeVar

from dfengine.net.http import Request, Response, text

State = TypeVar("State")
Answer = TypeVar("Answer")

_PATHS = re.compile(r"(?:/api/v1|/oapi/v1)?/(?:preheats|jobs)(?:/[0-9A-Za-z]+)?")
"""What it opens."""


class PreheatToken:
    """file: its path, mode 0600, "" for none. signed: requests that come without it were signed. Raises BadValue."""

    def __init__(self, file: str = "", signed: bool = False) -> None:
        self._file = file
        self._signed = signed
        self._token = b""
        self.reread()

    def reread(self) -> None:
        """Read the file again. Raises BadValue, and then the token of before stays in use."""
        if self._file:
            from dfengine.net.secret import read_secret

            self._token = read_secret(self._file)

    @property
    def text(self) -> str:
        """Shown to other supernodes, whose token is the same; "" for none."""
        return self._token.decode("ascii", "replace")

    def opens(self, request: Request) -> bool:
        """The request is for a preheat, and shows the token."""
        return bool(self._token) and _PATHS.fullmatch(request.path) is not None and self._shown(request)

    def protect(self, route: Callable[[State, Request], Answer]) -> Callable[[State, Request], Answer | Response]:
        """A route of preheats, closed to requests that neither were signed nor show the token, if there is one."""

        def protected(state: State, request: Request) -> Answer | Response:
            if not self._token or self._signed or self._shown(request):
                return route(state, request)
            return text(401, "this supernode takes preheats by its token: show it as `Authorization: Bearer TOKEN`, or as a password")

        return protected

    def _shown(self, request: Request) -> bool:
        kind, _, value = request.headers.get("authorization", "").strip().partition(" ")
        shown = value.strip().encode("utf-8", "replace") if kind.lower() == "bearer" else b""
        if kind.lower() == "basic":
            with contextlib.suppress(ValueError):
                shown = b64decode(value.strip(), validate=True).partition(b":")[2]
        return hmac.compare_digest(shown, self._token)
