"""Health probes of the proxy: /healthy and /healthz succeed while it runs, /readyz unless its disk is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.about import VERSION

if TYPE_CHECKING:
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.requests import Head

PATHS = frozenset((b"/healthy", b"/healthz", b"/readyz"))


def probed(client: ClientConnection, head: Head, full: bool) -> bool:
    """Answer a probe; False for any other request. full: no file can be fetched, because the last write to the disk failed."""
    if head.target not in PATHS or head.method not in ("GET", "HEAD"):
        return False
    fields = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Server", f"dfengine/{VERSION}".encode())]
    if full and head.target == b"/readyz":
        client.send_response(503, b"not ready: the disk is full, or the home directory cannot be used\n", fields)
    else:
        client.send_response(200, b"ok\n", fields)
    return True
