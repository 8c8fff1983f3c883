"""State of a client's connection from one request to the next."""

from __future__ import annotations

import asyncio
from typing import Any

from dfengine.proxy.front.client_connection import HIGH_WATER, ClientConnection
from dfengine.proxy.front.requests import Head

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"


class Socket:
    def fileno(self) -> int:
        return -1


class Transport:
    """A transport whose client reads nothing until `drain`."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.unsent = 0
        self.reading = True

    def get_extra_info(self, name: str) -> object:
        return Socket() if name == "socket" else None

    def set_write_buffer_limits(self, high: int) -> None: ...

    def write(self, data: bytes) -> None:
        below, self.unsent = self.unsent <= HIGH_WATER, self.unsent + len(data)
        if below and self.unsent > HIGH_WATER:
            self.protocol.pause_writing()

    def drain(self) -> None:
        self.unsent = 0
        self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Exchange:
    """Of one request, which the test answers."""

    def body(self, data: bytes) -> None: ...
    def complete(self) -> None: ...
    def pause(self, paused: bool) -> None: ...


class Server:
    """routed: targets of the requests so far."""

    def __init__(self) -> None:
        self.routed: list[bytes] = []

    def admit(self, client: ClientConnection) -> bool:
        return True

    def answered(self, status: int) -> None: ...

    def route(self, client: ClientConnection, head: Head) -> Any:
        self.routed.append(head.target)
        return Exchange()


def opened() -> tuple[ClientConnection, Any, Server]:
    server, transport = Server(), Transport()
    made: Any = server
    client = transport.protocol = ClientConnection(made)
    own: Any = transport
    client.connection_made(own)
    return client, transport, server


def answer(client: ClientConnection, length: int) -> None:
    client.begin(200, b"", [], length)
    client.write(bytes(length))
    client.end()


async def turns() -> None:
    """Let the loop run what is due."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_response_that_ends_while_the_requests_body_is_paused_resumes_the_connection() -> None:
    client, transport, server = opened()
    client.data_received(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
    client.pause_request(True)
    assert not transport.reading
    answer(client, 1)
    assert transport.reading
    client.data_received(GET % b"2")
    assert server.routed == [b"/1", b"/2"]
    assert transport.reading


def test_a_pipelined_request_waits_until_its_client_has_read_the_response_before() -> None:
    """The connection to its server is paused when the client stops reading, which it did before the request."""

    async def run() -> None:
        client, transport, server = opened()
        client.data_received(GET % b"1" + GET % b"2")
        answer(client, 2 * HIGH_WATER)
        stalled = client.deadline
        await turns()
        client.data_received(GET % b"3")
        await turns()
        assert (server.routed, client.deadline) == ([b"/1"], stalled)
        transport.drain()
        await turns()
        assert server.routed == [b"/1", b"/2"]
        answer(client, 1)
        await turns()
        assert server.routed == [b"/1", b"/2", b"/3"]
        answer(client, 2 * HIGH_WATER)
        await turns()
        transport.drain()
        client.data_received(GET % b"4")
        assert server.routed == [b"/1", b"/2", b"/3", b"/4"]

    asyncio.run(run())
