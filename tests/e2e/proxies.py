"""A stand-in for every kind of proxy, and for origins by TLS: written from RFC 1928, 1929, 9110 and the memo on SOCKS 4.

`Proxy` speaks SOCKS4, 4a and 5, CONNECT and plain http on one port, by TLS too if it is given a certificate. Wherever it is asked to
connect, it connects to 127.0.0.1, at the port that `ports` has for the one it was asked for.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import socket
import ssl
import struct
import subprocess
import threading
from typing import Any

from tests.e2e.scene import NGINX, Scene, free_port, until

BLOCK = 1 << 16

TLS_ORIGIN = """
daemon off; worker_processes 1; pid {path}/{name}.pid; error_log {path}/{name}.error;
{user}
events {{ worker_connections 512; }}
http {{
  log_format told '$server_protocol|$http_host|$request_method|$uri|$status|$body_bytes_sent|$http_range|$ssl_client_s_dn';
  access_log {path}/{name}.log told;
  client_body_temp_path {path}/{name}1; proxy_temp_path {path}/{name}2; fastcgi_temp_path {path}/{name}3;
  uwsgi_temp_path {path}/{name}4; scgi_temp_path {path}/{name}5;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {cert}; ssl_certificate_key {key};
    {more}
    root {path}/www;
  }}
}}
"""


class TlsOrigin:
    """nginx with TLS and HTTP/2 over the scene's files, at `port`. more: directives of its server."""

    def __init__(self, stage: Scene, cert: str, key: str, more: str = "", name: str = "tls") -> None:
        self.port = free_port()
        self._log = stage.path / f"{name}.log"
        config = stage.path / f"{name}.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(TLS_ORIGIN.format(path=stage.path, name=name, user=user, port=self.port, cert=cert, key=key, more=more))
        stage._start([NGINX, "-p", str(stage.path), "-c", str(config)], subprocess.DEVNULL)
        until(self._listens, "nginx listening")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def requests(self) -> list[dict[str, str]]:
        """What was asked, as far as it is answered: protocol, host (of HTTP/1.1 or of a Host header), method, path, status, sent, range."""
        names = ("protocol", "host", "method", "path", "status", "sent", "range", "client")
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [dict(zip(names, line.split("|"), strict=True)) for line in lines]


class Proxy:
    """Use as a context. asked: (kind, name or address, port) of every connection; kind is socks4, socks4a, socks5, connect or http, told
    as `socks5 name` and `socks5 address` where both can be. user, password: wanted from whoever asks. fault: how it fails.
    """

    def __init__(
        self, ports: dict[int, int], user: str = "", password: str = "", tls: tuple[str, str] | None = None, fault: str = ""
    ) -> None:
        self.ports = ports
        self.user, self.password, self.fault = user, password, fault
        self.asked: list[tuple[str, str, int]] = []
        self.heads: list[bytes] = []
        self._context: ssl.SSLContext | None = None
        if tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*tls)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def url(self, scheme: str, userinfo: str = "") -> str:
        """As an environment variable has it."""
        return f"{scheme}://{userinfo and userinfo + '@'}127.0.0.1:{self.port}"

    def __enter__(self) -> Proxy:
        self._begin(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for sock in self._open:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _begin(self, work: Any, *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()
        return thread

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._begin(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        self._open.append(client)
        with contextlib.suppress(OSError, EOFError):
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
                self._open.append(client)
            first = _exactly(client, 1)
            kinds = {4: self._socks4, 5: self._socks5}
            kinds.get(first[0], self._http)(client, first)
        client.close()

    def _connected(self, client: socket.socket, answer: bytes, kind: str, host: str, port: int, first: bytes = b"") -> None:
        """Tell `answer`, and pass on what both sides send; `first` is for the origin."""
        self.asked.append((kind, host, port))
        if self.fault == "empty":
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"e\"\r\n\r\n"
        client.sendall(answer)
        if self.fault:
            return
        with socket.create_connection(("127.0.0.1", self.ports[port])) as origin:
            self._open.append(origin)
            origin.sendall(first)
            back = self._begin(pass_on, origin, client)
            pass_on(client, origin)
            back.join()

    def _socks4(self, client: socket.socket, _: bytes) -> None:
        _, port, number = struct.unpack(">BH4s", _exactly(client, 7))
        user = _zero_ended(client)
        kind, host = "socks4", socket.inet_ntoa(number)
        if number[:3] == b"\0\0\0" and number[3]:
            kind, host = "socks4a", _zero_ended(client)
        if self.fault == "refuse" or user != self.user:
            client.sendall(b"\0" + bytes((91 if self.fault else 93,)) + b"\0" * 6)
            return
        self._connected(client, b"\0\x5a" + b"\0" * 6, kind, host, port)

    def _socks5(self, client: socket.socket, _: bytes) -> None:
        methods = _exactly(client, _exactly(client, 1)[0])
        wanted = b"\2" if self.user else b"\0"
        if wanted not in methods:
            client.sendall(b"\5\xff")
            return
        client.sendall(b"\5" + wanted)
        if self.user:
            _exactly(client, 1)
            user = _exactly(client, _exactly(client, 1)[0]).decode()
            password = _exactly(client, _exactly(client, 1)[0]).decode()
            known = (user, password) == (self.user, self.password)
            client.sendall(b"\1\0" if known else b"\1\1")
            if not known:
                return
        kind = _exactly(client, 4)[3]
        if kind == 3:
            host = _exactly(client, _exactly(client, 1)[0]).decode()
        else:
            family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, _exactly(client, size))
        port = struct.unpack(">H", _exactly(client, 2))[0]
        refused = 2 if self.fault == "refuse" else 0
        answer = b"\5" + bytes((refused,)) + b"\0\1" + b"\0" * 6
        self._connected(client, answer, "socks5 name" if kind == 3 else "socks5 address", host, port)

    def _http(self, client: socket.socket, first: bytes) -> None:
        head = first
        while not head.endswith(b"\r\n\r\n"):
            head += _exactly(client, 1)
        self.heads.append(head)
        basic = base64.b64encode(f"{self.user}:{self.password}".encode())
        if self.user and b"Proxy-Authorization: Basic " + basic not in head.split(b"\r\n"):
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        if head.startswith(b"CONNECT "):
            host, _, port = head.split()[1].decode().rpartition(":")
            answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" if self.fault == "refuse" else b"HTTP/1.1 200 Connected\r\n\r\n"
            self._connected(client, answer, "connect", host, int(port))
            return
        match = re.match(rb"[A-Z]+ http://([^/:]+)(?::(\d+))?", head)
        assert match is not None
        self._connected(client, b"", "http", match[1].decode(), int(match[2] or 80), head)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        block = sock.recv(count - len(data))
        if not block:
            raise EOFError
        data += block
    return data


def _zero_ended(sock: socket.socket) -> str:
    data = b""
    while not data.endswith(b"\0"):
        data += _exactly(sock, 1)
    return data[:-1].decode()


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(BLOCK):
            sink.sendall(block)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
