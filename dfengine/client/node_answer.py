"""Waits for a supernode's answer, and finds early that it does not run: it is frozen, or behind a firewall that drops.

An answer may take long for a good reason: a registration waits for the origin, a pull until there is something to offer. So silence alone
proves nothing. A client without an answer for QUIET seconds sends a request that every supernode answers at once: over another
connection, or by the next pull, which releases the parked one (`pull_timing`). Only a supernode that does not answer that either is
silent; all downloads of the process go on without it then (`silent_nodes`).
"""

from __future__ import annotations

import contextlib
import select
import time

from dfengine.client.silent_nodes import LEAVE, TRY, SilentNodes
from dfengine.errors import ProtocolViolation, Silent
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfengine.net.dial import Connection
    from dfengine.net.dialer import Dialer
    from dfengine.settings import SupernodeAddress

QUIET = 2.0
"""Seconds."""

AGAIN = 5.0
"""Seconds between two such questions while the answer is still awaited."""

TRIED = 1.5
"""Seconds for a ping of a supernode that was silent: the caller waits for it."""

PING = "/_ping"
"""1.x supernodes answer it, too."""


class Patience(Value):
    """connect: seconds to be connected. prompt: seconds for an answer that is due at once. retry: seconds for which a supernode that was
    lost is looked for before the origin is read. insists: there is no way but a supernode: one that was silent is asked all the same.
    """

    connect: float = 5.0
    prompt: float = 10.0
    retry: float = 20.0
    insists: bool = False


FILE = Patience()
"""Of a download of a whole file. Thousands of them may wait for a busy supernode; if they all went to the origin it would have to send the
file to each.
"""

READ = Patience(connect=3.0, prompt=3.0, retry=5.0)
"""Of a file that is open: only what a program waits for is read from the origin meanwhile. huggingface_hub gives up after 10 s without a
byte, others later: QUIET and this leave half of them for the origin.
"""

silent_nodes = SilentNodes()
"""The silent supernodes of this process."""


def check(dialer: Dialer, node: SupernodeAddress, patience: Patience) -> None:
    """May it be asked? One that was silent is tried first, if it is time for that. Raises Silent, and what a try raises."""
    if patience.insists:
        return
    turn = silent_nodes.ask(str(node), time.monotonic())
    if turn == LEAVE:
        raise Silent(f"supernode {node} did not answer a moment ago")
    if turn == TRY:
        ping(dialer, node, TRIED)


def connect(dialer: Dialer, node: SupernodeAddress, timeout: float) -> Connection:
    """A connection to it. timeout: seconds. Raises SourceGone."""
    try:
        return dialer.connect(node.host, node.port, timeout=timeout, named=node.certified)
    except Silent:
        silent_nodes.silent(str(node), time.monotonic())
        raise


def ping(dialer: Dialer, node: SupernodeAddress, timeout: float) -> None:
    """Raises Silent when it does not answer within `timeout` seconds, SourceGone when nobody is there."""
    connection = connect(dialer, node, timeout)
    try:
        connection.request("GET", PING, timeout=timeout)
    except Silent:
        silent_nodes.silent(str(node), time.monotonic())
        raise Silent(f"supernode {node} does not answer") from None
    except ProtocolViolation:
        silent_nodes.answered(str(node))
    else:
        silent_nodes.answered(str(node))
    finally:
        connection.close()


def request(
    dialer: Dialer, node: SupernodeAddress, connection: Connection, target: str, headers: Mapping[str, str], body: bytes,
    timeout: float, patience: Patience,
) -> tuple[int, bytes]:
    """POST: (status, body). timeout: seconds for the answer of a supernode that runs. Raises SourceGone, Silent, ProtocolViolation."""
    name = str(node)
    connection.send("POST", target, headers, body)
    started = time.monotonic()
    deadline, next_ping = started + timeout, started + QUIET
    while not _comes(connection, min(next_ping, deadline)):
        now = time.monotonic()
        if now >= deadline:
            break
        if silent_nodes.left(name) and not patience.insists:
            raise Silent(f"supernode {node} does not answer")
        with contextlib.suppress(ProtocolViolation):
            ping(dialer, node, min(patience.prompt, deadline - now))
        next_ping = time.monotonic() + AGAIN
    status, answer = connection.answer(deadline)
    silent_nodes.answered(name)
    return status, answer


def _comes(connection: Connection, until: float) -> bool:
    """Bytes of the answer are here, or the connection was closed, before monotonic time `until`."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    checked = False
    while not connection.receiver.buffered:
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            return False
        if checked or connection.readable:
            return True
        checked = True  # what came may be of TLS alone
    return True
