"""A token that permits a program that cannot sign requests, such as Harbor, to request preheats, and nothing else.

It is sent as a bearer token (RFC 6750), or as the password of any user (RFC 7617). In a swarm with a secret, a signed request needs no
token. In a swarm without one, every request for a preheat needs the token, if one is configured.
"""

from __future__ import annotations

import contextlib
import re
from base64 import b64decode
from collections.abc import Callable
from typing import TypeVar

from dfengine.net.http import Request, Response, text
from dfengine.supernode.bearer_token import BearerToken

State = TypeVar("State")
Answer = TypeVar("Answer")

_PATHS = re.compile(r"(?:/api/v1|/oapi/v1)?/(?:preheats|jobs)(?:/[0-9A-Za-z]+)?")
"""Paths that the token permits."""


class PreheatToken(BearerToken):
    """The preheat token. signed: requests without it are known to be signed."""

    def __init__(self, file: str = "", signed: bool = False) -> None:
        super().__init__(file)
        self._signed = signed

    def permits(self, request: Request) -> bool:
        """Whether the request is for a preheat and carries the token."""
        return bool(self) and _PATHS.fullmatch(request.path) is not None and self.is_in(request)

    def protect(self, route: Callable[[State, Request], Answer]) -> Callable[[State, Request], Answer | Response]:
        """Wrap a route of preheats: refuse requests that are not signed and lack the token, if a token is configured."""

        def protected(state: State, request: Request) -> Answer | Response:
            if not self or self._signed or self.is_in(request):
                return route(state, request)
            return text(401, "preheats need this supernode's token: send it as `Authorization: Bearer TOKEN`, or as a password")

        return protected

    def is_in(self, request: Request) -> bool:
        """Whether the request carries the token, as a bearer token or a password."""
        kind, _, value = request.headers.get("authorization", "").strip().partition(" ")
        if kind.lower() == "basic":
            with contextlib.suppress(ValueError):
                return self.equals(b64decode(value.strip(), validate=True).partition(b":")[2])
        return super().is_in(request)
