"""Admission of connections: a reserve of descriptors stays free, and clients with the most connections lose idle ones."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfengine.net.admission import PAUSE, RESERVE, Admission, ConnectionQuota
from dfengine.net.control_server import ControlServer
from dfengine.net.event_stream import EventStream
from dfengine.net.http import Response
from dfengine.net.listener import listen_on
from dfengine.net.piece_server import PieceServer
from tests.e2e.certificates import Authority


class Port:
    """A port whose connections are idle, except those of client `busy`."""

    def __init__(self, admission: Admission, busy: str = "", descriptors: int = 1) -> None:
        self.admission = admission
        self.descriptors = descriptors
        self.busy = busy
        self.open: list[str] = []
        admission.idle_closers.append(self.close)

    def come(self, address: str) -> bool:
        let_in = self.admission.acquire(address, self.descriptors)
        if let_in:
            self.open.append(address)
        return let_in

    def close(self, client: str, most: int) -> int:
        closed = [address for address in self.open if address == client != self.busy][:most]
        for address in closed:
            self.open.remove(address)
            self.admission.release(address, self.descriptors)
        return len(closed)


@pytest.mark.parametrize(("descriptors", "most"), [(4096, 3072), (1 << 20, (1 << 20) - RESERVE), (2048, 1024), (256, 128), (1, 1)])
def test_a_reserve_of_descriptors_is_kept_free(descriptors: int, most: int) -> None:
    assert Admission(descriptors).limit == most


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1])), max_size=200))
def test_idle_connections_do_not_keep_out_clients_within_their_share(steps: list[tuple[str, int]]) -> None:
    now = [PAUSE]
    admission = Admission(32, 50, lambda: now[0])
    ports = [Port(admission), Port(admission)]
    for address, port in steps:
        now[0] += PAUSE
        had = Counter(ports[0].open + ports[1].open)
        assert ports[port].come(address)
        left = Counter(ports[0].open + ports[1].open)
        if had[address] == 8:
            assert all(left[each] == had[each] for each in "abc" if each != address), "at its share it loses its own ones only"
        assert max(left.values()) <= 8
        assert admission.count == left.total() <= admission.limit == 16


def test_connections_in_use_are_not_closed() -> None:
    now = [1.0]
    admission = Admission(32, 50, lambda: now[0])
    port = Port(admission, busy="a")
    assert [port.come(address) for address in "a" * 8 + "b" * 7 + "c"] == [True] * 16
    assert not port.come("d")
    assert not admission.room()
    port.busy = ""
    assert not port.come("d"), "the last search for idle connections was a moment ago"
    now[0] += PAUSE
    assert port.come("d")
    assert Counter(port.open) == {"a": 7, "b": 7, "c": 1, "d": 1}


def test_a_client_at_its_share_loses_idle_connections_to_its_new_ones() -> None:
    now = [1.0]
    admission = Admission(4096, 75, lambda: now[0])
    control, pieces = Port(admission), Port(admission, descriptors=2)
    admission.idle_closers.reverse()  # the piece port is asked first, as in a supernode
    for _ in range(1000):
        assert control.come("nat")
        assert pieces.come("nat")
    assert len(control.open) == 1000, "idle piece connections were enough"
    assert len(pieces.open) >= 500
    assert admission.count == 1000 + 2 * len(pieces.open) <= admission.limit * 3 // 4


def test_all_ports_are_searched_for_idle_connections_of_a_client() -> None:
    quota = ConnectionQuota(1600, 75, lambda: 1.0)
    idle = {"pieces": 1, "control": 1199}

    def closer(port: str) -> Callable[[str, int], int]:
        def close(client: str, most: int) -> int:
            closed = min(most, idle[port])
            idle[port] -= closed
            for _ in range(closed):
                quota.release(client)
            return closed

        return close

    quota.idle_closers = [closer("pieces"), closer("control")]
    assert all(quota.acquire("nat") for _ in range(1250)), "the first port has enough for one new connection, the second for the others"


def test_the_search_of_a_client_at_its_share_does_not_delay_that_for_others() -> None:
    now = [1.0]
    admission = Admission(32, 50, lambda: now[0])
    port = Port(admission, busy="a")
    assert [port.come("a") for _ in range(9)] == [True] * 8 + [False]
    asked: list[str] = []
    admission.idle_closers.append(lambda client, most: asked.append(client) or 0)  # type: ignore[func-returns-value]
    assert not port.come("a")
    assert not asked, "the last search for its idle connections was a moment ago"
    assert [port.come("b") for _ in range(9)] == [True] * 9
    assert not asked, "the first port had enough"
    now[0] += PAUSE
    assert not port.come("a")
    assert asked == ["a"]


def test_a_client_without_enough_idle_connections_costs_one_search_in_a_while() -> None:
    """Each search inspects all connections: one idle connection after the other must not make each new one search."""
    now = [1.0]
    admission = Admission(2048, 50, lambda: now[0])
    searches: list[str] = []

    def close_one(client: str, most: int) -> int:
        searches.append(client)
        admission.release(client)
        return 1

    assert all(admission.acquire("a") for _ in range(512))
    admission.idle_closers.append(close_one)
    assert [admission.acquire("a") for _ in range(100)] == [True] + [False] * 99
    assert searches == ["a"]
    assert all(admission.acquire("b") for _ in range(512))
    assert [admission.acquire("c") for _ in range(100)] == [True] + [False] * 99
    assert len(searches) == 2
    now[0] += PAUSE
    assert admission.acquire("c")
    assert len(searches) == 3


@pytest.mark.parametrize("tls", [False, True])
def test_a_port_closes_a_clients_idle_connections_for_its_new_ones(tls: bool, tmp_path: Path) -> None:
    """Although the process has descriptors for more."""

    async def scene() -> None:
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*Authority(tmp_path).issue("server", "IP:127.0.0.1"))
        server = ControlServer(
            asyncio.get_running_loop(), lambda request: Response(200), max_connections=16, admission=Admission(1 << 20), share=50
        )
        await server.start("127.0.0.1", 0, context)
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if tls else None
        if trusting is not None:
            trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        writers = []
        try:
            async with asyncio.timeout(60):
                for _ in range(20):
                    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting)
                    writers.append(writer)
                    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    await reader.readuntil(b"\r\n\r\n")
            assert len(server.connections) <= 8
        finally:
            for writer in writers:
                writer.close()
            server.close()

    asyncio.run(scene())


def test_a_live_stream_is_not_closed_for_a_new_connection() -> None:
    """Although nothing is sent on it for a while."""

    async def scene() -> None:
        opened: list[EventStream] = []
        ended: list[EventStream] = []
        server = ControlServer(
            asyncio.get_running_loop(), lambda request: EventStream(opened.append, ended.append), max_connections=16,
            admission=Admission(1 << 20), share=50,
        )  # fmt: skip
        await server.start("127.0.0.1", 0)
        writers = []
        try:
            async with asyncio.timeout(60):
                for _ in range(8):
                    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                    writers.append(writer)
                    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    await reader.readuntil(b"\r\n\r\n")
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writers.append(writer)
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b"", "it is closed instead"
            assert (len(opened), ended) == (8, [])
        finally:
            for writer in writers:
                writer.close()
            server.close()

    asyncio.run(scene())


def test_a_piece_server_closes_used_connections_before_those_that_have_sent_nothing() -> None:
    async def scene() -> None:
        admission = Admission(32, 75)  # 6 connections
        server = PieceServer(asyncio.get_running_loop(), listen_on("127.0.0.1", 0), lambda request: Response(200), admission=admission)
        server.start()
        writers = []

        async def connect(send: bool) -> asyncio.StreamReader:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writers.append(writer)
            if send:
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
            return reader

        try:
            async with asyncio.timeout(60):
                new = [await connect(send=False) for _ in range(3)]
                used = [await connect(send=True) for _ in range(3)]
                further = await connect(send=True)
                while not any(reader.at_eof() for reader in used):
                    await asyncio.sleep(0.001)
            assert not any(reader.at_eof() for reader in (*new, further))
        finally:
            for writer in writers:
                writer.close()
            server.close()

    asyncio.run(scene())


def test_a_connection_that_sends_files_counts_with_the_descriptor_of_its_file() -> None:
    now = [1.0]
    admission = Admission(32, 50, lambda: now[0])
    assert [admission.acquire(client, 2) for client in "a" * 5 + "b" * 3] == [True] * 4 + [False] + [True] * 3
    assert admission.count == 14
    assert admission.acquire("b")
    assert not admission.acquire("c", 2), "one descriptor is left"
    assert not admission.room(2)
    assert admission.acquire("c")
    admission.release("c")
    admission.release("a", 2)
    assert admission.acquire("c", 2)
    for client, descriptors in (("a", 2), ("a", 2), ("a", 2), ("b", 2), ("b", 2), ("b", 2), ("b", 1), ("c", 2)):
        admission.release(client, descriptors)
    assert admission.count == 0


def test_a_connection_of_a_piece_server_counts_twice() -> None:
    async def scene() -> None:
        admission = Admission(256)
        server = PieceServer(asyncio.get_running_loop(), listen_on("127.0.0.1", 0), lambda request: Response(200), admission=admission)
        server.start()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            async with asyncio.timeout(60):
                while not server.connections:
                    await asyncio.sleep(0.001)
            assert admission.count == 2
            writer.close()
            await writer.wait_closed()
            async with asyncio.timeout(60):
                while server.connections:
                    await asyncio.sleep(0.001)
            assert admission.count == 0
        finally:
            server.close()

    asyncio.run(scene())
