"""Files that an origin lists and refuses: all others are fetched, the refused ones are named, and the next run fetches only these."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import MIB, Scene
from tests.e2e.test_many import run
from tests.origins.directory import Directory

SIZES = {**{f"s/{n:03}": 9_000 + n for n in range(60)}, "empty": 0, "large": 6 * MIB, "t/a": 70_000, "z/large": 5 * MIB + 3}
FILES = {path: random.Random(path).randbytes(size) for path, size in SIZES.items()}


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*") if path.is_file() and not path.relative_to(folder).parts[0].startswith(".dfengine.")
    }  # fmt: skip


def get(stage: Scene, url: str, *options: str, status: int = 0, name: str = "out") -> dict[str, Any]:
    out, _ = run(stage, "--recursive", url, str(stage.path / name), "--json", *options, status=status)
    told: dict[str, Any] = json.loads(out)
    assert told["code"] == status
    return told


def failed(stage: Scene, told: dict[str, Any]) -> dict[str, int]:
    assert len(told["files"]) == len(FILES) == told["complete"] + told["failed"]
    return {
        str(Path(each["output"]).relative_to(stage.path / "out")): each["error"]["status"] for each in told["files"] if "error" in each
    }  # fmt: skip


SEVERAL, LARGE = {"s/000": 403, "empty": 410, "t/a": 404}, {"large": 403, "z/large": 500}


@pytest.mark.parametrize(
    ("index", "refused", "with_node"),
    [
        ("json", {"s/030": 404}, False), ("html", SEVERAL, False), ("json", LARGE, False),
        ("html", {"s/030": 404}, True), ("json", SEVERAL, True), ("json", LARGE, True),
    ],
)  # fmt: skip
def test_all_files_but_the_refused_are_fetched(stage: Scene, index: str, refused: dict[str, int], with_node: bool) -> None:
    with Directory({**FILES}, index) as served:
        served.refuse = {**refused}
        node = stage.supernode("--revalidate-interval", "1h") if with_node else None
        options = ("--retry", "2", *(("-n", node.node) if node else ()))
        told = get(stage, served.url, *options, status=4)
        assert failed(stage, told) == refused
        assert not list((stage.path / "out").glob(".dfengine.*"))
        assert files_below(stage.path / "out") == {path: body for path, body in FILES.items() if path not in refused}
        before = len(served.asked("GET"))
        assert failed(stage, get(stage, served.url, *options, status=4)) == refused
        # A run without changes requests only the refused files. Without a supernode an index in HTML states no versions, so that the others
        # are requested, too; and a server's error (500) may be temporary, so that it is retried.
        assert (index == "html" and not node) or 500 in refused.values() or len(served.asked("GET")) - before <= 3 * len(refused)
        served.refuse.clear()
        if node is None:
            get(stage, served.url, *options)
            assert files_below(stage.path / "out") == FILES


def test_refused_files_are_named_and_the_supernode_retries_them_soon(stage: Scene) -> None:
    with Directory({**FILES}) as served:
        served.refuse = {"s/030": 404, "t/a": 403}
        node = stage.supernode("--revalidate-interval", "0")
        out, err = run(stage, "--recursive", served.url, str(stage.path / "out"), "-n", node.node, status=4)
        assert out == b""
        assert "s/030: the origin lists it, and answers 404 instead of the file" in err
        assert "t/a: the origin lists it, and answers 403 instead of the file" in err
        assert "2 failed" in err
        served.refuse.clear()
        told = get(stage, served.url, "-n", node.node)
        assert told["from"]["resumed"] > sum(SIZES.values()) // 2  # the pieces that hold the two files are fetched whole
        assert files_below(stage.path / "out") == FILES


def test_without_a_supernode_a_refused_file_is_not_retried(stage: Scene) -> None:
    with Directory({**FILES}) as served:
        served.refuse = {"s/030": 403}
        out, err = run(stage, "--recursive", served.url, str(stage.path / "out"), status=4)
        assert out == b""
        first, sums = err.splitlines()
        assert first == f"dfengine: {stage.path}/out/s/030: the origin lists it, and answers 403 instead of the file"
        assert sums.endswith("100% from the origin: no supernode is given")


def test_delete_keeps_the_local_copy_of_a_refused_file(stage: Scene) -> None:
    with Directory({**FILES}) as served:
        get(stage, served.url)
        (stage.path / "out/s/031").unlink()
        served.refuse = {"s/030": 404}
        node = stage.supernode()
        told = get(stage, served.url, "--delete", "-n", node.node, status=4)
        assert failed(stage, told) == served.refuse
        assert files_below(stage.path / "out") == FILES
        _, err = run(stage, "--recursive", served.url, str(stage.path / "out"), "--dry-run", "--delete", "-n", node.node)
        assert "s/030" in err
        assert "0 to delete" in err


def test_hosts_of_one_supernode_share_the_remaining_files(stage: Scene) -> None:
    with Directory({**FILES}) as served:
        served.refuse = {"s/030": 404}
        node = stage.supernode("--revalidate-interval", "1h")
        for n in (2, 3, 4):
            out, _ = run(stage, "--recursive", served.url, str(stage.path / f"out-{n}"), "--json", "-n", node.node, "--ip", f"127.0.0.{n}",
                         "--home", str(stage.path / f"home-{n}"), status=4)
            told = json.loads(out)
            assert told["from"]["origin"] == 0
            assert {hashlib.sha256(body).digest() for body in files_below(stage.path / f"out-{n}").values()} == {
                hashlib.sha256(body).digest() for path, body in FILES.items() if path != "s/030"
            }
        assert served.asked("GET").count("large") <= 4


def test_the_manifest_and_its_data_are_tasks_of_one_supernode(stage: Scene) -> None:
    with Directory({**FILES}) as served:
        served.refuse = {"s/030": 404, "large": 403}
        nodes = [stage.supernode("--revalidate-interval", "1h") for _ in range(4)]
        options = [word for node in nodes for word in ("-n", node.node)]
        told = get(stage, served.url, *options, "--notbs", status=4)
        assert failed(stage, told) == served.refuse
        assert told["from"]["origin"] == 0
        assert files_below(stage.path / "out") == {path: body for path, body in FILES.items() if path not in served.refuse}
        assert sorted(node.metric("dfengine_origin_requests_total") > 0 for node in nodes) == [False, False, False, True]
