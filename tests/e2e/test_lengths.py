"""A supernode accepts files up to --max-length; downloads of longer files are refused with the reason and read the origin."""

from __future__ import annotations

import pytest

from tests.e2e.scene import Scene
from tests.e2e.standin import Origin
from tests.e2e.test_faults import post, registration

LONG = 9 << 20


def test_a_file_beyond_max_length_is_refused_and_read_from_the_origin(stage: Scene) -> None:
    stage.file("long", LONG)
    url = stage.origin() + "/long"
    node = stage.supernode("--max-length", "8M")
    refusal = post(node, "/peer/registry", registration(url, 1))
    assert refusal["code"] == 500
    assert "--max-length" in refusal["message"]
    assert stage.get(url, "out", nodes=(node,))["length"] == LONG
    assert "--max-length" in stage.get(url, "none", "--notbs", nodes=(node,), status=3)
    copies = [path for path in (node.home / "download").rglob("*") if path.is_file()]
    assert not copies, "no copy was started"
    stage.file("short", 8 << 20)
    assert stage.get(url.replace("long", "short"), "short", "--notbs", nodes=(node,))["length"] == 8 << 20


def test_a_file_of_unknown_length_beyond_max_length_arrives_complete(stage: Scene) -> None:
    node = stage.supernode("--max-length", "8M")
    with Origin(bytes(LONG), ranges=False, chunked=True) as origin:
        assert stage.get(origin.url, "out", nodes=(node,))["length"] == LONG
        stage.get(origin.url, "none", "--notbs", nodes=(node,), status=3)
    assert (stage.path / "out").read_bytes() == bytes(LONG)
    assert not [path for path in (node.home / "download").rglob("*") if path.is_file() and path.stat().st_size > 8 << 20]


@pytest.mark.parametrize("length", [(8 << 20) + 1, 256 << 40, 1 << 62])
def test_an_expected_length_beyond_max_length_is_refused_before_the_origin_is_read(stage: Scene, length: int) -> None:
    node = stage.supernode("--max-length", "8M")
    with Origin(b"x") as origin:
        assert "--max-length" in post(node, "/peer/registry", registration(origin.url, 1) | {"fileLength": length})["message"]
        assert not origin.asked
        assert post(node, "/peer/registry", registration(origin.url, 1))["code"] == 200
