"""Responses to registrations of 1.x clients, where they differ from those to our own client."""

from __future__ import annotations

import hashlib
import json
import socket
from typing import Any
from urllib.parse import urlencode

import pytest

from dfengine import wire
from tests.e2e.scene import MIB, Scene, Supernode, until
from tests.e2e.standin import Origin
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
    until(lambda: stage.sent("/f.bin") >= 9 * MIB, "the whole copy")
    if again:
        client.register()
    assert client.pull(wire.START, wire.NO_RESULT)["code"] == wire.BAD_PARAMETER
    assert node.metric("dfengine_internal_errors_total") == 0


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def register_by_form(node: Supernode, url: str, *more: tuple[str, str]) -> tuple[int, Any]:
    named = [("superNodeIp", "127.0.0.1"), ("rawUrl", url), ("taskUrl", url), ("cid", "127.0.0.41-1"), ("ip", "127.0.0.41")]
    body = urlencode([*named, ("hostName", "old"), ("path", "/peer/file/x"), ("version", "1.0.6"), ("pattern", "p2p"), *more])
    status, content = exchange(node.node, "POST", "/peer/registry", FORM, body.encode())
    return status, json.loads(content)


def test_all_headers_of_a_form_are_sent_to_the_origin_and_name_the_task(stage: Scene) -> None:
    """A Range that is not the last header would otherwise be lost, and the client would receive the whole file as the range."""
    stage.file("f.bin", MIB)
    url, node = stage.origin() + "/f.bin", stage.supernode()
    given = ["Range: bytes=0-99", "X-A: 1"]
    status, said = register_by_form(node, url, *(("headers", header) for header in given))
    assert (status, said["data"]["fileLength"]) == (200, 100)
    _, same = register_legacy(node, url, "127.0.0.42", headers=given)
    assert same["data"]["taskId"] == said["data"]["taskId"]


def test_blank_fields_of_a_form_count_as_absent(stage: Scene) -> None:
    stage.file("f.bin", MIB)
    url, node = stage.origin() + "/f.bin", stage.supernode()
    status, said = register_by_form(node, url, ("port", ""), ("fileLength", ""), ("md5", ""), ("headers", ""), ("dfdaemon", ""))
    assert (status, said["code"]) == (200, 200)
    assert register_by_form(node, url, ("ip", ""), ("port", "x"))[0] == 500


def test_headers_without_a_name_or_a_value_are_skipped(stage: Scene) -> None:
    with Origin(bytes(MIB)) as origin:
        node = stage.supernode()
        given = ["NoColon", ": 1", "X-Empty:", "Range: ", " X-A : 1 ", "X-B:2"]
        assert register_legacy(node, origin.url, "127.0.0.41", headers=given)[1]["data"]["fileLength"] == MIB
        sent = {name.lower(): value for name, value in origin.headers[0].items()}
        assert (sent["x-a"], sent["x-b"]) == ("1", "2")
        assert "x-empty" not in sent
        assert register_legacy(node, origin.url, "127.0.0.41", headers=["X-A: 1\r\nX-B: 2"])[0] == 500
        assert register_legacy(node, origin.url, "127.0.0.41", headers=["X A: 1"])[0] == 500


@pytest.mark.parametrize("ip", ["not-an-ip", "localhost", "1.2.3", "300.1.1.1", "a b", "127.0.0.1 ", "::1%lo", "0x7f000001"])
def test_an_ip_that_is_no_address_is_refused(stage: Scene, ip: str) -> None:
    status, said = register_legacy(stage.supernode(), stage.origin() + "/f.bin", ip)
    assert (status, said["code"]) == (500, 500)
    assert "ip in body must be of type ipv4" in said["message"]


def test_a_registration_is_deferred_before_1x_gives_up_waiting(stage: Scene) -> None:
    """Its dfget waits 5 s for an answer, and registers again at code 609."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        node = stage.supernode()
        status, said = register_legacy(node, f"http://127.0.0.1:{silent.getsockname()[1]}/f", "127.0.0.41")
        assert (status, said["code"]) == (200, wire.WAIT_AUTH)


def test_the_status_of_a_pull_is_checked_before_its_client_and_the_result_only_of_a_report(stage: Scene) -> None:
    stage.file("f.bin", MIB)
    url, node = stage.origin() + "/f.bin", stage.supernode()
    client = LegacyClient(node, url, "127.0.0.41")
    client.register()
    until(lambda: stage.sent("/f.bin") >= MIB, "the whole copy")

    def code(query: str, cid: str = client.cid) -> int:
        status, content = exchange(node.node, "GET", f"/peer/task?taskId={client.task}&srcCid={cid}&{query}")
        assert status == 200
        return int(json.loads(content)["code"])

    assert code("status=702") == code("status=702&result=x") == wire.FINISHED
    assert code("status=700") in (wire.CONTINUE, wire.WAIT)
    assert code("status=700&result=") in (wire.CONTINUE, wire.WAIT)
    assert code("status=701&range=0-4194303") == code("status=701&range=0-4194303&result=x") == wire.BAD_PARAMETER
    for status in ("status=abc", "status=", "status=0700", "status=999", ""):
        _, content = exchange(node.node, "GET", f"/peer/task?taskId={client.task}&srcCid={client.cid}&result=502&{status}")
        said = json.loads(content)
        assert said["code"] == wire.BAD_PARAMETER
        assert said["msg"].startswith("failed to convert piece result (INVALID) dfgetTaskStatus ()")
    _, content = exchange(node.node, "GET", f"/peer/task?taskId={client.task}&srcCid={client.cid}&status=701&range=x&result=999")
    assert json.loads(content)["msg"].startswith("pieceRange: x")
    assert code("status=7", "stranger") == code("status=", "stranger") == code("result=502", "stranger") == wire.BAD_PARAMETER
    assert code("status=700&result=502", "stranger") == wire.NOT_FOUND


def test_a_report_of_a_missing_file_needs_no_range(stage: Scene) -> None:
    """1.x's dfget sends every field, without a value where it has none."""
    stage.file("f.bin", MIB)
    url, node = stage.origin() + "/f.bin", stage.supernode()
    client = LegacyClient(node, url, "127.0.0.41")
    client.register()
    about = f"srcCid={client.cid}&dstCid=x&dstIp=&taskId={client.task}&range=&realMd5=&expectedMd5="
    assert exchange(node.node, "GET", f"/peer/piece/error?errorType=FILE_NOT_EXIST&{about}") == (200, b"")


def test_reports_of_failed_pieces_are_answered_alike_whatever_their_fields(stage: Scene) -> None:
    """1.x checks none of them."""
    stage.file("f.bin", MIB)
    url, node = stage.origin() + "/f.bin", stage.supernode()
    client = LegacyClient(node, url, "127.0.0.41")
    client.register()
    right = {"errorType": "FILE_MD5_NOT_MATCH", "srcCid": client.cid, "dstCid": f"cdnnode:127.0.0.1~{client.task}", "taskId": client.task,
             "range": "0-4194303", "dstIp": "", "realMd5": "", "expectedMd5": ""}
    for wrong in (
        {}, {"srcCid": "stranger"}, {"dstCid": "stranger"}, {"taskId": "ab" * 32}, {"range": ""}, {"range": "x"},
        {"range": "41943040-46137343"}, {"errorType": "x"}, {"errorType": ""},
    ):
        assert exchange(node.node, "GET", f"/peer/piece/error?{urlencode(right | wrong)}") == (200, b""), wrong
    assert exchange(node.node, "GET", "/peer/piece/error") == (200, b"")
    assert node.metric("dfengine_internal_errors_total") == 0


@pytest.mark.parametrize(("path", "answer"), [("heartbeat", b'{"seedTaskIDs":null}\n'), ("network", b'{"nodes":null}\n')])
def test_requests_of_seeds_need_no_body(stage: Scene, path: str, answer: bytes) -> None:
    node = stage.supernode()
    for body in (b"", b"null", b"{}", b' {"cid": 7}'):
        assert exchange(node.node, "POST", f"/peer/{path}", JSON, body) == (200, answer)


@pytest.mark.parametrize("path", ["/peer/registry", "/v1.0.6/peer/registry", "/peer/heartbeat", "/peer/network", "/task/metrics"])
def test_unreadable_bodies_are_refused_as_1x_refuses_them(stage: Scene, path: str) -> None:
    """And with 400 on the paths of native clients, which 1.x lacks."""
    node = stage.supernode()
    ours = {"registry": "join", "heartbeat": "alive", "network": "network", "metrics": "report"}[path.rpartition("/")[2]]
    optional = path in ("/peer/heartbeat", "/peer/network")
    for body in (b"x", b"[]", b"{", b'{"a":"\xff"}', *(() if optional else (b"", b"null"))):
        status, content = exchange(node.node, "POST", path, JSON, body)
        assert (status, json.loads(content)["code"]) == (500, 500), body
    for body in (b"x", b"[]", b"{"):
        assert exchange(node.node, "POST", f"/swarm/{ours}", JSON, body)[0] == 400, body
    assert node.metric("dfengine_internal_errors_total") == 0
