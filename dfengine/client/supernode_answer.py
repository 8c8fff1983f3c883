"""Waits for a supernode's answer, and detects early that the supernode is frozen, or behind a firewall that drops packets.

An answer may legitimately take long: a registration waits for the origin, a pull until there is something to offer. So silence alone
proves nothing. A client without an answer for QUIET seconds sends a request that every supernode answers at once: over another
connection, or by the next pull, which releases the parked one (`pull_timing`). Only a supernode that does not answer that either is
silent. Then all downloads of the process continue without it (`silent_nodes`).
"""

from __future__ import annotations

import contextlib
import select
import time

from dfengine.client.silent_nodes import PROBE, SKIP, SilentNodes
from dfengine.errors import ProtocolViolation, Silent
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from dfengine.net.dialer import Dialer
    from dfengine.net.http_client import Connection
    from dfengine.settings import SupernodeAddress

QUIET = 2.0
"""Seconds without an answer after which a ping is sent."""

PING_INTERVAL = 5.0
"""Seconds between two pings while the answer is still awaited."""

PROBE_TIMEOUT = 1.5
"""Time-out in seconds of a ping to a supernode that was silent: the caller waits for it."""

PING = "/_ping"
"""Path of a ping, which 1.x supernodes answer, too."""


class Patience(Value):
    """Time-outs with supernodes. connect: seconds for connecting. prompt: seconds for an answer that is due at once. retry: seconds of
    search for a supernode after a loss, before the origin is read. insists: only a supernode has the file: also ask those that were silent.
    """

    connect: float = 5.0
    prompt: float = 10.0
    retry: float = 20.0
    insists: bool = False


FILE = Patience()
"""For downloads of whole files. Thousands of them may wait for a busy supernode; if they all read the origin, it would have to send the
file to each.
"""

READ = Patience(connect=3.0, prompt=3.0, retry=5.0)
"""For open files: meanwhile only the pieces that a program waits for are read from the origin. huggingface_hub gives up after 10 s without
a byte, other programs later: QUIET and these times leave half of that for the origin.
"""

silent_nodes = SilentNodes()
"""The silent supernodes of this process."""


def check(dialer: Dialer, node: SupernodeAddress, patience: Patience) -> None:
    """Raise Silent if the supernode must not be asked now. One that was silent is pinged first, if a retry is due. Raises as `ping`."""
    if patience.insists:
        return
    turn = silent_nodes.next_action(str(node), time.monotonic())
    if turn == SKIP:
        raise Silent(f"supernode {node} did not answer a moment ago")
    if turn == PROBE:
        ping(dialer, node, PROBE_TIMEOUT)


def connect(dialer: Dialer, node: SupernodeAddress, timeout: float) -> Connection:
    """Connect to the supernode. timeout: seconds. Raises SourceGone."""
    try:
        return dialer.connect(node.host, node.port, timeout=timeout, named=node.certified)
    except Silent:
        silent_nodes.silent(str(node), time.monotonic())
        raise


def ping(dialer: Dialer, node: SupernodeAddress, timeout: float) -> None:
    """Ping the supernode. Raises Silent if it does not answer within `timeout` seconds, SourceGone if it cannot be connected to."""
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
    """POST; return (status, body). timeout: seconds for the answer of a running supernode. Raises SourceGone, Silent, ProtocolViolation."""
    name = str(node)
    connection.send("POST", target, headers, body)
    started = time.monotonic()
    deadline, next_ping = started + timeout, started + QUIET
    while not _await_bytes(connection, min(next_ping, deadline)):
        now = time.monotonic()
        if now >= deadline:
            break
        if silent_nodes.is_silent(name) and not patience.insists:
            raise Silent(f"supernode {node} does not answer")
        with contextlib.suppress(ProtocolViolation):
            ping(dialer, node, min(patience.prompt, deadline - now))
        next_ping = time.monotonic() + PING_INTERVAL
    status, answer = connection.answer(deadline)
    silent_nodes.answered(name)
    return status, answer


def _await_bytes(connection: Connection, until: float) -> bool:
    """Wait until monotonic time `until`. Return whether bytes of the answer arrived or the connection was closed."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    checked = False
    while not connection.receiver.buffered:
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            return False
        if checked or connection.readable:
            return True
        checked = True  # the bytes may be TLS records without data
    return True
