"""Frozen peers and ports that never respond, beside a supernode that has the file. The bounds exclude waiting for them one by one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.scene import Scene, until
from tests.e2e.test_faults import post, registration
from tests.e2e.test_isolation import deregister

LENGTH = 40 << 20
PIECES = 11
BOUND = 10.0
"""Seconds: a fifth of the time for waiting one by one, and many times that of a download on a busy machine."""


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_five_frozen_peers_of_six_delay_a_download_by_seconds_only(stage: Scene) -> None:
    sha = stage.file("f.bin", LENGTH)
    url = stage.origin() + "/f.bin"
    node = stage.supernode("--revalidate-interval", "1h")
    for host in range(10, 16):
        stage.get(url, f"peer-{host}", "--notbs", host=host, nodes=(node,))
    with frozen([stage.peer_pid(host) for host in range(10, 15)]):
        began = time.monotonic()
        stage.get(url, "a", "--notbs", host=2, nodes=(node,))
        assert time.monotonic() - began < BOUND
        began = time.monotonic()
        assert stage.drain(stage.start_stream(url, "--notbs", host=3, nodes=(node,)))[0] == sha
        assert time.monotonic() - began < BOUND
    assert stage.digest("a") == sha


@contextmanager
def claiming_downloads(node: Any, url: str, number: int, backlog: int) -> Iterator[None]:
    """`number` ports that accept connections and never respond, each with a download that claims every piece. backlog 0: accept none."""
    with contextlib.ExitStack() as stack:
        tasks: list[Any] = []
        ports = iter(range(21000, 60000, 131))
        while len(tasks) < number:
            listener = stack.enter_context(socket.socket())
            port = next(ports)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            listener.listen(backlog)
            for _ in range(0 if backlog else 2):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            about = registration(url, len(tasks)) | {"port": port}
            task = post(node, "/peer/registry", about)["data"]["taskId"]
            post(node, "/swarm/pull", {"task": task, "cid": about["cid"], "held": [[0, PIECES]], "want": 0})
            tasks.append((task, about["cid"]))
        yield
        for task, cid in tasks:
            deregister(node, task, cid)


@pytest.mark.parametrize("backlog", [64, 0], ids=["accepting", "not accepting"])
def test_sixty_claims_at_mute_ports_delay_a_download_by_seconds_only(stage: Scene, backlog: int) -> None:
    sha = stage.file("f.bin", LENGTH)
    url = stage.origin() + "/f.bin"
    node = stage.supernode("--revalidate-interval", "1h")
    stage.get(url, "a", "--notbs", "--pattern", "cdn", host=2, nodes=(node,))
    with claiming_downloads(node, url, 60, backlog):
        began = time.monotonic()
        stage.get(url, "b", "--notbs", host=3, nodes=(node,))
        assert time.monotonic() - began < BOUND
    assert stage.digest("b") == sha


def test_a_frozen_peer_that_clients_complain_about_is_isolated(stage: Scene) -> None:
    sha = stage.file("f.bin", LENGTH)
    url = stage.origin() + "/f.bin"
    node = stage.supernode("--revalidate-interval", "1h")
    for host in (10, 11):
        stage.get(url, f"peer-{host}", "--notbs", host=host, nodes=(node,))
    with frozen([stage.peer_pid(10)]):
        hosts = iter(range(20, 60))

        def isolated() -> bool:
            stage.get(url, "a", "--notbs", host=next(hosts), nodes=(node,))
            return node.metric("dfengine_isolated_peers") == 1

        until(isolated, "isolation of the frozen peer, and of no other")
    assert stage.digest("a") == sha
