"""Tells a supernode that this host shares content: a question whether it is known, and the pieces' digests if it is not."""

from __future__ import annotations

from dfengine import codes
from dfengine.errors import RemoteError, SupernodeError
from dfengine.wire import Announced, Announcement, decode_announced, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeAddress

ANSWER = 10.0
"""Seconds for an answer."""

JSON = {"Content-Type": "application/json;charset=utf-8"}

MOST_DIGESTS = 700_000
"""Bytes of digests that a request has room for."""


def announce(dialer: Dialer, node: SupernodeAddress, told: Announcement, digests: Callable[[str], bytes]) -> Announced:
    """The supernode's last answer, a refusal too. digests: of the pieces, by the algorithm of that name; what it raises is raised.

    Raises RemoteError.
    """
    where = f"supernode {node}"
    line = dialer.connect(node.host, node.port, timeout=5.0, named=node.certified)
    try:
        answer = _ask(line, where, told)
        if answer.code == codes.CONTINUE and not told.withdrawn:
            given = digests(answer.digest)
            if len(given) > MOST_DIGESTS:
                raise SupernodeError(f"the file has {len(given) // 16} pieces, {MOST_DIGESTS // 16} can be shared")
            told.digests = given
            try:
                answer = _ask(line, where, told)
            finally:
                told.digests = b""
        return answer
    finally:
        line.close()


def _ask(line: object, where: str, told: Announcement) -> Announced:
    from dfengine.net.dial import Connection

    assert isinstance(line, Connection)
    status, _, body = line.request("POST", "/swarm/share", JSON, encode(told), timeout=ANSWER)
    if status in (401, 403):
        raise SupernodeError(f"{where} refuses unsigned requests: {body[:200].decode('ascii', 'replace').strip()}")
    if status == 404:
        raise SupernodeError(f"{where} shares no content: it is an older version")
    try:
        return decode_announced(body)
    except RemoteError:
        raise SupernodeError(f"{where} does not answer as a supernode does (HTTP {status})") from None
