"""Common base of the benchmarks: a network namespace, real servers, and commands measured as whole processes.

All contenders of a run share one namespace and so one congestion control; on Linux as root that is reno, because bbr
without a pacing qdisc reduces loopback's speed for all contenders. Each contender runs in its own session, since the
kernel's scheduler groups CPU by session. A command's CPU is the kernel's accounting of it and its children.
"""

from __future__ import annotations

import compileall
import contextlib
import ctypes
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

import dfengine

GB = 1e9
MIB = 1 << 20
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
DFENGINE = [sys.executable, "-m", "dfengine"]


def own_namespace() -> str:
    """Move this process into a new network namespace with loopback and reno; return a description of it."""
    if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        try:
            Path("/proc/sys/net/ipv4/tcp_congestion_control").write_text("reno")
        except OSError:
            return "own namespace, default congestion control"
        return "own namespace"
    return "shared namespace (not root)"


@dataclass(frozen=True)
class Run:
    """One finished command: seconds of elapsed time and CPU, bytes of its largest process, its output.

    written: bytes that its own process passed to write calls, on any file system. served: CPU seconds of its servers.
    """

    wall: float
    cpu: float
    rss: int
    out: str
    written: int = 0
    served: float = 0.0


def run(command: Sequence[str], timeout: float = 300.0) -> Run:
    """Run `command` in its own session and measure it. Raises if it fails or runs for longer than `timeout` seconds."""
    with tempfile.TemporaryFile() as out:
        begun = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        while True:
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                written = write_calls(process.pid)
                _, status, usage = os.wait4(process.pid, 0)
                break
            if time.perf_counter() - begun > timeout:
                os.killpg(process.pid, signal.SIGKILL)
                written = 0
                _, status, usage = os.wait4(process.pid, 0)
                break
            time.sleep(0.0005)
        wall = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {text[-2000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, text, written)


def write_calls(pid: int) -> int:
    """Bytes passed to write calls by a process that runs, or has ended and was not waited for; 0 if unknown."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


def cpu_of(pid: int) -> float:
    """CPU seconds so far of a process and its living children; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(cpu_of(int(child)) for child in children)


def rss_of(pid: int) -> int:
    """Resident bytes of a running process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peer_pid(home: Path) -> int:
    """The pid of the peer server of `home`, 0 if there is none. A starting one writes its pid a moment after its address."""
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        try:
            said = (home / "peer.lock").read_text()
        except OSError:
            return 0
        with contextlib.suppress(ValueError, KeyError):
            if pid := int(json.loads(said)["pid"]):
                return pid
        time.sleep(0.02)
    return 0


class Stage:
    """A directory on tmpfs, an nginx origin over `root`, and supernodes; all ends with the context."""

    def __init__(self) -> None:
        # As in an installation: if Python may not write bytecode (PYTHONDONTWRITEBYTECODE), every process compiles the checkout again.
        compileall.compile_dir(Path(dfengine.__file__).parent, quiet=1)
        self.path = Path(tempfile.mkdtemp(prefix="dfbench-", dir="/dev/shm"))
        self.root = self.path / "www"
        self.root.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.origin_port = free_port()
        self._count = 0
        self.origin_pid = 0

    def __enter__(self) -> Self:
        # Servers have sessions of their own, so a benchmark that is interrupted must end them itself.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for home in self.path.glob("home-*"):
            stop_peer(home)
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name: str, size: int) -> Path:
        """Create a file of `size` random bytes below the origin's root."""
        path = self.root / name
        block = os.urandom(4 * MIB)
        with open(path, "wb") as out:
            left = size
            while left > 0:
                # A counter in each block, so that no two pieces are equal and a misplaced one is detected.
                out.write((left.to_bytes(8, "big") + block)[: min(left, len(block))])
                left -= min(left, len(block))
        return path

    def origin(self) -> str:
        """Start nginx; return its base URL."""
        config = self.path / "nginx.conf"
        config.write_text(
            f"""daemon off; worker_processes 2; pid {self.path}/nginx.pid; error_log {self.path}/error.log;
            events {{ worker_connections 4096; }}
            http {{ access_log {self.path}/access.log; sendfile on; tcp_nopush on; keepalive_requests 1000000;
              client_body_temp_path {self.path}/b; proxy_temp_path {self.path}/p; fastcgi_temp_path {self.path}/f;
              uwsgi_temp_path {self.path}/u; scgi_temp_path {self.path}/s;
              server {{ listen 127.0.0.1:{self.origin_port} reuseport; root {self.root}; autoindex on; }} }}"""
        )
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        self.origin_pid = self.start([NGINX, "-p", str(self.path), "-c", str(config), *user]).pid
        wait_port(self.origin_port)
        return f"http://127.0.0.1:{self.origin_port}"

    def origin_bytes(self) -> int:
        """Number of body bytes that the origin has sent so far."""
        time.sleep(0.05)
        lines = (self.path / "access.log").read_text().splitlines()
        return sum(int(line.split('"')[2].split()[1]) for line in lines)

    def origin_requests(self) -> int:
        """Number of requests that the origin has answered so far."""
        time.sleep(0.05)
        with open(self.path / "access.log", "rb") as log:
            return sum(1 for _ in log)

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a server that lives as long as the stage."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        self._processes.append(process)
        return process

    def forget(self, process: subprocess.Popen[bytes]) -> None:
        """Remove a server that has ended before the stage."""
        self._processes.remove(process)
        if process.stdout is not None:
            process.stdout.close()

    def supernode(self, *options: str) -> tuple[str, subprocess.Popen[bytes]]:
        """Start a supernode; return its node address (IP:PORT) and process."""
        self._count += 1
        home = self.path / f"supernode-{self._count}"
        process = self.start([*DFENGINE, "supernode", "--port", "0", "--download-port", "0", "--host", "127.0.0.1",
                              "--advertise-ip", "127.0.0.1", "--home-dir", str(home), *options])
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if not line.startswith("ready control="):
            raise RuntimeError(f"the supernode did not start: {line}")
        return line.split()[1].partition("=")[2], process

    def home(self) -> Path:
        """A fresh home directory for a peer."""
        self._count += 1
        return self.path / f"home-{self._count}"


def stop_peer(home: Path) -> None:
    """End the peer server that a `get` left in `home`."""
    pid = peer_pid(home)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes() if pid else b""
    except OSError:
        return
    if b"dfengine" in command and str(home).encode() in command:
        os.kill(pid, signal.SIGTERM)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_port(port: int, seconds: float = 10.0) -> None:
    """Wait until a server listens on 127.0.0.1:port."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def machine(namespace: str) -> str:
    """One paragraph about the machine and environment of the measurement."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
    control = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    packages = ", ".join(f"{name} {version(name)}" for name in ("dfengine", "uvloop", "httptools", "xxhash"))
    return (
        f"{time.strftime('%Y-%m-%d')}, {cpu} x{os.cpu_count()}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {packages}; "
        f"{control}, {namespace}; load {os.getloadavg()[0]:.2f}"
    )


def median(values: Iterable[float]) -> float:
    """Median of a few repeats."""
    return statistics.median(values)


def spread(values: Sequence[float], scale: float = 1.0) -> str:
    """`median (min..max)`, scaled."""
    return f"{median(values) * scale:.3g} ({min(values) * scale:.3g}..{max(values) * scale:.3g})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def interleaved(contenders: dict[str, Callable[[], Run]], repeats: int) -> dict[str, list[Run]]:
    """Each contender once without measurement, then `repeats` rounds of all of them in turn, so that drift affects all alike."""
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for lap in range(repeats + 1):
        for name, contender in contenders.items():
            result = contender()
            if lap:
                runs[name].append(result)
    return runs
