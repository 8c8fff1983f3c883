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


def announce(dialer: Dialer, node: SupernodeAddress, told: Announcement, digests: Callable[[str], bytes]) -> Announced:
    """One announcement over a connection of its own; see `Announcer`."""
    with Announcer(dialer, node) as line:
        return line.announce(told, digests)


class Announcer:
    """A connection to a supernode for announcements one after the other. Use as a context. Raises RemoteError."""

    def __init__(self, dialer: Dialer, node: SupernodeAddress) -> None:
        self._where = f"supernode {node}"
        self._line = dialer.connect(node.host, node.port, timeout=5.0, named=node.certified)

    def announce(self, told: Announcement, digests: Callable[[str], bytes]) -> Announced:
        """The supernode's last answer, a refusal too. digests: of the pieces, by the algorithm of that name; what it raises is raised.

        Raises RemoteError, after which only `close` may be called.
        """
        answer = _ask(self._line, self._where, told)
        if answer.code == codes.CONTINUE and not told.withdrawn:
            given = digests(answer.digest)
            if len(given) > MOST_DIGESTS:
                raise SupernodeError(f"the file has {len(given) // 16} pieces, {MOST_DIGESTS // 16} can be shared")
            told.digests = given
            try:
                answer = _ask(self._line, self._where, told)
            finally:
                told.digests = b""
        return answer

    def close(self) -> None:
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ask(line: Connection, where: str, told: Announcement) -> Announced:
    status, _, body = line.request("POST", "/swarm/share", JSON, encode(told), timeout=ANSWER)
    if status in (401, 403):
        raise SupernodeError(f"{where} refuses unsigned requests: {body[:200].decode('ascii', 'replace').strip()}")
    if status == 404:
        raise SupernodeError(f"{where} shares no content: it is an older version")
    try:
        return decode_announced(body)
    except RemoteError:
        raise SupernodeError(f"{where} does not answer as a supernode does (HTTP {status})") from None
