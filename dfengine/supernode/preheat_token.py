"""A token by which a program that cannot sign requests, such as Harbor, may have files and images fetched ahead, and nothing else.

It is shown as a bearer token (RFC 6750), or as the password of any user (RFC 7617). Where the swarm has a secret, a signed request needs no
token; where it has none, and a token was configured, each request for a preheat needs it.
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
"""What it opens."""


class PreheatToken(BearerToken):
    """signed: requests that come without it were signed."""

    def __init__(self, file: str = "", signed: bool = False) -> None:
        super().__init__(file)
        self._signed = signed

    def opens(self, request: Request) -> bool:
        """The request is for a preheat, and shows the token."""
        return bool(self) and _PATHS.fullmatch(request.path) is not None and self.shown(request)

    def protect(self, route: Callable[[State, Request], Answer]) -> Callable[[State, Request], Answer | Response]:
        """A route of preheats, closed to requests that neither were signed nor show the token, if there is one."""

        def protected(state: State, request: Request) -> Answer | Response:
            if not self or self._signed or self.shown(request):
                return route(state, request)
            return text(401, "this supernode takes preheats by its token: show it as `Authorization: Bearer TOKEN`, or as a password")

        return protected

    def shown(self, request: Request) -> bool:
        """Also as a password."""
        kind, _, value = request.headers.get("authorization", "").strip().partition(" ")
        if kind.lower() == "basic":
            with contextlib.suppress(ValueError):
                return self.equals(b64decode(value.strip(), validate=True).partition(b":")[2])
        return super().shown(request)
