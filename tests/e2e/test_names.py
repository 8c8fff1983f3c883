"""Requests that name a download are accepted from its own client only."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from tests.e2e.scene import Scene, Supernode
from tests.e2e.test_faults import registration
from tests.e2e.test_shares import ALICE, BOB, ask, line

SIZE = 9 << 20
PIECE = "0-4194303"


def asked(connection: http.client.HTTPConnection, path: str) -> tuple[int, Any]:
    """Status and JSON of one GET."""
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, json.loads(body) if body else None


def prepared(stage: Scene) -> tuple[Supernode, dict[str, Any]]:
    stage.file("f", SIZE)
    about = registration(stage.origin() + "/f", 1) | {"port": 15002}
    return stage.supernode("--revalidate-interval", "1h"), about


def peers(node: Supernode) -> int:
    return len(json.loads(node.get("/peers")))


def test_requests_that_name_another_clients_download_are_refused(stage: Scene) -> None:
    node, about = prepared(stage)
    hers, his = line(node, ALICE), line(node, BOB)
    task, cid = ask(hers, "/peer/registry", about)["data"]["taskId"], about["cid"]
    for report in ({"held": [[0, 3]]}, {"done": [[0, ""]]}, {"failed": [[0, "x", "digest"]]}, {"evicted": [[0, 1]]}, {"want": 1}):
        assert ask(his, "/swarm/pull", {"task": task, "cid": cid, **report})["code"] == 502
    about_him = ask(his, "/peer/registry", about | {"cid": "his"})
    assert about_him["code"] == 200
    pulled = ask(his, "/swarm/pull", {"task": task, "cid": "his", "want": 3, "wait": 20})
    assert {source[0][:8] for _, _, sources in pulled["offers"] for source in sources} == {"cdnnode:"}, "her download has no reported piece"
    for path in (
        f"/peer/task?taskId={task}&srcCid={cid}&status=702&result=501&dstCid=x&range={PIECE}",
        f"/peer/piece/suc?taskId={task}&cid={cid}&pieceRange={PIECE}",
        f"/peer/service/down?taskId={task}&cid={cid}",
    ):
        status, answer = asked(his, path)
        assert (status, answer["code"]) in ((200, 502), (500, 500)), path
    # It has no effect, and the same response as any other.
    report_error = f"/peer/piece/error?taskId={task}&srcCid={cid}&range={PIECE}&errorType=FILE_NOT_EXIST&dstCid=x"
    assert asked(his, report_error) == (200, None)
    assert peers(node) == 2
    assert ask(hers, "/swarm/pull", {"task": task, "cid": cid, "held": [[0, 3]]})["code"] == 611
    assert asked(hers, f"/peer/service/down?taskId={task}&cid={cid}") == (200, {"code": 612})
    assert peers(node) == 1
    his.close()
    hers.close()


def test_a_cid_belongs_to_its_client_until_that_disconnects(stage: Scene) -> None:
    node, about = prepared(stage)
    hers, his = line(node, ALICE), line(node, BOB)
    task, cid = ask(hers, "/peer/registry", about)["data"]["taskId"], about["cid"]
    assert ask(hers, "/swarm/pull", {"task": task, "cid": cid, "held": [[0, 3]]})["code"] == 611
    refused = ask(his, "/peer/registry", about)
    assert refused["code"] == 500
    assert "another client" in refused["message"]
    hers.close()
    # The end of her connection and his registration may arrive in either order.
    while (answer := ask(his, "/peer/registry", about))["code"] == 500:
        assert "another client" in answer["message"]
    pulled = ask(his, "/swarm/pull", {"task": task, "cid": cid, "want": 3, "wait": 20})
    assert pulled["offers"], "her pieces do not count as his"
    again = line(node, ALICE)
    assert ask(again, "/swarm/pull", {"task": task, "cid": cid, "want": 3})["code"] == 502
    again.close()
    his.close()


@pytest.mark.parametrize(
    "wrong",
    [{"cid": "cdnnode:1.2.3.4~x"}, {"hostName": "h" * 1025}, {"location": "l" * 1025}, {"callSystem": "c" * 1025}, {"version": "v" * 1025},
     {"superNodeIp": "s" * 1025}, {"cid": "c" * 1025}, {"headers": ["a: " + "b" * 10000] * 2}, {"url": "?" + "x" * (16 << 10)}],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_invalid_registrations_are_rejected_before_the_origin_is_read(stage: Scene, wrong: dict[str, Any]) -> None:
    node, about = prepared(stage)
    url = about["rawUrl"] + wrong.get("url", "")
    hers = line(node, ALICE)
    answer = ask(hers, "/peer/registry", about | {"rawUrl": url, "taskUrl": url} | wrong)
    assert answer["code"] == 500
    assert '"Code":2' in answer["message"]
    assert not stage.requests()
    hers.close()
