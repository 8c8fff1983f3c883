"""A scene for end-to-end tests: a real nginx as origin, real processes as supernodes and downloads, 127.0.0.x as hosts.

`Scene.close` ends everything by pid and checks that nothing is left: no process, no open file, no temporary file, no lease.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

DFENGINE = [sys.executable, "-m", "dfengine"]
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
MIB = 1 << 20
SMALL = 64 * MIB
"""Bytes of a small disk (see conftest)."""

PATIENCE = 60.0

CONFIG = """
daemon off; worker_processes 1; pid {path}/nginx.pid; error_log {path}/error.log;
{user}
events {{ worker_connections 1024; }}
http {{
  log_format told '$request_method $uri $status $body_bytes_sent "$http_range" "$http_if_none_match"';
  access_log {path}/access.log told;
  client_body_temp_path {path}/t1; proxy_temp_path {path}/t2; fastcgi_temp_path {path}/t3;
  uwsgi_temp_path {path}/t4; scgi_temp_path {path}/t5;
  sendfile on; keepalive_requests 100000;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port};
    root {path}/www;
    location /noranges/ {{ max_ranges 0; alias {path}/www/; }}
    location /chunked/ {{ alias {path}/www/; ssi on; ssi_types *; chunked_transfer_encoding on; }}
    location /slow/ {{ alias {path}/www/; limit_rate {slow}; }}
    location /private/ {{ alias {path}/www/; if ($http_authorization != "Bearer secret") {{ return 401; }} }}
    location /odd/ {{ alias {path}/www/; {odd} }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}
    location /round/ {{ return 302 /round/again; }}
  }}
}}
"""


BLOCK = 100
"""Ports of one process: more than a test has servers, so that one which was freed a moment ago is not given away at once."""


def _own_block() -> tuple[int, Any]:
    """The first port of a block, and the lock that keeps it for this process."""
    folder = Path(tempfile.gettempdir()) / f"dfengine-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in range(10_000, 15_000, BLOCK):
        lock = (folder / str(first)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            return first, lock
    raise AssertionError("all blocks of ports are in use")


_BLOCK, _LOCK = _own_block()
_ports = itertools.count()


def free_port() -> int:
    """A port of 127.0.0.1 that is free, and that is there again for a server that is started anew.

    It is outside of the range from which Linux takes ports for connections and listeners without one, and of that of peer servers, and in
    a block that is this process's alone: other tests run at the same time.
    """
    for _ in range(BLOCK):
        port = _BLOCK + next(_ports) % BLOCK
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all ports of this process are in use")


def until(true: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """The first true value; fails when `patience` seconds are over. For what other processes do."""
    end = time.monotonic() + patience
    while True:
        value = true()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not happen within {patience} s"
        time.sleep(0.02)


def filled(ballast: Path, but: int = 0) -> None:
    """The file takes all the room that is left on its disk, less `but` bytes."""
    with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(MIB))
    os.truncate(ballast, ballast.stat().st_size - but)


def buffered() -> int:
    """Bytes that one connection's buffers in the kernel hold at most, on both sides."""
    return sum(int(Path(f"/proc/sys/net/ipv4/{name}").read_text().split()[2]) for name in ("tcp_rmem", "tcp_wmem"))


def descriptors(pid: int) -> list[str]:
    """What a process has open, sockets and pipes by kind."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            continue
    return found


def status(address: str, path: str, headers: dict[str, str] | None = None, tls: ssl.SSLContext | None = None) -> int:
    """Of the answer to one GET."""
    host, _, port = address.rpartition(":")
    line = http.client.HTTPConnection(host, int(port), timeout=10)
    if tls is not None:
        line = http.client.HTTPSConnection(host, int(port), timeout=10, context=tls)
    try:
        line.request("GET", path, headers=headers or {})
        return line.getresponse().status
    finally:
        line.close()


def _ended(pid: int) -> bool:
    """No such process is left; one that this process started is waited for."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return not os.path.exists(f"/proc/{pid}")


@dataclass
class Supernode:
    """A running supernode: `node` is its control address, `download` its download port's."""

    process: subprocess.Popen[bytes]
    node: str
    download: str
    home: Path
    tls: ssl.SSLContext | None = None

    @property
    def port(self) -> int:
        """Control port."""
        return int(self.node.rpartition(":")[2])

    def get(self, path: str) -> bytes:
        """GET on the control port."""
        scheme = "http" if self.tls is None else "https"
        # The environment's proxy is for what a test runs.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.tls))
        with direct.open(f"{scheme}://{self.node}{path}", timeout=20) as answer:
            return bytes(answer.read())

    def metric(self, name: str) -> float:
        """One metric's value, summed over its labels."""
        lines = self.get("/metrics").decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.split("{")[0].split(" ")[0] == name)


class Scene:
    """Use as a context. `path` is its directory; `gets` are the downloads that were started."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.www = path / "www"
        self.www.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.homes: set[Path] = set()
        self.supernodes: list[Supernode] = []
        self._origin_port = 0
        self._count = 0

    # ORIGIN

    def file(self, name: str, size: int, seed: int = 0) -> str:
        """A file of `size` seeded random bytes at the origin; its sha256."""
        path = self.www / name
        generator = random.Random(f"{name}-{seed}")
        digest = hashlib.sha256()
        with open(path.with_suffix(".new"), "wb") as out:
            left = size
            while left:
                block = generator.randbytes(min(left, MIB))
                digest.update(block)
                out.write(block)
                left -= len(block)
        path.with_suffix(".new").rename(path)
        return digest.hexdigest()

    def origin(self, slow: str = "8m", odd: str = "") -> str:
        """Start nginx; its base URL. `slow`: rate below /slow/, bytes per second. odd: directives of /odd/."""
        assert os.path.exists(NGINX), "these tests need nginx: apt-get install nginx-light"
        self._origin_port = self._origin_port or free_port()
        config = self.path / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(CONFIG.format(path=self.path, port=self._origin_port, slow=slow, user=user, odd=odd))
        self.nginx = self._start([NGINX, "-p", str(self.path), "-c", str(config)], subprocess.DEVNULL)
        until(self._listening, "nginx listening")
        return f"http://127.0.0.1:{self._origin_port}"

    def _listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._origin_port)) == 0

    def requests(self, path: str = "") -> list[dict[str, Any]]:
        """What nginx was asked for, as far as it has answered: method, path, status, sent (body bytes), range."""
        log = self.path / "access.log"
        found = []
        for line in log.read_text().splitlines() if log.exists() else []:
            method, uri, status, sent, rest = line.split(" ", 4)
            if uri == path or not path:
                found.append({"method": method, "path": uri, "status": int(status), "sent": int(sent), "range": rest.split('"')[1]})
        return found

    def sent(self, path: str) -> int:
        """Body bytes that nginx sent of one path."""
        return sum(request["sent"] for request in self.requests(path))

    def check_read_once(self, path: str, size: int, node: Supernode) -> None:
        """The supernode took each byte once; the origin may have sent more, into a connection that was closed before its end."""
        assert node.metric("dfengine_origin_bytes_total") == size
        assert size <= self.sent(path) <= size + buffered()

    # PROCESSES

    def _start(self, command: list[str], out: int, errors: int | None = None) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL if out == subprocess.DEVNULL else errors)
        self._processes.append(process)
        return process

    def adopt(self, process: subprocess.Popen[bytes]) -> None:
        """One that a test has started by itself: it is ended, and its pipes are closed, whatever becomes of the test."""
        self._processes.append(process)

    def supernode(self, *options: str, home: Path | None = None, port: int = 0, download_port: int = 0,
                  tls: ssl.SSLContext | None = None) -> Supernode:
        """Start a supernode and wait until it is ready; tls: what the test itself asks it with."""
        self._count += 1
        home = home or self.path / f"supernode-{self._count}"
        command = [
            *DFENGINE, "supernode", "--port", str(port or free_port()), "--download-port", str(download_port or free_port()),
            "--host", "127.0.0.1",
            "--advertise-ip", "127.0.0.1", "--home-dir", str(home), *options,
        ]
        process = self._start(command, subprocess.PIPE)
        assert process.stdout is not None
        line = process.stdout.readline().decode().split()
        assert line[:1] == ["ready"], line
        found = Supernode(process, line[1].removeprefix("control="), line[2].removeprefix("download="), home, tls)
        self.supernodes.append(found)
        return found

    def start_get(self, url: str, name: str, *options: str, host: int = 2, nodes: tuple[Supernode, ...] = ()) -> subprocess.Popen[bytes]:
        """Start `dfengine get URL -o NAME --json` as host 127.0.0.<host>, each host with a home of its own."""
        home = self.path / f"home-{host}"
        self.homes.add(home)
        command = [*DFENGINE, "get", url, "-o", str(self.path / name), "--ip", f"127.0.0.{host}", "--home", str(home), "--json", *options]
        for node in nodes:
            command += ["-n", node.node]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._processes.append(process)
        return process

    def get(self, url: str, name: str, *options: str, host: int = 2, nodes: tuple[Supernode, ...] = (), status: int = 0) -> Any:
        """Run a download to its end; its JSON object, or its stderr when it should fail with `status`."""
        found = self.end(self.start_get(url, name, *options, host=host, nodes=nodes), status)
        if status == 0:
            self.proved(*nodes)
        return found

    def proxy(
        self, *options: str, host: int = 2, nodes: tuple[Supernode, ...] = (), errors: int | None = None
    ) -> tuple[subprocess.Popen[bytes], str]:
        """Start `dfengine proxy` as host 127.0.0.<host> and wait until it is ready; the process and its base URL. errors: its stderr."""
        home = self.path / f"home-{host}"
        self.homes.add(home)
        command = [*DFENGINE, "proxy", "--listen", f"127.0.0.{host}:0", "--ip", f"127.0.0.{host}", "--home", str(home), *options]
        for node in nodes:
            command += ["-n", node.node]
        process = self._start(command, subprocess.PIPE, errors)
        assert process.stdout is not None
        line = process.stdout.readline().decode().split()
        assert line[:1] == ["ready"], line
        return process, "http://" + line[1].removeprefix("proxy=")

    def start_share(self, path: Path, *options: str, host: int = 9, nodes: tuple[Supernode, ...] = ()) -> subprocess.Popen[bytes]:
        """Start `dfengine share PATH` as host 127.0.0.<host>."""
        home = self.path / f"home-{host}"
        self.homes.add(home)
        command = [*DFENGINE, "share", str(path), "--ip", f"127.0.0.{host}", "--home", str(home), *options]
        for node in nodes:
            command += ["-n", node.node]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._processes.append(process)
        return process

    def share(self, path: Path, *options: str, host: int = 9, nodes: tuple[Supernode, ...] = (), status: int = 0) -> str:
        """Run it to its end: what it prints on stdout, or on stderr when it should fail with `status`."""
        process = self.start_share(path, *options, host=host, nodes=nodes)
        out, err = process.communicate(timeout=PATIENCE * 2)
        assert process.returncode == status, f"exit {process.returncode}: {err.decode()}"
        return (out if status == 0 else err).decode()

    def proved(self, *nodes: Supernode) -> None:
        """Wait until the supernodes have found the hosts where they say they are, which is not where they connect from; at most 5 s."""
        end = time.monotonic() + 5.0
        with contextlib.suppress(OSError):  # one that was stopped
            while any(node.metric("dfengine_unproved_peers") for node in nodes) and time.monotonic() < end:
                time.sleep(0.02)

    def start_stream(
        self, url: str, *options: str, host: int = 2, nodes: tuple[Supernode, ...] = (), out: int = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        """Start `dfengine get URL -o - --json` as host 127.0.0.<host>; what it delivers is on its stdout, the JSON object on its stderr."""
        home = self.path / f"home-{host}"
        self.homes.add(home)
        command = [*DFENGINE, "get", url, "-o", "-", "--ip", f"127.0.0.{host}", "--home", str(home), "--json", *options]
        for node in nodes:
            command += ["-n", node.node]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE)
        self._processes.append(process)
        return process

    def drain(self, process: subprocess.Popen[bytes], status: int = 0, so_far: bytes = b"") -> tuple[str, Any]:
        """Read a stream to its end: sha256 of all it delivered, `so_far` first; its JSON object, or its stderr if `status` is not 0."""
        assert process.stdout is not None
        assert process.stderr is not None
        digest = hashlib.sha256(so_far)
        while block := process.stdout.read(MIB):
            digest.update(block)
        err = process.stderr.read().decode()
        code = process.wait(PATIENCE)
        assert code == status, f"exit {code}: {err}"
        return digest.hexdigest(), json.loads(err.splitlines()[-1]) if status == 0 else err

    def end(self, process: subprocess.Popen[bytes], status: int = 0) -> Any:
        """Wait for a download; its JSON object, or its stderr when `status` is not 0."""
        out, err = process.communicate(timeout=PATIENCE * 2)
        assert process.returncode == status, f"exit {process.returncode}: {err.decode()}"
        return json.loads(out) if status == 0 else err.decode()

    def digest(self, name: str) -> str:
        """sha256 of an output."""
        with open(self.path / name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def peer_pid(self, host: int = 2) -> int:
        """The pid of a host's peer server; waits until it has taken over from the download that started it."""
        lock = self.path / f"home-{host}" / "peer.lock"

        def pid() -> int:
            found = json.loads(lock.read_text() or "{}").get("pid", 0)
            return found if found and b"peer" in Path(f"/proc/{found}/cmdline").read_bytes().split(b"\0") else 0

        return int(until(pid, f"a peer server of host {host}"))

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL, and wait."""
        process.kill()
        process.wait()

    # THE END

    def close(self) -> None:
        """End everything, and check that nothing is left behind."""
        peers = []
        for home in self.homes:
            lock = home / "peer.lock"
            if lock.exists() and lock.read_text():
                peers.append(self.peer_pid(int(home.name.rpartition("-")[2])))
        for supernode in self.supernodes:
            if supernode.process.poll() is None:
                until(partial(lambda node: node.metric("dfengine_pieces_in_flight") == 0, supernode), "every lease given back", 90.0)
        for pid in peers:
            os.kill(pid, signal.SIGTERM)
        for pid in peers:
            until(partial(_ended, pid), "the end of a peer server", 20.0)
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            process.wait(20)
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        for supernode in self.supernodes:
            assert supernode.process.returncode in (0, -signal.SIGKILL), f"a supernode ended with {supernode.process.returncode}"
        # A peer server that nobody needs leaves by itself: it empties its lock before its process ends.
        with contextlib.suppress(AssertionError):
            until(lambda: not self._running(), "the end of every process", 20.0)
        assert not (left := self._running()), f"left running: {left!r}"

    def _running(self) -> list[bytes]:
        """Command lines of processes that work in this test's directory, other than this one."""
        mine, found = str(self.path).encode(), []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if mine in command and int(pid) != os.getpid():
                found.append(command)
        return found


@contextmanager
def scene(path: Path) -> Iterator[Scene]:
    """A scene that is closed and checked also when the test fails; then the test's failure is what is shown."""
    stage = Scene(path)
    try:
        yield stage
    except BaseException:
        try:
            stage.close()
        except Exception as error:
            print(f"and besides: {error}")
        raise
    stage.close()
