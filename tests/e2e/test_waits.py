"""Every wait ends by a signal or the deadline. The bounds here exclude hangs; the product's bound is a second."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import dfengine
from dfengine.errors import LocalError, TimedOut
from tests.e2e.scene import DFENGINE, MIB, Scene, until

HANG = 6.0
"""Seconds: many times the bound, and less than any wait that is not interrupted."""


class SilentServer:
    """Accepts connections and sends nothing, or `said` and then nothing. `asked`: number of requests received."""

    def __init__(self, said: bytes = b"") -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self._said = said
        self._lines: list[socket.socket] = []
        self.asked = 0
        self.port = self._sock.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            ready, _, _ = select.select([self._sock, *self._lines], [], [], 0.05)
            for sock in ready:
                if sock is self._sock:
                    self._lines.append(sock.accept()[0])
                    continue
                try:
                    heard = sock.recv(1 << 16)
                    if heard and self._said:
                        sock.send(self._said)
                except OSError:
                    heard = b""
                self.asked += bool(heard)
                if not heard:
                    self._lines.remove(sock)
                    sock.close()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for sock in (self._sock, *self._lines):
            sock.close()


HEADS = {
    "head": b"",
    "body": b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 9000000\r\n\r\nabc",
    "pause": b"HTTP/1.1 503 Busy\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n",
}


@pytest.fixture
def mute(request: pytest.FixtureRequest) -> Iterator[SilentServer]:
    server = SilentServer(HEADS[getattr(request, "param", "head")])
    yield server
    server.close()


class Resolver:
    """A resolver that never responds. command: prefix of a command that uses it."""

    def __init__(self, command: list[str], sock: socket.socket) -> None:
        self.command = command
        self._sock = sock

    def wait(self) -> None:
        """Wait for another query."""
        self._sock.settimeout(30)
        self._sock.recv(4096)
        self._sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._sock.recv(4096):
                pass


@pytest.fixture
def silent_resolver() -> Iterator[Resolver]:
    """A resolver with which the look-up of a name takes as long as the system permits. Mounts a resolv.conf: needs root."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.99.99.53", 53))  # an address that no system uses for a resolver of its own
        conf.write("nameserver 127.99.99.53\n")
        conf.flush()
        yield Resolver(["unshare", "-m", "sh", "-c", f"mount --bind {conf.name} /etc/resolv.conf && exec \"$@\"", "sh"], resolver)


def exit_code_after(process: subprocess.Popen[bytes], number: signal.Signals) -> int:
    """Exit code after a signal; fails if the process takes longer than HANG."""
    began = time.monotonic()
    process.send_signal(number)
    code = process.wait(30)
    assert time.monotonic() - began < HANG
    return code


@pytest.mark.parametrize("mute", HEADS, indirect=True)
@pytest.mark.parametrize("words", [["-o", "out"], ["-o", "-"], ["-J"]], ids=" ".join)
def test_a_get_from_a_silent_origin_ends_by_a_signal_or_its_timeout(tmp_path: Path, mute: SilentServer, words: list[str]) -> None:
    command = [*DFENGINE, "get", f"http://127.0.0.1:{mute.port}/f", *words]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as get:
        until(lambda: mute.asked, "a request")
        code = exit_code_after(get, signal.SIGTERM)
        assert code in (143, -signal.SIGTERM) or (code == 4 and words == ["-J"]), "-J sends one request"
    began = time.monotonic()
    done = subprocess.run([*command, "-e", "1"], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert time.monotonic() - began < 1 + HANG
    assert done.returncode in (4, 8), "no pause is longer than the remaining time"
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("where", ["origin", "node"])
def test_a_get_that_looks_up_a_name_ends_by_a_signal_or_its_timeout(tmp_path: Path, silent_resolver: Resolver, where: str) -> None:
    name = "nowhere.example"
    words = [f"http://{name}/f"] if where == "origin" else ["http://127.0.0.1:1/f", "-n", name, "--home", str(tmp_path / "home")]
    command = [*silent_resolver.command, *DFENGINE, "get", *words, "-o", "out", "--json"]
    began = time.monotonic()
    done = subprocess.run([*command, "-e", "1"], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert time.monotonic() - began < 1 + HANG
    assert done.returncode == 8
    assert done.stdout.count(b'"TimedOut"') == 1
    silent_resolver.wait()
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as get:
        silent_resolver.wait()
        assert exit_code_after(get, signal.SIGTERM) == 143
        assert get.stderr is not None
        assert get.stderr.read().startswith(b"dfengine: stopped")


def test_a_supernode_with_silent_origins_ends_by_a_signal(stage: Scene, mute: SilentServer, silent_resolver: Resolver) -> None:
    command = [*silent_resolver.command, *DFENGINE, "supernode", "--host", "127.0.0.1", "--port", "0", "--download-port", "0", "--home-dir"]
    with subprocess.Popen([*command, str(stage.path / "node")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        node = process.stdout.readline().decode().split()[1].removeprefix("control=")
        gets = [
            stage.start_get(url, f"out-{number}", "-n", node, "--pattern", "cdn")
            for number, url in enumerate((f"http://127.0.0.1:{mute.port}/f", "http://nowhere.example/f"))
        ]
        until(lambda: mute.asked, "a request")
        silent_resolver.wait()
        assert exit_code_after(process, signal.SIGTERM) == 0
        for get in gets:
            assert exit_code_after(get, signal.SIGTERM) == 143


def test_a_get_and_its_peer_server_end_by_a_signal_while_the_supernode_is_frozen(stage: Scene) -> None:
    """As behind a firewall that drops packets: deregistration is cut short, too."""
    stage.file("f.bin", 30 * MIB)
    url, node = stage.origin("1m") + "/slow/f.bin", stage.supernode("--origin-connections", "1")
    get = stage.start_get(url, "out", nodes=(node,))
    until(lambda: any(stage.path.glob(".out.*.part")), "a part file")
    pid = stage.peer_pid(2)
    node.process.send_signal(signal.SIGSTOP)
    try:
        assert exit_code_after(get, signal.SIGTERM) == 143
        os.kill(pid, signal.SIGTERM)
        until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the peer server", HANG)
    finally:
        node.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("node", [False, True])
def test_a_stream_of_a_program_ends_by_close_or_its_timeout(mute: SilentServer, tmp_path: Path, node: bool) -> None:
    url = f"http://127.0.0.1:{mute.port}/f"
    nodes = [f"127.0.0.1:{mute.port}"] if node else None
    reader = dfengine.stream(url, nodes=nodes, pattern="cdn", home=str(tmp_path))
    until(lambda: mute.asked, "a request")
    began = time.monotonic()
    reader.close()
    assert time.monotonic() - began < HANG
    with dfengine.stream(url, nodes=nodes, pattern="cdn", home=str(tmp_path), timeout=1.0) as reader:
        began = time.monotonic()
        with pytest.raises((TimedOut, LocalError)):
            reader.read(1)
        assert time.monotonic() - began < 1 + HANG


def test_a_program_that_reads_a_stream_is_interrupted_by_sigint(mute: SilentServer) -> None:
    program = f"import dfengine; dfengine.stream('http://127.0.0.1:{mute.port}/f').read(1)"
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL) as process:
        until(lambda: mute.asked, "a request")
        assert exit_code_after(process, signal.SIGINT) in (1, 130, -signal.SIGINT)
