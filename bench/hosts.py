"""Hosts as network namespaces on one bridge, each behind a link of the same rate, shaped at both of its ends.

    [origin]--.                .--[host 1]
              bridge (hub)-----+--[host 2]      veth pairs; tbf at either end, reno in each namespace
    [supernode]--'             `--[host N]

The origin's link is not shaped: it represents an origin close to the supernode.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

BURST = "128k"
LATENCY = "30ms"
NOWHERE = "02:00:00:00:00:fe"
"""A link-layer address that no host has."""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Hosts:
    """Namespaces `names`, with the addresses 10.77.0.1 and on, in order; removed with the context. rates: Mbit/s, 0: unshaped."""

    def __init__(self, names: Sequence[str], rates: Sequence[int]) -> None:
        self._mark = f"df{os.getpid()}"
        self.names = list(names)
        self._rates = list(rates)
        self._cuts: list[tuple[str, str]] = []

    def _ns(self, name: str) -> str:
        return f"{self._mark}-{name}"

    def address(self, name: str) -> str:
        """Address of a host."""
        return f"10.77.0.{self.names.index(name) + 1}"

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _build(self) -> None:
        hub = self._ns("hub")
        _ip("netns", "add", hub)
        self.watch = subprocess.Popen(["ip", "netns", "exec", hub, "sleep", "infinity"])
        _ip("-n", hub, "link", "add", "br0", "type", "bridge")
        _ip("-n", hub, "link", "set", "br0", "up")
        for at, (name, rate) in enumerate(zip(self.names, self._rates, strict=True)):
            here = self._ns(name)
            _ip("netns", "add", here)
            _ip("link", "add", "eth0", "netns", here, "type", "veth", "peer", "name", f"p{at}", "netns", hub)
            _ip("-n", hub, "link", "set", f"p{at}", "master", "br0", "up")
            _ip("-n", here, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
            _ip("-n", here, "link", "set", "eth0", "up")
            _ip("-n", here, "link", "set", "lo", "up")
            if rate:
                self.shape(name, rate)
            self.run(name, ["sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno"])

    def cut(self, name: str, others: Sequence[str]) -> None:
        """Drop all packets between a host and others silently: each gets a link-layer address of the other that does not exist."""
        for other in others:
            for here, there in ((name, other), (other, name)):
                _ip("-n", self._ns(here), "neigh", "replace", self.address(there), "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent")
                self._cuts.append((here, there))

    def mend(self) -> None:
        """Undo all cuts."""
        while self._cuts:
            here, there = self._cuts.pop()
            _ip("-n", self._ns(here), "neigh", "del", self.address(there), "dev", "eth0")

    def shape(self, name: str, rate: int) -> None:
        """Shape a host's link to `rate` Mbit/s each way; 0: unshaped."""
        for space, device in ((self._ns(name), "eth0"), (self._ns("hub"), f"p{self.names.index(name)}")):
            tbf = ["root", "tbf", "rate", f"{rate}mbit", "burst", BURST, "latency", LATENCY] if rate else ["root"]
            subprocess.run(["tc", "-n", space, "qdisc", "replace" if rate else "del", "dev", device, *tbf], check=True)

    def command(self, name: str, words: Sequence[str]) -> list[str]:
        """`words` as a command inside a host."""
        return ["ip", "netns", "exec", self._ns(name), *words]

    def run(self, name: str, words: Sequence[str]) -> str:
        """Run a command inside a host; return its output."""
        return subprocess.run(self.command(name, words), check=True, stdout=subprocess.PIPE, text=True).stdout

    def carried(self) -> dict[str, tuple[int, int]]:
        """Bytes that each host has sent and received, with all headers, as counted at its port of the bridge."""
        counts = {}
        for line in Path(f"/proc/{self.watch.pid}/net/dev").read_text().splitlines():
            device, _, numbers = line.strip().partition(":")
            if device.startswith("p") and device[1:].isdigit():
                words = numbers.split()
                counts[self.names[int(device[1:])]] = int(words[0]), int(words[8])
        return counts

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.watch.kill()
        self.watch.wait()
        for space in [self._ns(name) for name in self.names] + [self._ns("hub")]:
            if Path(f"/run/netns/{space}").exists():
                subprocess.run(["ip", "netns", "del", space], check=False)
