"""`/api/v2` of a running supernode: its responses, permissions for changes, refused requests, and conformance with OpenAPI."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.scene import MIB, Scene, Supernode, until

TOKEN = "0123456789abcdef"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}


def token(stage: Scene) -> str:
    path = stage.path / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return str(path)


def ask(node: Supernode, path: str, method: str = "GET", body: object = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status, and the response's JSON, or its bytes if it is not JSON."""
    line = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    try:
        line.request(method, path, None if body is None else body if isinstance(body, bytes) else json.dumps(body), headers or {})
        answer = line.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if "json" in answer.headers["Content-Type"] else data
    finally:
        line.close()


@contextmanager
def live(node: Supernode, watch: str = "", after: int = -1) -> Iterator[Iterator[tuple[str, Any]]]:
    """The live stream's events with their data, as they arrive."""
    query = urllib.parse.urlencode({"watch": watch, "after": after})
    line = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    line.request("GET", f"/api/v2/live?{query}")
    answer = line.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")

    def messages() -> Iterator[tuple[str, Any]]:
        fields: dict[str, str] = {}
        while text := answer.readline().decode():
            name, _, value = text.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "event" in fields:
                yield fields["event"], json.loads(fields["data"])
                fields = {}

    try:
        yield messages()
    finally:
        answer.close()
        line.close()


def wait_for(messages: Iterator[tuple[str, Any]], kind: str) -> Any:
    return next(data for event, data in messages if event == kind)


def test_the_api_reports_tasks_hosts_and_events_and_changes_copies_and_preheats(stage: Scene) -> None:
    node = stage.supernode("--console-token-file", token(stage))
    stage.file("f.bin", 9 * MIB)
    url = stage.origin() + "/f.bin"
    with live(node, "/api/v2/tasks?sort=url&limit=5", after=0) as messages:
        assert wait_for(messages, "overview")["tasks"] == 0
        assert wait_for(messages, "event")["event"] == "ready"
        assert wait_for(messages, "resource")["items"] == []
        stage.get(url, "a", host=2, nodes=(node,))
        # Figures that were computed meanwhile may arrive before those with the task.
        [row] = next(data["items"] for event, data in messages if event == "resource" and data["items"])
    task = row["task"]
    with live(node, f"/api/v2/tasks/{task}/swarm") as messages:
        first = wait_for(messages, "swarm")
        assert [(host["ip"], host["have"], host["state"]) for host in first["hosts"]] == [("127.0.0.2", "Bw==", "finished")]
        stage.get(url, "b", host=3, nodes=(node,))
        change = wait_for(messages, "swarm_change")
        assert change["tick"] == first["tick"] + 1
        assert [host["ip"] for host in change["joined"]] == ["127.0.0.3"]
        status, _ = ask(node, f"/api/v2/cache/{task}", "DELETE", headers=SHOWN)
        assert status == 200
        assert wait_for(messages, "gone")["status"] == 404

    stage.get(url, "c", "--force", host=2, nodes=(node,))
    [row] = until(lambda: ask(node, "/api/v2/tasks?q=F.BIN")[1]["items"], "the task's figures")
    assert (row["url"], row["length"], row["pieces"], row["cached"], row["state"]) == (url, 9 * MIB, 3, 3, "SUCCESS")
    assert ask(node, f"/api/v2/tasks/{task}")[1]["task"] == task
    assert ask(node, "/api/v2/tasks?q=other")[1]["total"] == 0
    sums = until(lambda: (told := ask(node, "/api/v2/overview")[1])["delivered_bytes"] >= 18 * MIB and told, "the sum of the downloads")
    assert (sums["origin_bytes"], sums["saved_bytes"]) == (18 * MIB, sums["delivered_bytes"] - 18 * MIB)
    until(lambda: {host["ip"] for host in ask(node, "/api/v2/hosts")[1]["items"]} == {"127.0.0.2"}, "the list of hosts")

    assert "404" in stage.get(url + "-missing", "d", "--notbs", nodes=(node,), status=3)
    [origin] = until(lambda: [each for each in ask(node, "/api/v2/origins")[1]["items"] if each["errors"]], "the origin's error")
    assert origin["origin"] == url.rpartition("/")[0]
    assert (origin["errors"], "404" in origin["last_error"]) == (1, True)
    assert origin["bytes"] == 18 * MIB
    [event] = ask(node, "/api/v2/events?level=warning&event=fetch_failed")[1]["items"]
    assert "404" in event["fields"]["reason"]

    # Cache and preheats: changes need the token.
    copy = f"/cache/{task}"
    for method, path, body in (("PATCH", copy, {"pinned": True}), ("DELETE", copy, None), ("POST", "/preheats", {"url": url})):
        for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic OjAxMjM0NTY3ODlhYmNkZWY="}):
            assert ask(node, f"/api/v2{path}", method, body, headers)[0] == 401
    assert ask(node, f"/api/v2/cache/{task}", "PATCH", {"pinned": True}, SHOWN)[1]["pinned"] is True
    page = ask(node, "/api/v2/cache")[1]
    assert [(each["task"], each["pinned"]) for each in page["items"]] == [(task, True)]
    assert page["room"]["free"] > 0
    stage.file("g.bin", MIB)
    status, preheat = ask(node, "/api/v2/preheats", "POST", {"url": url.replace("f.bin", "g.bin")}, SHOWN)
    assert status == 202
    until(lambda: ask(node, f"/api/v2/preheats/{preheat['id']}")[1]["state"] == "SUCCESS", "the end of the preheat")
    done = ask(node, f"/api/v2/preheats/{preheat['id']}")[1]
    assert [(part["here"], part["state"]) for part in done["items"]] == [(MIB, "SUCCESS")]
    assert ask(node, "/api/v2/preheats?state=SUCCESS")[1]["total"] == 1
    assert ask(node, f"/api/v2/preheats/{preheat['id']}", "DELETE", headers=SHOWN)[1] == {"done": True}
    assert ask(node, f"/api/v2/preheats/{preheat['id']}")[0] == 404
    assert ask(node, f"/api/v2/cache/{task}", "PATCH", {"pinned": False}, SHOWN)[1]["pinned"] is False
    refused(node)
    slow_readers(node, task)


def refused(node: Supernode) -> None:
    """Requests that do not match the description are refused with 400, 404 or 405."""
    for path in (
        "tasks?limit=0", "tasks?limit=1001", "tasks?offset=99999999", "tasks?sort=cid", "tasks?other=1",
        "tasks?limit=1&limit=2", "tasks?limit=1&%6Cimit=1", "events?after=x", "live?after=-2",
        "hosts?q=" + "x" * 201, "live?watch=/api/v1/peers", "live?watch=/api/v2/events", "live?watch=/api/v2/tasks%3Flimit=0",
    ):  # fmt: skip
        status, told = ask(node, f"/api/v2/{path}")
        assert (status, told["status"]) == (400, 400), path
    none = "0" * 64
    for path in ("", "x", "tasks/", "tasks/x", f"tasks/{none}", f"tasks/{none}/swarm", "preheats/..", f"cache/{none}", "openapi.json/"):
        assert ask(node, f"/api/v2/{path}")[0] == 404, path
    assert ask(node, "/api/v2/tasks", "PUT")[0] == 405
    for body in (b"", b"{", b"[]", b'{"pinned": 1}', b'{"pinned": true, "x": 1}', b"[" * 100_000, b"\xff"):
        assert ask(node, "/api/v2/cache/" + "0" * 64, "PATCH", body, SHOWN)[0] == 400, body[:20]
    for url in ("x", "file:///etc/passwd\n", "http://", "df:sha256:" + "0" * 64):
        assert ask(node, "/api/v2/preheats", "POST", {"url": url}, SHOWN)[0] == 400, url
    assert ask(node, "/api/v2/live", headers={"Last-Event-ID": "x"})[0] == 400


def slow_readers(node: Supernode, task: str) -> None:
    """Live streams are limited in number, in all and per client; closed streams free their places."""
    lines = []
    # Of 32 places 8 are for viewers with the token; of each kind's places one client may have 75 %.
    for host, count, opened in (("127.0.0.1", 40, 18), ("127.0.0.2", 12, 6), ("127.0.0.1 and the token", 1, 1)):
        answers = []
        for _ in range(count):
            line = socket.create_connection(("127.0.0.1", node.port), timeout=60, source_address=(host.split()[0], 0))
            shown = f"Authorization: {SHOWN['Authorization']}\r\n" if "token" in host else ""
            line.sendall(f"GET /api/v2/live?watch=/api/v2/tasks/{task}/swarm HTTP/1.1\r\nHost: x\r\n{shown}\r\n".encode())
            lines.append(line)
            answers.append(line.recv(12))
        assert answers == [b"HTTP/1.1 200"] * opened + [b"HTTP/1.1 503"] * (count - opened), host
    assert ask(node, "/api/v2/overview")[1]["viewers"] == 25
    assert "18 live streams of this client" in ask(node, "/api/v2/live")[1]["detail"]
    for line in lines:
        line.close()
    until(lambda: ask(node, "/api/v2/overview")[1]["viewers"] == 0, "the end of all live streams")


def test_with_a_swarm_secret_the_api_needs_the_secret_or_the_console_token(stage: Scene) -> None:
    secret = stage.path / "secret"
    secret.write_text("f" * 32)
    secret.chmod(0o600)
    node = stage.supernode("--secret-file", str(secret), "--console-token-file", token(stage))
    for path in ("overview", "tasks", "hosts", "events", "live", "cache", "nothing"):
        assert ask(node, f"/api/v2/{path}")[0] == 401, path
        assert ask(node, f"/api/v2/{path}", headers={"Authorization": "Bearer 0123456789abcdeF"})[0] == 401, path
    assert ask(node, "/api/v1/cache", headers=SHOWN)[0] == 401
    assert ask(node, "/v1/api/v2/tasks", headers=SHOWN)[0] == 401
    for path in ("/console/", "/api/v2/openapi.json"):
        assert ask(node, path)[0] == 200, path
    assert ask(node, "/api/v2/overview", headers=SHOWN)[1]["may_change"] is True
    assert ask(node, "/api/v2/tasks", headers=SHOWN)[1]["items"] == []


def test_changes_of_copies_need_the_token_on_every_path(stage: Scene) -> None:
    stage.file("f.bin", MIB)
    node = stage.supernode("--console-token-file", token(stage))
    task = stage.get(stage.origin() + "/f.bin", "a", nodes=(node,))["task_id"]
    command = [sys.executable, "-m", "dfengine", "cache", "pin", task, "-n", node.node]
    for path in ("/cache", "/api/v1/cache", "/oapi/v1/cache", "/v1/cache"):
        for headers in ({}, {"Authorization": "Bearer x"}):
            for method, body in (("POST", {"pinned": True}), ("DELETE", None)):
                status, told = ask(node, f"{path}/{task}", method, body, headers)
                assert (status, "token" in told["message"]) == (401, True)
    assert subprocess.run(command, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode
    assert ask(node, f"/cache/{task}")[1]["pinned"] is False
    subprocess.run([*command, "--token-file", token(stage)], timeout=60, check=True)
    assert ask(node, f"/cache/{task}")[1]["pinned"] is True
    assert ask(node, f"/cache/{task}", "POST", {"pinned": False}, SHOWN)[1]["pinned"] is False
    assert ask(node, f"/cache/{task}", "DELETE", None, SHOWN) == (200, True)
    refused = ask(node, "/api/v2/events?event=admin_action_refused")[1]["items"]
    assert task in refused[0]["fields"]["path"]


def test_without_a_console_token_changes_are_forbidden(stage: Scene) -> None:
    node = stage.supernode()
    assert ask(node, "/api/v2/overview")[1]["may_change"] is False
    status, told = ask(node, "/api/v2/preheats", "POST", {"url": "http://127.0.0.1:9/f"}, SHOWN)
    assert (status, "--console-token-file" in told["detail"]) == (403, True)


CONFIG = """
[parameters]
task = "{task}"

[[operations]]
include-name = "POST /api/v2/preheats"
checks.positive_data_acceptance.enabled = false  # an image's URL is more than a URL, and a host more than letters
"""


def test_the_api_matches_its_openapi_description(stage: Scene) -> None:
    """Schemathesis generates valid and invalid requests from the description, and compares the responses with it."""
    node = stage.supernode("--console-token-file", token(stage), "--log-level", "off", "--origin-allow", "127.0.0.1")
    stage.file("f.bin", 5 * MIB)
    stage.get(stage.origin() + "/f.bin", "a", nodes=(node,))
    task = ask(node, "/api/v2/tasks")[1]["items"][0]["task"]
    Path(stage.path / "schemathesis.toml").write_text(CONFIG.format(task=task))
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"http://{node.node}/api/v2/openapi.json", "-H", f"Authorization: Bearer {TOKEN}",
         "--exclude-path", "/api/v2/live", "--max-examples", "3", "--phases", "coverage,fuzzing", "--seed", "1", "--no-color"],
        cwd=stage.path, capture_output=True, text=True, check=False, timeout=1200, env=os.environ | {"NO_PROXY": "127.0.0.1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "16 selected / 17 total" in done.stdout
    assert node.metric("dfengine_internal_errors_total") == 0
