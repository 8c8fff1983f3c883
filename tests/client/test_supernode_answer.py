"""A silent supernode that accepts connections is detected early, and skipped by all downloads of the process."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dfengine.client import silent_nodes, supernode_answer
from dfengine.client.messages import Registration
from dfengine.client.silent_nodes import SilentNodes
from dfengine.client.supernode_answer import READ
from dfengine.client.supernode_session import join
from dfengine.errors import RemoteError, Silent, SupernodeError
from dfengine.net.dialer import Dialer
from dfengine.settings import SupernodeAddress

REGISTRATION = Registration(cid="c", ip="127.0.0.1")
REFUSAL = b'{"code":500,"msg":"no"}'


class Node:
    """Responds to requests with paths in `answers`, each on its own connection; other requests wait."""

    def __init__(self, *answers: str) -> None:
        self.answers = set(answers)
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = SupernodeAddress("127.0.0.1", self._listener.getsockname()[1])
        self._lines: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line = self._listener.accept()[0]
                self._lines.append(line)
                self._threads.append(threading.Thread(target=self._serve, args=(line,)))
                self._threads[-1].start()

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            path = line.recv(65536).decode().split(" ")[1]
            self.asked.append(path)
            while path not in self.answers:
                time.sleep(0.01)
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(REFUSAL), REFUSAL))

    def close(self) -> None:
        self.answers |= {"/peer/registry", supernode_answer.PING}
        self._listener.shutdown(socket.SHUT_RDWR)
        for line in self._lines:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(60.0)
        for each in (self._listener, *self._lines):
            each.close()


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(supernode_answer, "QUIET", 0.05)
    monkeypatch.setattr(supernode_answer, "PING_INTERVAL", 0.05)
    monkeypatch.setattr(supernode_answer, "PROBE_TIMEOUT", 0.1)
    monkeypatch.setattr(supernode_answer, "silent_nodes", SilentNodes())
    made = Node()
    yield made
    made.close()


def ask(node: Node, **changed: Any) -> type[Exception]:
    """Type of the error that ends a registration."""
    with pytest.raises(RemoteError) as raised:
        join(Dialer(), node.address, REGISTRATION, time.monotonic() + 60.0, patience=READ.replace(prompt=0.1, **changed))
    return raised.type


def test_a_silent_supernode_is_tried_by_one_download_only(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silent_nodes, "FIRST_PAUSE", 3600.0)
    assert ask(node) is Silent
    assert node.asked == ["/peer/registry", supernode_answer.PING]
    assert ask(node) is Silent
    assert len(node.asked) == 2, "the silent supernode is tried again"
    assert ask(node, insists=True) is Silent
    assert len(node.asked) == 4, "a download without alternatives does not try it"


def test_a_supernode_that_answers_pings_may_respond_late(node: Node) -> None:
    node.answers = {supernode_answer.PING}
    threading.Timer(0.5, node.answers.add, ("/peer/registry",)).start()
    assert ask(node) is SupernodeError
    assert supernode_answer.PING in node.asked
    assert not supernode_answer.silent_nodes.is_silent(str(node.address))


def test_a_supernode_that_was_silent_is_probed_by_a_ping(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silent_nodes, "FIRST_PAUSE", 0.0)
    assert ask(node) is Silent
    assert ask(node) is Silent
    assert node.asked == ["/peer/registry", supernode_answer.PING, supernode_answer.PING]
    node.answers = {supernode_answer.PING, "/peer/registry"}
    assert ask(node) is SupernodeError
    assert node.asked[3:] == [supernode_answer.PING, "/peer/registry"]
    assert ask(node) is SupernodeError
    assert node.asked[5:] == ["/peer/registry"]
