"""Notifications to a service manager, received on a socket of this test."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from dfengine.net.systemd import ServiceManager


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_notified_of_states_and_by_the_watchdog(tmp_path: Path, abstract: bool) -> None:
    address = f"@dfengine-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address.replace("@", "\0"))
        sock.settimeout(60)
        manager = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())})
        loop = asyncio.new_event_loop()
        manager.ready(loop, "port 1")
        loop.run_until_complete(asyncio.sleep(0.05))
        manager.reloading()
        manager.reloaded()
        manager.stopping()
        manager.close()
        loop.close()
        heard: list[str] = []
        while not heard or heard[-1] != "STOPPING=1":
            heard.append(sock.recv(4096).decode())
    assert heard[0] == "READY=1\nSTATUS=port 1"
    assert heard.count("WATCHDOG=1") >= 2
    assert [each.partition("\n")[0] for each in heard if "WATCHDOG" not in each] == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


@pytest.mark.parametrize("given", [
    {}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "tcp:1"}, {"NOTIFY_SOCKET": "/nowhere/at/all"}, {"NOTIFY_SOCKET": "/" + "x" * 500},
    {"WATCHDOG_USEC": "-1"}, {"WATCHDOG_USEC": "9" * 40}, {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"},
])  # fmt: skip
def test_notifications_without_a_listener_are_ignored(given: dict[str, str]) -> None:
    manager = ServiceManager(given)
    assert not manager.notify("READY=1")
    assert manager.watchdog == 0
    manager.close()
