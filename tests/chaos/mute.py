"""Sources that claim every piece and do not respond: a hostile client registers downloads at its own ports."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.chaos.trouble import Play, Trouble

WAYS = {"deaf": b"", "silent": b"", "beginning": b"HTTP/1.1 20", "trickle": b"HTTP/1.1 206 Partial Content\r\nX-Slow: " + b"x" * 100_000}
"""Behaviour of a port: it accepts no connection, or sends nothing, the beginning of a response, or a byte of one each 0.1 s."""

PORTS = range(20011, 64000, 89)
"""Ports that a peer server may use."""


@dataclass(frozen=True)
class Mute(Trouble):
    """`count` claims from one address or each from another (`apart`). early: the supernode already has the file."""

    way: str
    count: int
    apart: bool
    early: bool

    swarm = True

    @classmethod
    def draw(cls, chance: random.Random, size: int) -> Mute:
        return cls(chance.choice(list(WAYS)), chance.choice((1, 3, 8, 20)), chance.random() < 0.4, chance.random() < 0.6)

    @contextmanager
    def around(self, play: Play) -> Iterator[None]:
        if self.early:
            play.world.fetch(play.url)
        with contextlib.ExitStack() as ports:
            for number in range(self.count):
                port = ports.enter_context(_Port(f"127.0.0.{20 + (number if self.apart else 0)}", self.way))
                play.world.claim(play.url, f"{play.name}-mute{number}", port.address, "claimed", unknown=4)
            yield

    def __str__(self) -> str:
        return f"mute:{self.count} {self.way}{' apart' if self.apart else ''}{'' if self.early else ', the supernode is empty'}"


class _Port:
    """Listens while its context is entered."""

    def __init__(self, host: str, way: str) -> None:
        self._way = way
        self._said = WAYS[way]
        self._listener = _free(host, 0 if way == "deaf" else 128)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._over = threading.Event()
        self._lines: list[socket.socket] = []
        self._thread: threading.Thread | None = None

    def __enter__(self) -> _Port:
        if self._way == "deaf":
            # A backlog of 0 accepts one connection; later clients get no response to their SYN.
            for _ in range(3):
                line = socket.socket()
                line.setblocking(False)
                line.connect_ex(self.address)
                self._lines.append(line)
        elif self._said:
            self._thread = threading.Thread(target=self._serve)
            self._thread.start()
        return self

    def _serve(self) -> None:
        self._listener.settimeout(0.1)
        places: dict[socket.socket, int] = {}
        while not self._over.is_set():
            began = time.monotonic()
            with contextlib.suppress(OSError):
                line, _ = self._listener.accept()
                self._lines.append(line)
                line.setblocking(False)
                places[line] = 0
            for line, place in places.items():
                part = self._said[place : place + 1] if self._way == "trickle" else self._said[place:]
                with contextlib.suppress(OSError):
                    places[line] = place + line.send(part)
            self._over.wait(max(0.0, 0.1 - (time.monotonic() - began)))

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        for line in (self._listener, *self._lines):
            line.close()


def _free(host: str, backlog: int) -> socket.socket:
    for port in PORTS:
        with contextlib.suppress(OSError):
            return socket.create_server((host, port), backlog=backlog)
    raise AssertionError("no port is free")
