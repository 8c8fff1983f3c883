"""A proxy as http_proxy of other programs: requests served by the swarm, requests passed on, and refused requests."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.proxies import Proxy
from tests.e2e.scene import DFENGINE, MIB, PATIENCE, Scene, buffered, until
from tests.e2e.upstream import Asked, Upstream, ok

BIG = random.Random(4).randbytes(5 * MIB + 7)
OLD = formatdate(time.time() - 3600, usegmt=True)


@pytest.fixture(name="origin")
def one_origin() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


def asked(proxy: str, url: str, method: str = "GET", body: Any = None, **fields: str) -> tuple[http.client.HTTPResponse, bytes]:
    """Send a request with an absolute URL to the proxy."""
    line = http.client.HTTPConnection(urlsplit(proxy).netloc, timeout=PATIENCE)
    try:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        line.request(method, url, body, named, encode_chunked=body is not None)
        answer = line.getresponse()
        return answer, answer.read()
    finally:
        line.close()


def file(body: bytes, *more: str, tag: str = '"v1"') -> Any:
    """A server of one file that supports HEAD, ranges and If-Range."""

    def send(sock: socket.socket, request: Asked) -> None:
        fields = [f"ETag: {tag}", f"Last-Modified: {OLD}", f"Date: {formatdate(usegmt=True)}", "Accept-Ranges: bytes", *more]
        first, _, last = request.fields.get("range", "").removeprefix("bytes=").partition("-")
        if first and request.fields.get("if-range", tag) == tag:
            start, past = int(first), min(len(body), int(last) + 1 if last else len(body))
            fields.append(f"Content-Range: bytes {start}-{past - 1}/{len(body)}")
            ok(body[start:past], *fields, status="206 Partial Content")(sock, request)
        else:
            ok(body, *fields)(sock, request)

    return send


def got(origin: Upstream, path: str, method: str = "GET") -> list[Asked]:
    return [each for each in origin.asked if each.target.partition("?")[0] == path and each.method == method]


def test_a_file_is_read_once_from_its_origin_for_two_hosts(stage: Scene) -> None:
    origin = stage.origin()
    stage.file("big.bin", 9 * MIB)
    content = (stage.path / "www" / "big.bin").read_bytes()
    os.utime(stage.path / "www" / "big.bin", (time.time() - 3600,) * 2)
    (stage.path / "www" / "small.txt").write_bytes(b"small")
    node = stage.supernode()
    hosts = [stage.proxy(host=host, nodes=(node,))[1] for host in (2, 3)]
    url = f"{origin}/big.bin"
    for host in hosts:
        answer, body = asked(host, url)
        assert (answer.status, body == content) == (200, True)
        tag = answer.headers["etag"]
        assert answer.headers["last-modified"]
        assert "dfengine" in answer.headers["via"]
        answer, body = asked(host, url, Range="bytes=5-9", If_Range=tag)
        assert (answer.status, body) == (206, content[5:10])
        assert asked(host, url, If_None_Match=tag)[0].status == 304
        answer, body = asked(host, f"{origin}/small.txt")
        assert (answer.status, body) == (200, b"small")
    stage.check_read_once("/big.bin", len(content), node)
    before = len(stage.requests())
    assert asked(hosts[0], f"{origin}/small.txt", Cache_Control="only-if-cached")[0].status == 504
    assert asked(hosts[0], url, Cache_Control="only-if-cached")[1] == content
    assert asked(hosts[0], url, Cache_Control="only-if-cached", Authorization="mine")[0].status == 504
    assert len(stage.requests()) == before
    # After a change no host receives the previous content.
    changed = os.urandom(9 * MIB)
    (stage.path / "www" / "big.bin").write_bytes(changed)
    os.utime(stage.path / "www" / "big.bin", (time.time() - 1800,) * 2)
    for host in hosts:
        assert asked(host, url, Cache_Control="no-cache")[1] == changed


def test_files_that_may_not_be_shared_are_passed_on(stage: Scene, origin: Upstream) -> None:
    proxy = stage.proxy()[1]
    private = {
        "/store": file(BIG, "Cache-Control: no-store"), "/private": file(BIG, "Cache-Control: private"),
        "/cookie": file(BIG, "Set-Cookie: a"),
        "/vary": file(BIG, "Vary: X-Who"), "/weak": ok(BIG, 'ETag: W/"x"'), "/none": ok(BIG), "/small": file(b"small"),
    }  # fmt: skip
    origin.scripts.update(private)
    origin.scripts["/open"] = file(BIG)
    for path, status in [*((path, 200) for path in private), ("/else", 404)]:
        for _ in range(2):
            answer, body = asked(proxy, origin.url + path)
            assert answer.status == status
            assert body == (BIG if path not in ("/small", "/else") else b"small" if path == "/small" else b"nothing here\n")
        assert len(got(origin, path)) == 2, path
    for who in ("Authorization", "Cookie", "X_Api_Key"):
        before = len(got(origin, "/open"))
        assert asked(proxy, f"{origin.url}/open", **{who: "mine"})[1] == BIG
        request = got(origin, "/open")[before]
        assert request.fields[who.lower().replace("_", "-")] == "mine"
    assert asked(proxy, f"{origin.url}/open")[1] == BIG
    count = len(got(origin, "/open"))
    assert asked(proxy, f"{origin.url}/open")[1] == BIG
    assert len(got(origin, "/open")) == count
    # A file fetched without credentials is not served to a request with credentials: the origin answers it.
    asked(proxy, f"{origin.url}/open", Authorization="other")
    assert len(got(origin, "/open")) == count + 1
    assert not [each for each in origin.asked if "proxy-authorization" in each.fields]


def test_methods_bodies_and_header_fields_are_passed_on(stage: Scene, origin: Upstream) -> None:
    proxy = stage.proxy()[1]
    origin.scripts["/x"] = ok(b"hello", "Connection: x-hop", "X-Hop: 1", "X-Kept: 2", "Set-Cookie: a", "Set-Cookie: b")
    for method, body in (("POST", b"sent"), ("PUT", BIG), ("DELETE", None), ("OPTIONS", None), ("PATCH", iter([b"a", b"bc"]))):
        answer, said = asked(proxy, f"{origin.url}/x?a=%2f", method, body, Proxy_Authorization="Basic eDp5", X_Mine="m", Connection="X-Own",
                             X_Own="o", Proxy_Connection="keep-alive", TE="trailers", Authorization="Bearer t", Cookie="c")  # fmt: skip
        assert (answer.status, said, answer.headers["x-kept"], answer.headers["x-hop"]) == (200, b"hello", "2", None)
        assert answer.headers.get_all("set-cookie") == ["a", "b"]
        request = origin.asked[-1]
        assert (request.method, request.target, request.fields["host"]) == (method, "/x?a=%2f", urlsplit(origin.url).netloc)
        assert request.body == (b"abc" if method == "PATCH" else body or b"")
        assert (request.fields["authorization"], request.fields["cookie"], request.fields["x-mine"]) == ("Bearer t", "c", "m")
        assert not {"proxy-authorization", "x-own", "proxy-connection", "te"} & set(request.fields)
        assert "dfengine" in request.fields["via"]
    count = len(origin.asked)
    for method, target, hops, status in (
        ("TRACE", f"{origin.url}/x", "5", 405), ("OPTIONS", "*", "5", 200), ("OPTIONS", f"{origin.url}/x", "0", 200),
    ):  # fmt: skip
        answer, _ = asked(proxy, target, method, Max_Forwards=hops)
        assert (answer.status, "OPTIONS" in answer.headers["allow"]) == (status, True)
    assert len(origin.asked) == count
    asked(proxy, origin.url, "OPTIONS", Max_Forwards="3")
    assert (origin.asked[-1].target, origin.asked[-1].fields["max-forwards"]) == ("*", "2")
    line = http.client.HTTPConnection(urlsplit(proxy).netloc, timeout=PATIENCE)
    line.request("POST", f"{origin.url}/x", b"later", {"Expect": "100-continue"})
    assert line.getresponse().read() == b"hello"
    line.close()
    # HEAD is passed on to the origin, and a redirect to the client.
    origin.scripts["/moved"] = ok(b"", "Location: /x", status="302 Found")
    assert asked(proxy, f"{origin.url}/x", "HEAD")[0].headers["content-length"] == "5"
    answer, _ = asked(proxy, f"{origin.url}/moved")
    assert (answer.status, answer.headers["location"]) == (302, "/x")


def test_rules_refuse_pass_on_strip_redirect_and_ignore_fields(stage: Scene, origin: Upstream, tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(
        f"""
        - {{match: '/refused', do: refuse}}
        - {{match: '/direct', do: direct}}
        - {{match: '/signed', strip: [sig], least: 1}}
        - {{match: '/moved', redirect: '127.0.0.1:{origin.port}'}}
        - {{match: '/set', ignore: [set-cookie, vary]}}
        """
    )
    proxy = stage.proxy("--rules", str(path))[1]
    origin.scripts.update({name: file(BIG) for name in ("/direct", "/none", "/moved")})

    def signed(sock: socket.socket, request: Asked) -> None:
        """A URL whose signature is valid for GET only."""
        good = request.method == "GET" and "sig=good" in request.target
        (file(b"signed" * 20) if good else ok(b"", status="403 Forbidden"))(sock, request)

    origin.scripts["/signed"] = signed
    origin.scripts["/set"] = file(BIG, "Set-Cookie: a", "Vary: X-Y")
    assert asked(proxy, f"{origin.url}/refused")[0].status == 403
    for name in ("/direct", "/none"):
        assert [asked(proxy, origin.url + name)[1] for _ in range(2)] == [BIG, BIG]
        assert len(got(origin, name)) == 2
    assert asked(proxy, "http://other.test/moved")[1] == BIG
    assert [asked(proxy, f"{origin.url}/set")[1] for _ in range(2)] == [BIG, BIG]
    assert len({each.fields.get("range") for each in got(origin, "/set")}) == len(got(origin, "/set"))
    assert asked(proxy, f"{origin.url}/signed?sig=good1")[1] == b"signed" * 20
    whole = [each for each in got(origin, "/signed") if each.fields.get("range") != "bytes=0-0"]
    assert asked(proxy, f"{origin.url}/signed?sig=good2")[1] == b"signed" * 20
    assert [each for each in got(origin, "/signed") if each.fields.get("range") != "bytes=0-0"] == whole
    assert asked(proxy, f"{origin.url}/signed?sig=bad")[0].status == 403
    # Dragonfly's clients request it by a header.
    assert asked(proxy, f"{origin.url}/none", X_Dragonfly_Use_P2P="true")[1] == BIG
    stripped = {"X_Dragonfly_Use_P2P": "true", "X_Dragonfly_Filtered_Query_Params": "t"}
    origin.scripts["/any"] = lambda sock, request: file(BIG[:-1] + request.target[-1:].encode())(sock, request)
    assert asked(proxy, f"{origin.url}/any?t=1", **stripped)[1] == BIG[:-1] + b"1"
    count = len(got(origin, "/any"))
    assert asked(proxy, f"{origin.url}/any?t=2", **stripped)[1] == BIG[:-1] + b"1"
    assert len(got(origin, "/any")) == count
    # A URL stripped for one client is another URL for clients that do not strip it.
    assert asked(proxy, f"{origin.url}/any", X_Dragonfly_Use_P2P="true")[1] == BIG[:-1] + b"y"
    assert not [name for each in origin.asked for name in each.fields if name.startswith("x-dragonfly")]


def test_registry_blobs_are_shared_by_digest_for_clients_with_a_valid_token(stage: Scene, origin: Upstream) -> None:
    """As Docker requests them by HTTP_PROXY: with a token, which the registry checks for each client."""
    node = stage.supernode()
    path = f"/v2/a/b/blobs/{origin.blob('a/b', BIG)}"
    whole = origin.scripts[path]
    origin.scripts[path] = lambda sock, request: (
        whole if request.fields.get("authorization", "").startswith("Bearer good") else ok(b"no", status="401 Unauthorized")
    )(sock, request)
    for host, token in ((2, "good1"), (3, "good2")):
        proxy = stage.proxy(host=host, nodes=(node,))[1]
        answer, body = asked(proxy, origin.url + path, Authorization=f"Bearer {token}")
        assert (answer.headers["docker-content-digest"], body == BIG) == (path.rpartition("/")[2], True)
        assert asked(proxy, origin.url + path, Authorization="Bearer bad")[0].status == 401
    assert node.metric("dfengine_origin_bytes_total") == len(BIG)


def test_a_file_that_changes_after_head_is_delivered_as_one_version(stage: Scene, origin: Upstream) -> None:
    """HEAD names one version, and GET sends another: the client gets a whole version with its own ETag."""
    proxy = stage.proxy()[1]
    other = random.Random(5).randbytes(len(BIG))
    turns = iter([file(BIG), *[file(other, tag='"v2"')] * 1000])
    origin.scripts["/f"] = lambda sock, request: next(turns)(sock, request)
    answer, body = asked(proxy, f"{origin.url}/f")
    assert (answer.headers["etag"], body == other) == ('"v2"', True)
    answer, body = asked(proxy, f"{origin.url}/f")
    assert (answer.headers["etag"], body == other) == ('"v2"', True)


def test_a_file_that_changes_in_mid_transfer_is_never_a_mixture(stage: Scene, origin: Upstream) -> None:
    """A response has bytes of one version: it is whole, or cut off."""
    proxy = stage.proxy()[1]
    other, begun = random.Random(6).randbytes(len(BIG)), threading.Event()

    def send(sock: socket.socket, request: Asked) -> None:
        if begun.is_set() or request.method == "HEAD":
            (file(other, tag='"v2"') if begun.is_set() else file(BIG))(sock, request)
            return
        begun.set()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BIG)}\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\n\r\n"
        sock.sendall(head.encode() + BIG[: 3 * MIB])
        sock.shutdown(socket.SHUT_RDWR)

    origin.scripts["/f"] = send
    try:
        answer, body = asked(proxy, f"{origin.url}/f")
    except (http.client.HTTPException, ConnectionError):
        pass
    else:
        assert (answer.headers["etag"], body) in (('"v1"', BIG), ('"v2"', other))
    answer, body = asked(proxy, f"{origin.url}/f")
    assert (answer.headers["etag"], body == other) == ('"v2"', True)


def test_a_fresh_response_is_not_revalidated(stage: Scene, origin: Upstream) -> None:
    proxy = stage.proxy()[1]
    origin.scripts["/fresh"] = file(BIG, "Cache-Control: max-age=600")
    origin.scripts["/stale"] = file(BIG, "Cache-Control: no-cache")
    for path, count in (("/fresh", 1), ("/stale", 3)):
        for _ in range(3):
            assert asked(proxy, origin.url + path)[1] == BIG
        assert len(got(origin, path, "HEAD")) == count
    assert asked(proxy, f"{origin.url}/fresh", Cache_Control="no-cache")[1] == BIG
    assert len(got(origin, "/fresh", "HEAD")) == 2


def said(proxy: str, data: bytes) -> bytes:
    """Send bytes and return the response until the connection is closed; b"" also for a reset."""
    with socket.create_connection((urlsplit(proxy).hostname or "", urlsplit(proxy).port or 0), PATIENCE) as sock:
        found = b""
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
            while part := sock.recv(65536):
                found += part
        return found


def test_invalid_denied_and_looping_requests_are_refused(stage: Scene, origin: Upstream) -> None:
    proxy = stage.proxy()[1]
    here = urlsplit(proxy).netloc.encode()
    for data, status in (
        (b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400), (b"GET http://u:p@127.0.0.1/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET ftp://h/x HTTP/1.1\r\nHost: h\r\n\r\n", 501), (b"GET http://%b/x HTTP/1.1\r\nHost: a\r\n\r\n" % here, 404),
        (b"CONNECT %b HTTP/1.1\r\nHost: a\r\n\r\n" % here, 403), (b"CONNECT h:25 HTTP/1.1\r\nHost: h\r\n\r\n", 403),
        (b"GET http://169.254.169.254/x HTTP/1.1\r\nHost: a\r\n\r\n", 403),
        (b"CONNECT 169.254.169.254:443 HTTP/1.1\r\nHost: h\r\n\r\n", 403),
        (b"CONNECT /x HTTP/1.1\r\nHost: h\r\n\r\n", 400), (b"CONNECT http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", 400), (b"CONNECT h:443 HTTP/1.1\r\nHost: a\r\nHost: h\r\n\r\n", 400),
        (b"GET http://h/x HTTP/1.1\r\nHost: a\r\nHost: h\r\n\r\n", 400),
        (b"GET http://h/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
        (b"GET http://h/x HTTP/1.1\r\nHost: h\r\nX: " + b"x" * MIB + b"\r\n\r\n", 431),
        (b"GET http://h/" + b"x" * MIB + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
    ):  # fmt: skip
        if b"CONNECT" not in data and len(data) < MIB:
            data = data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        answer = said(proxy, data)
        assert answer.startswith(b"HTTP/1.1 %d " % status) or (status == 431 and not answer), (data[:80], answer[:200])
    # A request for the proxy's own absolute URL is answered like a direct request to the proxy.
    assert asked(proxy, f"{proxy}/healthy")[1] == b"ok\n"
    # A request that passed through this proxy already.
    origin.scripts["/x"] = ok(b"x")
    asked(proxy, f"{origin.url}/x")
    assert asked(proxy, f"{origin.url}/x", Via=origin.asked[-1].fields["via"])[0].status == 508


def test_a_proxy_with_a_token_file_needs_the_token(stage: Scene, origin: Upstream, tmp_path: Path) -> None:
    """Clients send the token as a password or a header; it is not passed on to the origin."""
    token = tmp_path / "token"
    token.write_text("t" * 20)
    token.chmod(0o600)
    proxy = stage.proxy("--token-file", str(token))[1]
    origin.scripts["/x"] = ok(b"x")
    answer, _ = asked(proxy, f"{origin.url}/x")
    assert (answer.status, answer.headers["proxy-authenticate"]) == (407, 'Basic realm="dfengine proxy"')
    assert asked(proxy, f"{origin.url}/x", X_Dfengine_Token="t" * 20)[1] == b"x"
    basic = "Basic eDp0dHR0dHR0dHR0dHR0dHR0dHR0dA=="
    assert asked(proxy, f"{origin.url}/x", Proxy_Authorization=basic)[1] == b"x"
    assert asked(proxy, f"{origin.url}/x", Proxy_Authorization="Basic !")[0].status == 407
    assert not [name for each in origin.asked for name in each.fields if name in ("proxy-authorization", "x-dfengine-token")]


def test_clients_of_other_hosts_are_refused_without_forward_for_others(stage: Scene, origin: Upstream) -> None:
    """In a network namespace with an address that is no loopback address."""
    script = """
        ip link set lo up; ip addr add 10.9.9.1/24 dev lo
        for more in "" --forward-for-others; do
            "$@" $more >out & proxy=$!
            until grep -qs ready out; do sleep 0.1; done
            curl -sS -o said -w '%{http_code} ' -x http://10.9.9.1:16501 http://10.9.9.1:1/x
            curl -sS -o said -w '%{http_code} ' -x http://127.0.0.1:16501 http://10.9.9.1:1/x
            kill $proxy; wait $proxy; rm out
        done
        """
    command = [*DFENGINE, "proxy", "--home", str(stage.path / "h"), "--listen", "0.0.0.0:16501", "--allow", "10.9.9.0/24"]
    command = ["unshare", "-n", "sh", "-c", script, "sh", *command]
    done = subprocess.run(command, cwd=stage.path, stdout=subprocess.PIPE, timeout=PATIENCE * 2, check=False)
    assert done.stdout == b"403 502 502 502 "


class Echo:
    """A listener that echoes received bytes, or runs `work` with each connection."""

    def __init__(self, work: Any = None) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        self._work = work or self._echo
        self._threads: list[threading.Thread] = []
        self.open: list[socket.socket] = []

    @staticmethod
    def _echo(sock: socket.socket) -> None:
        while data := sock.recv(65536):
            sock.sendall(data)
        sock.sendall(b"end")

    def __enter__(self) -> Echo:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._sock.accept()
                self.open.append(sock)
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            self._work(sock)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for sock in self.open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)


def tunnel(proxy: str, port: int, more: bytes = b"") -> socket.socket:
    """A tunnel to 127.0.0.1:PORT; `more` is sent right after the request, as bytes of the tunnel."""
    sock = socket.create_connection((urlsplit(proxy).hostname or "", urlsplit(proxy).port or 0), PATIENCE)
    sock.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n%b" % (port, more))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 200 "), head
    return sock


def rest(sock: socket.socket) -> bytes:
    found = []
    while data := sock.recv(1 << 20):
        found.append(data)
    return b"".join(found)


def test_a_tunnel_carries_bytes_half_closes_and_resets(stage: Scene) -> None:
    with Echo() as echo:
        process, proxy = stage.proxy("--connect-port", str(echo.port))
        # Also bytes sent before the response; after one side has closed, it still receives the other's bytes.
        with tunnel(proxy, echo.port, b"early") as sock:

            def send() -> None:
                sock.sendall(BIG)
                sock.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send)
            sender.start()
            found = rest(sock)
            sender.join()
        assert found == b"early" + BIG + b"end"
        # A reset is passed on to the other side.
        with tunnel(proxy, echo.port) as sock:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        until(lambda: echo.open[-1].fileno() < 0, "the close of the other side")
        assert said(proxy, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % 1).startswith(b"HTTP/1.1 403 ")
    # The port has no listener any more.
    assert said(proxy, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % echo.port).startswith(b"HTTP/1.1 502 ")
    assert process.poll() is None


def test_a_tunnel_whose_client_does_not_read_buffers_little(stage: Scene) -> None:
    sent = 0

    def pour(sock: socket.socket) -> None:
        nonlocal sent
        block = bytes(MIB)
        while sent < 256 * MIB:
            sent += sock.send(block)

    with Echo(pour) as echo:
        _, proxy = stage.proxy("--connect-port", str(echo.port))
        with tunnel(proxy, echo.port) as sock:
            def still() -> bool:
                before = sent
                time.sleep(0.5)
                return sent == before > 0

            until(still, "the server blocked in send")
            assert sent <= 2 * buffered() + 4 * MIB
            assert hashlib.sha256(sock.recv(10, socket.MSG_WAITALL)).digest() == hashlib.sha256(bytes(10)).digest()


def test_a_tunnel_through_another_proxy_over_tls(stage: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An https proxy, so that its side of the tunnel is no plain socket."""
    authority = Authority(tmp_path)
    with Echo() as echo, Proxy({443: echo.port}, "u", "p", authority.issue("other", "IP:127.0.0.1")) as other:
        monkeypatch.setenv("https_proxy", other.url("https", "u:p"))
        proxy = stage.proxy("--cacerts", authority.ca)[1]
        with socket.create_connection((urlsplit(proxy).hostname or "", urlsplit(proxy).port or 0), PATIENCE) as sock:
            sock.sendall(b"CONNECT far.test:443 HTTP/1.1\r\nHost: far.test\r\n\r\nearly" + BIG)
            found = b""
            while len(found.partition(b"\r\n\r\n")[2]) < 5 + len(BIG) and (part := sock.recv(1 << 20)):
                found += part
        assert found.startswith(b"HTTP/1.1 200 ")
        assert found.partition(b"\r\n\r\n")[2] == b"early" + BIG
        assert other.asked == [("connect", "far.test", 443)]
