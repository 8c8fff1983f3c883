"""Recorded exchanges of 1.x programs, replayed against dfengine's servers: the same status and the same JSON fields.

The samples in tests/wire were recorded on loopback. Times, host names, ids, addresses and ports differ, and so do the digests of
random files; everything else must equal the recording. Before each group the swarm is brought into the state of the recording.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.e2e.scene import Scene, Supernode, until
from tests.e2e.standin import LegacyPeer

SAMPLES = Path(__file__).parent.parent / "wire"
SIZE = 9_000_000
PIECE = 4 << 20
AS_RECORDED = ("code", "pieceNum", "pieceSize", "range", "downLink", "fileLength")


def sample(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((SAMPLES / f"{name}.json").read_text())
    return found


class Replay:
    """Sends recorded requests to the addresses of this test, with its task ids in place of the recorded ones."""

    def __init__(self, stage: Scene, node: Supernode, origin: str) -> None:
        self.stage, self.node, self.origin = stage, node, origin
        self.tasks: dict[str, str] = {}
        self.peers: dict[str, LegacyPeer] = {}

    def translate(self, text: str) -> str:
        text = text.replace("http://127.0.0.1:8000", self.origin)
        for old, new in self.tasks.items():
            text = text.replace(old, new)
        return text

    def send(self, exchange: dict[str, Any], address: str = "") -> tuple[int, dict[str, str], bytes]:
        request = exchange["request"]
        host = address or (self.node.download if exchange["to"].endswith(":8001") else self.node.node)
        headers = {name: value for name, value in request["headers"].items() if name not in ("Content-Length", "Host")}
        line = http.client.HTTPConnection(host, timeout=20)
        target, body = self.translate(request["target"]), self.translate(request["body"])
        target = re.sub(r"/download/.../", lambda _: f"/download/{target.rpartition('/')[2][:3]}/", target)
        line.request(request["method"], target, body.encode() or None, headers)
        answer = line.getresponse()
        content = answer.read()
        line.close()
        return answer.status, dict(answer.headers), content

    def register(self, name: str, cid: str, ip: str = "127.0.0.7") -> str:
        """Send a plain 1.x registration; return the task id. The recorded ports may be in use: each address gets a free one."""
        if ip not in self.peers:
            self.peers[ip] = LegacyPeer(ip, 0)
        body = {
            "superNodeIp": "127.0.0.1", "rawUrl": f"{self.origin}/{name}", "taskUrl": f"{self.origin}/{name}", "cid": cid, "ip": ip,
            "hostName": "vm", "port": self.peers[ip].port, "path": f"/peer/file/{cid}", "version": "1.0.6",
        }
        line = http.client.HTTPConnection(self.node.node, timeout=20)
        line.request("POST", "/peer/registry", json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(line.getresponse().read())
        line.close()
        until(lambda: self.node.metric("dfengine_unproved_peers") == 0, "the supernode's proof of the peer")
        return str(answer["data"]["taskId"])

    def close(self) -> None:
        for peer in self.peers.values():
            peer.stop()

    def ask(self, target: str) -> Any:
        """GET on the control port, as JSON."""
        return json.loads(self.node.get(target))


def shape(value: Any) -> Any:
    """A value's fields and types; for the fields in AS_RECORDED the values, too."""
    if isinstance(value, dict):
        return {key: item if key in AS_RECORDED else shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def words(text: str) -> str:
    """A message with its ids and addresses replaced."""
    text = re.sub(r"[0-9a-f]{64}", "<task>", text)
    text = re.sub(r"http://127\.0\.0\.1:\d+", "<origin>", text)
    return re.sub(r"[\w.-]*127\.0\.0\.\d+-[\d.-]+", "<id>", text)


def same(recorded: dict[str, Any], answer: tuple[int, dict[str, str], bytes], texts: bool = True) -> None:
    status, headers, content = answer
    assert status == recorded["status"], content
    for name in ("Content-Type", "X-Content-Type-Options"):
        assert headers.get(name) == recorded["headers"].get(name)
    body = recorded["body"]
    if headers["Content-Type"].startswith("application/json"):
        theirs, ours = json.loads(body), json.loads(content)
        assert shape(ours) == shape(theirs)
        assert content.endswith(b"\n")
        assert list(ours) == list(theirs)
        for key in ("msg", "message"):
            if texts and isinstance(theirs, dict) and key in theirs:
                assert words(ours[key]) == words(theirs[key])
    elif status < 300:
        assert words(content.decode()) == words(body)


@pytest.fixture
def replay(stage: Scene) -> Iterator[Replay]:
    """Two files of the recorded length, an empty one and one of ten pieces. At the end the clients and their leases are removed."""
    for name in ("f9n", "f9m"):
        stage.file(name, SIZE)
    stage.file("f0", 0)
    stage.file("f40", 40_000_000)
    made = Replay(stage, stage.supernode(), stage.origin())
    yield made
    for peer in made.ask("/peers"):
        request = urllib.request.Request(f"http://{made.node.node}/peers/{quote(peer['ID'])}", method="DELETE")
        urllib.request.urlopen(request, timeout=20).close()
    made.close()


def test_recorded_registrations(replay: Replay) -> None:
    for exchange in sample("registry"):
        same(exchange["response"], replay.send(exchange))


def ready(replay: Replay, task: str, cid: str) -> None:
    """Wait until the supernode has every piece of the task and their md5s."""
    until(lambda: replay.ask(f"/api/v1/tasks/{task}")["realMd5"], f"md5 of {task}")


def recorded_task(exchange: dict[str, Any]) -> str:
    target: str = exchange["request"]["target"]
    return parse_qs(urlsplit(target).query)["taskId"][0]


def recorded_cid(exchange: dict[str, Any]) -> str:
    target: str = exchange["request"]["target"]
    query = parse_qs(urlsplit(target).query)
    return (query.get("srcCid") or query["cid"])[0]


def test_a_first_pull_before_any_piece_is_answered_with_wait(stage: Scene) -> None:
    stage.file("f9n", SIZE)
    origin = stage.origin(slow="1k") + "/slow"  # no piece arrives, however long this test takes
    replay = Replay(stage, stage.supernode(), origin)
    exchange = sample("pull")[0]
    cid = recorded_cid(exchange)
    replay.tasks[recorded_task(exchange)] = replay.register("f9n", cid, "127.0.0.12")
    same(exchange["response"], replay.send(exchange))
    replay.close()
    stage.nginx.terminate()


def test_recorded_pulls_and_reports_of_three_clients(replay: Replay) -> None:
    """The recording's f9n: one client fetches from the supernode, the second from the first, the third from both."""
    pulls = [exchange for exchange in sample("pull") if "4c2d90e5" in exchange["request"]["target"]]
    reports = [exchange for exchange in sample("report") if "4c2d90e5" in exchange["request"]["target"]]
    task = replay.register("f9n", recorded_cid(pulls[0]), "127.0.0.12")
    replay.tasks[recorded_task(pulls[0])] = task
    ready(replay, task, recorded_cid(pulls[0]))
    for client in ("127.0.0.12", "127.0.0.13", "127.0.0.14"):
        mine = [exchange for exchange in pulls if recorded_cid(exchange).startswith(client)]
        cid = recorded_cid(mine[0])
        if client != "127.0.0.12":
            replay.register("f9n", cid, client)
        offers = next(exchange for exchange in mine if '"code":601' in exchange["response"]["body"])
        answer = replay.send(offers)
        same_offers(replay, offers["response"], answer)
        told = [exchange for exchange in reports if recorded_cid(exchange) == cid]
        running = [exchange for exchange in mine if "status=701" in exchange["request"]["target"]]
        waits = [exchange for exchange in running if '"code":602' in exchange["response"]["body"]]
        finish = next(exchange for exchange in mine if '"code":600' in exchange["response"]["body"])
        assert len(told) == 3
        same(waits[0]["response"], replay.send(waits[0]))
        for exchange in told[:2]:
            same(exchange["response"], replay.send(exchange))
        same(waits[-1]["response"], replay.send(waits[-1]))
        same(told[2]["response"], replay.send(told[2]))
        same(finish["response"], replay.send(finish))


def same_offers(replay: Replay, recorded: dict[str, Any], answer: tuple[int, dict[str, str], bytes]) -> None:
    """Check that the same pieces are offered; their order and the choice among equal sources are the scheduler's."""
    theirs, ours = json.loads(recorded["body"]), json.loads(answer[2])
    assert (answer[0], ours["code"]) == (200, 601)
    by_number = {piece["pieceNum"]: piece for piece in ours["data"]}
    assert sorted(by_number) == [piece["pieceNum"] for piece in theirs["data"]]
    for piece in theirs["data"]:
        mine = by_number[piece["pieceNum"]]
        assert list(mine) == list(piece)
        for field in ("range", "pieceSize", "downLink"):
            assert mine[field] == piece[field]
        assert mine["pieceMd5"].partition(":")[2] == piece["pieceMd5"].partition(":")[2]
        assert re.fullmatch(r"[0-9a-f]{32}", mine["pieceMd5"].partition(":")[0])
        if piece["cid"].startswith("cdnnode:"):
            assert mine["cid"] == replay.translate(piece["cid"])
            assert (mine["peerIp"], mine["path"]) == ("127.0.0.1", f"/download/{mine['cid'][-64:][:3]}/{mine['cid'][-64:]}")
            assert mine["peerPort"] == int(replay.node.download.rpartition(":")[2])
        else:
            assert mine["peerIp"] in ("127.0.0.12", "127.0.0.13")
            assert mine["peerPort"] == replay.peers[mine["peerIp"]].port
            assert mine["path"] == f"/peer/file/{mine['cid']}"


def test_recorded_pulls_with_limits_and_bad_parameters(replay: Replay) -> None:
    """The recording's cZ and cY (more pieces than a client may fetch at once) and cC (failures and bad parameters)."""
    exchanges = sample("pull")
    large = [exchange for exchange in exchanges if "efc3de1d" in exchange["request"]["target"]]
    task = replay.register("f40", "cZ")
    replay.tasks[recorded_task(large[0])] = task
    ready(replay, task, "cZ")
    first = replay.send(large[0])
    theirs, ours = json.loads(large[0]["response"]["body"]), json.loads(first[2])
    assert len(ours["data"]) == len(theirs["data"]) == 4
    numbers = [piece["pieceNum"] for piece in ours["data"]]
    same(large[1]["response"], replay.send(large[1]))
    # The content is received but not written: the client may fetch more, but the supernode's slots are still in use.
    arrived = f"/peer/task?srcCid=cZ&dstCid=cdnnode:127.0.0.1~{task}&range={ours['data'][0]['range']}&result=503&status=701&taskId={task}"
    waits = replay.ask(arrived)
    assert waits == json.loads(large[2]["response"]["body"])
    written = f"/peer/piece/suc?taskId={task}&cid=cZ&dstCid=cdnnode:127.0.0.1~{task}&pieceRange={ours['data'][0]['range']}"
    assert replay.ask(written) == {"code": 611}
    again = replay.ask(arrived)
    assert (again["code"], len(again["data"])) == (601, 1)
    assert again["data"][0]["pieceNum"] not in numbers
    replay.register("f40", "cY", "127.0.0.8")
    other = json.loads(replay.send(large[4])[2])
    # The supernode's slots, by which this test reads no byte, expire after a second: then the supernode offers pieces, too.
    from_peers = [piece for piece in other["data"] if not piece["cid"].startswith("cdnnode:")]
    assert (other["code"], [piece["cid"] for piece in from_peers]) == (601, ["cZ"])
    assert [piece["pieceNum"] for piece in from_peers] == numbers[:1]

    small = [exchange for exchange in exchanges if re.search("srcCid=(cC|nobody)&", exchange["request"]["target"])]
    task = replay.register("f9m", "cC")
    replay.tasks["99f9cd94204431a8f4b6065fb95a033722f2b79d61694ef6a916bee4f105d70c"] = task
    ready(replay, task, "cC")
    same_offers(replay, small[0]["response"], replay.send(small[0]))
    for exchange in small[1:]:
        same(exchange["response"], replay.send(exchange))


def test_recorded_pieces_of_the_download_port(replay: Replay) -> None:
    for exchange in sample("cdn_piece"):
        recorded = exchange["response"]
        task = exchange["request"]["target"].rpartition("/")[2]
        if task not in replay.tasks:
            replay.tasks[task] = replay.register("f9n" if task.startswith("4c2") else "f9m", f"c{task[:3]}")
            ready(replay, replay.tasks[task], "")
        status, headers, content = replay.send(exchange)
        assert status == recorded["status"]
        assert headers["Content-Range"] == recorded["headers"]["Content-Range"]
        if "piece" in recorded:
            assert headers["Content-Type"] == recorded["headers"]["Content-Type"]
            assert len(content) == recorded["piece"]["length"] == int(headers["Content-Length"])
            assert content[:4].hex() == recorded["piece"]["first"][:8]
            assert content[-1:].hex() == recorded["piece"]["last"][-2:]
            number = int(re.findall(r"\d+", exchange["request"]["headers"]["Range"])[0]) // PIECE
            raw = (replay.stage.www / ("f9n" if task.startswith("4c2") else "f9m")).read_bytes()
            assert content[4:-1] == raw[number * (PIECE - 5) :][: PIECE - 5]


def test_recorded_exchanges_of_an_empty_file(replay: Replay) -> None:
    for exchange in sample("empty_file"):
        if exchange["to"].startswith("127.0.0.1:"):
            target = exchange["request"]["target"]
            if '"code":602' in exchange["response"].get("body", "") or target == "/task/metrics":
                continue
            answer = replay.send(exchange)
            if target == "/peer/registry":
                replay.tasks["1f5ffac16b12071269491f76317d63b39586a205a3ebf47897dcb7d2b5098b41"] = json.loads(answer[2])["data"]["taskId"]
                ready(replay, json.loads(answer[2])["data"]["taskId"], "")
            if "piece" in exchange["response"]:
                assert (answer[0], answer[2].hex()) == (206, "040000007f")
                assert answer[1]["Content-Range"] == "bytes 0-4/5"
                continue
            same(exchange["response"], answer)
            if '"code":601' in exchange["response"].get("body", ""):
                assert json.loads(answer[2])["data"][0]["pieceMd5"] == "d6991051769098273e82477afd2bb93e:5"
            if '"code":600' in exchange["response"].get("body", ""):
                assert json.loads(answer[2])["data"] == {"fileLength": 5, "md5": "d41d8cd98f00b204e9800998ecf8427e"}


def test_recorded_deregistrations(replay: Replay) -> None:
    exchanges = sample("service_down")
    replay.tasks[recorded_task(exchanges[0])] = replay.register("f9n", recorded_cid(exchanges[0]), "127.0.0.14")
    replay.tasks[recorded_task(exchanges[1])] = replay.register("f9m", "cC")
    same(exchanges[0]["response"], replay.send(exchanges[0]))
    same(exchanges[1]["response"], replay.send(exchanges[1]))
    same(exchanges[2]["response"], replay.send(exchanges[2]), texts=False)
    assert "has been offline" in json.loads(replay.send(exchanges[2])[2])["message"]


def test_recorded_requests_to_other_routes_of_the_control_port(replay: Replay) -> None:
    for exchange in sample("misc"):
        target = exchange["request"]["target"]
        if not exchange["to"].endswith(":8002"):
            continue
        if target == "/task/metrics":
            # 1.x responds with `null`, so that its client, which expects code 1, sends every report twice.
            assert json.loads(replay.send(exchange)[2]) == {"code": 1, "msg": "success"}
            continue
        if target.startswith("/api/v1/tasks/"):
            replay.tasks[target.rpartition("/")[2]] = replay.register("f9m", "cM")
            ready(replay, replay.tasks[target.rpartition("/")[2]], "")
        answer = replay.send(exchange)
        if target == "/version":
            assert sorted(json.loads(answer[2])) == sorted(json.loads(exchange["response"]["body"]))
            continue
        same(exchange["response"], answer)


def test_routes_exist_under_their_native_names_and_with_a_version_prefix(replay: Replay) -> None:
    task = replay.register("f9n", "c1")
    ready(replay, task, "c1")
    assert replay.ask(f"/swarm/next?srcCid=c1&dstCid=&range=&result=502&status=700&taskId={task}")["code"] == 601
    assert replay.ask(f"/v1.0/peer/task?srcCid=c1&status=702&result=501&taskId={task}") == {"code": 600}
    for target in ("/ping", "/v1/_ping", "/v2.0.1/version", "/metrics", "/peers", "/preheats"):
        assert replay.node.get(target)
    assert replay.ask(f"/tasks/{task}") == replay.ask(f"/v1/api/v1/tasks/{task}")


def test_recorded_requests_to_a_peer_server(stage: Scene) -> None:
    """peer_piece, local and misc: the responses of 1.x's peer server for a file of the same length."""
    stage.file("f9n", SIZE)
    node = stage.supernode()
    stage.get(stage.origin() + "/f9n", "out", nodes=(node,))
    pid = stage.peer_pid()
    lock = json.loads((stage.path / "home-2" / "peer.lock").read_text())
    assert lock["pid"] == pid
    name = next((stage.path / "home-2" / "data").iterdir()).name
    raw = (stage.path / "out").read_bytes()
    replay = Replay(stage, node, "")
    for exchange in sample("peer_piece"):
        request, recorded = exchange["request"], exchange["response"]
        asked = {"request": {**request, "target": f"/peer/file/{name}"}, "to": ""}
        status, headers, content = replay.send(asked, f"{lock['ip']}:{lock['port']}")
        if recorded["headers"].get("Transfer-Encoding") == "chunked":
            # For a piece past the end 1.x sends 206 and five bytes whose head announces a negative length. HTTP requires 416.
            assert status == 416
            continue
        assert status == recorded["status"], content
        if "piece" in recorded:
            assert headers["Content-Type"] == recorded["headers"]["Content-Type"]
            number = int(request["headers"].get("Piecenum") or request["headers"]["pieceNum"])
            first = int(re.findall(r"\d+", request["headers"]["Range"])[0])
            assert len(content) == recorded["piece"]["length"]
            assert (content[:4].hex(), content[-1:].hex()) == (recorded["piece"]["first"][:8], "7f")
            assert content[4:-1] == raw[first - 5 * number :][: len(content) - 5]
        else:
            assert headers["X-Content-Type-Options"] == recorded["headers"]["X-Content-Type-Options"]
        if "piece" not in recorded and status != 416:
            assert content.decode().split(":")[0] == recorded["body"].strip().split(":")[0] or status == 400
    for exchange in [*sample("local"), *sample("misc")]:
        if not exchange["to"].endswith(":15002"):
            continue
        target = re.sub(r"(/check/|/rate/|taskFileName=)[^&]+", lambda match: match[1] + name, exchange["request"]["target"])
        answer = replay.send({"request": {**exchange["request"], "target": target}, "to": ""}, f"{lock['ip']}:{lock['port']}")
        assert answer[0] == exchange["response"]["status"]
        if "/check/" in target:
            assert re.fullmatch(re.escape(name) + r"@[\d.]+", answer[2].decode())
        elif "/nosuch" not in target:
            assert answer[2].decode() == exchange["response"]["body"]
        else:
            assert answer[2].decode() == "failed to get taskPath: nosuch\n"
