"""A swarm with TLS: real processes, certificates made by the tests, and clients without these refused."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from functools import partial
from typing import Any

import pytest

import dfengine
from dfengine.net.admission import RESERVE
from tests.e2e.certificates import Authority
from tests.e2e.scene import Scene, Supernode, buffered, descriptors, status, until

SIZE = 9 << 20


@pytest.fixture
def authority(stage: Scene) -> Authority:
    return Authority(stage.path)


@pytest.fixture
def node(stage: Scene, authority: Authority) -> Supernode:
    """A supernode that requires certificates."""
    options = authority.options("supernode", "IP:127.0.0.1,DNS:localhost")
    return stage.supernode(*options, "--revalidate-interval", "1h", tls=authority.context("test"))


def tls_status(context: ssl.SSLContext, address: str, path: str) -> int:
    """The status of a GET over TLS, without a check of the server's name."""
    context.check_hostname = False
    return status(address, path, tls=context)


def plain_response(address: str) -> bytes:
    """The bytes sent in response to a GET without TLS."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), 10) as line:
        line.sendall(b"GET /ping HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = b""
        try:
            while block := line.recv(4096):
                answer += block
        except ConnectionError:
            pass
        return answer


def peer_address(stage: Scene, host: int) -> str:
    stage.peer_pid(host)
    return f"127.0.0.{host}:{json.loads((stage.path / f'home-{host}' / 'peer.lock').read_text())['port']}"


def test_a_tls_swarm_serves_its_members_and_refuses_all_others(stage: Scene, authority: Authority, node: Supernode) -> None:
    sha = stage.file("f.bin", SIZE)
    url = stage.origin() + "/f.bin"
    hosts = {host: authority.options(f"host-{host}") for host in (2, 3, 4)}
    first = stage.get(url, "a", *hosts[2], "--notbs", host=2, nodes=(node,))
    second = stage.get(url, "b", *hosts[3], "--notbs", host=3, nodes=(node,))
    assert second["from"]["peers"] > 0, "the peer server started by a get uses TLS, too"
    streamed, third = stage.drain(stage.start_stream(url, *hosts[4], "--notbs", host=4, nodes=(node,)))
    assert third["from"]["peers"] + third["from"]["supernode"] == SIZE
    assert stage.digest("a") == stage.digest("b") == streamed == sha
    assert SIZE <= stage.sent("/f.bin") <= SIZE + buffered()
    task = first["task_id"]
    name = next((stage.path / "home-2" / "tasks").iterdir()).name
    places = [(node.node, "/ping"), (node.download, f"/download/{task[:3]}/{task}"), (peer_address(stage, 2), f"/peer/file/{name}")]
    strangers = ssl.create_default_context(cafile=authority.ca)
    others = Authority(stage.path, "other")
    foreign = ssl.create_default_context(cafile=authority.ca)
    foreign.load_cert_chain(*others.issue("host"))
    for address, path in places:
        assert tls_status(authority.context("test"), address, path) in (200, 400)
        assert b"HTTP" not in plain_response(address)
        for context in (strangers, foreign):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                tls_status(context, address, path)
    for options in ((), ("--tls-ca", authority.ca), others.options("host"), ("--tls-ca", others.ca)):
        began = time.monotonic()
        assert node.node in stage.get(url, "c", *options, "--notbs", host=5, nodes=(node,), status=3)
        assert time.monotonic() - began < 60
    described = next((node.home / "download").rglob(f"{task}.json"))
    assert json.loads(described.read_text())["digest"] == "blake3"


def test_a_supernode_whose_certificate_has_another_name_is_refused(stage: Scene, authority: Authority) -> None:
    stage.file("f.bin", 1 << 20)
    url = stage.origin() + "/f.bin"
    host = authority.options("host")
    member = stage.supernode(*authority.options("member"), tls=None)
    said = stage.get(url, "a", *host, "--notbs", nodes=(member,), status=3)
    assert "certificate" in said
    stage.supernodes.remove(member)


def test_a_supernode_without_a_ca_serves_clients_without_certificates(stage: Scene, authority: Authority) -> None:
    sha = stage.file("f.bin", SIZE)
    url = stage.origin() + "/f.bin"
    cert, key = authority.issue("supernode", "IP:127.0.0.1")
    node = stage.supernode("--tls-cert", cert, "--tls-key", key, tls=ssl.create_default_context(cafile=authority.ca))
    result = stage.get(url, "a", "--tls-ca", authority.ca, "--notbs", nodes=(node,))
    assert stage.digest("a") == sha
    assert result["from"]["supernode"] == SIZE
    assert not (stage.path / "home-2" / "peer.lock").exists(), "a client without a certificate starts no peer server"


def test_tls_with_a_secret_and_rate_limits(stage: Scene, authority: Authority) -> None:
    secret = stage.path / "secret"
    secret.write_text(os.urandom(24).hex())
    secret.chmod(0o600)
    sha = stage.file("f.bin", SIZE)
    url = stage.origin() + "/f.bin"
    shut = ("--secret-file", str(secret))
    options = authority.options("supernode", "IP:127.0.0.1")
    node = stage.supernode(*options, *shut, "--max-bandwidth", "12M", tls=authority.context("test"))
    gets = [
        stage.start_get(url, f"f{host}", *authority.options(f"host-{host}"), *shut, "--notbs", "--totallimit", "9M", "-s", "6M", host=host,
                        nodes=(node,))
        for host in (2, 3, 4)
    ]
    for process in gets:
        stage.end(process)
    assert {stage.digest(f"f{host}") for host in (2, 3, 4)} == {sha}
    assert "secret" in stage.get(url, "c", *authority.options("host-5"), "--notbs", host=5, nodes=(node,), status=3)
    cert, key = authority.issue("program")
    stage.homes.add(stage.path / "home-6")
    own: dict[str, Any] = {"nodes": node.node, "secret_file": secret, "home": stage.path / "home-6", "ip": "127.0.0.6", "notbs": True}
    assert dfengine.Client(tls={"cert": cert, "key": key, "ca": authority.ca}, **own).get(url, stage.path / "d").serves
    for ca in (authority.ca, cert):
        with pytest.raises(dfengine.DfengineError):
            dfengine.Client(tls={"ca": ca}, **own).get(url, stage.path / "e")
    assert stage.digest("d") == sha


def test_unfinished_handshakes_are_closed_and_leave_no_descriptors(stage: Scene, node: Supernode) -> None:
    stage.origin()
    before = len(descriptors(node.process.pid))
    places = [(place.rpartition(":")[0], int(place.rpartition(":")[2])) for place in (node.node, node.download)]
    lines = [socket.create_connection(place) for place in places * 20]
    try:
        for line in lines[::2]:
            line.sendall(b"\x16\x03\x01\x02\x00\x01")
        until(lambda: len(descriptors(node.process.pid)) > before + 30, "the accepted connections")
        until(lambda: len(descriptors(node.process.pid)) <= before + 2, "the close of the connections", 20.0)
    finally:
        for line in lines:
            line.close()


def is_open(sock: socket.socket) -> bool:
    """Whether the server, which has sent nothing, has not closed this connection."""
    sock.setblocking(False)
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


@pytest.mark.parametrize(("which", "counts"), [("control", 1), ("download", 2)])
def test_unfinished_handshakes_count_toward_a_clients_share_of_connections(
    stage: Scene, authority: Authority, which: str, counts: int
) -> None:
    """One client may have one percent of 16384 connections, with or without a handshake, and of the descriptors, of which a connection for
    pieces counts as two; other clients are not affected."""
    options = authority.options("supernode", "IP:127.0.0.1")
    node = stage.supernode(*options, "--client-share", "1", tls=authority.context("test"))
    port = node.port if which == "control" else int(node.download.rpartition(":")[2])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    share = 163 if hard == resource.RLIM_INFINITY else min(163, (hard - RESERVE) // 100 // counts)
    before = len(descriptors(node.process.pid))
    lines = [socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.31", 0)) for _ in range(200)]
    try:
        for line in lines[share:] if which == "control" else ():
            line.settimeout(5.0)
            with contextlib.suppress(ConnectionResetError):
                assert line.recv(1) == b"", "closed at once, while the others have ten seconds for the handshake"
        # At the port for pieces the client's new connections may replace its silent ones.
        until(lambda: sum(map(is_open, lines)) <= share, "the close of the connections beyond the share", 5.0)
        assert 0 < len(descriptors(node.process.pid)) - before < share + 12
        address = f"127.0.0.1:{port}"
        assert tls_status(authority.context("test"), address, "/ping") == 200
    finally:
        for line in lines:
            line.close()
    until(lambda: len(descriptors(node.process.pid)) <= before + 2, "the close of the connections", 20.0)
    again = [socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.31", 0)) for _ in range(share - 3)]
    until(lambda: len(descriptors(node.process.pid)) >= before + share - 3, "connections in the released places")
    for line in again:
        line.close()


@pytest.mark.parametrize(
    "options",
    [("--tls-cert", "absent.pem", "--tls-ca", "absent.pem"), ("--tls-cert", "absent.pem"), ("--tls-key", "k", "--tls-ca", "{ca}"),
     ("--tls-ca", "{key}")],
)
def test_unusable_certificate_files_are_reported_before_the_download(stage: Scene, authority: Authority, options: tuple[str, ...]) -> None:
    _, key = authority.issue("host")
    given = [option.format(ca=authority.ca, key=key) for option in options]
    said = stage.get("http://127.0.0.1:1/f", "a", *given, status=2)
    assert "tls" in said.lower()
    assert len(said.splitlines()) == 1


def test_downloads_without_tls_do_not_import_ssl(stage: Scene) -> None:
    stage.file("f.bin", 1 << 20)
    url = stage.origin() + "/f.bin"
    node = stage.supernode()
    stage.homes.add(stage.path / "home-2")
    code = (
        "import sys; from dfengine.settings import GetSettings, SupernodeAddress; from dfengine.client import get\n"
        f"get(GetSettings(url={url!r}, output={str(stage.path / 'a')!r}, nodes=(SupernodeAddress.parse({node.node!r}),), ip='127.0.0.2', "
        f"home={str(stage.path / 'home-2')!r}))\n"
        "assert not {'ssl', '_ssl', 'dfengine.net.tls'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert stage.digest("a")


def presented_certificate(context: ssl.SSLContext, address: str) -> bytes:
    """The certificate that a server presents."""
    host, _, port = address.rpartition(":")
    context.check_hostname = False
    with socket.create_connection((host, int(port)), 10) as sock, context.wrap_socket(sock) as line:
        found = line.getpeercert(binary_form=True)
        assert found is not None
        return found


def test_certificates_are_read_again_on_sighup(stage: Scene, authority: Authority) -> None:
    """Supernode and peer server present the new certificate without a restart; a certificate without its key changes nothing."""
    sha = stage.file("f.bin", SIZE)
    url, context = stage.origin() + "/f.bin", authority.context("test")
    names = "IP:127.0.0.1,DNS:localhost"
    options, host = authority.options("supernode", names), authority.options("host")
    node = stage.supernode(*options, tls=authority.context("metrics"))
    stage.get(url, "a", *host, "--notbs", nodes=(node,))
    servers = {node.process.pid: (options, node.node), stage.peer_pid(2): (host, peer_address(stage, 2))}
    for pid, (files, address) in servers.items():
        before = presented_certificate(context, address)
        cert, key = authority.issue("other", names)
        os.replace(cert, files[1])
        os.kill(pid, signal.SIGHUP)  # the key is still that of the previous certificate
        assert stage.get(url, f"b-{pid}", *authority.options("second"), "--notbs", host=3, nodes=(node,))["serves"]
        assert presented_certificate(context, address) == before
        os.replace(key, files[3])
        os.kill(pid, signal.SIGHUP)
        until(partial(lambda before, address: presented_certificate(context, address) != before, before, address), "the new certificate")
        stage.get(url, f"c-{pid}", *authority.options("third"), "--notbs", host=4, nodes=(node,))
        assert stage.digest(f"b-{pid}") == stage.digest(f"c-{pid}") == sha
