"""Transfer of bytes under pytest-benchmark: sendfile, receive and digest of one 4 MiB piece, each alone on a socket pair."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import xxhash

from dfengine.net._receive import Receiver
from dfengine.net._sendfile import FileSlice, Upload

PIECE = (4 << 20) - 5
CONTENT = os.urandom(PIECE)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        with ours, theirs:
            yield ours, theirs


def test_send_a_piece_by_sendfile(benchmark: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    fd = os.memfd_create("piece")
    os.write(fd, CONTENT)

    def drain() -> None:
        while theirs.recv(1 << 20):
            pass

    reader = threading.Thread(target=drain)
    reader.start()

    def send() -> int:
        upload = Upload((b"head", FileSlice(fd, 0, PIECE), b"\x7f"))
        while upload.left:
            upload.advance(ours.fileno(), PIECE + 5)
        return upload.left

    benchmark.extra_info["per"] = "4 MiB piece taken by a socket that is drained"
    assert benchmark(send) == 0
    ours.shutdown(socket.SHUT_WR)
    reader.join()
    os.close(fd)


def test_receive_a_piece(benchmark: Any, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ended = threading.Event()

    def feed() -> None:
        while not ended.is_set():
            try:
                theirs.sendall(CONTENT)
            except OSError:
                return

    writer = threading.Thread(target=feed)
    writer.start()
    receiver, buffer = Receiver(ours.fileno()), memoryview(bytearray(PIECE))

    def receive() -> int:
        receiver.into(buffer, 0, PIECE)
        return len(buffer)

    benchmark.extra_info["per"] = "4 MiB piece into one buffer"
    assert benchmark(receive) == PIECE
    assert bytes(buffer) == CONTENT
    ended.set()
    ours.close()
    writer.join()


@pytest.mark.parametrize("step", [256 << 10, PIECE], ids=["256K", "whole"])
def test_hash_a_piece(benchmark: Any, step: int) -> None:
    view = memoryview(CONTENT)

    def hashed() -> bytes:
        check = xxhash.xxh3_128()
        for at in range(0, PIECE, step):
            check.update(view[at : at + step])
        return check.digest()

    benchmark.extra_info["per"] = "xxh3-128 of a 4 MiB piece"
    assert benchmark(hashed) == xxhash.xxh3_128_digest(CONTENT)
