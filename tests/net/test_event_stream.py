"""Responses without an end: the last of their connection, which is closed if the client does not read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from dfengine.net.control_server import ControlServer
from dfengine.net.event_stream import EventStream, message
from dfengine.net.http import Request, Response

HEAD = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


class Place:
    """A server whose /live is a stream, and a client."""

    def __init__(self, stall: float = 60.0) -> None:
        self.opened: list[EventStream] = []
        self.ended: list[EventStream] = []
        self.asked: list[str] = []
        self.server = ControlServer(asyncio.get_running_loop(), self.answer, stall_seconds=stall, idle_seconds=60.0)

    def answer(self, request: Request) -> Response:
        self.asked.append(request.path)
        if request.path != "/live":
            return Response(200, b"{}")
        request.keep_alive = False
        return EventStream(self.opened.append, self.ended.append)

    async def connect(self, data: bytes) -> socket.socket:
        await self.server.start("127.0.0.1", 0)
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", self.server.port))
        client.sendall(data)
        client.settimeout(60)
        return client


def test_a_stream_is_the_last_response_of_its_connection() -> None:
    async def scene() -> None:
        place = Place()
        client = await place.connect(b"".join(HEAD % path for path in (b"first", b"live", b"after")))
        await until(lambda: place.opened)
        [stream] = place.opened
        assert not stream.unread
        stream.write(message(b"{}", "event", 7))
        await until(lambda: not stream.unread)
        stream.close()
        await until(lambda: place.ended == [stream])
        said = b""
        while part := client.recv(1 << 16):
            said += part
        assert said.endswith(b"Connection: close\r\n\r\nid: 7\nevent: event\ndata: {}\n\n")
        assert place.asked == ["/first", "/live"]
        stream.write(b"x")
        assert stream.unread
        client.close()
        place.server.close()

    asyncio.run(scene())


def test_a_stream_whose_client_does_not_read_ends_once() -> None:
    async def scene() -> None:
        place = Place(stall=0.5)
        client = await place.connect(HEAD % b"live")
        await until(lambda: place.opened)
        [stream] = place.opened
        while not stream.unread:
            stream.write(bytes(1 << 20))
        await until(lambda: place.ended)
        assert place.ended == [stream]
        client.close()
        place.server.close()
        await asyncio.sleep(0)
        assert place.ended == [stream]

    asyncio.run(scene())


def test_a_head_request_opens_no_stream() -> None:
    async def scene() -> None:
        place = Place()
        client = await place.connect(b"HEAD /live HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: place.asked and not place.server.connections)
        assert client.recv(1 << 16).endswith(b"Connection: close\r\n\r\n")
        assert not place.opened
        client.close()
        place.server.close()

    asyncio.run(scene())
