"""Permissions to read and change by `/api/v2` and the console.

                          reads                          changes
    no secret, no token   all clients                    no client
    a token               all clients                    with the token
    a secret              signed                         signed
    a secret, a token     signed or with the token       signed or with the token

The same token is required for changes at the older paths of copies, /api/v1/cache. Without secret and token those are open.

The page itself and the description of the API hold no data: all clients may read them, because a browser cannot sign. The token is accepted
as a bearer token only: a browser sends a password or a cookie by itself, so another page could make changes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Coroutine
from typing import Any

from dfengine.net.http import Request, Response
from dfengine.supernode.api_v1 import refusal
from dfengine.supernode.bearer_token import BearerToken
from dfengine.supernode.supernode_state import SupernodeState

PREFIX = "/api/v2/"


class ConsoleToken(BearerToken):
    """secret: requests without the token were signed. public: paths that all clients may read."""

    def __init__(self, file: str = "", secret: bool = False, public: Container[str] = ()) -> None:
        super().__init__(file)
        self._secret = secret
        self._public = public

    def permits(self, request: Request) -> bool:
        """Whether the request needs no signature."""
        if request.path in self._public:
            return request.method in ("GET", "HEAD")
        return request.path.startswith(PREFIX) and self.is_in(request)

    def protect(
        self, route: Callable[[SupernodeState, Request], Response | Coroutine[Any, Any, Response]]
    ) -> Callable[[SupernodeState, Request], Response | Coroutine[Any, Any, Response]]:
        """Wrap a route that changes copies: refuse requests that are not signed and lack the token, if a token is configured."""

        def protected(state: SupernodeState, request: Request) -> Response | Coroutine[Any, Any, Response]:
            if not self or self.changes(request):
                return route(state, request)
            state.events.warning("admin_action_refused", client=request.client, path=request.path)
            return refusal("this needs the console's token: Authorization: Bearer TOKEN", 401, 401)

        return protected

    def changes(self, request: Request) -> bool:
        """Whether an admitted request may change something."""
        return self._secret or self.is_in(request)
