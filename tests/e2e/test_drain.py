"""How long a supernode that takes leave waits (--drain): for downloads that run, and for none whose client is gone."""

from __future__ import annotations

from scene import MIB, Scene, until


def test_a_drain_does_not_wait_for_a_client_that_was_killed(stage: Scene) -> None:
    url = f"{stage.origin(slow='256k')}/slow/f"
    stage.file("f", 32 * MIB)
    node = stage.supernode("--drain", "600s")
    killed = stage.start_get(url, "out", "--notbs", nodes=(node,))
    until(lambda: node.metric("dfengine_origin_bytes_total"), "a download that runs")
    stage.kill(killed)
    node.process.terminate()
    assert node.process.wait(60.0) == 0
