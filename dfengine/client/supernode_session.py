"""Registration of a download at a supernode, and the common part of both pull protocols.

`join` registers and determines the supernode's protocol: `native.NativeSession`, or `legacy.LegacySession` for 1.x.
"""

from __future__ import annotations

import contextlib
import os
import time

from dfengine import codes, fields
from dfengine._piece import Geometry
from dfengine.client import supernode_answer
from dfengine.client.messages import Registered, Registration, decode_registered
from dfengine.client.supernode_answer import FILE, Patience
from dfengine.errors import BadValue, ProtocolViolation, RemoteError, Silent, SourceGone, SupernodeError, SupernodeFull
from dfengine.net.http_client import CONNECT, JSON_HEADERS
from dfengine.settings import SupernodeAddress
from dfengine.task import ALGORITHMS
from dfengine.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from dfengine.client.transfer import Transfer
    from dfengine.net.dialer import Dialer
    from dfengine.net.http_client import Connection

    class SupernodeSession(Protocol):
        """One pull protocol. Used by the main thread only.

        `step` sends a request to the supernode if one is due, then waits for an answer, a fetch thread or `limit` seconds,
        whichever is first. `conclude` sends the remaining reports. Both raise SupernodeError (also UnknownDownload),
        SourceGone or ProtocolViolation when the membership cannot be used any more.

        finished_md5: of the whole file, "" until the supernode sends it. awaits_md5: whether further steps may bring it. reported: pieces
        that were reported to the supernode as stored, as far as that brings the md5.
        """

        finished_md5: str

        @property
        def awaits_md5(self) -> bool: ...
        @property
        def reported(self) -> int: ...

        def step(self, transfer: Transfer, limit: float) -> None: ...
        def conclude(self, transfer: Transfer) -> None: ...
        def close(self) -> None: ...

REFUSED = 32
"""Consecutive offers without a usable source after which the swarm is given up."""

REGISTRATION_TIMEOUT = 30.0
"""Time-out of a registration in seconds: the supernode may ask the origin first."""

AUTH_PAUSE = 2.5
"""Seconds between registrations while the supernode waits for credentials (code 609), as in 1.x."""

AUTH_PATIENCE = 60.0
"""Seconds for which registrations are repeated in that case."""

AGAIN = 0.5
"""Seconds, plus a random part of up to the same again, until a registration is repeated after the supernode asked to wait."""

MIB = 1 << 20


class Membership(Value):
    """The registration of one CID at one supernode."""

    dialer: Dialer
    node: SupernodeAddress
    connection: Connection
    cid: str
    task: str
    geometry: Geometry
    generation: bytes
    native: bool
    algorithm: str
    cdn_source: str

    def connect(self, timeout: float = CONNECT) -> Connection:
        """Open another connection to the supernode. timeout: seconds. Raises SourceGone."""
        return self.dialer.connect(self.node.host, self.node.port, timeout=timeout, named=self.node.certified)


def join(
    dialer: Dialer, node: SupernodeAddress, registration: Registration, deadline: float, pause: Callable[[float], None] = time.sleep,
    notify: Callable[[str], object] = lambda _: None, patience: Patience = FILE, traceparent: str = "",
) -> Membership:
    """Register at `node`; deadline in monotonic seconds. pause: waits the given seconds, and may raise. notify: called with the reason.

    traceparent: sent with the registration; "": none.

    Raises SourceGone, SupernodeError, ProtocolViolation; Silent for a supernode that does not run, at once if it was silent recently.
    """
    headers = {**JSON_HEADERS, "traceparent": traceparent} if traceparent else JSON_HEADERS
    asked = min(deadline, time.monotonic() + AUTH_PATIENCE)
    supernode_answer.check(dialer, node, patience)
    while True:
        left = deadline - time.monotonic()
        connection = supernode_answer.connect(dialer, node, max(0.1, min(patience.connect, left)))
        kept = connection.answers_read > 0
        try:
            sent = registration.encode(connection.remote_ip)
            limit = max(0.1, min(REGISTRATION_TIMEOUT, left))
            status, body = supernode_answer.request(dialer, node, connection, "/peer/registry", headers, sent, limit, patience)
            if status in (401, 403):
                raise SupernodeError(f"supernode {node} refuses unsigned requests: {body[:200].decode('ascii', 'replace').strip()}")
            try:
                answer = decode_registered(body)
            except ProtocolViolation as error:
                detail = f": {error}" if status == 200 else ""
                raise ProtocolViolation(f"{node} does not answer as a supernode does (HTTP {status}){detail}") from None
            # 602: the origin is slow, or asks for a pause; the supernode waits for it, and gives up by itself.
            until = deadline if answer.code == codes.WAIT else asked
            if answer.code in (codes.WAIT, codes.WAIT_AUTH) and time.monotonic() + AUTH_PAUSE < until:
                notify(f"supernode {node} asks to wait: {reason(answer.message)}")
                pause(AUTH_PAUSE if answer.code == codes.WAIT_AUTH else AGAIN * (1.0 + chance()))
            else:
                if status == 503:
                    raise _full(node, answer)
                return _accept(dialer, node, connection, registration.cid, answer)
        except SourceGone as error:
            connection.close()
            dialer.check()
            if not kept or isinstance(error, Silent):  # else a pooled connection may have been closed while idle: the CID may retry
                raise
        except BaseException:
            connection.close()
            raise
        connection.close()


def _full(node: SupernodeAddress, answer: Registered) -> SupernodeFull:
    """The error for a supernode that accepts no download now, for a reason that does not concern the file."""
    full = SupernodeFull(f"supernode {node} refuses: {reason(answer.message)}")
    full.alternatives = answer.alternatives
    return full


def _accept(dialer: Dialer, node: SupernodeAddress, connection: Connection, cid: str, answer: Registered) -> Membership:
    if answer.code == codes.NEED_AUTH:
        raise refuse(node, answer.code, answer.message)
    if answer.code != codes.SUCCESS or not answer.piece_size:
        raise SupernodeError(f"supernode {node} refuses: {reason(answer.message)}", answer.code)
    if answer.native >= 1 and answer.digest not in ALGORITHMS:
        raise ProtocolViolation(f"supernode {node} names pieces by {answer.digest!r}, which is not supported")
    try:
        geometry = Geometry(answer.length, answer.piece_size)
        if not answer.task or answer.piece_size <= 0 or answer.piece_size % MIB:
            raise BadValue("a task without a name, or a piece size that is not a multiple of 1 MiB")
    except (BadValue, OverflowError) as error:
        raise ProtocolViolation(f"supernode {node} sends an invalid answer: {error}") from None
    return Membership(
        dialer=dialer,
        node=node,
        connection=connection,
        cid=cid,
        task=answer.task,
        geometry=geometry,
        generation=answer.generation.encode()[:16],
        native=answer.native >= 1,
        algorithm=answer.digest,
        cdn_source=answer.cdn_source,
    )


def chance() -> float:
    """Return a random number in [0, 1). Importing the module `random` would cost a small download too much."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


def reason(message: str) -> str:
    """Return a supernode's message on one line, without the JSON of task, URL and code that 1.x puts before it."""
    return " ".join((message.rpartition('"}: ')[2] or message or "no reason given").split())[:300]


def refuse(node: SupernodeAddress, code: int, message: str) -> SupernodeError:
    """The error for a code that ends this download at this supernode."""
    kind = {
        codes.CDN_FAILED: "could not fetch the file",
        codes.UNREACHABLE: "cannot reach the origin",
        codes.NEED_AUTH: "is asked for credentials by the origin",
    }.get(code, "ends the download")
    return SupernodeError(f"supernode {node} {kind} (code {code}): {reason(message)}", code)


def leave(member: Membership) -> None:
    """Send `GET /peer/service/down` over a connection of its own; at most a second. Errors are ignored."""
    from urllib.parse import urlencode

    query = urlencode({fields.TASK_ID: member.task, fields.CID: member.cid})
    if supernode_answer.silent_nodes.is_silent(str(member.node)):
        return
    with contextlib.suppress(RemoteError):
        connection = member.connect(1.0)
        with _released(member, connection):
            connection.request("GET", f"/peer/service/down?{query}", {}, b"", timeout=1.0)


def report(member: Membership, message: bytes) -> None:
    """Send `POST /task/metrics` over the open connection or a new one; at most a second. Errors are ignored."""
    connection = member.connection
    if supernode_answer.silent_nodes.is_silent(str(member.node)):
        return
    with contextlib.suppress(RemoteError):
        if connection.usable:
            connection.request("POST", "/task/metrics", JSON_HEADERS, message, timeout=1.0)
            return
        connection = member.connect(1.0)
        with _released(member, connection):
            connection.request("POST", "/task/metrics", JSON_HEADERS, message, timeout=1.0)


@contextlib.contextmanager
def _released(member: Membership, connection: Connection) -> Iterator[None]:
    """Release the connection after a complete exchange, for another download; close it after a failure."""
    try:
        yield
    except BaseException:
        connection.close()
        raise
    member.dialer.release(connection, named=True)
