"""Receiver and Connection over real sockets: exact bytes, bounded waits, hostile responses refused."""

from __future__ import annotations

import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from dfengine.errors import ProtocolViolation, SourceGone, TooSlow
from dfengine.net import tls
from dfengine.net._receive import HEAD_LIMIT, Receiver
from dfengine.net.http_client import Connection, local_address
from dfengine.net.tls import TlsReceiver
from dfengine.net.unacknowledged_bytes import unacknowledged_bytes
from tests.e2e.certificates import Authority
from tests.e2e.scene import until


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of a server and a client."""
    authority = Authority(tmp_path_factory.mktemp("ca"))
    cert, key = authority.issue("host")
    return tls.server(cert, key, authority.ca), tls.client(cert, key, authority.ca, named=False)


@pytest.fixture(params=["plain", "tls"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Receiver | TlsReceiver, socket.socket]]:
    """A receiver and the socket that sends to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    receiver: Receiver | TlsReceiver
    if request.param == "plain":
        receiver = Receiver(here.fileno())
    else:
        server, client = request.getfixturevalue("contexts")
        with ThreadPoolExecutor(1) as pool:
            shaken = pool.submit(server.wrap_socket, there, True)
            here = client.wrap_socket(here)
            there = shaken.result()
        receiver = TlsReceiver(here)
    with here, there:
        yield receiver, there


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def test_a_head_then_content_into_a_buffer_then_another_head(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, there = pair
    content = random.Random(1).randbytes(3 << 20)
    sender = threading.Thread(target=there.sendall, args=(b"HEAD\r\n\r\n" + content + b"NEXT\r\n\r\nrest",))
    sender.start()
    assert receiver.head(soon()) == b"HEAD\r\n\r\n"
    buffer = bytearray(b"#" * (len(content) + 10))
    receiver.into(buffer, 5, len(content))
    assert buffer == b"#####" + content + b"#####"
    assert receiver.head(soon()) == b"NEXT\r\n\r\n"
    assert receiver.read(4, soon()) == b"rest"
    sender.join()
    assert receiver.total == len(content) + 8 + 8 + 4
    assert receiver.buffered == 0


def test_content_in_parts_sets_the_low_water_mark_and_resets_it_at_the_end() -> None:
    """SO_RCVLOWAT is LOW while at least twice LOW bytes are still expected, and 1 for the last bytes and for a head."""
    low = 64 << 10
    content = random.Random(2).randbytes(9 * low // 2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    with here, there:
        receiver, buffer = Receiver(here.fileno()), bytearray(len(content))
        sender = threading.Thread(target=there.sendall, args=(content,))
        sender.start()
        lows = []
        for at in range(0, len(content), low):
            part = min(low, len(content) - at)
            receiver.into(buffer, at, part, after=len(content) - at - part)
            lows.append(here.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))
        sender.join()
        assert buffer == content
        assert lows == [low, low, low, 1, 1]
        there.sendall(content[:low])
        receiver.into(buffer, 0, low, after=3 * low)
        assert here.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == low
        there.sendall(b"HEAD\r\n\r\n")
        assert receiver.head(soon()) == b"HEAD\r\n\r\n"


@pytest.mark.parametrize("parts", [[b"A\r", b"\n\r", b"\nB"], [b"A\r\n\r\nB"], [b"A", b"\n", b"\n", b"B"]])
def test_a_head_in_any_segments(pair: tuple[Receiver, socket.socket], parts: list[bytes]) -> None:
    receiver, there = pair

    def send() -> None:
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            there.sendall(part)

    sender = threading.Thread(target=send)
    sender.start()
    assert receiver.head(soon()).replace(b"\r", b"") == b"A\n\n"
    assert receiver.read(1, soon()) == b"B"
    sender.join()


def test_lines_with_and_without_carriage_return(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, there = pair
    there.sendall(b"1f\r\n\nx")
    assert [receiver.line(soon()), receiver.line(soon()), receiver.buffered] == [b"1f\r\n", b"\n", 1]


def test_a_head_longer_than_the_limit_is_refused(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, there = pair
    there.sendall(b"x" * (HEAD_LIMIT + 1))
    with pytest.raises(ProtocolViolation):
        receiver.head(soon())


def test_a_line_longer_than_the_limit_is_refused(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, there = pair
    there.sendall(b"x" * (HEAD_LIMIT + 1))
    with pytest.raises(ProtocolViolation):
        receiver.line(soon())


def test_an_incomplete_head_fails_at_the_deadline(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, there = pair
    there.sendall(b"half a head\r\n")
    with pytest.raises(SourceGone, match="no answer in time"):
        receiver.head(soon(0.05))


def test_content_that_stops_arriving_fails_after_the_silence_limit(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, there = pair
    there.sendall(b"x" * 100)
    with pytest.raises(SourceGone, match=r"silent for 0\.2 s after 100 of 200"):
        receiver.into(bytearray(200), 0, 200, silence=0.2)


def test_content_slower_than_the_floor_is_too_slow(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, there = pair
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.02):
            there.sendall(b"x")

    sender = threading.Thread(target=trickle)
    sender.start()
    with pytest.raises(TooSlow):
        receiver.into(bytearray(10_000), 0, 10_000, silence=30.0, floor=100_000.0, grace=0.1)
    stop.set()
    sender.join()


def test_bytes_received_before_count_towards_the_rate(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, there = pair
    there.sendall(b"x" * 100)
    receiver.into(bytearray(100), 0, 100, floor=1000.0, grace=0.0, started=time.monotonic() - 50.0, before=1_000_000)
    there.sendall(b"x" * 50)
    with pytest.raises(TooSlow):
        receiver.into(bytearray(100), 0, 100, floor=1000.0, grace=0.0, started=time.monotonic() - 50.0, before=10)


SUSPENDED = """
import sys, time
from dfengine.net._receive import Receiver

receiver = Receiver(int(sys.argv[1]))
print("begins", flush=True)
first = began = time.monotonic()
for before in (0, 100):
    began += receiver.into(bytearray(100), 0, 100, floor=100_000.0, grace=2.0, started=began, before=before)
print(began > first)
"""


def test_time_in_which_this_process_is_suspended_does_not_count_against_the_source() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = subprocess.Popen(
            [sys.executable, "-c", SUSPENDED, str(theirs.fileno())], stdout=subprocess.PIPE, text=True, pass_fds=[theirs.fileno()]
        )
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "begins\n"
            ours.sendall(b"x" * 50)
            until(lambda: not unacknowledged_bytes(ours.fileno()), "the receipt")
            child.send_signal(signal.SIGSTOP)
            time.sleep(4.0)
            ours.sendall(b"x")
            child.send_signal(signal.SIGCONT)
            until(lambda: not unacknowledged_bytes(ours.fileno()), "the receipt")
            ours.sendall(b"x" * 50)
            until(lambda: not unacknowledged_bytes(ours.fileno()), "the receipt")
            ours.sendall(b"x" * 99)
            assert child.stdout.read() == "True\n"
        finally:
            child.kill()
            child.communicate()


def test_a_close_in_the_middle_of_content_reports_the_bytes_received(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, there = pair
    there.sendall(b"x" * 100)
    there.close()
    with pytest.raises(SourceGone, match="closed after 100 of 200"):
        receiver.into(bytearray(200), 0, 200)


def test_a_reset_connection_is_a_lost_source(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, there = pair
    there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    there.close()
    with pytest.raises(SourceGone):
        receiver.head(soon())


@pytest.mark.parametrize(
    "receive", [lambda receiver: receiver.into(bytearray(10), 0, 10, silence=60.0), lambda receiver: receiver.head(soon(60.0))],
)
def test_stop_from_another_thread_ends_a_wait(pair: tuple[Receiver, socket.socket], receive: Callable[[Receiver], None]) -> None:
    receiver, _ = pair
    started = threading.Event()
    caught: list[BaseException] = []

    def wait() -> None:
        started.set()
        try:
            receive(receiver)
        except SourceGone as error:
            caught.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    started.wait()
    receiver.stop()
    waiter.join(10.0)
    assert not waiter.is_alive()
    assert caught
    with pytest.raises(SourceGone):
        receive(receiver)


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (11, 0), (-1, 1), (5, 6), (0, -1), (1 << 62, 1 << 62)])
def test_ranges_outside_of_the_buffer_are_rejected(pair: tuple[Receiver, socket.socket], offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="fit"):
        pair[0].into(bytearray(10), offset, length)


def test_a_read_only_buffer_is_rejected(pair: tuple[Receiver, socket.socket]) -> None:
    with pytest.raises((BufferError, TypeError)):
        pair[0].into(b"constant", 0, 1)


def test_receiving_zero_bytes_returns_at_once(pair: tuple[Receiver, socket.socket]) -> None:
    pair[0].into(bytearray(0), 0, 0)
    assert pair[0].read(0, soon()) == b""


# Connection, against a server that sends given bytes.


@pytest.fixture
def serving() -> Iterator[Callable[..., Connection]]:
    """`serving(bytes, ...)`: a connection whose server answers each request with the next bytes, and then closes if `close`."""
    threads: list[threading.Thread] = []
    ends: list[Connection | socket.socket] = []

    def serve(*answers: bytes, close: bool = False) -> Connection:
        listener = socket.create_server(("127.0.0.1", 0))
        ends.append(listener)

        def run() -> None:
            there, _ = listener.accept()
            with there:
                for answer in answers:
                    if not there.recv(1 << 16):
                        return
                    there.sendall(answer)
                if not close:
                    there.recv(1)

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)
        connection = Connection("127.0.0.1", listener.getsockname()[1])
        ends.insert(0, connection)
        return connection

    yield serve
    for end in ends:
        end.close()
    for thread in threads:
        thread.join(10.0)


def test_two_requests_on_one_connection(serving: Callable[..., Connection]) -> None:
    connection = serving(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Y: z\r\n\r\nok", b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")
    status, headers, body = connection.request("GET", "/a")
    assert (status, headers["x-y"], body) == (200, "z", b"ok")
    assert connection.request("POST", "/b", body=b"x")[0] == 404
    assert connection.usable
    assert connection.answers_read == 2
    assert connection.remote_ip == "127.0.0.1"


def test_a_connection_reset_before_the_first_request_is_reported_as_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = Connection("127.0.0.1", listener.getsockname()[1])
        there, _ = listener.accept()
        there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        there.close()
        try:
            until(lambda: not connection.reusable, "the reset")
            with pytest.raises(SourceGone, match="closed the connection"):
                _ = connection.remote_ip
        finally:
            connection.close()


def test_chunked_bodies_with_trailers_are_read_completely(serving: Callable[..., Connection]) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n"
    connection = serving(head + chunks, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
    assert connection.request("GET", "/")[2] == b"abc0123456789"
    assert connection.request("GET", "/")[2] == b"!", "no byte of the first response was left over"


def test_interim_responses_are_skipped(serving: Callable[..., Connection]) -> None:
    connection = serving(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!")
    assert connection.request("GET", "/")[2] == b"!"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n123456789\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: t\r\n" * 70,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9,
        b"\0" * 100 + b"\r\n\r\n",
    ],
)
def test_malformed_responses_are_protocol_violations(serving: Callable[..., Connection], answer: bytes) -> None:
    connection = serving(answer)
    with pytest.raises(ProtocolViolation):
        connection.request("GET", "/")
    assert not connection.usable


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", b"HTTP/1.1 200", b""])
def test_a_truncated_response_is_a_lost_source(serving: Callable[..., Connection], answer: bytes) -> None:
    connection = serving(answer, close=True)
    with pytest.raises(SourceGone):
        connection.request("GET", "/")
    assert not connection.usable


def test_a_body_without_a_length_ends_with_the_connection(serving: Callable[..., Connection]) -> None:
    long = bytes(range(256)) * 1000
    connection = serving(b"HTTP/1.0 200 OK\r\n\r\n" + long, close=True)
    assert connection.request("GET", "/")[2] == long
    assert not connection.usable
    with pytest.raises(SourceGone, match="timed out"):
        serving(b"HTTP/1.1 200 OK\r\n\r\nand then nothing").request("GET", "/", timeout=0.05)
    connection = serving(b"HTTP/1.1 200 OK\r\n\r\n" + long, close=True)
    connection.send("GET", "/")
    with pytest.raises(ProtocolViolation, match="longer than 1000 bytes"):
        connection.body(connection.head(soon()), soon(), 1000)


def test_a_response_that_does_not_arrive_in_time_fails(serving: Callable[..., Connection]) -> None:
    with pytest.raises(SourceGone, match="no answer in time"):
        serving(b"HTTP/1.1 200 OK\r\n").request("GET", "/", timeout=0.05)


def test_connecting_to_a_port_without_a_listener_fails() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(SourceGone, match="cannot be connected to"):
            Connection("127.0.0.1", held.getsockname()[1])


def test_invalid_addresses_are_rejected() -> None:
    with pytest.raises(SourceGone):
        Connection("127.0.0.1\0", 1)
    assert local_address("256.0.0.1.invalid", 1) == ""
    assert local_address("127.0.0.1", 1) == "127.0.0.1"
