"""Requests about the path to a server, or about this proxy, and which of them the proxy answers itself. Pure.

Sources: RFC 9110 sections 7.6.2 (Max-Forwards), 9.3.7 (OPTIONS) and 9.3.8 (TRACE); RFC 9112 section 3.2.4 (the target `*`).
"""

from __future__ import annotations

import re

from dfengine.net.http import BadRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.proxy.front.requests import Head

ALLOWED = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT"

EVERYTHING = b"*"
"""The target of a request about a server as a whole."""


def local_status(head: Head, intercepted: bool) -> int:
    """The status of a request that this proxy answers itself; 0: pass the request on, with Max-Forwards decremented. Raises BadRequest.

    TRACE is not served: its response would show the request's credentials to programs that must not see them. intercepted: the request
    is for a server whose https is intercepted, so `*` is that server.
    """
    if head.method == "TRACE":
        return 405
    if head.method != "OPTIONS":
        return 0
    if head.target == EVERYTHING and not intercepted:
        return 200
    given = head.first.get(b"max-forwards")
    if given is None:
        return 0
    left = given.strip()
    if not re.fullmatch(rb"[0-9]{1,9}", left):
        raise BadRequest(400, "Max-Forwards is not a number")
    if not int(left):
        return 200
    head.fields = [(name, b"%d" % (int(left) - 1) if name.lower() == b"max-forwards" else value) for name, value in head.fields]
    return 0
