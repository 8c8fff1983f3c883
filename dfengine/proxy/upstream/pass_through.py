"""A request that is passed on to its registry, and its response, both unchanged except for hop-by-hop fields.

Memory is bounded by the buffers of the two connections: when one side does not read, the other one is not read either.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from dfengine.errors import DfengineError, OriginForbidden
from dfengine.proxy.header_fields import CHUNKED, Fields, end_to_end, get
from dfengine.proxy.upstream.connection import BadAnswer, UpstreamConnection
from dfengine.proxy.upstream.timeouts import is_failure
from dfengine.proxy.upstream.upstreams import Upstreams
from dfengine.proxy.upstream.withheld_tail import is_whole, wrong

if TYPE_CHECKING:
    from typing import Protocol

    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.front.requests import Head
    from dfengine.proxy.registries import Registry
    from dfengine.proxy.upstream.withheld_tail import WithheldTail

    class Watcher(Protocol):
        """Sees a response: its head, the parts of its body, its end. on_failure: there is none; True if it sent another one instead."""

        def on_head(self, status: int, fields: Fields) -> None: ...
        def on_body(self, data: bytes) -> None: ...
        def on_end(self) -> None: ...
        def on_failure(self) -> bool: ...


REPEATABLE = frozenset(("GET", "HEAD", "OPTIONS"))
"""Methods of requests that are sent again if a reused connection turns out to be closed."""


class PassThrough:
    """For one request. target: of the request to `registry`. more: additional fields. target_changed: the target differs from the client's,
    so relative Locations are made absolute. watcher: sees the response. withheld: compares it with its digest.
    """

    plain = False
    """Whether this class reads the response's body, so that no encoding is requested."""

    def __init__(
        self, client: ClientConnection, request: Head, upstreams: Upstreams, registry: Registry, target: str, more: Fields,
        target_changed: bool = False, watcher: Watcher | None = None, withheld: WithheldTail | None = None,
    ) -> None:
        self._client = client
        self._request = request
        self._upstreams = upstreams
        self._registry = registry
        self._target = target
        self._more = more
        self._target_changed = target_changed
        self._watcher = watcher
        self._withheld = withheld
        self._head: tuple[int, bytes, Fields, int] | None = None
        """The response's head, until part of its body may be sent."""
        self._connection: UpstreamConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._body: list[bytes] = []
        """The request's body, while there is no connection."""
        self._whole = False
        """Whether all of the request was received."""
        self._again = request.length == 0 and request.method in REPEATABLE

    def start(self) -> PassThrough:
        connection = self._upstreams.idle_connection(self._registry) if self._again else None
        if connection is not None:
            self._send(connection)
        else:
            self._connect()
        return self

    def _connect(self) -> None:
        self._again = False
        self._client.pause_request(self._request.length != 0)
        self._connecting = asyncio.get_running_loop().create_task(self._connected())

    async def _connected(self) -> None:
        try:
            connection = await self._upstreams.connect(self._registry)
        except DfengineError as error:
            self._connecting = None
            if isinstance(error, OriginForbidden):
                self._client.send_error(403, str(error))
            else:
                self._failed(502, str(error))
            return
        self._connecting = None
        self._client.pause_request(False)
        self._send(connection)

    def _send(self, connection: UpstreamConnection) -> None:
        request, self._connection = self._request, connection
        fields: Fields = [(b"Host", self._registry.authority.encode()), *end_to_end(request.fields, True), *self._more]
        if self.plain or self._watcher is not None or self._withheld is not None:
            # The digest is of the content, not of an encoding of it.
            fields = [field for field in fields if field[0].lower() != b"accept-encoding"]
        if request.length == CHUNKED:
            fields.append((b"Transfer-Encoding", b"chunked"))
        elif request.length or request.method in ("POST", "PUT", "PATCH"):
            fields.append((b"Content-Length", b"%d" % request.length))
        connection.begin(self, request.method, self._target, fields, request.length != 0)
        for data in self._body:
            connection.write(data)
        self._body.clear()
        if self._whole:
            connection.complete()

    # The request.

    def body(self, data: bytes) -> None:
        if self._request.length == CHUNKED:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        (self._connection.write(data) if self._connection is not None else self._body.append(data))

    def complete(self) -> None:
        if self._request.length == CHUNKED:
            (self._connection.write(b"0\r\n\r\n") if self._connection is not None else self._body.append(b"0\r\n\r\n"))
        self._whole = True
        if self._connection is not None:
            self._connection.complete()

    def pause(self, paused: bool) -> None:
        if self._connection is not None:
            self._connection.read(not paused)

    def gone(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.cut()

    def expired(self) -> None:
        self.gone()
        self._failed(504, f"{self._registry.authority} did not answer in time")

    def _failed(self, status: int, message: str) -> None:
        if self._client.answer_started or self._watcher is None or not self._watcher.on_failure():
            self._client.send_error(status, message)

    # The response.

    def hold(self, held: bool) -> None:
        self._client.pause_request(held)

    def interim(self, status: int) -> None:
        self._client.interim(status)

    def answer(self, status: int, reason: bytes, fields: Fields, length: int) -> None:
        self._again = False
        if is_failure(status) and self._watcher is not None and self._watcher.on_failure():
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.cut()
            return
        passed = end_to_end(fields, False)
        if self._target_changed and get(fields, b"location"):
            base = self._registry.url + self._target
            passed = [(name, _absolute(base, value) if name.lower() == b"location" else value) for name, value in passed]
        if self._watcher is not None:
            self._watcher.on_head(status, fields)
        if self._withheld is not None and is_whole(self._request.method, status, fields):
            self._head = status, reason, passed, length
            self._client.extend_deadline()
        else:
            self._withheld = None
            self._client.begin(status, reason, passed, length)

    def body_part(self, data: bytes) -> None:
        if self._withheld is None:
            self._client.write(data)
        else:
            self._release(self._withheld.part(data))
        if self._watcher is not None:
            self._watcher.on_body(data)

    def end(self) -> None:
        self._connection = None
        if self._withheld is not None:
            rest = self._withheld.end(self._registry.authority)
            if rest is None:
                self._client.send_error(502, wrong(self._registry.authority, self._withheld.digest))
                return
            self._release(rest, last=True)
        if self._watcher is not None:
            self._watcher.on_end()
        self._client.end()

    def _release(self, data: bytes, last: bool = False) -> None:
        """Send the part of a compared body that may be sent."""
        if self._head is not None and (data or last):
            head, self._head = self._head, None
            self._client.begin(*head)
        if data:
            self._client.write(data)
        else:
            self._client.extend_deadline()  # the registry sends

    def flush(self) -> None:
        self._client.flush()

    def lost(self, error: Exception) -> None:
        connection, self._connection = self._connection, None
        if self._again and connection is not None and connection.used and not isinstance(error, BadAnswer):
            self._connect()
            return
        self._failed(502, f"{self._registry.authority}: {error}")


def _absolute(base: str, location: bytes) -> bytes:
    return urljoin(base, location.decode("latin-1")).encode("latin-1")
