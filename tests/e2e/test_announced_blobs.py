"""Blobs on a host's disk are announced to the swarm, also after a restart of the proxy, its peer server and the supernode."""

from __future__ import annotations

import hashlib
import http.client
import os
import signal
from pathlib import Path

from dfengine.proxy.blobs.blob_announcer import MAX_ANNOUNCED, MIN_LENGTH
from tests.e2e.blob_registry import DATA, Blobs
from tests.e2e.scene import PATIENCE, Scene, _ended, until
from tests.e2e.test_blobs import registry  # noqa: F401  (a fixture)
from tests.e2e.upstream import get


def shared(home: Path) -> list[Path]:
    return list((home / "shares").glob("df-*"))


def test_a_restarted_host_announces_and_serves_its_blobs(stage: Scene, registry: Blobs) -> None:  # noqa: F811
    node, home = stage.supernode(), stage.path / "home-2"
    path = registry.keep("a", DATA)
    process, url = stage.proxy("--registry", registry.url, nodes=(node,))
    assert get(url, path)[1] == DATA
    until(lambda: shared(home), "the blob announced")
    process.terminate()
    process.wait(PATIENCE)
    peer = stage.peer_pid(2)
    os.kill(peer, signal.SIGKILL)
    until(lambda: _ended(peer), "the end of the peer server")
    node.process.terminate()
    node.process.wait(PATIENCE)
    sent, port = registry.sent, node.port
    # A supernode without state.
    node = stage.supernode(port=port)
    stage.proxy("--registry", registry.url, nodes=(node,))
    until(lambda: node.metric("dragonfly_supernode_dfgettasks"), "the announcement")
    other = stage.proxy("--registry", registry.url, host=3, nodes=(node,))[1]
    assert get(other, path)[1] == DATA
    assert registry.sent == sent
    # A blob removed from the disk is withdrawn.
    (home / "blobs" / path.rpartition(":")[2]).unlink()
    for part in (home / "files").glob("*"):
        part.unlink()
    until(lambda: not shared(home), "the blob withdrawn")


def test_blobs_fetched_with_credentials_are_not_announced(stage: Scene, registry: Blobs) -> None:  # noqa: F811
    node = stage.supernode()
    registry.tokens = {"one"}
    private = registry.keep("a", DATA)
    url = stage.proxy("--registry", registry.url, nodes=(node,))[1]
    assert get(url, private, Authorization="Bearer one")[1] == DATA
    registry.tokens = set()
    public = registry.keep("b", DATA + b"!")
    assert get(url, public)[1] == DATA + b"!"
    home = stage.path / "home-2"
    until(lambda: shared(home), "the public blob announced")
    assert [public.rpartition(":")[2][:32] in each.name for each in shared(home)] == [True]


def test_a_false_announcement_costs_one_failed_pull(stage: Scene, registry: Blobs) -> None:  # noqa: F811
    """A host announces other bytes as a blob: the client that receives them detects it, and the next pull reads the registry."""
    node = stage.supernode()
    path = registry.keep("a", DATA)
    hex = path.rpartition(":")[2]
    false = stage.path / "false"
    false.write_bytes(bytes(len(DATA)))
    stage.share(false, nodes=(node,))
    [entry] = shared(stage.path / "home-9")
    entry.write_bytes(entry.read_bytes().replace(hashlib.sha256(false.read_bytes()).hexdigest().encode(), hex.encode()))
    until(lambda: node.metric("dragonfly_supernode_dfgettasks") == 2, "the false announcement")
    url = stage.proxy("--registry", registry.url, nodes=(node,))[1]

    def right() -> bool:
        try:
            return get(url, path)[1] == DATA
        except (http.client.HTTPException, ConnectionError):
            return False

    stage.proved(node)
    assert not right()
    until(right, "the right blob")
    assert not [each for each in (stage.path / "home-2" / "blobs").iterdir() if each.read_bytes() != DATA]


def test_only_the_newest_large_blobs_are_announced(stage: Scene, registry: Blobs) -> None:  # noqa: F811
    """Each announcement costs a supernode a request every few seconds."""
    node, home = stage.supernode(), stage.path / "home-2"
    url = stage.proxy("--registry", registry.url, nodes=(node,))[1]
    digests = []
    for n in range(MAX_ANNOUNCED + 2):
        path = registry.keep("a", DATA[n : n + MIN_LENGTH])
        assert get(url, path)[1] == DATA[n : n + MIN_LENGTH]
        digests.append(path.rpartition(":")[2][:32])
        until(lambda: any(digests[-1] in each.name for each in shared(home)), "the blob announced")
    small = registry.keep("a", DATA[: MIN_LENGTH - 1])
    assert get(url, small)[1] == DATA[: MIN_LENGTH - 1]
    until(lambda: len(shared(home)) == MAX_ANNOUNCED, "the oldest blobs withdrawn")
    assert sorted(each.name[3:35] for each in shared(home)) == sorted(digests[2:])
