"""Origins by TLS, with real processes: trusted authorities, client certificates, and HTTP/2."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.proxies import TlsOrigin
from tests.e2e.scene import MIB, Scene
from tests.e2e.standin import Origin

SIZE = 20 * MIB

HERE = "DNS:localhost,IP:127.0.0.1"


def test_cacerts_are_added_to_the_systems_authorities(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = stage.file("file", MIB)
    one, two = Authority(stage.path), Authority(stage.path, "two")
    first, second = TlsOrigin(stage, *one.issue("a", HERE)), TlsOrigin(stage, *two.issue("b", HERE), name="second")
    urls = [f"https://localhost:{origin.port}/file" for origin in (first, second)]
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    for url in urls:
        assert "certificate is not trusted" in stage.get(url, "a", status=4), "the system's bundle contains neither authority"
    monkeypatch.setenv("SSL_CERT_FILE", one.ca)
    stage.get(urls[0], "a")
    assert "certificate is not trusted" in stage.get(urls[1], "b", status=4)
    node = stage.supernode()
    for at, url in enumerate(urls):
        stage.get(url, f"b{at}", "--cacerts", two.ca)
        stage.get(url, f"c{at}", "--cacerts", two.ca, "--notbs", host=3, nodes=(node,))
    monkeypatch.setenv("SSL_CERT_FILE", str(stage.path / "absent"))
    assert f"localhost:{first.port}" in stage.get(urls[0], "d", status=4), "a missing file is not replaced by the system's"
    assert "absent cannot be read" in stage.get(urls[1], "d", "--cacerts", two.ca, status=2)
    stage.get(urls[0], "e", "--insecure")
    stage.get(urls[0], "f", "-k", "--notbs", host=3, nodes=(node,))
    assert {stage.digest(name) for name in ("a", "b0", "b1", "c0", "c1", "e", "f")} == {digest}


def expired(authority: Authority) -> tuple[str, str]:
    """A certificate whose validity ends before it begins."""
    cert, key = authority.issue("late", HERE)
    request = cert.removesuffix(".pem")
    command = ["openssl", "x509", "-req", "-in", f"{request}.csr", "-CA", authority.ca, "-CAkey", authority.ca.replace(".pem", ".key"),
               "-days", "-1", "-out", cert, "-extfile", f"{request}.ext"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.mark.parametrize(
    ("kind", "words"),
    [("another name", "matches target hostname"), ("expired", "expired"), ("self-signed", "self-signed"), ("another authority", "issuer")],
)
def test_an_untrusted_certificate_is_reported_in_one_line_without_retries(stage: Scene, kind: str, words: str) -> None:
    stage.file("file", MIB)
    authority, other = Authority(stage.path), Authority(stage.path, "localhost")
    pair = {
        "another name": lambda: authority.issue("a", "DNS:elsewhere.test"),
        "expired": lambda: expired(authority),
        "self-signed": lambda: (other.ca, other.ca.replace(".pem", ".key")),
        "another authority": lambda: other.issue("b", HERE),
    }[kind]()
    origin = TlsOrigin(stage, *pair)
    url = f"https://localhost:{origin.port}/file"
    said = stage.get(url, "a", "--cacerts", authority.ca, status=4)
    # A retry would be reported in a line of its own.
    assert said.count("\n") == 1
    assert f"localhost:{origin.port}: its certificate is not trusted: " in said
    assert words in said
    node = stage.supernode()
    swarm = stage.get(url, "b", "--cacerts", authority.ca, "--notbs", host=3, nodes=(node,), status=3)
    assert f"localhost:{origin.port}: its certificate is not trusted: " in swarm
    assert not origin.requests()


def test_client_certificates_are_sent_to_origins_that_require_one(stage: Scene) -> None:
    digest = stage.file("file", 3 * MIB)
    authority = Authority(stage.path)
    more = f"ssl_client_certificate {authority.ca}; ssl_verify_client on;"
    origin = TlsOrigin(stage, *authority.issue("origin", HERE), more)
    url, trust = f"https://localhost:{origin.port}/file", ("--cacerts", authority.ca)
    cert, key = authority.issue("client")
    assert "400" in stage.get(url, "a", *trust, status=4)
    stage.get(url, "a", *trust, "--cert", cert, "--key", key)
    both = stage.path / "both.pem"
    both.write_text(Path(key).read_text() + Path(cert).read_text())
    stage.get(url, "b", *trust, "--cert", str(both))
    node = stage.supernode()
    alone = stage.get(url, "c", *trust, "--cert", cert, "--key", key, host=3, nodes=(node,))
    assert alone["from"]["origin"] == 3 * MIB, "a supernode has no such certificate"
    assert alone["back_to_source"]
    assert {stage.digest(name) for name in "abc"} == {digest}
    assert {request["client"] for request in origin.requests() if request["status"] in ("200", "206")} == {"CN=client"}
    another = authority.issue("other")[1]
    secret = str(stage.path / "secret.key")
    subprocess.run(["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:x1", "-out", secret], check=True, capture_output=True)
    wrong = [
        (("--cert", cert, "--key", "/absent"), "--key /absent cannot be read"),
        (("--cert", "/absent"), "--cert /absent cannot be read"),
        (("--cert", cert, "--key", another), "the key belongs to another certificate"),
        (("--cert", cert), f"--cert {cert} cannot be used"),
        (("--cert", cert, "--key", authority.ca), "cannot be used"),
        (("--cert", cert, "--key", secret), "cannot be used"),
        (("--key", key), "--key needs --cert"),
    ]
    for flags, words in wrong:
        said = stage.get(url, "d", *trust, *flags, status=2)
        assert words in said
        assert said.count("\n") == 1


def test_a_required_client_certificate_is_reported_with_its_options(stage: Scene) -> None:
    authority = Authority(stage.path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("origin", HERE))
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    greeted: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            greeted.append(1)
            with context.wrap_socket(client, server_side=True, do_handshake_on_connect=False) as sealed, contextlib.suppress(OSError):
                with contextlib.suppress(ssl.SSLError):
                    sealed.do_handshake()
                # Closing a connection with unread bytes resets it, and the alert is lost.
                while socket.socket.recv(sealed, 1 << 16):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        port = listener.getsockname()[1]
        said = stage.get(f"https://localhost:{port}/file", "a", "--cacerts", authority.ca, status=4)
        assert f"localhost:{port} requires a client certificate (--cert, --key)" in said
        assert len(greeted) == 1, "no retry"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_http2_alone_in_ranges_and_by_a_supernode(stage: Scene) -> None:
    digest = stage.file("file", SIZE)
    authority = Authority(stage.path)
    origin = TlsOrigin(stage, *authority.issue("origin", HERE), "limit_rate 12m;")
    url, trust = f"https://localhost:{origin.port}/file", ("--cacerts", authority.ca)
    alone = stage.get(url, "a", *trust)
    assert alone["from"]["origin"] == SIZE
    ranges = [request for request in origin.requests() if request["range"] != "-"]
    assert ranges, "more than one connection"
    assert {request["protocol"] for request in origin.requests()} == {"HTTP/2.0"}
    node = stage.supernode()
    for at in range(2):
        assert stage.get(url, f"b{at}", *trust, "--notbs", host=3 + at, nodes=(node,))["from"]["origin"] == 0
    assert stage.digest("a") == stage.digest("b0") == stage.digest("b1") == digest
    assert {request["protocol"] for request in origin.requests()} == {"HTTP/2.0"}
    stage.get(url, "c", *trust, "--header", "Host: other.test", "--header", "Range: bytes=5-9")
    assert (stage.path / "c").read_bytes() == (stage.www / "file").read_bytes()[5:10]


def test_http2_streams_that_are_cut_are_resumed(stage: Scene) -> None:
    """nginx resets the stream when the server behind it closes early."""
    digest = stage.file("file", SIZE)
    authority = Authority(stage.path)
    cut: list[int] = []

    def fault(start: int, before: int) -> str:
        if before < 2:
            cut.append(start)
            return "cut"
        return ""

    with Origin((stage.www / "file").read_bytes(), fault=fault) as behind:
        more = f"location /cut/ {{ proxy_pass http://127.0.0.1:{behind.port}/; proxy_buffering off; proxy_http_version 1.1; }}"
        origin = TlsOrigin(stage, *authority.issue("origin", HERE), more)
        url, trust = f"https://localhost:{origin.port}/cut/file", ("--cacerts", authority.ca)
        stage.get(url, "a", *trust)
        assert cut
        assert stage.digest("a") == digest
        node = stage.supernode()
        cut.clear()
        behind.asked.clear()
        stage.get(url, "b", *trust, "--notbs", host=3, nodes=(node,))
        assert cut
        assert stage.digest("b") == digest
    assert {request["protocol"] for request in origin.requests()} == {"HTTP/2.0"}


@pytest.mark.parametrize("framed", [True, False])
def test_a_response_without_close_notify_is_complete_only_with_a_length(stage: Scene, framed: bool) -> None:
    """RFC 9112 section 9.8: without either, the file may be truncated."""
    authority = Authority(stage.path)
    cert, key = authority.issue("origin", HERE)
    context, data = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), b"a file" * 10_000
    context.load_cert_chain(cert, key)
    head = b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: %d\r\n" % len(data) if framed else b"") + b"Connection: close\r\n\r\n"

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                line = context.wrap_socket(listener.accept()[0], server_side=True)
                line.recv(1 << 16)
                line.sendall(head + data)
                with socket.socket(fileno=line.detach()) as plain:
                    plain.shutdown(socket.SHUT_WR)
                    plain.settimeout(5.0)
                    while plain.recv(1 << 16):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/file"
        said = stage.get(url, "out", "--cacerts", authority.ca, "--retry", "0", status=0 if framed else 4)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    if framed:
        assert (stage.path / "out").read_bytes() == data
    else:
        assert "breaks off its answer" in said
