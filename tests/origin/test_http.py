"""Single requests to an origin: slow responses, credentials, and ranges."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dfengine.errors import OriginError, OriginSlow, OriginTruncated, OriginUnreachable, SourceGone
from dfengine.origin import body as bodies
from dfengine.origin.body import Body
from dfengine.origin.cancel import Cancel
from dfengine.origin.http import HttpOrigin
from dfengine.origin.version import Version


@contextmanager
def opened(url: str, cancel: Cancel, floor: float = 0.0) -> Iterator[Body]:
    """The response to one GET."""
    body = HttpOrigin(url, cancel=cancel, floor=floor).open()
    try:
        yield body
    finally:
        body.close()


def read_all(body: Body) -> None:
    buffer = memoryview(bytearray(1000000))
    while body.read_into(buffer):
        pass


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@contextmanager
def origin(at_once: bytes, then: bytes) -> Iterator[str]:
    """Responds on each connection with `at_once`, and then with a byte of `then` every 20 ms."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as sock:
            sock.recv(1 << 16)
            sock.sendall(at_once)
            for n in range(len(then)):
                if over.wait(0.02):
                    return
                sock.sendall(then[n : n + 1])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/f"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_head_sent_byte_by_byte_is_bounded_by_the_timeout(cancel: Cancel) -> None:
    with origin(b"HTTP/1.1 200 OK\r\n", b"X-Slow: " + b"x" * 5000) as url, pytest.raises(OriginUnreachable, match="does not answer"):
        HttpOrigin(url, cancel=cancel, first=0.3).open()


def test_a_tls_handshake_sent_byte_by_byte_is_bounded_by_the_timeout(cancel: Cancel) -> None:
    with origin(b"\x16\x03\x03\x40\x00", b"\0" * 5000) as url, pytest.raises(OriginUnreachable, match="does not answer"):
        HttpOrigin(url.replace("http:", "https:"), cancel=cancel, first=0.3).open()


def test_a_tls_handshake_sent_byte_by_byte_is_bounded_by_the_connect_timeout(cancel: Cancel) -> None:
    with origin(b"\x16\x03\x03\x40\x00", b"\0" * 5000) as url, pytest.raises(OriginUnreachable, match="cannot be reached"):
        HttpOrigin(url.replace("http:", "https:"), cancel=cancel, connect=0.3).open()


def test_a_proxys_response_sent_byte_by_byte_is_bounded_by_the_timeout(monkeypatch: pytest.MonkeyPatch, cancel: Cancel) -> None:
    with origin(b"HTTP/1.1 200 Connected\r\n", b"X-Slow: " + b"x" * 5000) as url:
        monkeypatch.setenv("https_proxy", url[:-2])
        with pytest.raises(OriginUnreachable, match=r"files\.example:443, by the proxy 127.*does not answer"):
            HttpOrigin("https://files.example/f", cancel=cancel, first=0.3).open()


def test_a_slow_head_without_a_timeout_is_waited_for(cancel: Cancel) -> None:
    looks = 0

    def waiting() -> None:
        nonlocal looks
        looks += 1

    # 25 bytes, one every 20 ms.
    with origin(b"HTTP/1.1 200 OK\r\n", b"Content-Length: 0\r\nX: y\r\n\r\n") as url:
        body = HttpOrigin(url, cancel=cancel).open(waiting=waiting)
        assert (body.length, body.remaining) == (0, 0)
        body.close()
    assert looks > 2


def test_a_body_below_the_minimum_rate_is_abandoned(cancel: Cancel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SILENCE", 0.3)
    with origin(HEAD, b"x" * 5000) as url, opened(url, cancel, floor=4 << 20) as body, pytest.raises(OriginSlow, match="less than"):
        read_all(body)


def test_a_silent_body_is_abandoned(cancel: Cancel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SILENCE", 0.3)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as sock:
                sock.recv(1 << 16)
                sock.sendall(HEAD + b"y" * 500)
                over.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        with opened(f"http://127.0.0.1:{listener.getsockname()[1]}/f", cancel) as body:
            assert body.read_into(memoryview(bytearray(500))) == 500
            with pytest.raises(OriginUnreachable, match="sends nothing any more"):
                body.read_into(memoryview(bytearray(500)))
        over.set()
        thread.join()


def test_a_body_above_the_minimum_rate_is_read_until_its_truncation(cancel: Cancel) -> None:
    with origin(HEAD + b"y" * 500, b"") as url, opened(url, cancel, floor=1.0) as body:
        assert body.read_into(memoryview(bytearray(1000000))) == 500
        with pytest.raises(OriginTruncated):
            body.read_into(memoryview(bytearray(1000000)))


@pytest.mark.parametrize("cut", [20, 40, len(HEAD) - 2])
def test_a_truncated_head_is_an_error(cut: int, cancel: Cancel) -> None:
    with origin(HEAD[:cut], b"") as url, pytest.raises(OriginUnreachable, match="within the head"):
        HttpOrigin(url, cancel=cancel).open()


@pytest.mark.parametrize(
    ("user", "headers", "sent"),
    [
        ("", [], None),
        ("user:pass@", [], "Basic dXNlcjpwYXNz"),
        ("us%3Aer:p%40ss:w@", [], "Basic " + base64.b64encode(b"us:er:p@ss:w").decode()),
        ("token@", [], "Basic " + base64.b64encode(b"token:").decode()),
        ("user:pass@", [("authorization", "Bearer given")], "Bearer given"),
    ],
)
def test_credentials_in_the_url_are_sent_only_to_its_host(
    user: str, headers: list[tuple[str, str]], sent: str | None, cancel: Cancel
) -> None:
    heads: list[dict[str, str]] = []

    class Twice(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heads.append({name.lower(): value for name, value in self.headers.items()})
            elsewhere = self.path == "/f"
            self.send_response(302 if elsewhere else 200)
            if elsewhere:
                self.send_header("Location", f"http://127.0.0.2:{server.server_port}/g")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("", 0), Twice)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        HttpOrigin(f"http://{user}127.0.0.1:{server.server_port}/f", headers, cancel=cancel).open().close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert [head.get("authorization") for head in heads] == [sent, None]
    assert {head["host"] for head in heads} == {f"127.0.0.{n}:{server.server_port}" for n in (1, 2)}


@pytest.mark.parametrize("at", ["head", "body"])
def test_a_cancel_ends_a_wait_for_head_or_body(at: str, cancel: Cancel) -> None:
    reading = threading.Event()
    with origin(b"HTTP/1.1 200 OK\r\n" if at == "head" else HEAD, b"x" * 5000) as url:
        if at == "head":
            with pytest.raises(SourceGone):
                HttpOrigin(url, cancel=cancel).open(waiting=cancel.set)
        else:
            with opened(url, cancel) as body:

                def end() -> None:
                    reading.wait()
                    cancel.set()

                thread = threading.Thread(target=end)
                thread.start()
                reading.set()
                with pytest.raises(SourceGone):
                    read_all(body)
                thread.join()
    with pytest.raises(SourceGone):
        HttpOrigin(url, cancel=cancel).open()


@pytest.mark.parametrize(
    ("known", "holds"), [(Version('"1"'), True), (Version("", "Sun, 06 Nov 1994 08:49:37 GMT"), True), (Version(), False)]
)
def test_a_304_is_accepted_only_in_response_to_a_condition(known: Version, holds: bool, cancel: Cancel) -> None:
    with origin(b"HTTP/1.1 304 Not Modified\r\n\r\n", b"") as url:
        if holds:
            body = HttpOrigin(url, cancel=cancel).open(unless=known)
            assert body.not_modified
            body.close()
        else:
            with pytest.raises(OriginError, match="304"):
                HttpOrigin(url, cancel=cancel).open(unless=known)


@pytest.mark.parametrize(("known", "says", "end_unknown"), [(-1, "*", True), (10, "*", True), (-1, "10", False)])
def test_the_end_of_a_part_of_a_file_of_unstated_length_is_unknown(
    known: int, says: str, end_unknown: bool, cancel: Cancel
) -> None:
    answer = f'HTTP/1.1 206 Partial Content\r\nETag: "1"\r\nContent-Range: bytes 5-9/{says}\r\nContent-Length: 5\r\n\r\n12345'
    with origin(answer.encode(), b"") as url:
        body = HttpOrigin(url, cancel=cancel).open(5, version=Version('"1"', "", known))
        assert body.end_unknown == end_unknown
        body.close()


@pytest.mark.parametrize(
    ("asked", "answered", "length"),
    [
        ("-5", "5-9/*", 5),
        ("-50", "0-9/*", 10),
        ("-10", "0-9/*", 10),
        ("-5", "4-9/*", None),
        ("-5", "5-8/*", None),
        ("-5", "0-5/*", None),
        ("5-9", "5-9/*", 5),
        ("5-90", "5-9/*", -1),
        ("5-", "5-9/*", -1),
        ("5-90", "5-9/10", 5),
        ("5-8", "5-9/*", None),
    ],
)
def test_a_users_range_of_a_file_of_unstated_length(asked: str, answered: str, length: int | None, cancel: Cancel) -> None:
    """length: of the task. -1: unknown. None: the response has another range than the requested one."""
    first, last = map(int, answered.partition("/")[0].split("-"))
    answer = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {answered}\r\nContent-Length: {last - first + 1}\r\n\r\n"
    with origin(answer.encode(), b"1" * (last - first + 1)) as url:
        source = HttpOrigin(url, [("Range", f"bytes={asked}")], cancel=cancel)
        if length is None:
            with pytest.raises(OriginError, match="another range"):
                source.open()
        else:
            body = source.open()
            assert (body.length, body.end_unknown) == (length, length < 0)
            body.close()


@pytest.mark.parametrize(("asked", "held", "right"), [
    ("5-90", 10, b"56789"), ("5-7", 10, b"567"), ("0-90", 10, b"0123456789"), ("9-", 10, b"9"), ("10-", 10, None), ("12-90", 10, None),
    ("0-", 0, b""),
])
@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_a_users_range_is_cut_out_of_a_whole_file_of_unstated_length(
    asked: str, held: int, right: bytes | None, framing: str, cancel: Cancel
) -> None:
    data = b"0123456789"[:held]
    coded = (b"%x\r\n%s\r\n" % (held, data) if data else b"") + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n\r\n" if framing == "chunked" else b"Connection: close\r\n\r\n")
    with origin(head + (coded if framing == "chunked" else data), b"") as url:
        body = HttpOrigin(url, [("Range", f"bytes={asked}")], cancel=cancel).open()
        assert body.length == -1
        found, buffer = b"", memoryview(bytearray(100))
        with contextlib.ExitStack() as ends:
            ends.callback(body.close)
            if right is None:
                ends.enter_context(pytest.raises(OriginError, match=r"no byte 1[02]: its file has 10"))
            at = body.start
            while got := body.read_into(buffer[:3]):
                found += bytes(buffer[:got])
            assert found[-at:] == right


@pytest.mark.parametrize("head", [b"Content-Length: five", b" folded: 1", b"Content-Length: 1, 2", b"Transfer-Encoding: rot13"])
def test_an_invalid_heads_error_names_its_server(head: bytes, cancel: Cancel) -> None:
    with origin(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n", b"") as url, pytest.raises(OriginError) as told:
        HttpOrigin(url, cancel=cancel).open()
    assert url.removeprefix("http://").partition("/")[0] in str(told.value)
