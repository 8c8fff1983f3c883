"""A real redis-server for tests, on a port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import redis


class RedisServer:
    """Use as a context. options: of the command line. tls: it accepts only TLS. config: it runs as a Sentinel with this file."""

    def __init__(self, path: Path, *options: str, tls: bool = False, config: Path | None = None) -> None:
        assert shutil.which("redis-server"), "these tests need redis-server: apt-get install redis-server"
        self._path, self._options, self._tls, self._config = path, options, tls, config
        path.mkdir(exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def start(self) -> None:
        """Start an empty server; it listens when this returns."""
        listens = ("--port", "0", "--tls-port", str(self.port)) if self._tls else ("--port", str(self.port))
        kind = (str(self._config), "--sentinel") if self._config is not None else ("--save", "")
        self._process = subprocess.Popen(
            ["redis-server", *kind, *listens, "--bind", "127.0.0.1", "--dir", str(self._path), *self._options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 60
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)

    def execute(self, *command: str) -> Any:
        """Return the reply to a command."""
        with contextlib.closing(redis.Redis(port=self.port, ssl=self._tls, ssl_cert_reqs="none")) as client:
            return client.execute_command(*command)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __exit__(self, *_: object) -> None:
        self.kill()
