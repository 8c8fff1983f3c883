"""A draining supernode (--drain) waits for running downloads, but not for those whose client is gone."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from dfengine.net.http import CloseConnection, Request
from dfengine.supernode import api_v1
from tests.e2e.scene import DFENGINE, MIB, Scene, status, until


def test_a_drain_does_not_wait_for_a_client_that_was_killed(stage: Scene) -> None:
    url = f"{stage.origin(slow='256k')}/slow/f"
    stage.file("f", 32 * MIB)
    node = stage.supernode("--drain", "600s")
    killed = stage.start_get(url, "out", "--notbs", nodes=(node,))
    until(lambda: node.metric("dfengine_origin_bytes_total"), "a running download")
    stage.kill(killed)
    node.process.terminate()
    assert node.process.wait(60.0) == 0


def test_a_draining_supernode_refuses_registrations_with_the_reason(stage: Scene) -> None:
    """The download continues with the next supernode, or with the origin."""
    base = stage.origin(slow="256k")
    stage.file("f", 32 * MIB)
    stage.file("g", MIB)
    node = stage.supernode("--drain", "600s")
    other = stage.supernode()
    held = stage.start_get(f"{base}/slow/f", "out", "--notbs", host=3, nodes=(node,))
    until(lambda: node.metric("dfengine_origin_bytes_total"), "a running download")
    node.process.terminate()
    until(lambda: status(node.node, "/readyz") == 503, "readiness 503")

    def get(*options: str, node: str = node.node) -> tuple[int, str]:
        command = [*DFENGINE, "get", f"{base}/g", "-o", str(stage.path / "g"), "--force", "--pattern", "cdn", *options]
        done = subprocess.run([*command, "-n", node], capture_output=True, timeout=60)
        return done.returncode, done.stderr.decode()

    refusal = f"supernode {node.node} refuses: it is about to end (--drain) and takes no new downloads"
    code, said = get()
    assert (code, said.splitlines()[0]) == (0, f"dfengine: goes to the origin: {refusal}")
    assert get("--notbs") == (3, f"dfengine: {refusal}; falling back to the origin is forbidden (--notbs)\n")
    # Its weight makes the draining supernode the first to be asked.
    code, said = get("--notbs", "--verbose", "-n", other.node, node=f"{node.node}=65535")
    assert code == 0, said
    assert f"dfengine: {refusal}; asks the next supernode\n" in said
    assert "the supernode served 1048576 bytes" in said
    stage.kill(held)
    assert node.process.wait(60.0) == 0


@pytest.mark.parametrize("body", [b"{", b'{"port": []}', b"{}"])
def test_a_registration_of_1x_or_without_its_form_ends_the_connection_of_a_draining_supernode(body: bytes) -> None:
    state: Any = None
    with pytest.raises(CloseConnection):
        api_v1.refuse_draining(state, Request("POST", b"/peer/registry", {}, body, "127.0.0.1"))
