"""Who may see and change what by `/api/v2` and the console.

                          reads                    changes
    no secret, no token   everybody                nobody
    a token               everybody                who shows the token
    a secret              who signs                who signs
    a secret, a token     who signs or shows it    who signs or shows it

The same token closes the older paths of copies, /api/v1/cache, to changes without it; without secret and token those are open.

The page itself and the description of the API hold no data: everybody may read them, since a browser cannot sign. The token is shown as a
bearer token only: what a browser sends by itself, as a password or a cookie, would let any other page change things in its name.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Coroutine
from typing import Any

from dfengine.net.http import Request, Response
from dfengine.supernode.api_v1 import refused
from dfengine.supernode.bearer_token import BearerToken
from dfengine.supernode.state import SupernodeState

PREFIX = "/api/v2/"


class ConsoleToken(BearerToken):
    """secret: requests that come without it were signed. public: paths that everybody may read."""

    def __init__(self, file: str = "", secret: bool = False, public: Container[str] = ()) -> None:
        super().__init__(file)
        self._secret = secret
        self._public = public

    def opens(self, request: Request) -> bool:
        """The request needs no signature."""
        if request.path in self._public:
            return request.method in ("GET", "HEAD")
        return request.path.startswith(PREFIX) and self.shown(request)

    def protect(
        self, route: Callable[[SupernodeState, Request], Coroutine[Any, Any, Response]]
    ) -> Callable[[SupernodeState, Request], Response | Coroutine[Any, Any, Response]]:
        """A route that changes copies, closed to requests that neither were signed nor show the token, if there is one."""

        def protected(state: SupernodeState, request: Request) -> Response | Coroutine[Any, Any, Response]:
            if not self or self.changes(request):
                return route(state, request)
            state.events.warning("change_refused", client=request.client, path=request.path)
            return refused("show the console's token: Authorization: Bearer TOKEN", 401, 401)

        return protected

    def changes(self, request: Request) -> bool:
        """A request that was let in may change something."""
        return self._secret or self.shown(request)
