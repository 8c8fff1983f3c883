"""https through a forward proxy: connections to named hosts are intercepted, all others are tunnelled unread."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.proxies import TlsOrigin
from tests.e2e.scene import DFENGINE, MIB, PATIENCE, Scene


@pytest.fixture(name="origin")
def one_origin(stage: Scene, tmp_path: Path) -> tuple[TlsOrigin, Authority]:
    authority = Authority(tmp_path)
    origin = TlsOrigin(stage, *authority.issue("localhost", "DNS:localhost,IP:127.0.0.1"))
    stage.file("big.bin", 5 * MIB)
    (stage.path / "www" / "small.txt").write_bytes(b"small")
    for name in ("big.bin", "small.txt"):
        os.utime(stage.path / "www" / name, (time.time() - 3600,) * 2)
    return origin, authority


def curl(proxy: str, ca: str, url: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = ["curl", "-sS", "-x", proxy, "--cacert", ca, "--max-time", str(PATIENCE), *options, url]
    return subprocess.run(command, capture_output=True, check=False)


def ca_of(stage: Scene, path: Path, host: int = 2) -> str:
    """Write the output of `dfengine proxy ca` to `path` and return its name."""
    home = stage.path / f"home-{host}"
    told = subprocess.run([*DFENGINE, "proxy", "ca", "--home", str(home)], capture_output=True, check=True).stdout
    assert b"PRIVATE" not in told
    path.write_bytes(told)
    assert stat.S_IMODE((home / "proxy-ca.key").stat().st_mode) == 0o600
    return str(path)


def test_only_connections_to_named_hosts_are_intercepted(stage: Scene, origin: tuple[TlsOrigin, Authority], tmp_path: Path) -> None:
    server, authority = origin
    node = stage.supernode()
    hosts = []
    for host in (2, 3):
        options = ["--intercept", f"localhost:{server.port}", "--cacerts", authority.ca, "--connect-port", str(server.port)]
        hosts.append((stage.proxy(*options, host=host, nodes=(node,))[1], ca_of(stage, tmp_path / f"ca-{host}.pem", host)))
    content = (stage.path / "www" / "big.bin").read_bytes()
    url = f"https://localhost:{server.port}"
    for proxy, ca in hosts:
        answer = curl(proxy, ca, f"{url}/big.bin")
        assert (answer.returncode, answer.stdout == content) == (0, True), answer.stderr
        answer = curl(proxy, ca, f"{url}/small.txt", "-i")
        assert answer.stdout.endswith(b"small")
        assert b"Via: 1.1 dfengine" in answer.stdout
        answer = curl(proxy, ca, f"{url}/big.bin", "-r", "5-9")
        assert answer.stdout == content[5:10]
        # Another name of the same server is tunnelled: it presents its own certificate, which the proxy's authority did not issue.
        other = f"https://127.0.0.1:{server.port}/small.txt"
        assert curl(proxy, authority.ca, other).stdout == b"small"
        assert curl(proxy, ca, other).returncode == 60
        # A client that does not trust the proxy's authority fails.
        assert curl(proxy, authority.ca, f"{url}/small.txt").returncode == 60
        # Paths of the proxy's own endpoints are requested from the origin.
        for path in ("healthy", "v2/", "hub/x", "s3"):
            said = curl(proxy, ca, f"{url}/{path}", "-i").stdout.partition(b"\r\n\r\n")[2]
            assert (said.startswith(b"HTTP/1.1 404 "), b"nginx" in said) == (True, True)
        # Requests inside the connection are only accepted for the host that CONNECT named.
        assert b" 421 " in curl(proxy, ca, f"{url}/small.txt", "-H", "Host: other.test", "-i").stdout
    assert node.metric("dfengine_origin_bytes_total") == len(content)
    assert [each["host"] for each in server.requests() if each["path"] == "/small.txt"].count("other.test") == 0


def test_an_untrusted_origin_certificate_is_answered_with_502(stage: Scene, origin: tuple[TlsOrigin, Authority], tmp_path: Path) -> None:
    server, _ = origin
    proxy = stage.proxy("--intercept", f"localhost:{server.port}")[1]
    answer = curl(proxy, ca_of(stage, tmp_path / "ca.pem"), f"https://localhost:{server.port}/small.txt", "-i")
    assert b" 502 " in answer.stdout
    assert b"--cacerts" in answer.stdout


def test_interception_with_a_configured_certificate_and_key(stage: Scene, origin: tuple[TlsOrigin, Authority], tmp_path: Path) -> None:
    server, authority = origin
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other")
    cert, key = other.issue("localhost", "DNS:localhost")
    # The second certificate is no authority; it is set by a file of Dragonfly 1.x, which also names the servers that are not verified.
    (tmp_path / "dfdaemon.yml").write_text(
        f"""
        proxies: [{{regx: 'small', direct: true}}]
        hijack_https:
          cert: {cert}
          key: {key}
          hosts: [{{regx: 'localhost', insecure: true}}]
        """
    )
    secret = str(tmp_path / "other" / "other.key")
    given = ("--intercept", f"localhost:{server.port}", "--cacerts", authority.ca, "--ca-cert", other.ca, "--ca-key", secret)
    for each in (secret, key):
        os.chmod(each, 0o600)
    for number, options in enumerate((given, ("--dfdaemon", str(tmp_path / "dfdaemon.yml"))), 2):
        proxy = stage.proxy(*options, host=number)[1]
        answer = curl(proxy, other.ca, f"https://localhost:{server.port}/small.txt")
        assert answer.stdout == b"small", answer.stderr
    os.chmod(key, 0o644)
    command = [*DFENGINE, "proxy", "--intercept", "localhost", "--ca-cert", cert, "--ca-key", key, "--home", str(tmp_path)]
    refused = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    assert (refused.returncode != 0, b"chmod 600" in refused.stderr) == (True, True)


def heard(sock: socket.socket) -> bytes:
    """Bytes received until the connection is closed or reset."""
    found = b""
    with contextlib.suppress(OSError):
        while part := sock.recv(65536):
            found += part
    return found


def test_invalid_bytes_after_connect_do_not_reach_the_origin(stage: Scene, origin: tuple[TlsOrigin, Authority], tmp_path: Path) -> None:
    server, _ = origin
    process, proxy = stage.proxy("--intercept", f"localhost:{server.port}")
    place = urlsplit(proxy).hostname, urlsplit(proxy).port
    connect = b"CONNECT localhost:%d HTTP/1.1\r\nHost: x\r\n\r\n" % server.port
    for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 1000, b"\x16\x03\x01\x02\0\x01" + b"a" * 511, b""):
        with socket.create_connection(place, PATIENCE) as sock:
            sock.sendall(connect)
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
            sock.sendall(garbage)
            sock.shutdown(socket.SHUT_WR)
            assert b"HTTP/1.1" not in heard(sock)
    with socket.create_connection(place, PATIENCE) as sock:
        sock.sendall(connect + b"early")
        assert heard(sock).startswith(b"HTTP/1.1 400 ")
    context = ssl.create_default_context(cafile=ca_of(stage, tmp_path / "ca.pem"))
    for request, status in (
        (b"GET http://localhost:%d/small.txt HTTP/1.1\r\nHost: x\r\n\r\n" % server.port, 421),
        (b"CONNECT localhost:%d HTTP/1.1\r\nHost: x\r\n\r\n" % server.port, 421), (b"\0\0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost:%d\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n" % server.port, 501),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 431),
    ):  # fmt: skip
        with socket.create_connection(place, PATIENCE) as sock:
            sock.sendall(connect)
            assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
            with context.wrap_socket(sock, server_hostname="localhost") as inner:
                inner.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if status == 421 else request)
                assert heard(inner).startswith(b"HTTP/1.1 %d " % status), request[:60]
    assert not server.requests()
    assert process.poll() is None
