"""Tells a supernode that this host shares content: a question whether it is known, and the pieces' digests if it is not."""

from __future__ import annotations

from dfengine import codes
from dfengine.errors import RemoteError, SupernodeError
from dfengine.wire import Announced, Announcement, decode_announced, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from dfengine.net.dial import Connection
    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeAddress

ANSWER = 10.0
"""Seconds for an answer."""

JSON = {"Content-Type": "application/json;charset=utf-8"}

MOST_DIGESTS = 700_000
"""Bytes of digests that a request has room for."""


def announce(dialer: Dialer, node: SupernodeAddress, announcement: Announcement, digests: Callable[[str], bytes]) -> Announced:
    """One announcement over a connection of its own; see `Announcer`."""
    with Announcer(dialer, node) as announcer:
        return announcer.announce(announcement, digests)


class Announcer:
    """A connection to a supernode for announcements one after the other. Use as a context. Raises RemoteError."""

    def __init__(self, dialer: Dialer, node: SupernodeAddress) -> None:
        self._where = f"supernode {node}"
        self._connection = dialer.connect(node.host, node.port, timeout=5.0, named=node.certified)

    def announce(self, announcement: Announcement, digests: Callable[[str], bytes]) -> Announced:
        """The supernode's last answer, a refusal too. digests: of the pieces, by the algorithm of that name; what it raises is raised.

        Raises RemoteError, after which only `close` may be called.
        """
        answer = _ask(self._connection, self._where, announcement)
        if answer.code == codes.CONTINUE and not announcement.withdrawn:
            given = digests(answer.digest)
            if len(given) > MOST_DIGESTS:
                raise SupernodeError(f"the file has {len(given) // 16} pieces, {MOST_DIGESTS // 16} can be shared")
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
    status, _, body = connection.request("POST", "/swarm/share", JSON, encode(announcement), timeout=ANSWER)
    if status in (401, 403):
        raise SupernodeError(f"{where} refuses unsigned requests: {body[:200].decode('ascii', 'replace').strip()}")
    if status == 404:
        raise SupernodeError(f"{where} shares no content: it is an older version")
    try:
        return decode_announced(body)
    except RemoteError:
        raise SupernodeError(f"{where} does not answer as a supernode does (HTTP {status})") from None
