"""Several supernodes with one Redis: the origin is read once for all of them, also if a supernode or Redis is lost."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from dfengine.errors import DiskFull
from dfengine.net.http import Request, Response
from dfengine.settings import SupernodeSettings
from dfengine.supernode import api_v1
from dfengine.supernode.cluster.cluster_view import ClusterMember
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.preheats import MAX_UNDER_WAY
from dfengine.supernode.supernode_state import SupernodeState
from tests.e2e.scene import DFENGINE, MIB, Scene, Supernode, buffered, filled, status, until
from tests.e2e.test_faults import registration
from tests.e2e.test_isolation import register_download, serving
from tests.e2e.test_preheat_command import run
from tests.e2e.test_supernode_origins import RecordingScript
from tests.origins.answers import refuse, serve
from tests.origins.behaviour import content
from tests.origins.server import Server
from tests.supernode.redis_server import RedisServer

SIZE = 13 * MIB + 5


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as made:
        yield made


@pytest.fixture
def options(tmp_path: Path, server: RedisServer) -> tuple[str, ...]:
    key = tmp_path / "cluster-key"
    key.write_text("not the swarm's secret")
    key.chmod(0o600)
    return "--cluster", server.url, "--cluster-key-file", str(key)


def members(*nodes: Supernode) -> None:
    for node in nodes:
        until(partial(lambda node: node.metric("dfengine_cluster_members") == len(nodes) - 1, node), "every supernode to be a member")


def from_origin(*nodes: Supernode) -> list[float]:
    return [node.metric("dfengine_origin_bytes_total") for node in nodes]


@pytest.mark.parametrize("redis", [True, False], ids=["leader lost", "leader and Redis lost"])
def test_a_follower_resumes_as_leader_after_the_leader_is_killed(
    stage: Scene, options: tuple[str, ...], server: RedisServer, redis: bool
) -> None:
    digest, base = stage.file("f", SIZE), stage.origin(slow="700k")
    # Slow enough for three downloads to start meanwhile. One connection delivers pieces one by one, so pieces arrive before the end.
    first, *others = nodes = [stage.supernode(*options, "--origin-connections", "1") for _ in range(3)]
    members(*nodes)
    led = stage.start_get(f"{base}/slow/f", "led", "--pattern", "cdn", nodes=(first,))
    until(lambda: first.metric("dfengine_origin_bytes_total"), "bytes at the first supernode")
    gets = [stage.start_get(f"{base}/slow/f", f"out{n}", "--pattern", "cdn", "--notbs", host=n, nodes=(node,))
            for n, node in enumerate(others, 3)]  # fmt: skip
    for node in others:
        until(partial(node.metric, "dfengine_pieces_from_supernode_total"), "pieces by way of the leader")
    assert from_origin(*others) == [0, 0]
    before = first.metric("dfengine_origin_bytes_total")
    assert before < SIZE
    stage.kill(led)
    if not redis:
        server.kill()
    stage.kill(first.process)
    stage.supernodes.remove(first)
    for n, get in enumerate(gets, 3):
        stage.end(get)
        assert stage.digest(f"out{n}") == digest
    rest = from_origin(*others)
    assert min(rest) == 0, "one supernode leads now, and the other one follows it"
    assert 0 < max(rest) < SIZE, "bytes that the cluster has are not requested again"


def test_a_follower_takes_over_from_a_leader_with_a_slow_origin_connection(stage: Scene, options: tuple[str, ...]) -> None:
    """The origin's first response is slow, all others are fast; with one connection the leader stays with the slow one."""
    data = content(10 * SIZE // 3, 1)
    first, second = nodes = [stage.supernode(*options, "--origin-connections", "1") for _ in range(2)]
    members(*nodes)
    with Server(RecordingScript(lambda x: serve(x, rate=2e6 if x.n == 0 else 0.0)), (data,)) as server:
        url = f"http://{server.address}/f"
        gets = [stage.start_get(url, "out2", "--pattern", "cdn", "--notbs", host=2, nodes=(first,))]
        until(lambda: first.metric("dfengine_origin_bytes_total"), "bytes at the first supernode")
        gets.append(stage.start_get(url, "out3", "--pattern", "cdn", "--notbs", host=3, nodes=(second,)))
        for get in gets:
            stage.end(get)
    assert stage.digest("out2") == stage.digest("out3") == hashlib.sha256(data).hexdigest()
    read = from_origin(*nodes)
    assert 0 < read[0] < len(data), "the first supernode stops reading"
    assert 0 < read[1] < len(data), "the first supernode's bytes are not read again"
    assert [second.metric("dfengine_cluster_tasks_led"), first.metric("dfengine_cluster_tasks_led")] == [1, 0]


def test_the_origin_is_read_once_while_redis_is_silent_gone_and_empty(stage: Scene, options: tuple[str, ...], server: RedisServer) -> None:
    base, nodes = stage.origin(), [stage.supernode(*options) for _ in range(2)]
    members(*nodes)
    digests = {name: stage.file(name, SIZE) for name in ("once", "silent", "gone", "again")}

    def both(name: str) -> list[float]:
        """Download to two hosts, each with its own supernode; the bytes that each supernode read from the origin meanwhile."""
        before = from_origin(*nodes)
        gets = [stage.start_get(f"{base}/{name}", f"{name}{n}", "--pattern", "cdn", "--notbs", host=n, nodes=(node,))
                for n, node in enumerate(nodes, 2)]  # fmt: skip
        for n, get in enumerate(gets, 2):
            stage.end(get)
            assert stage.digest(f"{name}{n}") == digests[name]
        return [now - then for now, then in zip(from_origin(*nodes), before, strict=True)]

    assert sorted(both("once")) == [0, SIZE]
    assert SIZE <= stage.sent("/once") <= SIZE + buffered()
    server.signal(signal.SIGSTOP)
    assert sorted(both("silent")) == [0, SIZE], "they agree on one leader, by the members last seen"
    assert max(both("once")) == 0
    server.kill()
    until(lambda: all(node.metric("dfengine_cluster_redis_up") == 0 for node in nodes), "the loss of Redis detected")
    assert sorted(both("gone")) == [0, SIZE]
    server.start()
    members(*nodes)
    until(lambda: all(node.metric("dfengine_cluster_redis_up") == 1 for node in nodes), "the return of Redis detected")
    assert sorted(both("again")) == [0, SIZE]


def test_retry_after_of_an_origin_applies_to_all_supernodes(stage: Scene, options: tuple[str, ...]) -> None:
    data = content(SIZE, 1)
    script = RecordingScript(lambda x: serve(x) if x.n else refuse(x, headers=(("Retry-After", "8"),)))
    one, two = nodes = [stage.supernode(*options) for _ in range(2)]
    members(*nodes)
    with Server(script, (data,)) as server:
        gets = [stage.start_get(f"http://{server.address}/one", "out2", "--pattern", "cdn", "--notbs", host=2, nodes=(one,))]
        until(lambda: "left alone for" in one.get("/api/v2/origins").decode(), "the origin's response")
        until(lambda: two.metric("dfengine_origins_paused") == 1, "the pause at the other supernode")
        gets.append(stage.start_get(f"http://{server.address}/two", "out3", "--pattern", "cdn", "--notbs", host=3, nodes=(two,)))
        for get in gets:
            stage.end(get)
    assert stage.digest("out2") == stage.digest("out3") == hashlib.sha256(data).hexdigest()
    first, *later = script.times
    assert len(later) >= 2, "a slow response makes the supernode open further connections"
    assert min(later) - first >= 8.0


def ask(node: Supernode, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    line = http.client.HTTPConnection(node.node, timeout=20)
    try:
        line.request(method, path, json.dumps(body) if body is not None else None)
        answer = line.getresponse()
        said = answer.read()
        return answer.status, json.loads(said) if answer.status < 400 else said
    finally:
        line.close()


def permission(node: Supernode, cid: str, **more: Any) -> int:
    """The response's code: 200 granted, 602 not yet, 611 released."""
    return int(ask(node, "POST", "/swarm/origin", {"task": "t", "cid": cid, "origin": "o:80", **more})[1]["code"])


def test_the_origin_limit_applies_across_all_supernodes(
    stage: Scene, options: tuple[str, ...], server: RedisServer
) -> None:
    one, two = nodes = [stage.supernode(*options, "--origin-limit", "3") for _ in range(2)]
    members(*nodes)
    assert [permission(one, cid) for cid in ("a", "b")] == [200, 200]
    assert [permission(two, cid) for cid in ("c", "d")] == [200, 602]
    assert permission(two, "d", origin="p:80") == 200, "another origin"
    with ThreadPoolExecutor(2) as pool:
        waits = pool.submit(permission, two, "d", wait=20)
        until(lambda: two.metric("dfengine_origin_leases_pending") == 1, "a waiting download")
        assert permission(one, "a") == 200, "renewed"
        assert permission(one, "a", release=True) == 611
        assert waits.result() == 200
        assert permission(one, "a") == 602
        # Redis is silent, then gone: each has its share, half of the limit and at least one; granted permissions stay valid.
        server.signal(signal.SIGSTOP)
        assert [permission(two, cid) for cid in ("c", "d", "e")] == [200, 200, 602]
        assert permission(one, "b") == 200
        assert permission(one, "a") == 602
        server.kill()
        assert permission(one, "b", release=True) == 611
        assert [permission(one, cid) for cid in ("a", "b")] == [200, 602]
        # Redis returns empty: granted permissions are registered in it again.
        server.start()
        waits = pool.submit(permission, one, "b", wait=30)
        until(lambda: one.metric("dfengine_cluster_redis_up") == two.metric("dfengine_cluster_redis_up") == 1, "the return of Redis")
        assert permission(two, "c", release=True) == 611
        assert waits.result() == 200
        assert permission(two, "e") == 602
    # Names of origins are not stored in Redis.
    raw = redis.Redis(port=server.port)
    keys = list(raw.scan_iter())
    assert any(b":origin:" in key for key in keys)
    assert not any(b"o:80" in key for key in keys)
    raw.close()


def test_a_download_waits_for_the_origin_permission_of_another_supernode(stage: Scene, options: tuple[str, ...]) -> None:
    """Both supernodes remember the URL as dead; the file exists by now."""
    url = stage.origin() + "/f"
    one, two = nodes = [stage.supernode(*options, "--origin-limit", "1") for _ in range(2)]
    members(*nodes)
    for node in nodes:
        assert ask(node, "POST", "/peer/registry", registration(url, 1))[0] == 500
    digest = stage.file("f", SIZE)
    origin = url.split("/")[2]
    assert permission(one, "somebody", origin=origin) == 200
    get = stage.start_get(url, "out", host=2, nodes=(two,))
    until(lambda: two.metric("dfengine_origin_leases_pending") == 1, "the waiting download")
    assert {request["status"] for request in stage.requests("/f")} == {404}
    assert permission(one, "somebody", origin=origin, release=True) == 611
    assert stage.end(get)["back_to_source"]
    assert stage.digest("out") == digest
    until(lambda: permission(one, "next", origin=origin) == 200, "its permission released")


def test_a_preheat_can_be_shown_and_cancelled_at_any_supernode(stage: Scene, options: tuple[str, ...]) -> None:
    stage.file("f", SIZE)
    stage.file("slow", 4 * SIZE)
    base = stage.origin(slow="256k")
    one, two, three = nodes = [stage.supernode(*options) for _ in range(3)]
    members(*nodes)
    # Preheat at all supernodes, and the status that each reports.
    id = ask(one, "POST", "/preheats", {"type": "file", "url": f"{base}/f", "scope": "all_seed_peers"})[1]["ID"]
    until(lambda: ask(one, "GET", f"/preheats/{id}")[1]["status"] == "SUCCESS", "the file at all supernodes")
    done = ask(one, "GET", f"/preheats/{id}")[1]
    assert {task.get("host", "") for task in done["tasks"]} == {"", two.node, three.node}
    assert done["here"] == 3 * SIZE
    assert sorted(from_origin(*nodes)) == [0, 0, SIZE], "it was read once"
    # A long preheat, shown in every API and format by a supernode that does not run it.
    number = ask(one, "POST", "/oapi/v1/jobs", {"type": "preheat", "args": {"type": "file", "url": f"{base}/slow/slow"}})[1]["id"]
    job = until(lambda: (told := ask(two, "GET", f"/oapi/v1/jobs/{number}"))[0] == 200 and told[1], "the job at another supernode")
    assert (job["state"], job["type"], job["args"]["url"]) == ("PENDING", "preheat", f"{base}/slow/slow")
    id = job["task_id"]
    until(lambda: (told := ask(three, "GET", f"/preheats/{id}"))[0] == 200 and told[1]["here"] > 0, "the preheat's progress")
    told = ask(three, "GET", f"/preheats/{id}")[1]
    assert (told["status"], told["supernode"], told["count"], told["tasks"][0]["status"]) == ("RUNNING", one.node, 1, "RUNNING")
    row = ask(three, "GET", f"/api/v2/preheats/{id}")[1]
    assert (row["state"], row["supernode"], row["parts"]) == ("RUNNING", one.node, 1)
    assert f"supernode:  {one.node}" in run("stat", id, nodes=(three,))
    assert run("ls", nodes=tuple(nodes)).count(id) == 1
    assert ask(three, "DELETE", f"/preheats/{id}")[0] == 200
    until(lambda: ask(one, "GET", f"/preheats/{id}")[1]["status"] == "FAILED", "its cancellation at its own supernode")
    until(lambda: ask(two, "GET", f"/preheats/{id}")[1].get("errorMsg") == "it was cancelled", "its cancellation elsewhere")
    assert ask(two, "DELETE", f"/preheats/{id}")[0] == 200
    for node in nodes:
        until(partial(lambda node: ask(node, "GET", f"/preheats/{id}")[0] == 404, node), "its removal at all supernodes")


def ended(node: Supernode, id: str) -> dict[str, Any]:
    """The status of a preheat after its end."""

    def over() -> Any:
        status, told = ask(node, "GET", f"/preheats/{id}")
        return told if status == 200 and told["status"] in ("SUCCESS", "FAILED") else None

    return dict(until(over, "the end of a preheat"))


def test_another_supernode_continues_the_preheat_of_a_killed_one(stage: Scene, options: tuple[str, ...], tmp_path: Path) -> None:
    digest, base = stage.file("f", SIZE), stage.origin(slow="512k")
    stage.file("slow", 8 * SIZE)
    one, two, three = nodes = [stage.supernode(*options) for _ in range(3)]
    members(*nodes)
    url = f"{base}/slow/f"
    waits = subprocess.Popen([*DFENGINE, "preheat", url, "--wait", "--json", *(each for node in nodes for each in ("-n", node.node))],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    stage.adopt(waits)
    # From here on, `one` is the supernode that runs it.
    one = until(lambda: next((node for node in nodes if node.metric("dfengine_origin_bytes_total")), None), "the supernode that runs it")
    two, three = others = [node for node in nodes if node is not one]
    id = ask(one, "GET", "/preheats")[1][0]["ID"]
    job = ask(one, "GET", "/oapi/v1/jobs")[1][0]
    closed = ask(one, "POST", "/preheats", {"url": f"{base}/slow/slow", "headers": {"X-Key": "hidden"}})[1]["ID"]
    stopped = ask(one, "POST", "/preheats", {"url": f"{base}/slow/slow"})[1]["ID"]
    for each in (id, closed, stopped):
        until(partial(lambda each: {ask(node, "GET", f"/preheats/{each}")[0] for node in others} == {200}, each), "every preheat elsewhere")
    assert ask(two, "DELETE", f"/preheats/{stopped}")[0] == 200
    stage.kill(one.process)
    stage.supernodes.remove(one)
    told = ended(two, id)
    assert (told["status"], told["finished"], told["here"]) == ("SUCCESS", 1, SIZE), told
    assert ask(two, "GET", f"/oapi/v1/jobs/{job['id']}")[1]["created_at"] == job["created_at"]
    until(lambda: ask(three, "GET", f"/preheats/{id}")[1]["status"] == "SUCCESS", "the preheat's end at the third supernode")
    assert stage.end(waits)["nodes"][0]["status"] == "SUCCESS"
    for node in others:
        assert "because it had credentials, which only its supernode had" in ended(node, closed)["errorMsg"]
        assert ended(node, stopped)["errorMsg"] == "it was cancelled"
    assert run("ls", nodes=tuple(others)).count(id) == 1
    for host, node in enumerate(others, 2):
        stage.get(url, f"out{host}", "--notbs", "--pattern", "cdn", host=host, nodes=(node,))
        assert stage.digest(f"out{host}") == digest


def test_a_supernode_that_was_stopped_leaves_its_preheat_to_its_successor(stage: Scene, options: tuple[str, ...]) -> None:
    stage.file("f", 2 * SIZE)
    base = stage.origin(slow="512k")
    one, two = nodes = [stage.supernode(*options) for _ in range(2)]
    members(*nodes)
    id = ask(one, "POST", "/preheats", {"url": f"{base}/slow/f"})[1]["ID"]
    until(lambda: ask(two, "GET", f"/preheats/{id}")[0] == 200, "the preheat at the other supernode")
    one.process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: "supernode" not in ask(two, "GET", f"/preheats/{id}")[1], "the preheat taken over")
    finally:
        one.process.send_signal(signal.SIGCONT)
    until(lambda: ask(one, "GET", f"/preheats/{id}")[1].get("supernode") == two.node, "the preheat given up by the first supernode")
    assert {ended(node, id)["status"] for node in nodes} == {"SUCCESS"}
    assert [each["ID"] for each in ask(one, "GET", "/preheats")[1]] == [id]
    # A cancelled preheat stays cancelled if its supernode is lost right afterwards.
    stage.file("slow", 8 * SIZE)
    id = ask(one, "POST", "/preheats", {"url": f"{base}/slow/slow"})[1]["ID"]
    until(lambda: ask(two, "GET", f"/preheats/{id}")[0] == 200, "the preheat at the other supernode")
    assert ask(one, "DELETE", f"/preheats/{id}")[0] == 200
    until(lambda: ended(two, id), "its cancellation at the other supernode")
    stage.kill(one.process)
    stage.supernodes.remove(one)
    until(lambda: two.metric("dfengine_cluster_members") == 0, "the loss of the first supernode detected")
    assert ended(two, id)["errorMsg"] == "it was cancelled"


def test_pins_and_isolated_hosts_apply_at_all_supernodes(stage: Scene, options: tuple[str, ...]) -> None:
    digest, url = stage.file("f", SIZE), stage.origin() + "/f"
    one, two = nodes = [stage.supernode(*options, "--supernode-limit", "1", "--revalidate-interval", "1h") for _ in range(2)]
    members(*nodes)
    stage.get(url, "out2", "--notbs", "--pattern", "cdn", host=2, nodes=(one,))
    [copy] = ask(one, "GET", "/api/v1/cache")[1]
    task = copy["task"]
    assert ask(one, "POST", f"/api/v1/cache/{task}", {"pinned": True})[1]["pinned"]
    stage.get(url, "out3", "--notbs", "--pattern", "cdn", host=3, nodes=(two,))
    until(lambda: ask(two, "GET", f"/api/v1/cache/{task}")[1]["pinned"], "the pin at the other supernode")
    assert not ask(two, "POST", f"/api/v1/cache/{task}", {"pinned": False})[1]["pinned"]
    until(lambda: not ask(one, "GET", f"/api/v1/cache/{task}")[1]["pinned"], "its removal at the first supernode")
    with serving((stage.www / "f").read_bytes(), flip=True) as (port, _):
        register_download(one, url, 1, port, held=True)
        hosts = iter(range(5, 60))

        def told() -> bool:
            stage.get(url, "out", "--notbs", host=next(hosts), nodes=(one,))
            assert stage.digest("out") == digest
            return one.metric("dfengine_isolated_peers") == 1

        until(told, "the host isolated by the first supernode")
        until(lambda: two.metric("dfengine_isolated_peers") == 1, "the host isolated by the second supernode")
    assert stage.digest("out3") == digest


def test_the_cluster_api_and_status_report_members_leads_and_redis(
    stage: Scene, options: tuple[str, ...], server: RedisServer
) -> None:
    stage.file("f", SIZE)
    url = stage.origin() + "/f"
    one, two = nodes = [stage.supernode(*options) for _ in range(2)]
    members(*nodes)
    for host, node in enumerate(nodes, 2):
        stage.get(url, f"out{host}", "--notbs", "--pattern", "cdn", host=host, nodes=(node,))

    def told(node: Supernode) -> dict[str, tuple[bool, int]]:
        return {each["address"]: (each["own"], each["leads"]) for each in ask(node, "GET", "/api/v2/cluster")[1]["items"]}

    until(lambda: told(one) == {one.node: (True, 1), two.node: (False, 0)}, "the tasks that each leads")
    until(lambda: told(two) == {two.node: (True, 0), one.node: (False, 1)}, "the same elsewhere")
    assert [row["leader"] for row in ask(two, "GET", "/api/v2/tasks")[1]["items"]] == [one.node]
    assert (one.metric("dfengine_cluster_tasks_led"), two.metric("dfengine_cluster_tasks_led")) == (1, 0)

    def said() -> str:
        return subprocess.run([*DFENGINE, "status", "-n", one.node], capture_output=True, text=True, check=True).stdout

    assert "cluster    1 other supernode; its Redis answers" in said()
    server.kill()
    until(lambda: not ask(one, "GET", "/api/v2/cluster")[1]["reached"], "the loss of Redis detected")
    assert "cluster    1 other supernode; its Redis does not answer" in said()
    assert ask(one, "GET", "/api/v2/cluster")[1]["failures"] > 0


def test_a_supernode_without_a_cluster_reports_that_none_is_configured(stage: Scene) -> None:
    node = stage.supernode()
    told = ask(node, "GET", "/api/v2/cluster")[1]
    assert (told["configured"], told["items"]) == (False, [])


def test_a_draining_supernode_sends_downloads_on_to_another(stage: Scene, options: tuple[str, ...]) -> None:
    stage.file("slow", 4 * SIZE)
    digest, base = stage.file("f", SIZE), stage.origin(slow="256k")
    one, two = nodes = [stage.supernode(*options, "--drain", "600s") for _ in range(2)]
    members(*nodes)
    led = stage.start_get(f"{base}/slow/slow", "led", "--pattern", "cdn", host=9, nodes=(one,))
    until(lambda: one.metric("dfengine_origin_bytes_total"), "a running download")
    one.process.terminate()
    until(lambda: status(one.node, "/readyz") == 503, "readiness 503")
    stage.get(f"{base}/f", "out", "--notbs", "--pattern", "cdn", host=2, nodes=(one,))
    assert stage.digest("out") == digest
    assert two.metric("dfengine_downloads_finished_total") == 1
    answered = ask(one, "POST", "/peer/registry", registration(f"{base}/f", 1) | {"native": 1})
    assert (answered[0], json.loads(answered[1])["alternatives"]) == (503, [two.node])
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask(one, "POST", "/peer/registry", registration(f"{base}/f", 2) | {"native": 0})
    stage.kill(led)
    stage.kill(one.process)
    stage.supernodes.remove(one)


def test_downloads_move_to_another_supernode_if_the_disk_is_full(
    small: Path, closed: Scene, options: tuple[str, ...]
) -> None:
    """Whether the disk is full before the first byte or in the middle of the file: received pieces are kept."""
    stage = closed
    digests = {"large": stage.file("large", 100 * MIB), "f": stage.file("f", 40 * MIB)}
    base = stage.origin(slow="4m")
    full, other = nodes = [stage.supernode(*options, "--disk-low", "0", "--disk-high", "0", home=home) for home in (small / "home", None)]
    members(*nodes)
    stage.get(f"{base}/large", "large", "--notbs", "--pattern", "cdn", host=2, nodes=(full,))
    assert stage.digest("large") == digests["large"]
    assert full.metric("dfengine_sent_bytes_total") == 0
    answered = ask(full, "POST", "/peer/registry", registration(f"{base}/large", 1) | {"native": 1})
    assert (answered[0], json.loads(answered[1])["alternatives"]) == (503, [other.node])
    get = stage.start_get(f"{base}/slow/f", "f", "--notbs", "--pattern", "cdn", host=3, nodes=(full,))
    until(lambda: full.metric("dfengine_sent_bytes_total") > 4 * MIB, "pieces of the file")
    before = other.metric("dfengine_sent_bytes_total")
    filled(small / "ballast")
    stage.end(get)
    assert stage.digest("f") == digests["f"]
    assert 0 < other.metric("dfengine_sent_bytes_total") - before < 40 * MIB, "pieces of the first supernode are kept"


def test_too_many_preheats_at_one_supernode_are_refused_with_alternatives(stage: Scene, options: tuple[str, ...]) -> None:
    base = stage.origin()
    one, two = nodes = [stage.supernode(*options, "--client-share", "1") for _ in range(2)]
    members(*nodes)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        image = {"type": "image", "url": f"http://127.0.0.1:{silent.getsockname()[1]}/v2/a/manifests/1"}
        for _ in range(MAX_UNDER_WAY // 100):
            assert ask(one, "POST", "/preheats", image)[0] == 201
        status, said = ask(one, "POST", "/preheats", image)
        assert (status, json.loads(said)["alternatives"]) == (429, [two.node])
        status, said = ask(one, "POST", "/oapi/v1/jobs", {"type": "preheat", "args": image})
        assert (status, json.loads(said)["alternatives"]) == (429, [two.node])
        for n in range(4):  # some of these belong to the first supernode
            stage.file(f"f{n}", 1000)
            assert "1 files, 1000 bytes" in run(f"{base}/f{n}", "--wait", nodes=(one, two))
        for job in ask(one, "GET", "/preheats")[1]:
            ask(one, "DELETE", f"/preheats/{job['ID']}")


@pytest.mark.parametrize(("native", "answered"), [(1, 503), (0, 500)])
def test_a_full_supernode_names_alternatives_to_native_clients_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: int, answered: int
) -> None:
    monkeypatch.setattr("dfengine.supernode.registered_downloads.MAX_DOWNLOADS", 0)

    async def play() -> Response:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        others = [ClusterMember(f"{n:032x}", f"10.0.0.{n}:8002", n) for n in range(20)]
        node.fetches.cluster = SimpleNamespace(others=others, close=lambda: None, release=lambda task: None)  # type: ignore[assignment]
        body = json.dumps({**registration("http://127.0.0.1:9/f", 1), "native": native}).encode()
        answer = await api_v1.register(node, Request("POST", b"/peer/registry", {}, body, "127.0.0.1"))
        await asyncio.to_thread(node.fetch_pool.close)
        node.close()
        return answer

    answer = asyncio.run(play())
    told = json.loads(answer.body)
    assert (answer.status, told["code"]) == (answered, 500)
    assert "has 0 downloads already" in told["message"]
    if native:
        assert len(told["alternatives"]) == 4
        assert set(told["alternatives"]) <= {f"10.0.0.{n}:8002" for n in range(8)}, "the supernodes that lead the fewest tasks"
        assert answer.headers == (("Retry-After", "5"),)
    else:
        assert set(told) == {"code", "message"}


@pytest.mark.parametrize("name", ["a" * 64, ""])
def test_a_leader_whose_disk_is_full_releases_the_lead_under_the_name_of_the_cluster(tmp_path: Path, name: str) -> None:
    released: list[str] = []

    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        node.fetches.cluster = SimpleNamespace(others=[], close=lambda: None, release=released.append)  # type: ignore[assignment]
        request = FetchRequest("http://127.0.0.1:9/f", cluster_name=name)
        fetch = Fetch("b" * 64, request, node.fetches._cache, lambda *_: None, node.fetches, node.fetches.room)
        fetch.error = DiskFull("No space left")
        node.fetches.fetch_failed(fetch)
        await asyncio.to_thread(node.fetch_pool.close)
        node.close()

    asyncio.run(play())
    assert released == [name] * bool(name), "a fetch without a name in the cluster leads nothing"


def test_a_host_that_was_sent_on_once_is_served_when_it_returns(tmp_path: Path) -> None:
    async def play(url: str) -> list[tuple[int, list[str]]]:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        answers: list[tuple[int, list[str]]] = []

        async def register(host: int, native: int = 1, **more: Any) -> None:
            body = json.dumps({**registration(url, host), "native": native, **more}).encode()
            answer = await api_v1.register(node, Request("POST", b"/peer/registry", {}, body, "127.0.0.1"))
            answers.append((answer.status, json.loads(answer.body).get("alternatives", [])))

        for host in (1, 2):
            await register(host)
        await register(3, native=0)
        [fetch] = node.fetch_pool.fetches.values()
        others = [ClusterMember("0" * 32, "10.0.0.1:8002")]
        node.fetches.cluster = SimpleNamespace(others=others, close=lambda: None, release=lambda task: None)  # type: ignore[assignment]
        fetch.registered_again = False
        node.fetches.fetch_redirects_hosts(fetch, "a reason")
        assert [member.native for member in node.members.values()] == [0], "a 1.x client cannot be sent to another supernode"
        assert fetch.registered_again
        fetch.registered_again = False
        for host in (1, 2):
            await register(host)
        assert not fetch.registered_again
        await register(1)
        assert fetch.registered_again, "the host found no other supernode"
        await register(4, native=0)
        await register(5, follows=True)
        await asyncio.to_thread(node.fetch_pool.close)
        node.close()
        return answers

    with Server(serve, (content(SIZE, 1),)) as server:
        answers = asyncio.run(play(f"http://{server.address}/f"))
    served: tuple[int, list[str]] = (200, [])
    sent = (503, ["10.0.0.1:8002"])
    assert answers == [served, served, served, sent, sent, served, served, served]
