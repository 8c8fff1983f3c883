"""Sources that send little or nothing: whatever their number, a download ends in time while the supernode has the file."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dfengine._piece import TAIL, Geometry, frame_head
from tests.e2e.scene import Scene
from tests.e2e.test_faults import post, registration

LENGTH = 24 << 20
"""Of the file; each of its pieces is claimed by many sources."""

ALLOWED = 20.0
"""Seconds for a whole process on a busy machine: waiting for two sources, one after the other, takes as long."""


@contextlib.contextmanager
def silent_sources(ports: int, kind: str, content: bytes) -> Iterator[tuple[list[int], list[socket.socket]]]:
    """Listeners at that many ports, by kind: `accepts` connections and never responds, sends the `head` alone, or `drips` a byte a second.

    `slow`: the right piece in HTTP chunks, at 50 KB/s. `half`: half of it at once, then a byte each 0.4 s. `end`: all but the last six
    bytes at once, then a byte each 0.4 s.
    """
    geometry, listeners, kept, threads = Geometry(len(content)), [], [], []
    for n in range(ports):
        listener = socket.socket()
        for port in range(21000 + n, 60000, 131):
            with contextlib.suppress(OSError):
                listener.bind(("127.0.0.1", port))
                break
        listener.listen(64)
        listeners.append(listener)

    def answer(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while kind != "accepts":
                request = one.recv(4096).decode()
                if not request:
                    return
                first, last = map(int, re.search(r"(?i)range: bytes=(\d+)-(\d+)", request).groups())  # type: ignore[union-attr]
                n = geometry.number(first, last)
                start, length = geometry.content(n)
                piece = frame_head(length, geometry.piece_size) + content[start : start + length] + TAIL
                if kind == "slow":
                    one.sendall(b"HTTP/1.1 206 Partial\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for at in range(0, len(piece), 1000):
                        one.sendall(b"%x\r\n%b\r\n" % (len(piece[at : at + 1000]), piece[at : at + 1000]))
                        time.sleep(0.02)
                one.sendall(b"HTTP/1.1 206 Partial\r\nContent-Length: %d\r\n\r\n" % len(piece))
                at = {"half": len(piece) // 2, "end": len(piece) - 6}.get(kind, 0)
                one.sendall(piece[:at])
                while kind in ("half", "end"):
                    one.sendall(piece[at : at + 1])
                    at += 1
                    time.sleep(0.4)
                while kind == "drips":
                    one.sendall(b"\0")
                    time.sleep(1.0)
                one.recv(1)
                return

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                one = listener.accept()[0]
                kept.append(one)
                thread = threading.Thread(target=answer, args=(one,))
                threads.append(thread)
                thread.start()

    for listener in listeners:
        threads.append(threading.Thread(target=serve, args=(listener,)))
        threads[-1].start()
    try:
        yield [listener.getsockname()[1] for listener in listeners], kept
    finally:
        for one in (*listeners, *kept):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in threads:
            thread.join()


def claiming_downloads(node: Any, url: str, ports: list[int], pieces: int) -> None:
    """Register downloads that claim all of the file's pieces, at these ports."""
    for n, port in enumerate(ports):
        about = registration(url, n) | {"port": port}
        answer = post(node, "/peer/registry", about)
        assert answer["code"] == 200, answer
        post(node, "/swarm/pull", {"task": answer["data"]["taskId"], "cid": about["cid"], "held": [[0, pieces]], "want": 0})


@pytest.mark.parametrize("kind", ["accepts", "head", "drips", "slow", "half", "end"])
@pytest.mark.parametrize("streams", [False, True])
def test_forty_silent_or_slow_sources_delay_a_download_by_seconds_only(stage: Scene, kind: str, streams: bool) -> None:
    sha = stage.file("f.bin", LENGTH)
    url = stage.origin() + "/f.bin"
    content = (stage.www / "f.bin").read_bytes()
    node = stage.supernode("--revalidate-interval", "1h")
    stage.get(url, "a", "--notbs", "--pattern", "cdn", host=2, nodes=(node,))
    with silent_sources(40, kind, content) as (ports, asked):
        claiming_downloads(node, url, ports, Geometry(LENGTH).count)
        began = time.monotonic()
        if streams:
            found, _ = stage.drain(stage.start_stream(url, "--notbs", host=3, nodes=(node,)))
        else:
            stage.get(url, "b", "--notbs", host=3, nodes=(node,))
            found = stage.digest("b")
        took = time.monotonic() - began
        assert asked, "the silent sources are used"
        assert found == sha
        assert took < ALLOWED
