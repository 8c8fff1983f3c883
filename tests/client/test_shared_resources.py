"""Resources that downloads of a batch share: idle connections that are still usable, and a peer server that is looked up once."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfengine.client.download_dialer import DownloadDialer
from dfengine.client.local_peer import LocalPeer
from dfengine.client.messages import Registration
from dfengine.client.shared_resources import SharedResources
from dfengine.client.supernode_session import join
from dfengine.errors import Cancelled, LocalError, SourceGone, StorageError
from dfengine.net.http_client import Connection
from dfengine.settings import SupernodeAddress

PATIENCE = 60.0


class Server:
    """Responds to each request with `body`. A connection is closed after `most` requests, the last one without a response."""

    def __init__(self, body: bytes = b"yes", most: int = 1 << 30) -> None:
        self._body = body
        self._most = most
        self.connections: list[socket.socket] = []
        self.requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                line = self._listener.accept()[0]
            except OSError:
                return
            self.connections.append(line)
            self._threads.append(threading.Thread(target=self._serve, args=(line,)))
            self._threads[-1].start()

    def _serve(self, line: socket.socket) -> None:
        with line:
            for n in range(self._most + 1):
                got = b""
                while b"\r\n\r\n" not in got:
                    try:
                        part = line.recv(1 << 16)
                    except OSError:
                        return
                    if not part:
                        return
                    got += part
                head, _, rest = got.partition(b"\r\n\r\n")
                length = next((int(each.split(b":")[1]) for each in head.split(b"\r\n") if each.lower().startswith(b"content-length")), 0)
                while len(rest) < length:
                    rest += line.recv(1 << 16)
                self.requests += 1
                if n == self._most:
                    return
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self._body), self._body))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self.connections:
            try:
                line.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def used(dialer: DownloadDialer, server: Server, named: bool = False) -> Connection:
    """A connection that has received a complete response."""
    line = dialer.connect(*server.address, named=named)
    assert line.request("GET", "/")[2] == b"yes"
    return line


def test_a_released_connection_is_used_by_the_next_download(server: Server) -> None:
    resources = SharedResources(4, 0)
    first, second = DownloadDialer(resources=resources), DownloadDialer(resources=resources)
    line = used(first, server)
    first.release(line)
    assert used(second, server) is line
    other = used(first, server)
    assert other is not line
    first.shutdown(Cancelled("enough"))
    assert line.usable, "a connection of the other download was closed"
    assert not other.usable
    line.close()
    other.close()


def test_a_connection_by_name_is_not_used_for_an_address(server: Server) -> None:
    """With TLS, the certificate of a connection by name was compared with the name."""
    resources = SharedResources(4, 0)
    dialer = DownloadDialer(resources=resources)
    line = used(dialer, server)
    dialer.release(line)
    named = used(dialer, server, named=True)
    assert named is not line
    dialer.release(named, named=True)
    assert used(dialer, server, named=True) is named
    for each in (line, named):
        each.close()


@pytest.mark.parametrize(
    "harm", [lambda far: far.shutdown(socket.SHUT_RDWR), lambda far: far.sendall(b"HTTP/1.1 200 OK\r\n")], ids=["closed", "unsolicited"]
)
def test_a_connection_that_was_closed_or_received_unsolicited_bytes_is_not_reused(
    server: Server, harm: Callable[[socket.socket], None]
) -> None:
    resources = SharedResources(4, 0)
    dialer = DownloadDialer(resources=resources)
    line = used(dialer, server)
    dialer.release(line)
    harm(server.connections[0])
    end = time.monotonic() + PATIENCE
    while line.reusable and time.monotonic() < end:
        time.sleep(0.001)
    assert resources.peers.acquire(*server.address) is None
    assert not line.usable


def test_without_a_batch_a_released_connection_is_closed(server: Server) -> None:
    dialer = DownloadDialer()
    line = used(dialer, server)
    dialer.release(line)
    assert not line.usable


def test_closing_a_download_keeps_shared_idle_connections(server: Server) -> None:
    resources = SharedResources(4, 0)
    dialer = DownloadDialer(resources=resources)
    line = used(dialer, server)
    resources.peers.release(line)
    resources.peers.close()
    assert resources.peers.acquire(*server.address) is line
    line.close()


REGISTERED = (
    b'{"code":200,"data":{"taskId":"t","fileLength":7,"pieceSize":4194304,"cdnSource":"supernode","native":1,"digest":"xxh3"}}'
)


def registration() -> Registration:
    return Registration().replace(cid="127.0.0.1-1-1", raw_url="http://o/f", task_url="http://o/f", ip="127.0.0.1")


def test_a_registration_over_a_connection_that_was_closed_meanwhile_is_sent_again() -> None:
    """The supernode may close the connection while the request is on its way: only a new connection shows that the supernode is down."""
    server = Server(REGISTERED, most=1)
    try:
        dialer = DownloadDialer(resources=SharedResources(4, 0))
        node = SupernodeAddress("127.0.0.1", server.address[1])
        first = join(dialer, node, registration(), PATIENCE * 1e6)
        dialer.release(first.connection, named=True)
        second = join(dialer, node, registration(), PATIENCE * 1e6)
        assert (second.task, server.requests, len(server.connections)) == ("t", 3, 2)
        second.connection.close()
    finally:
        server.close()
    server = Server(REGISTERED, most=0)
    try:
        dialer = DownloadDialer(resources=SharedResources(4, 0))
        with pytest.raises(SourceGone):
            join(dialer, SupernodeAddress("127.0.0.1", server.address[1]), registration(), PATIENCE * 1e6)
        assert server.requests == 1
    finally:
        server.close()


def test_the_peer_server_is_looked_up_once() -> None:
    resources, asked = SharedResources(4, 0), []
    line = socket.socket()

    def ensure() -> LocalPeer:
        asked.append(1)
        if len(asked) == 1:
            raise LocalError("no")
        return LocalPeer("127.0.0.1", 15000, fresh=True, sock=line)

    with pytest.raises(LocalError):
        resources.peer(ensure)
    first, second = resources.peer(ensure), resources.peer(ensure)
    line.close()
    assert first.sock is line
    assert second.sock is None
    assert (second.port, len(asked)) == (15000, 2)
    resources._until = 0.0
    resources.peer(ensure)
    assert len(asked) == 3


def test_a_home_is_checked_at_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, path = [100.0], tmp_path / "home"
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    resources = SharedResources(2, 0)
    found = resources.home(str(path))
    now[0] += 1
    assert resources.home(str(path)) is found
    assert resources.home(str(tmp_path / "other")).path != found.path
    shutil.rmtree(path)
    now[0] += 60
    assert resources.home(str(path)).path == found.path
    assert (path / "tasks").is_dir()
    path.chmod(0o777)
    now[0] += 60
    with pytest.raises(StorageError, match="other users can write there"):
        resources.home(str(path))
