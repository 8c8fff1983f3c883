"""False claims about shared content: wrong bytes, wrong announcements, and hostile messages to the routes of announcements."""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path
from typing import Any

from dfengine import codes
from dfengine.storage import content_digests, shared_content
from dfengine.storage.home import Home
from dfengine.task import task_id
from tests.e2e.scene import DFENGINE, Scene, Supernode, until
from tests.e2e.test_sharing import SIZE, UNSHARED, announce, claim, df_name, make_file


def start_lying_host(stage: Scene, node: Supernode, truth: Path, lie: Path, host: int = 8) -> None:
    """Start a host that shares the bytes of one file under the name of another; its pieces match the digests that it announces."""
    home = Home(str(stage.path / f"home-{host}"))
    stage.homes.add(Path(home.path))
    found, name = content_digests.read(str(lie), ("xxh3",)), "df-lie"
    end = time.time() + 999.0
    shared = shared_content.SharedContent(name, df_name(truth), found.path, found.length, "liar", f"127.0.0.{host}", [node.node], [], end)
    shared_content.publish(home, shared, found, task_id(shared.url))
    stage._start([*DFENGINE, "peer", "--home", home.path, "--ip", f"127.0.0.{host}"], subprocess.DEVNULL)
    until(lambda: announce(node, claim(truth, cid="asks"))["code"] == codes.CONTINUE and node.metric("dragonfly_supernode_tasks") > 0,
          "the false announcement")


def test_wrong_content_is_not_delivered_and_its_sharer_is_distrusted(stage: Scene) -> None:
    node, truth, lie = stage.supernode(), make_file(stage, "truth"), make_file(stage, "lie", SIZE)
    start_lying_host(stage, node, truth, lie)
    said = stage.get(df_name(truth), "out", nodes=(node,), status=5)
    assert "sha256" in said
    assert not (stage.path / "out").exists()
    stage.share(truth, nodes=(node,), host=9)
    stage.get(df_name(truth), "out", host=3, nodes=(node,))
    assert df_name(stage.path / "out") == df_name(truth)


def test_of_two_sharers_with_different_digests_the_false_one_is_refused(stage: Scene) -> None:
    node, truth, lie = stage.supernode(), make_file(stage, "truth"), make_file(stage, "lie", SIZE)
    start_lying_host(stage, node, truth, lie)
    stage.share(truth, "--replicas", "1", nodes=(node,))
    stage.get(df_name(truth), "out", nodes=(node,))
    assert df_name(stage.path / "out") == df_name(truth)
    digests = content_digests.read(str(lie), ("xxh3",)).digests["xxh3"]
    late = announce(node, claim(truth, cid="late", digests=base64.b64encode(digests).decode()))
    assert late["code"] not in (codes.SUCCESS, codes.WAIT, codes.CONTINUE), late


def test_a_forged_claim_does_not_outlast_a_failed_download(stage: Scene) -> None:
    node, truth = stage.supernode(), make_file(stage, "truth")
    forged = base64.b64encode(bytes(16 * 6)).decode()
    assert announce(node, claim(truth, digests=forged))["code"] == codes.SUCCESS
    stage.get(df_name(truth), "out", nodes=(node,), status=3)
    stage.share(truth, "--replicas", "1", nodes=(node,))
    stage.get(df_name(truth), "out", host=3, nodes=(node,))
    assert df_name(stage.path / "out") == df_name(truth)


def test_malformed_announcements_are_refused_without_effect(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage, "own", 1000)
    right = claim(path)
    fields: dict[str, list[Any]] = {
        "name": ["", "http://127.0.0.1/x", "df:sha256:", UNSHARED.upper(), UNSHARED + "0", "df:md5:" + "0" * 32, 7, None, "x" * 5000],
        "cid": ["", "a\nb", "cdnnode:x", "x" * 2000, 7], "ip": ["", "a\0b", 7], "port": [0, 22, -1, 70000, 1 << 70, "15001"],
        "path": ["", "/", "/etc/passwd", "/peer/file/../x", "/peer/file/%2e%2e", "/peer/file/a/b"],
        "length": [-1, 1 << 63, 1.5, "1"], "digests": ["A", "AAAA", "A" * 64, 7, [1]], "keep": [-1, "x", 1e300],
    }  # fmt: skip
    wrong: list[Any] = [
        b"", b"[]", b"\xff", b"{" * 5000, b"x" * (1 << 21),
        *({**right, field: value} for field, values in fields.items() for value in values),
    ]  # fmt: skip
    for message in wrong:
        answer = announce(node, message)
        refused = answer["status"] in (0, 400, 413) or answer["code"] not in (codes.SUCCESS, codes.CONTINUE, codes.WAIT)
        assert refused, (message, answer)
    assert announce(node, {**right, "length": 1 << 61, "digests": "A" * 64})["code"] not in (codes.SUCCESS, codes.CONTINUE)
    assert node.metric("dfengine_internal_errors_total") == 0
    assert node.metric("dragonfly_supernode_dfgettasks") == 0
    name = stage.share(path, nodes=(node,)).strip()
    stage.get(name, "out", nodes=(node,))
    # Announcements from another client cannot end the share.
    [shared] = shared_content.listed(Home(str(stage.path / "home-9")))
    for more in ({"withdrawn": True}, {"port": 15002}, {}):
        assert announce(node, {**right, "cid": shared.cid, **more}, "127.0.0.77")["code"] != codes.SUCCESS
    stage.get(name, "more", host=3, nodes=(node,))
