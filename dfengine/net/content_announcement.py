"""Announces content that this host shares to a supernode: asks whether the content is known, and sends the pieces' digests if not."""

from __future__ import annotations

from dfengine import codes
from dfengine.errors import RemoteError, SupernodeError
from dfengine.net.http_client import JSON_HEADERS
from dfengine.wire import Announced, Announcement, decode_announced, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from dfengine.net.dialer import Dialer
    from dfengine.net.http_client import Connection
    from dfengine.settings import SupernodeAddress

ANSWER = 10.0
"""Seconds to wait for a response."""

MAX_DIGESTS = 700_000
"""Largest total size of digests in a request, in bytes."""


def announce(dialer: Dialer, node: SupernodeAddress, announcement: Announcement, digests: Callable[[str], bytes]) -> Announced:
    """Send one announcement over a connection of its own; see `Announcer`."""
    with Announcer(dialer, node) as announcer:
        return announcer.announce(announcement, digests)


class Announcer:
    """A connection to a supernode for several announcements in sequence. Use as a context manager. Raises RemoteError."""

    def __init__(self, dialer: Dialer, node: SupernodeAddress) -> None:
        self._where = f"supernode {node}"
        self._connection = dialer.connect(node.host, node.port, timeout=5.0, named=node.certified)

    def announce(self, announcement: Announcement, digests: Callable[[str], bytes]) -> Announced:
        """Return the supernode's last answer, which may be a refusal. digests: returns the pieces' digests by the named algorithm; its
        errors propagate.

        Raises RemoteError, after which only `close` may be called.
        """
        answer = _ask(self._connection, self._where, announcement)
        if answer.code == codes.CONTINUE and not announcement.withdrawn:
            given = digests(answer.digest)
            if len(given) > MAX_DIGESTS:
                raise SupernodeError(f"the file has {len(given) // 16} pieces, {MAX_DIGESTS // 16} can be shared")
            announcement.digests = given
            try:
                answer = _ask(self._connection, self._where, announcement)
            finally:
                announcement.digests = b""
        return answer

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ask(connection: Connection, where: str, announcement: Announcement) -> Announced:
    status, _, body = connection.request("POST", "/swarm/share", JSON_HEADERS, encode(announcement), timeout=ANSWER)
    if status in (401, 403):
        raise SupernodeError(f"{where} refuses unsigned requests: {body[:200].decode('ascii', 'replace').strip()}")
    if status == 404:
        raise SupernodeError(f"{where} shares no content: it is an older version")
    try:
        return decode_announced(body)
    except RemoteError:
        raise SupernodeError(f"{where} does not answer as a supernode does (HTTP {status})") from None
