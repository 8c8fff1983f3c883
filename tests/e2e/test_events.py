"""Log events, access logs and service manager notifications of a supernode."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from typing import Any

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.scene import DFENGINE, PATIENCE, Scene, Supernode, status, until

SIZE = 9_000_000
SECRET = "very-secret-word"


def told(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """Terminate a server and return its events; its stderr has only lines of JSON."""
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert SECRET not in err.decode()
    return [json.loads(line) for line in err.decode().splitlines()]


def test_events_of_downloads_fetches_and_refusals_are_logged_without_secrets(stage: Scene) -> None:
    stage.file("f", SIZE)
    url, home = f"{stage.origin()}/f?token={SECRET}", stage.path / "supernode"
    command = [*DFENGINE, "supernode", "--port", "0", "--download-port", "0", "--host", "127.0.0.1", "--home-dir", str(home)]
    secret = stage.path / "secret"
    secret.write_text(SECRET * 3)
    secret.chmod(0o600)
    command += ["--log-format", "json", "--secret-file", str(secret)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stage.adopt(process)
    assert process.stdout is not None
    ready = process.stdout.readline().decode().split()
    node = Supernode(process, ready[1].removeprefix("control="), ready[2].removeprefix("download="), home)
    trust = ("--secret-file", str(secret))
    first = stage.get(url, "out", "--callsystem", "a \"b\"\n".strip(), *trust, nodes=(node,))
    second = stage.get(url, "other", "--filter", "token", *trust, host=3, nodes=(node,))
    stage.get(f"{stage.origin()}/none?token={SECRET}", "none", "--notbs", *trust, nodes=(node,), status=3)
    assert status(node.node, "/peers") == 401
    process.send_signal(signal.SIGHUP)
    events = told(process)
    assert (events[0]["event"], events[-1]["event"]) == ("ready", "stopping")
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_kind.setdefault(event["event"], []).append(event)
    tasks = [by_kind["registered"][0]["task"], second["task_id"]]
    assert tasks[0] != first["task_id"], "a reader of the log must not get a file whose URL has a token"
    assert [event["task"] for event in by_kind["registered"]] == tasks
    assert [event["task"] for event in by_kind["finished"]] == tasks
    done = by_kind["finished"][0]
    assert (done["length"], done["from_supernode"], done["system"]) == (SIZE, SIZE, 'a "b"')
    assert 0 < done["first_piece"] <= done["seconds"]
    for kind in ("fetch_started", "origin_responded", "fetch_finished"):
        assert [event["task"] for event in by_kind[kind]][:2] == tasks, kind
    assert [event["from_origin"] for event in by_kind["fetch_finished"]] == [SIZE, SIZE]
    assert "404" in by_kind["fetch_failed"][0]["reason"]
    assert "404" in by_kind["registration_refused"][0]["reason"]
    assert by_kind["secret_refused"][0]["path"] == "/peers"
    assert {"reloaded"} <= set(by_kind)
    assert all(event["url"].endswith("?...") for event in events if "url" in event)


def test_access_logs_of_supernode_and_proxy_list_all_responses(stage: Scene) -> None:
    stage.file("f", SIZE)
    url = f"{stage.origin()}/f"
    command = [*DFENGINE, "supernode", "--port", "0", "--download-port", "0", "--host", "127.0.0.1", "--home-dir", str(stage.path / "home")]
    logged = ["--access-log", "--log-level", "off", "--log-format", "json"]
    process = subprocess.Popen([*command, *logged], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stage.adopt(process)
    assert process.stdout is not None
    ready = process.stdout.readline().decode().split()
    node = Supernode(process, ready[1].removeprefix("control="), ready[2].removeprefix("download="), stage.path / "home")
    command = [*DFENGINE, "get", url, "-v", "-o", str(stage.path / "out"), "--ip", "127.0.0.2", "--home", str(stage.path / "home-2")]
    stage.homes.add(stage.path / "home-2")
    done = subprocess.run([*command, "-n", node.node], stderr=subprocess.PIPE, timeout=PATIENCE, check=True)
    assert f"dfengine: the supernode served {SIZE} bytes\n" in done.stderr.decode()
    assert status(node.node, f"/nothing?token={SECRET}") == 404
    proxy = subprocess.Popen([*DFENGINE, "proxy", "--listen", "127.0.0.1:0", "--home", str(stage.path / "home-3"), *logged],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    stage.adopt(proxy)
    assert proxy.stdout is not None
    address = proxy.stdout.readline().decode().split("proxy=")[1].strip()
    assert [status(address, path) for path in ("/healthy", f"/nothing?token={SECRET}")] == [200, 404]
    assert [(each["path"], each["status"], each["complete"]) for each in told(proxy)] == [("/healthy", 200, True), ("/nothing", 404, True)]
    events = told(process)
    assert {each["event"] for each in events} == {"access"}
    found = {(each["method"], each["path"], each["status"]) for each in events}
    assert {("POST", path, 200) for path in ("/peer/registry", "/swarm/pull", "/task/metrics")} | {("GET", "/nothing", 404)} <= found
    pieces = [each for each in events if each["path"].startswith("/download/")]
    assert sum(each["bytes"] for each in pieces) == SIZE + 3 * 5
    assert {each["client"] for each in events} == {"127.0.0.1"}


def test_connections_without_tls_are_logged_as_refused(stage: Scene) -> None:
    """At the control port and the download port."""
    options = Authority(stage.path).options("supernode", "IP:127.0.0.1")
    command = [*DFENGINE, "supernode", "--port", "0", "--download-port", "0", "--host", "127.0.0.1", "--home-dir", str(stage.path / "home")]
    process = subprocess.Popen([*command, *options, "--log-format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stage.adopt(process)
    assert process.stdout is not None
    for address in process.stdout.readline().decode().split()[1:]:
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            status(address.partition("=")[2], f"/ping?token={SECRET}")
    refused = [event for event in told(process) if event["event"] == "tls_refused"]
    assert [event["client"] for event in refused] == ["127.0.0.1"] * 2
    assert all(event["reason"] for event in refused)


def test_a_supernode_reloads_its_settings_on_sighup_and_drains_on_sigterm(stage: Scene) -> None:
    """Both are reported to the service manager, too. While it drains, a running download completes, and no other can register."""
    digest, url = stage.file("f", SIZE), f"{stage.origin(slow='2m')}/slow/f"
    config, notify = stage.path / "config.yml", stage.path / "notify"
    config.write_text("supernode: {drain: 60s, disk-low: 64M}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notify))
        manager.settimeout(PATIENCE)
        command = [*DFENGINE, "supernode", "--port", "0", "--download-port", "0", "--host", "127.0.0.1", "--log-format", "json",
                   "--home-dir", str(stage.path / "home"), "--config", str(config)]  # fmt: skip
        environment = {**os.environ, "NOTIFY_SOCKET": str(notify)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        stage.adopt(process)
        assert process.stdout is not None
        ready = process.stdout.readline().decode().split()
        assert manager.recv(4096).startswith(b"READY=1\nSTATUS=control 127.0.0.1:")
        node = Supernode(process, ready[1].removeprefix("control="), ready[2].removeprefix("download="), stage.path / "home")
        assert [status(node.node, path) for path in ("/healthz", "/readyz", "/ping")] == [200] * 3
        for text in ("supernode: {drain: 45s, disk-low: 32M, up-limit: 7}", "supernode: {drain: never}"):
            config.write_text(text)
            process.send_signal(signal.SIGHUP)
            assert manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(4096) == b"READY=1"
        first = stage.start_get(url, "out", "--notbs", nodes=(node,))
        until(lambda: node.metric("dragonfly_supernode_dfgettasks") == 1, "a registered download")
        process.send_signal(signal.SIGTERM)
        assert manager.recv(4096) == b"STOPPING=1\nSTATUS=waiting for downloads to end"
    assert [status(node.node, path) for path in ("/healthz", "/readyz")] == [200, 503]
    line = http.client.HTTPConnection(node.node, timeout=PATIENCE)
    line.request("POST", "/peer/registry", b"{}")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        line.getresponse()
    line.close()
    stage.end(first)
    assert stage.digest("out") == digest
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    lines = err.decode().splitlines()
    assert any("SIGHUP" in line for line in lines), "an unreadable configuration is reported"
    events = {event["event"]: event for event in map(json.loads, (line for line in lines if line.startswith("{")))}
    assert (events["reloaded"]["changed"], events["reloaded"]["needs_restart"]) == ("disk_low,drain", "up_limit")
    assert "never" in events["reload_failed"]["reason"]
    assert (events["draining"]["seconds"], events["drained"]["busy"]) == (45, 0)
