"""Responses to registrations of 1.x clients, where they differ from those to our own client."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from dfengine import wire
from tests.e2e.scene import MIB, Scene, Supernode, until
from tests.e2e.test_legacy_client import JSON, LegacyClient, exchange


def register_legacy(node: Supernode, url: str, ip: str, **more: Any) -> tuple[int, Any]:
    """Status and body of the response to a 1.x client's registration."""
    client = LegacyClient(node, url, ip)
    body = {"superNodeIp": "127.0.0.1", "rawUrl": url, "taskUrl": url, "cid": client.cid, "ip": ip, "hostName": "old", "port": 0,
            "path": client.path, "version": "1.0.6", "pattern": "cdn", **more}
    status, content = exchange(node.node, "POST", "/peer/registry", JSON, json.dumps(body).encode())
    return status, json.loads(content)


def test_1x_clients_are_refused_for_a_protected_origin_and_read_it_themselves(stage: Scene) -> None:
    """Code 608 would end the real dfget; our client receives it, since it continues by itself."""
    stage.file("f.bin", MIB)
    url = stage.origin() + "/private/f.bin"
    node = stage.supernode()
    for _ in range(2):
        status, said = register_legacy(node, url, "127.0.0.41")
        assert (status, said["code"]) == (500, 500)
        assert said["message"].endswith('{"Code":12,"Msg":"url not reachable"}')
    assert register_legacy(node, url, "127.0.0.41", headers=["Authorization: Bearer secret"])[0] == 200
    assert register_legacy(node, url, "127.0.0.42", native=1)[1]["code"] == 608


def test_blanks_in_a_urls_path_and_query_are_accepted_as_by_1x(stage: Scene) -> None:
    sha = stage.file("a b.bin", MIB)
    base = stage.origin()
    node = stage.supernode()
    status, said = register_legacy(node, f"{base}/a b.bin?c=d e", "127.0.0.41")
    assert (status, said["data"]["fileLength"]) == (200, MIB)
    ours = stage.get(f"{base}/a b.bin?c=d e", "out", "--notbs", nodes=(node,))
    assert ours["task_id"] == said["data"]["taskId"], "one swarm"
    assert stage.digest("out") == sha
    for wrong in ("http://a b/f", "http://me: @h/f", f"{base}/a\tb", f"{base}/a\nb", " http://h/f"):
        assert register_legacy(node, wrong, "127.0.0.41")[0] == 500


def test_1x_clients_with_an_uppercase_md5_are_refused(stage: Scene) -> None:
    """1.x compares case-sensitively and ends without a file, with exit 0. Our client accepts upper case and joins the same swarm."""
    stage.file("f.bin", MIB)
    url = stage.origin() + "/f.bin"
    node = stage.supernode()
    md5 = hashlib.md5((stage.www / "f.bin").read_bytes()).hexdigest()
    status, said = register_legacy(node, url, "127.0.0.41", md5=md5.upper())
    assert status == 500
    assert said["message"] == f'md5: {md5.upper()}: {{"Code":2,"Msg":"invalid value"}}'
    _, lower = register_legacy(node, url, "127.0.0.41", md5=md5)
    _, upper = register_legacy(node, url, "127.0.0.42", md5=md5.upper(), native=1)
    ours = stage.get(url, "out", "-m", md5.upper(), "--notbs", nodes=(node,))
    assert lower["data"]["taskId"] == upper["data"]["taskId"] == ours["task_id"]


@pytest.mark.parametrize(("first", "then"), [(406, 200), (400, 200), (431, 200), (404, 500), (410, 500)])
def test_an_origins_refusal_of_headers_is_not_kept_for_other_clients_but_a_404_is(stage: Scene, first: int, then: int) -> None:
    """Headers that carry no credentials are not part of the task's name, and the origin may refuse a request for one of them."""
    stage.file("f.bin", MIB)
    base = stage.origin(odd=f"if ($http_accept = 'text/odd') {{ return {first}; }}")
    node = stage.supernode()
    assert register_legacy(node, f"{base}/odd/f.bin", "127.0.0.41", headers=["Accept: text/odd"])[0] == 500
    assert register_legacy(node, f"{base}/odd/f.bin", "127.0.0.42")[0] == then


@pytest.mark.parametrize("again", [False, True])
def test_native_downloads_receive_no_pieces_by_the_1x_pull(stage: Scene, again: bool) -> None:
    """Nor does a 1.x client that registers with the same CID: the md5s of the pieces may be unknown."""
    stage.file("f.bin", 9 * MIB)
    url = stage.origin() + "/f.bin"
    node = stage.supernode()
    client = LegacyClient(node, url, "127.0.0.41")
    client.task = register_legacy(node, url, "127.0.0.41", native=1)[1]["data"]["taskId"]
    until(lambda: stage.sent("/f.bin") == 9 * MIB, "the whole copy")
    if again:
        client.register()
    assert client.pull(wire.START, wire.NO_RESULT)["code"] == wire.BAD_PARAMETER
    assert node.metric("dfengine_internal_errors_total") == 0
