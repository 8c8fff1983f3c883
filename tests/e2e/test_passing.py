"""Requests that a proxy passes on to a registry: unchanged in both directions, whatever client and registry do."""

from __future__ import annotations

import hashlib
import http.client
import os
import random
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.scene import DFENGINE, MIB, PATIENCE, Scene, until
from tests.e2e.upstream import Asked, Upstream, ok, raw


@pytest.fixture
def registry() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.fixture
def mirror(stage: Scene, registry: Upstream) -> str:
    """IP:PORT of a proxy for `registry`."""
    return urlsplit(stage.proxy("--registry", registry.url)[1]).netloc


def connect(mirror: str) -> socket.socket:
    ip, _, port = mirror.rpartition(":")
    return socket.create_connection((ip, int(port)), PATIENCE)


def said(mirror: str, data: bytes, most: int = 1 << 20) -> bytes:
    """The response to these bytes until the connection is closed or reset."""
    with connect(mirror) as sock:
        found = b""
        try:
            sock.sendall(data)
            while len(found) < most and (part := sock.recv(65536)):
                found += part
        except ConnectionError:
            pass
        return found


def asked(mirror: str, method: str, target: str, body: Any = None, **fields: str) -> tuple[http.client.HTTPResponse, bytes]:
    line = http.client.HTTPConnection(mirror, timeout=PATIENCE)
    try:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        line.request(method, target, body, named, encode_chunked=body is not None)
        answer = line.getresponse()
        return answer, answer.read()
    finally:
        line.close()


def test_methods_fields_statuses_and_bodies_are_passed_on_unchanged(mirror: str, registry: Upstream) -> None:
    registry.scripts["/v2/a/x"] = ok(b"hello", "X-One: 1", "Set-Cookie: a", "Set-Cookie: b", status="207 As You Like")
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        sent = b"sent" if method[0] == "P" else None
        answer, body = asked(mirror, method, "/v2/a/x?y=%2F&z", sent, Accept="a", X_Mine="m", Authorization="Bearer t")
        assert (answer.status, answer.reason, body) == (207, "As You Like", b"hello")
        assert answer.headers.get_all("set-cookie") == ["a", "b"]
        assert answer.headers["x-one"] == "1"
        got = registry.asked[-1]
        assert (got.method, got.target, got.body) == (method, "/v2/a/x?y=%2F&z", sent or b"")
        assert (got.fields["accept"], got.fields["x-mine"], got.fields["authorization"]) == ("a", "m", "Bearer t")
        assert got.fields["host"] == f"127.0.0.1:{registry.port}"
    answer, body = asked(mirror, "HEAD", "/v2/a/x")
    assert (answer.status, body, answer.headers["content-length"]) == (207, b"", "5")
    assert asked(mirror, "GET", "/v2/a/none")[0].status == 404
    registry.scripts["/v2/a/moved"] = ok(b"", "Location: https://elsewhere/x?sig=1", status="307 Temporary Redirect")
    assert asked(mirror, "GET", "/v2/a/moved")[0].headers["location"] == "https://elsewhere/x?sig=1"
    registry.scripts["/v2/a/same"] = ok(b"", "ETag: x", status="304 Not Modified")
    assert asked(mirror, "GET", "/v2/a/same")[0].status == 304


def test_connections_are_reused_on_both_sides(mirror: str, registry: Upstream) -> None:
    registry.scripts["/v2/a/x"] = ok(b"hello")
    line = http.client.HTTPConnection(mirror, timeout=PATIENCE)
    for _ in range(20):
        line.request("GET", "/v2/a/x")
        assert line.getresponse().read() == b"hello"
        line.request("HEAD", "/v2/a/x")
        assert line.getresponse().read() == b""
    line.close()
    assert registry.connections == 1
    # Requests in one write are answered in order.
    request = b"GET /v2/a/%b HTTP/1.1\r\nHost: a\r\n\r\n"
    for name in ("x", "y", "z"):
        registry.scripts[f"/v2/a/{name}"] = ok(name.encode())
    got = said(mirror, request % b"x" + request % b"y" + request % b"z" + b"GET /v2/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert [part.partition(b"\r\n\r\n")[2][:1] for part in got.split(b"HTTP/1.1 ")[1:4]] == [b"x", b"y", b"z"]


def test_requests_succeed_after_the_registry_closed_a_kept_connection(mirror: str, registry: Upstream) -> None:
    def once(sock: socket.socket, asked: Asked) -> bool:
        ok(b"hello")(sock, asked)
        return False

    registry.scripts["/v2/a/x"] = once
    for _ in range(5):
        assert asked(mirror, "GET", "/v2/a/x")[1] == b"hello"


def test_chunked_bodies_are_passed_on_in_both_directions(mirror: str, registry: Upstream) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    registry.scripts["/v2/a/x"] = raw(head, b"3\r\nabc\r\n", b"2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n", close=False)
    answer, body = asked(mirror, "PUT", "/v2/a/x", iter([b"one", b"two" * 1000]))
    assert body == b"abcde"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert registry.asked[-1].body == b"one" + b"two" * 1000
    # HTTP/1.0 has no chunks: the connection's end is the body's end.
    got = said(mirror, b"GET /v2/a/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert got.endswith(b"\r\n\r\nabcde")
    assert b"chunked" not in got
    registry.scripts["/v2/a/old"] = raw(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
    assert asked(mirror, "GET", "/v2/a/old")[1] == b"until the end"


def test_expect_100_continue_is_answered(mirror: str, registry: Upstream) -> None:
    registry.scripts["/v2/a/x"] = ok(b"done")
    with connect(mirror) as sock:
        sock.sendall(b"PUT /v2/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"body")
        assert sock.recv(4096).endswith(b"done")
    assert registry.asked[-1].body == b"body"


def test_a_response_before_the_requests_end_closes_the_connection(mirror: str, registry: Upstream) -> None:
    got = said(mirror, b"PUT /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + bytes(100000))
    assert got.startswith(b"HTTP/1.1 404 ")
    assert b"Connection: close" in got


def test_large_bodies_both_ways_take_little_memory(stage: Scene, registry: Upstream) -> None:
    process, url = stage.proxy("--registry", registry.url)
    mirror = urlsplit(url).netloc
    block = random.Random(1).randbytes(MIB)
    wanted = hashlib.sha256(block * 64).hexdigest()

    def send(sock: socket.socket, asked: Asked) -> None:
        got = hashlib.sha256(asked.body).hexdigest().encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Got: %b\r\n\r\n" % (64 * MIB, got))
        for _ in range(64):
            sock.sendall(block)

    registry.scripts["/v2/a/x"] = send
    line = http.client.HTTPConnection(mirror, timeout=PATIENCE)
    line.request("PUT", "/v2/a/x", (block for _ in range(64)), {"Content-Length": str(64 * MIB)})
    answer = line.getresponse()
    time.sleep(1)  # the registry would have sent all of it by now
    digest = hashlib.sha256()
    while part := answer.read(MIB):
        digest.update(part)
    line.close()
    assert (digest.hexdigest(), answer.headers["x-got"]) == (wanted, wanted)
    with open(f"/proc/{process.pid}/status") as file:
        peak = next(int(row.split()[1]) for row in file if row.startswith("VmHWM"))
    assert peak < 100 << 10


@pytest.mark.parametrize(
    "script",
    [
        raw(b""),
        raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
        raw(b"what?\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\n" + b"X: %b\r\n" % (b"y" * 1000) * 100 + b"\r\n"),
    ],
)
def test_invalid_responses_of_a_registry_are_answered_with_502(mirror: str, registry: Upstream, script: Any) -> None:
    registry.scripts["/v2/a/x"] = script
    answer, body = asked(mirror, "GET", "/v2/a/x")
    assert answer.status == 502
    assert b'"UNAVAILABLE"' in body
    assert asked(mirror, "GET", "/v2/")[0].status == 404


def test_truncated_responses_end_incomplete_for_the_client(mirror: str, registry: Upstream) -> None:
    registry.scripts["/v2/a/x"] = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    registry.scripts["/v2/a/y"] = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    registry.scripts["/v2/a/z"] = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n")
    for name in "xyz":
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            asked(mirror, "GET", f"/v2/a/{name}")
        with connect(mirror) as sock, pytest.raises(ConnectionError):
            _drained(sock, f"GET /v2/a/{name} HTTP/1.0\r\n\r\n".encode())


def _drained(sock: socket.socket, request: bytes) -> None:
    sock.sendall(request)
    while sock.recv(4096):
        pass


def test_clients_may_disconnect_at_any_byte(mirror: str, registry: Upstream) -> None:
    registry.scripts["/v2/a/x"] = ok(bytes(8 * MIB))
    registry.scripts["/v2/a/y"] = ok(b"hello")
    whole = b"PUT /v2/a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    for end in range(0, len(whole), 3):
        with connect(mirror) as sock:
            sock.sendall(whole[:end])
    for taken in (1, 1000, MIB):
        with connect(mirror) as sock:
            sock.sendall(b"GET /v2/a/x HTTP/1.1\r\nHost: a\r\n\r\n")
            while taken > 0:
                taken -= len(sock.recv(taken))
    assert asked(mirror, "GET", "/v2/a/y")[1] == b"hello"


SMUGGLED = b"GET /v2/admin HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"PUT /v2/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 41\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"PUT /v2/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        b"PUT /v2/a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"PUT /v2/a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"PUT /v2/a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"PUT /v2/a/x HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello" + SMUGGLED,
        b"PUT /v2/a/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"GET /v2/a/x HTTP/1.1\r\nHost: a\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        b"GET //127.0.0.1/v2/admin HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v2/../v2/admin HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT 169.254.169.254:443 HTTP/1.1\r\nHost: 169.254.169.254:443\r\n\r\n",
        b"CONNECT [fd00:ec2::254]:443 HTTP/1.1\r\nHost: [fd00:ec2::254]:443\r\n\r\n",
        b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n",
        b"CONNECT /v2/a/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v2/admin HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /v2/admin HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 100000 + b"\r\n",
        b"GET /v2/admin HTTP/1.1\r\nHost: a\r\nX: " + b"a" * MIB + b"\r\n\r\n",
        b"GET /v2/admin?" + b"a" * MIB + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_smuggled_malformed_and_tunnelled_requests_reach_no_registry(mirror: str, registry: Upstream, data: bytes) -> None:
    got = said(mirror, data)
    assert not got or got[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5")
    assert got.count(b"HTTP/1.1 ") <= 1
    assert not registry.asked


def test_the_proxy_listens_on_loopback_only_by_default(stage: Scene) -> None:
    """In its own network namespace: another proxy of this machine may use the port."""
    command = ["unshare", "-n", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *DFENGINE, "proxy", "--home", str(stage.path / "h")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready proxy=127.0.0.1:65001\n"
        found = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/{process.pid}/net/{name}").read_text().splitlines()[1:]]
        assert [each[1] for each in found if each[3] == "0A"] == ["0100007F:FDE9"]
    finally:
        process.terminate()
        process.wait(PATIENCE)
        assert process.stdout is not None
        process.stdout.close()


def test_a_slow_request_head_ends_the_connection(mirror: str) -> None:
    with connect(mirror) as sock:
        sock.sendall(b"GET /v2/ HT")
        assert sock.recv(100) == b""


def test_requests_cannot_name_internal_hosts_as_registries(stage: Scene, registry: Upstream, mirror: str) -> None:
    for target in (
        "/v2/a/manifests/1?ns=169.254.169.254", "/v2/a/manifests/1?ns=localhost",
        f"/v2/a/manifests/1?ns=127.0.0.1:{registry.port + 1}",
        "/v2/metadata.google.internal:80/manifests/1",
        "/v2/127.0.0.1/x/manifests/1", "/v2/a/manifests/1?ns=0.0.0.0", "/v2/[::1]/x/manifests/1",
    ):  # fmt: skip
        assert asked(mirror, "GET", target)[0].status in (403, 404), target
    assert asked(mirror, "GET", "/v2/a/manifests/1", X_Dragonfly_Registry="http://169.254.169.254/")[0].status == 403
    assert asked(mirror, "GET", "/v2/a/manifests/1", X_Dragonfly_Registry="no host")[0].status in (403, 404)
    assert not registry.asked
    # The configured registry can be named like any other.
    registry.scripts["/v2/a/manifests/1"] = ok(b"m", "Location: /v2/a/else")
    answer, body = asked(mirror, "GET", f"/v2/a/manifests/1?ns=127.0.0.1:{registry.port}", X_Dfengine_Token="t", X_Dragonfly_Tag="t")
    assert (body, answer.headers["location"]) == (b"m", f"{registry.url}/v2/a/else")
    assert asked(mirror, "GET", f"/v2/127.0.0.1:{registry.port}/a/manifests/1")[1] == b"m"
    assert asked(mirror, "GET", "/v2/a/manifests/1", X_Dragonfly_Registry=registry.url)[1] == b"m"
    assert {each.target for each in registry.asked} == {"/v2/a/manifests/1"}
    assert not {"x-dfengine-token", "x-dragonfly-tag", "x-dragonfly-registry"} & {name for each in registry.asked for name in each.fields}
    only = urlsplit(stage.proxy("--registry", registry.url, "--only-registries", host=3)[1]).netloc
    assert asked(only, "GET", "/v2/a/manifests/1?ns=registry.example.com")[0].status == 403
    registry.scripts["/v2/my.team/a/manifests/1"] = ok(b"mine")
    assert asked(only, "GET", "/v2/my.team/a/manifests/1")[1] == b"mine"
    assert asked(mirror, "GET", "/v2/my.team:5000/a/manifests/1")[0].status == 403


def test_requests_to_the_proxy_itself_and_loops_are_refused(stage: Scene) -> None:
    port = random.Random(os.getpid()).randrange(30000, 32000)
    first = urlsplit(stage.proxy("--listen", f"127.0.0.5:{port}", "--registry", f"http://127.0.0.5:{port}")[1]).netloc
    assert asked(first, "GET", "/v2/")[0].status == 403
    # Through another proxy the request returns.
    second = stage.proxy("--registry", f"http://127.0.0.6:{port}", host=3)[1]
    third = urlsplit(stage.proxy("--listen", f"127.0.0.6:{port}", "--registry", second, host=4)[1]).netloc
    assert asked(third, "GET", "/v2/")[0].status == 508


def test_requests_without_the_proxys_token_are_refused(stage: Scene, registry: Upstream) -> None:
    path = stage.path / "token"
    path.write_text("0123456789abcdef\n")
    path.chmod(0o600)
    mirror = urlsplit(stage.proxy("--registry", registry.url, "--token-file", str(path))[1]).netloc
    registry.scripts["/v2/a/x"] = ok(b"hello")
    assert asked(mirror, "GET", "/v2/a/x")[0].status == 401
    assert asked(mirror, "GET", "/v2/a/x", X_Dfengine_Token="0123456789abcdeg")[0].status == 401
    assert asked(mirror, "GET", "/v2/a/x", X_Dfengine_Token="0123456789abcdef")[1] == b"hello"
    assert len(registry.asked) == 1


def test_own_credentials_are_sent_for_reads_of_clients_without_any(stage: Scene, registry: Upstream) -> None:
    mirror = urlsplit(stage.proxy("--registry", registry.url.replace("://", "://me:secret@"))[1]).netloc
    asked(mirror, "GET", "/v2/a/x")
    asked(mirror, "GET", "/v2/a/x", Authorization="Bearer t")
    asked(mirror, "DELETE", "/v2/a/x")
    asked(mirror, "POST", "/v2/a/x", b"data")
    said = [(each.method, each.target, each.fields.get("authorization")) for each in registry.asked]
    # /v2/ is requested first for the scheme of credentials; requests that change something are sent without the proxy's.
    assert said == [("GET", "/v2/", None), ("GET", "/v2/a/x", "Basic bWU6c2VjcmV0"), ("GET", "/v2/a/x", "Bearer t"),
                    ("DELETE", "/v2/a/x", None), ("POST", "/v2/a/x", None)]  # fmt: skip


def test_the_proxy_can_listen_on_a_unix_socket(stage: Scene, registry: Upstream) -> None:
    path = stage.path / "mirror.sock"
    process, _ = stage.proxy("--listen", f"unix:{path}", "--registry", registry.url)
    registry.scripts["/v2/a/x"] = ok(b"hello")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"GET /v2/a/x HTTP/1.0\r\n\r\n")
        assert sock.recv(4096).endswith(b"hello")
    process.terminate()
    process.wait(PATIENCE)
    until(lambda: not path.exists(), "the removal of its socket")


def test_https_registries_are_verified_unless_insecure(stage: Scene) -> None:
    authority = Authority(stage.path)
    cert, key = authority.issue("registry", "IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with Upstream(context) as registry:
        registry.scripts["/v2/a/x"] = ok(b"hello" * MIB)
        trusting = urlsplit(stage.proxy("--registry", registry.url, "--cacerts", authority.ca)[1]).netloc
        assert asked(trusting, "GET", "/v2/a/x")[1] == b"hello" * MIB
        strict = urlsplit(stage.proxy("--registry", registry.url, host=3)[1]).netloc
        answer, body = asked(strict, "GET", "/v2/a/x")
        assert answer.status == 502
        assert b"--cacerts" in body
        careless = urlsplit(stage.proxy("--registry", registry.url, "--insecure", host=4)[1]).netloc
        assert asked(careless, "GET", "/v2/a/x")[1] == b"hello" * MIB
        assert len(registry.asked) == 2


def test_headers_of_one_client_do_not_affect_stored_responses_for_others(mirror: str, registry: Upstream) -> None:
    def send(sock: socket.socket, asked: Asked) -> None:
        evil = asked.fields.get("x-forwarded-host", "") or asked.fields.get("cookie", "")
        gzip = "Content-Encoding: gzip" if "accept-encoding" in asked.fields else "X: y"
        ok(b'{"evil": 1}' if evil else b'{"right": 1}', "Content-Type: a/b", gzip)(sock, asked)

    registry.scripts["/v2/a/manifests/1"] = send
    assert asked(mirror, "GET", "/v2/a/manifests/1", X_Forwarded_Host="evil")[1] == b'{"evil": 1}'
    assert asked(mirror, "GET", "/v2/a/manifests/1", Accept_Encoding="zstd, gzip")[1] == b'{"right": 1}'
    assert asked(mirror, "GET", "/v2/a/manifests/1", X_Forwarded_Host="evil")[1] == b'{"evil": 1}'
    assert asked(mirror, "GET", "/v2/a/manifests/1", Cookie="evil")[1] == b'{"evil": 1}'
    registry.scripts["/v2/a/manifests/1"] = ok(b"", status="503 Service Unavailable")
    answer, body = asked(mirror, "GET", "/v2/a/manifests/1")
    assert (answer.status, body) == (200, b'{"right": 1}')
    assert "warning" in answer.headers
    assert asked(mirror, "GET", "/v2/a/manifests/1", Accept="c/d")[0].status == 503
