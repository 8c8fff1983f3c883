"""A supernode that freezes during or before pulls through a proxy: the origin is read, and no byte is lost."""

from __future__ import annotations

import http.client
import os
import signal
from urllib.parse import urlsplit

from tests.e2e.blob_registry import DATA, Blobs
from tests.e2e.scene import MIB, Scene, until
from tests.e2e.upstream import get


def test_pulls_complete_from_the_origin_while_the_supernode_is_frozen(stage: Scene) -> None:
    """The client, which waits 60 s for a byte, must not time out."""
    node = stage.supernode()
    with Blobs() as registry:
        registry.rate = 4 * MIB
        path = registry.keep("a", DATA)
        others = iter([registry.keep("a", DATA[n : MIB]) for n in range(1, 1000)])
        url = stage.proxy("--registry", registry.url, nodes=(node,))[1]
        line = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        line.request("GET", path)
        answer = line.getresponse()
        got = answer.read(MIB)
        os.kill(node.process.pid, signal.SIGSTOP)
        try:
            registry.rate = 0
            assert got + answer.read() == DATA
            line.close()
            assert get(url, next(others))[0].status == 200
        finally:
            os.kill(node.process.pid, signal.SIGCONT)

        def by_the_supernode() -> bool:
            before = node.metric("dfengine_origin_bytes_total")
            assert get(url, next(others))[0].status == 200
            return node.metric("dfengine_origin_bytes_total") > before

        until(by_the_supernode, "a blob through the resumed supernode")
