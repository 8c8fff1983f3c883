"""Which connections to registries and other servers are reused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dfengine.errors import OriginUnreachable
from dfengine.proxy.header_fields import Fields
from dfengine.proxy.registries import Registry
from dfengine.proxy.upstream.connection import UpstreamConnection
from dfengine.proxy.upstream.own_request import MAX_BODY, ask

REGISTRY = Registry.parse("http://registry")
ANSWER = b"HTTP/1.1 405 No\r\nContent-Length: 2\r\n\r\nno"


class Transport:
    """unsent: bytes that the socket has not accepted."""

    def __init__(self) -> None:
        self.written = b""
        self.unsent = 0
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int) -> None: ...

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Exchange:
    """The receiver of a response."""

    def __init__(self) -> None:
        self.ended = False

    def answer(self, *head: object) -> None: ...
    def body_part(self, data: bytes) -> None: ...
    def flush(self) -> None: ...
    def end(self) -> None:
        self.ended = True


def opened(transport: Any) -> UpstreamConnection:
    made = UpstreamConnection(lambda connection: None)
    made.connection_made(transport)
    return made


def reused(fields: Fields, parts: tuple[bytes, ...] = (), complete: bool = True, unsent: int = 0) -> bool:
    """Whether a connection is open after a response to a request with these parts of a body. complete: there are no more parts."""

    async def run() -> bool:
        transport, exchange = Transport(), Exchange()
        made: Any = exchange
        connection = opened(transport)
        connection.begin(made, "PUT" if parts else "GET", "/x", fields, bool(parts))
        for part in parts:
            connection.write(part)
        transport.unsent = unsent
        if parts and complete:
            connection.complete()
        connection.data_received(ANSWER[:-2])
        connection.complete()  # the rest of the body arrived during the response
        transport.unsent = 0
        connection.data_received(ANSWER[-2:])
        assert exchange.ended
        return connection.open

    return asyncio.run(run())


def test_a_connection_is_reused_only_if_its_server_has_received_the_whole_request_first() -> None:
    length, chunked = [(b"Content-Length", b"6")], [(b"Transfer-Encoding", b"chunked")]
    assert reused([])
    assert reused(length, (b"one", b"two"))
    assert reused(chunked, (b"3\r\none\r\n", b"0\r\n\r\n"))
    assert not reused(length, (b"one",), complete=False)
    assert not reused(chunked, (b"3\r\none\r\n",), complete=False)
    assert not reused(length, (b"one", b"two"), unsent=3)


@pytest.mark.parametrize("scheme", [b"NTLM TlRM", b"Negotiate YIIJ", b"negotiate", b"ntlm x"])
def test_a_connection_that_may_be_authenticated_itself_is_not_reused(scheme: bytes) -> None:
    assert not reused([(b"Accept", b"*/*"), (b"authorization", scheme)])
    assert reused([(b"Authorization", b"Basic bWU6c2VjcmV0")])


class Idle:
    """Upstreams with one idle connection."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection

    def idle_connection(self, registry: Registry) -> UpstreamConnection:
        return self._connection


@pytest.mark.parametrize("fault", ["too long", "cancelled"])
def test_a_failed_request_of_the_proxy_does_not_cut_the_next_exchange(fault: str) -> None:
    """Its connection is idle as soon as the response is complete, before its task runs again."""

    async def run() -> None:
        connection, exchange = opened(Transport()), Exchange()
        upstreams: Any = Idle(connection)
        made: Any = exchange
        task = asyncio.create_task(ask(asyncio.get_running_loop(), upstreams, REGISTRY, "GET", "/x", []))
        await asyncio.sleep(0)
        length = MAX_BODY + 1 if fault == "too long" else 2
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + bytes(length))
        connection.begin(made, "GET", "/y", [])
        if fault == "cancelled":
            task.cancel()
        with pytest.raises(asyncio.CancelledError if fault == "cancelled" else OriginUnreachable):
            await task
        connection.data_received(ANSWER)
        assert exchange.ended

    asyncio.run(run())
