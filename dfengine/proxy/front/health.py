"""What probes of the proxy are answered: /healthy and /healthz while it runs, /readyz unless its disk takes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfengine.about import VERSION

if TYPE_CHECKING:
    from dfengine.proxy.front.front import Front
    from dfengine.proxy.front.requests import Head

PATHS = frozenset((b"/healthy", b"/healthz", b"/readyz"))


def probed(front: Front, head: Head, full: bool) -> bool:
    """Answer a probe; False: it is another request. full: nothing can be fetched, because the disk took no more."""
    if head.target not in PATHS or head.method not in ("GET", "HEAD"):
        return False
    fields = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Server", f"dfengine/{VERSION}".encode())]
    if full and head.target == b"/readyz":
        front.whole(503, b"not ready: the disk is full, or the home directory cannot be used\n", fields)
    else:
        front.whole(200, b"ok\n", fields)
    return True
