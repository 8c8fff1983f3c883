"""An origin behind a proxy, with real processes: by absolute URLs for http, through a tunnel for https."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.proxies import pass_on
from tests.e2e.scene import MIB, Scene

NAME = "files.example"
"""Host name of an origin that only the proxy can resolve."""


def test_origins_are_read_through_the_proxy_and_the_swarm_directly(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = stage.file("file", 20 * MIB)
    proxy, url = stage.origin(), f"http://{NAME}/file"  # nginx answers absolute URLs as a proxy would
    monkeypatch.setenv("http_proxy", proxy)
    node = stage.supernode()
    warm = stage.get(url, "a", "--notbs", host=2, nodes=(node,))
    again = stage.get(url, "b", "--notbs", host=3, nodes=(node,))
    stage.check_read_once("/file", 20 * MIB, node)
    alone = stage.get(url, "c", host=4)
    assert {stage.digest(name) for name in "abc"} == {digest}
    assert warm["back_to_source"] is again["back_to_source"] is None
    assert alone["from"]["origin"] == 20 * MIB

    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert stage.get(f"{proxy}/file", "d", host=5)["from"]["origin"] == 20 * MIB, "loopback is connected to directly"
    said = stage.get(url, "e", "--retry", "0", host=6, status=4)
    assert f"{NAME}:80, by the proxy 127.0.0.1:9, cannot be reached: Connection refused" in said
    monkeypatch.delenv("http_proxy")  # the test itself requests the supernode's metrics


@contextmanager
def tunnel(port: int) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy whose CONNECTs all lead to that port of 127.0.0.1: its URL, and the request heads that it received."""
    heads: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def start(work: Any, *arguments: Any) -> None:
        threads.append(threading.Thread(target=work, args=arguments))
        threads[-1].start()

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as origin:
            heads.append(client.recv(1 << 16))
            client.sendall(b"HTTP/1.1 200 Connection established\r\nVia: here\r\n\r\n")
            back = threading.Thread(target=pass_on, args=(origin, client))
            back.start()
            pass_on(client, origin)
            back.join()

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                start(serve, listener.accept()[0])

    start(listen)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heads
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join()


def test_https_uses_a_tunnel_and_verifies_the_origins_certificate(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = stage.file("file", 3 * MIB)
    authority = Authority(stage.path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("origin", f"DNS:{NAME}"))

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(stage.www))

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            with tunnel(server.server_port) as (proxy, heads):
                monkeypatch.setenv("HTTPS_PROXY", proxy.replace("//", "//me:pass@"))
                node = stage.supernode()
                stage.get(f"https://{NAME}/file", "a", "--cacerts", authority.ca, "--notbs", nodes=(node,))
                assert stage.digest("a") == digest
                assert heads
                assert all(head.startswith(f"CONNECT {NAME}:443 ".encode()) for head in heads)
                assert all(b"Proxy-Authorization: Basic bWU6cGFzcw==" in head for head in heads)
                error = stage.get("https://other.example/file", "b", "--cacerts", authority.ca, host=3, status=4)
                assert "other.example:443, by the proxy 127.0.0.1" in error
                assert "certificate" in error
                assert "pass" not in error
        finally:
            server.shutdown()
            thread.join()
