"""The supernode's HTTP API for operators: preheats, listing and removal of tasks and peers."""

from __future__ import annotations

import json
import re
import resource
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e.scene import Scene, Supernode, status, until

SIZE = 9_000_000
ROOT = Path(__file__).resolve().parents[2]


def ask(node: Supernode, method: str, path: str, message: object = None) -> tuple[int, Any]:
    """Status and JSON of one request below /api/v1."""
    body = None if message is None else json.dumps(message).encode()
    request = urllib.request.Request(f"http://{node.node}/api/v1{path}", body, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_downloads_of_a_preheated_file_do_not_read_the_origin(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin() + "/f", stage.supernode("--revalidate-interval", "1h")
    status, made = ask(node, "POST", "/preheats", {"type": "file", "URL": f"{url}?signature=1", "filter": "signature"})
    assert status == 201
    until(lambda: ask(node, "GET", f"/preheats/{made['ID']}")[1]["status"] == "SUCCESS", "the end of the preheat")
    assert [each["ID"] for each in ask(node, "GET", "/preheats")[1]] == [made["ID"]]
    result = stage.get(f"{url}?signature=2", "out", "--filter", "signature", "--notbs", nodes=(node,))
    assert (stage.digest("out"), result["task_id"]) == (digest, made["ID"])
    assert len(stage.requests("/f")) == 1
    task = ask(node, "GET", f"/tasks/{made['ID']}")[1]
    assert (task["rawURL"], task["taskURL"]) == (f"{url}?...", url), "a filtered signature is not shown: it grants access to the file"
    # A finished preheat stays successful after its task is removed.
    assert ask(node, "DELETE", f"/tasks/{made['ID']}") == (200, True)
    told = ask(node, "GET", f"/preheats/{made['ID']}")[1]
    assert (told["status"], told["finishTime"] >= told["startTime"], "errorMsg" in told) == ("SUCCESS", True, False)
    assert ask(node, "DELETE", f"/preheats/{made['ID']}") == (200, True)
    assert ask(node, "GET", f"/preheats/{made['ID']}")[0] == 404


def test_ping_and_http_metrics_satisfy_dragonflys_own_api_test(stage: Scene) -> None:
    node = stage.supernode()
    assert node.get("/_ping") == b"OK"
    text = node.get("/metrics").decode()
    assert 'dragonfly_supernode_http_requests_total{code="200",handler="/_ping"} 1.0' in text
    assert 'dragonfly_supernode_http_response_size_bytes_sum{handler="/_ping"} 2.0' in text
    assert 'dragonfly_supernode_http_response_size_bytes_count{handler="/_ping"} 1.0' in text
    assert 'dragonfly_supernode_http_request_size_bytes_count{handler="/_ping"} 1.0' in text


def test_counters_do_not_decrease_when_a_task_is_removed(stage: Scene) -> None:
    """Prometheus takes a counter that decreases for a restart and counts its whole value again."""
    stage.file("f", SIZE)
    url, node = stage.origin() + "/f", stage.supernode()
    task = stage.get(url, "out", nodes=(node,))["task_id"]
    stage.get(url, "other", "--callsystem", 'a "b"', host=3, nodes=(node,))
    until(lambda: node.metric("dragonfly_dfget_download_total") == 2, "the metrics of both downloads")
    assert node.metric("dragonfly_dfget_download_size_bytes_total") == 2 * SIZE
    assert node.metric("dragonfly_supernode_cdn_download_total") == node.metric("dragonfly_supernode_cdn_trigger_total") == 1
    assert node.metric("dragonfly_supernode_dfgettasks") == node.metric("dragonfly_supernode_peers") == 2
    counters = ("origin_requests", "origin_bytes", "pieces_from_supernode", "pieces_from_peers")

    def counted() -> list[float]:
        return [node.metric(f"dfengine_{name}_total") for name in counters]

    before = counted()
    assert before[0] >= 1
    assert before[1] == SIZE
    assert before[2] + before[3] == 6
    assert ask(node, "DELETE", f"/tasks/{task}") == (200, True)
    assert counted() == before


def test_a_supernode_raises_its_descriptor_limit_to_the_hard_limit(stage: Scene) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, hard), hard))
    try:
        node = stage.supernode()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)


def test_invalid_preheats_are_refused_and_missing_files_fail(stage: Scene) -> None:
    url, node = stage.origin() + "/missing", stage.supernode()
    kinds = {"type": "image", "url": url}, {"type": "jar", "url": url}
    for wrong in (*kinds, {"type": "file"}, {"url": 5}, {"url": "ftp://h/f"}, {"url": url, "headers": ["A: b"]}):
        status, said = ask(node, "POST", "/preheats", wrong)
        assert (status, said["code"]) == (400, 400), said
    assert ask(node, "GET", "/preheats") == (200, [])
    assert ask(node, "POST", "/preheats", {"type": "file", "url": url})[0] == 500
    assert ask(node, "GET", "/preheats")[1][0]["status"] == "FAILED"
    assert ask(node, "GET", "/preheats/nobody")[0] == 404


def test_tasks_and_peers_can_be_shown_and_removed(stage: Scene) -> None:
    stage.file("f", SIZE)
    url, node = stage.origin() + "/f", stage.supernode()
    result = stage.get(url, "out", nodes=(node,))
    task = ask(node, "GET", f"/tasks/{result['task_id']}")[1]
    assert (task["cdnStatus"], task["httpFileLength"], task["fileLength"], task["pieceTotal"]) == ("SUCCESS", SIZE, SIZE + 15, 3)
    ((peer,),) = (ask(node, "GET", "/peers")[1],)
    path = f"/peers/{urllib.parse.quote(peer['ID'])}"
    assert ask(node, "GET", path) == (200, peer)
    assert peer["IP"] == "127.0.0.2"
    assert ask(node, "DELETE", path) == (200, True)
    assert ask(node, "DELETE", path)[0] == 404
    assert ask(node, "GET", "/peers") == (200, [])
    assert ask(node, "DELETE", f"/tasks/{result['task_id']}") == (200, True)
    assert ask(node, "GET", f"/tasks/{result['task_id']}")[0] == 404
    assert not list((node.home / "download").rglob(f"{result['task_id']}*")), "the removed task's copy is deleted"
    assert stage.get(url, "again", "--notbs", host=3, nodes=(node,))["from"]["supernode"] == SIZE
    assert len(stage.requests("/f")) == 2


def test_endpoints_of_1x_below_its_path_prefixes(stage: Scene) -> None:
    node = stage.supernode()
    for path, prefix in (("/", ""), ("/v1.0.6/", ""), ("/api/v1/", "/api/v1")):
        told = json.loads(node.get(path))
        paths = {each["path"]: each["method"] for each in told["api"]}
        assert told["prefix"] == prefix
        assert paths["/tasks/{id}"] in ("GET", "DELETE")
        assert paths["/peer/heartbeat"] == "POST"
    assert ask(node, "POST", "/peer/heartbeat", {"cid": "none"}) == (200, {"seedTaskIDs": None})
    assert ask(node, "POST", "/task/metrics", {"success": True}) == (200, {"code": 1, "msg": "success"})
    assert ask(node, "GET", "/peer/task?taskId=t&srcCid=c&status=700&result=502")[1]["code"] == 502
    for unknown in ("/nothing", "/api/v1/nothing", "/v1/nothing", "/api/v1/nothing/more"):
        assert status(node.node, unknown) == 404
    made = [ask(node, "POST", "/peers", {"hostName": f"h{n}", "IP": "10.0.0.9", "port": 15001, "version": "1.0.6"}) for n in range(3)]
    assert [code for code, _ in made] == [201] * 3
    names = [each["ID"] for _, each in made]
    first = ask(node, "GET", f"/peers/{names[0]}")[1]
    assert (first["ID"], first["hostName"], first["IP"], first["port"], first["version"]) == (names[0], "h0", "10.0.0.9", 15001, "1.0.6")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["created"])

    def listed(query: str) -> list[str]:
        return [each["ID"] for each in ask(node, "GET", f"/peers?{query}")[1]]

    assert listed("") == listed("pageSize=0") == names
    assert listed("pageSize=2&pageNum=1") == names[2:]
    assert listed("pageSize=2&sortDirect=desc") == names[:0:-1]
    assert status(node.node, "/api/v1/peers?sortDirect=up") == status(node.node, "/api/v1/peers?pageSize=-1") == 400
    good = {"hostName": "h", "IP": "i"}
    for wrong in ({"IP": ""}, {"IP": 5}, {"hostName": "h\n"}, {"hostName": "h" * 5000}, {"port": 80}, {"port": True}, {"version": 1}):
        assert ask(node, "POST", "/peers", good | wrong)[0] == 400, wrong
    assert ask(node, "DELETE", f"/peers/{names[0]}") == (200, True)
    assert ask(node, "DELETE", f"/peers/{names[0]}")[0] == 404
    assert listed("") == names[1:]
