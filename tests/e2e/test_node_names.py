"""Supernodes found by a DNS name: by addresses, by SRV records, and when these change during a download."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.scene import DFENGINE, MIB, Scene, free_port, until
from tests.net.name_server import NAME, NameServer

SIZE = 9 * MIB + 5


@pytest.fixture
def server() -> Iterator[NameServer]:
    """A name server at an address and port that resolv.conf can name."""
    made = NameServer("127.0.0.54", 53)
    yield made
    made.close()


def asking(stage: Scene, url: str, name: str, node: str, *options: str, host: int = 2) -> subprocess.Popen[bytes]:
    """`dfengine get` with the name server 127.0.0.54."""
    resolv = stage.path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.54\noptions timeout:1 attempts:1\n")
    stage.homes.add(stage.path / f"home-{host}")
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(resolv), *DFENGINE, "get", url, "-n", node,
         "-o", str(stage.path / name), "--ip", f"127.0.0.{host}", "--home", str(stage.path / f"home-{host}"), "--json", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    stage.adopt(process)
    return process


def test_each_address_of_a_name_is_a_supernode(stage: Scene) -> None:
    digest, base = stage.file("f", SIZE), stage.origin()
    node = stage.supernode()
    name = f"dns://localhost:{node.port}"
    told = stage.get(f"{base}/f", "out", "-n", name, "--notbs", host=2)
    assert (stage.digest("out"), told["back_to_source"]) == (digest, None)
    assert stage.drain(stage.start_stream(f"{base}/f", "-n", name, "--notbs", host=3))[0] == digest
    # The peer server announces a shared file again, and resolves the name itself.
    path = stage.path / "own"
    path.write_bytes(b"own" * MIB)
    shared = stage.share(path, "-n", name).strip()
    node.process.terminate()
    node.process.wait(60)
    again = stage.supernode(port=node.port, download_port=int(node.download.rpartition(":")[2]), home=node.home)
    until(lambda: again.metric("dragonfly_supernode_tasks"), "an announcement to the new supernode")
    stage.get(shared, "copy", "-n", name, "--notbs", host=4)
    assert (stage.path / "copy").read_bytes() == path.read_bytes()
    said = stage.get(f"{base}/f", "none", "-n", "dns://nowhere.invalid", "--notbs", host=5, status=3)
    assert "dns://nowhere.invalid:8002: " in said


def test_srv_records_that_change_during_a_download_are_followed(stage: Scene, server: NameServer) -> None:
    digest, base = stage.file("f", SIZE), stage.origin(slow="2m")
    first, second = stage.supernode(), stage.supernode()
    # The record of the best priority names no running supernode, and invalid records are skipped.
    server.ttl, server.records = 0, [f"0 9 {free_port()} localhost.", f"1 0 {first.port} localhost.", "0 0 0 localhost.", "0 0 7 ."]
    node = f"srv://{NAME.rstrip('.')}"
    download = asking(stage, f"{base}/slow/f", "out", node, "--notbs")
    until(lambda: first.metric("dfengine_pulls_total"), "a download that is registered at the first supernode")
    server.records = [f"0 0 {second.port} localhost."]
    stage.kill(first.process)
    stage.supernodes.remove(first)
    told = stage.end(download)
    assert (stage.digest("out"), told["back_to_source"]) == (digest, None)
    assert second.metric("dfengine_origin_bytes_total") > 0
    # A download that cannot resolve the name reads the origin, within its time limit.
    server.records = None
    told = stage.end(asking(stage, f"{base}/f", "direct", node, host=3))
    assert "there is no such name" in told["back_to_source"]
    server.silent = True
    said = stage.end(asking(stage, f"{base}/f", "silent", node, "--notbs", host=4), 3)
    assert "no name server answers" in said or "no answer within 8 s" in said, "whichever limit is reached first"
    assert (stage.digest("direct"), Path(stage.path / "silent").exists()) == (digest, False)
