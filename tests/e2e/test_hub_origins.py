"""Downloads from a hub, and from the supernode's own disk, with real processes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import DFENGINE, MIB, until
from tests.e2e.stores import listed
from tests.e2e.test_tree import fetch
from tests.origins.hub import Hub

SIZE = 9 * MIB + 77
TOKEN = "hf-t0ken"


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def read(stage: Any, name: str) -> bytes:
    return bytes((stage.path / name).read_bytes())


@pytest.fixture(name="hub")
def one_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub whose address is in the environment of every process of the test, without a token."""
    for name in list(os.environ):
        if name.startswith("HF_"):
            monkeypatch.delenv(name)
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        yield hub


# THE HUB


def test_files_of_a_hub_are_downloaded_without_a_supernode(stage: Any, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/name", {"config.json": b"{}", "a b/weights.bin": content(SIZE)})
    hub.add("datasets/org/data", {"x": b"refs"}, "refs/pr/1")
    hub.cached = {"datasets/org/data"}
    hub.token = TOKEN
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    stage.get("hf://org/name/config.json", "a")
    stage.get("hf://org/name/a%20b/weights.bin", "b")
    stage.get("hf://datasets/org/data@refs%2Fpr%2F1/x", "c")
    stage.get("hf://org/name/a b/weights.bin", "part", "--range", "100-199")
    assert (read(stage, "a"), read(stage, "b"), read(stage, "c")) == (b"{}", content(SIZE), b"refs")
    assert read(stage, "part") == content(SIZE)[100:200]
    assert {authorization for server, _, authorization in hub.seen if server == "hub"} == {f"Bearer {TOKEN}"}
    assert {authorization for server, _, authorization in hub.seen if server == "store"} == {""}
    assert "404" in stage.get("hf://org/name/none", "d", status=4)
    assert "404" in stage.get("hf://org/name@gone/config.json", "d", status=4)


def test_listings_of_a_hub_and_a_disk_name_files_with_their_sizes(hub: Hub, tmp_path: Path) -> None:
    hub.add("org/name", {"config.json": b"{}", "a b/weights.bin": content(2 * MIB)})
    assert listed("hf://org/name") == {"config.json": 2, "a b/weights.bin": 2 * MIB}
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "a b").write_bytes(b"123")
    assert listed(f"file://{tmp_path}/dir") == {"a b": 3}


@pytest.mark.parametrize("swarm", [False, True], ids=["origin", "supernode"])
def test_a_push_in_mid_transfer_does_not_change_the_download(stage: Any, hub: Hub, swarm: bool) -> None:
    """A download that began at a commit is completed at that commit."""
    hub.add("org/name", {"w": content(SIZE, 1)})
    nodes = (stage.supernode("--origin-connections", "1"),) if swarm else ()
    hub.cut = 4 * MIB + 5
    hub.go_on.clear()
    process = stage.start_get("hf://org/name/w", "out", "--connections", "1", *(("--notbs",) if swarm else ()), nodes=nodes)
    until(lambda: hub.sent == 4 * MIB + 5, "the first bytes")
    hub.add("org/name", {"w": content(SIZE, 2)})
    hub.go_on.set()
    stage.end(process)
    assert read(stage, "out") == content(SIZE, 1)
    assert hub.sent == SIZE


def test_two_hosts_read_a_file_of_a_hub_once(stage: Any, hub: Hub) -> None:
    hub.add("org/name", {"w": content(SIZE)})
    node = stage.supernode("--revalidate-interval", "1h")
    stage.get("hf://org/name/w", "a", "--notbs", host=2, nodes=(node,))
    stage.get("hf://org/name/w", "b", "--notbs", host=3, nodes=(node,))
    assert read(stage, "a") == read(stage, "b") == content(SIZE)
    assert node.metric("dfengine_origin_bytes_total") == hub.sent == SIZE


def test_the_same_file_of_a_later_commit_is_not_fetched_again(stage: Any, hub: Hub) -> None:
    hub.add("org/name", {"w": content(SIZE), "x": b"1"})
    node = stage.supernode("--revalidate-interval", "0")
    stage.get("hf://org/name/w", "a", "--notbs", host=2, nodes=(node,))
    hub.add("org/name", {"w": content(SIZE), "x": b"2"})
    stage.get("hf://org/name/w", "b", "--notbs", host=3, nodes=(node,))
    assert read(stage, "b") == content(SIZE)
    assert len([target for server, target, _ in hub.seen if server == "store"]) == 1, "the Hub's digest identifies the file"
    hub.add("org/name", {"w": content(SIZE, 3), "x": b"2"})
    stage.get("hf://org/name/w", "c", "--notbs", host=4, nodes=(node,))
    assert read(stage, "c") == content(SIZE, 3)


def test_a_gated_file_is_served_only_with_a_token(stage: Any, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/gated", {"w": content(2 * MIB)})
    hub.gated, hub.token = {"org/gated"}, TOKEN
    plain = stage.supernode("--revalidate-interval", "1h")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    signing = stage.supernode("--origin-sign", "hf://org/gated", "--revalidate-interval", "1h")
    # By default a client does not send its token.
    assert "credentials" in stage.get("hf://org/gated/w", "a", "--notbs", host=2, nodes=(plain,), status=3)
    assert {authorization for _, _, authorization in hub.seen} == {""}
    one = stage.get("hf://org/gated/w", "a", "--notbs", "--sign", "client", host=2, nodes=(plain,))
    two = stage.get("hf://org/gated/w", "b", "--notbs", "--sign", "client", host=3, nodes=(plain,))
    assert one["task_id"] == two["task_id"]
    monkeypatch.delenv("HF_TOKEN")
    # A copy that was fetched with a token is not served to clients without one.
    assert "credentials" in stage.get("hf://org/gated/w", "c", "--notbs", host=4, nodes=(plain,), status=3)
    stage.get("hf://org/gated/w", "d", "--notbs", host=4, nodes=(signing,))
    assert read(stage, "a") == read(stage, "b") == read(stage, "d") == content(2 * MIB)
    err = stage.get("hf://org/gated/w", "e", status=4)
    assert "401" in err
    assert "no token was sent" in err
    assert "hf://org/gated/w" in err
    for path in stage.path.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path


# THE SUPERNODE'S OWN DISK


def test_local_files_are_downloaded_without_a_supernode(stage: Any, tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(content(SIZE))
    (tmp_path / "empty").write_bytes(b"")
    stage.get(f"file://{tmp_path}/a%20b", "out")
    stage.get(f"file://{tmp_path}/empty", "none")
    stage.get(f"file://{tmp_path}/a%20b", "part", "--range", "10-19")
    digest, _ = stage.drain(stage.start_stream(f"file://{tmp_path}/a%20b"))
    assert read(stage, "out") == content(SIZE)
    assert read(stage, "none") == b""
    assert read(stage, "part") == content(SIZE)[10:20]
    assert digest == hashlib.sha256(content(SIZE)).hexdigest()
    assert "cannot be read" in stage.get(f"file://{tmp_path}/none", "x", status=4)
    assert "no regular file" in stage.get("file:///dev/zero", "x", status=4)
    assert "a directory" in stage.get(f"file://{tmp_path}", "x", status=4)


def test_a_supernode_serves_files_only_below_its_origin_roots(stage: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "w").write_bytes(content(SIZE))
    (tmp_path / "outside").write_bytes(b"secret")
    (root / "out").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "fifo")
    closed, node = stage.supernode(), stage.supernode("--origin-root", str(root), "--revalidate-interval", "1h")
    stage.get(f"file://{root}/sub/w", "a", host=2, nodes=(node,))
    stage.get(f"file://{root}/sub/w", "b", host=3, nodes=(node,))
    assert read(stage, "a") == read(stage, "b") == content(SIZE)
    assert node.metric("dfengine_origin_bytes_total") == SIZE
    for url, said, where in (
        (f"file://{root}/sub/w", "--origin-root DIR", closed), (f"file://{tmp_path}/outside", "below no --origin-root", node),
        (f"file://{root}/out", "leads out", node), (f"file://{root}/fifo", "no regular file", node),
        (f"file://{root}/sub", "a directory", node), (f"file://{root}/none", "No such file", node),
    ):
        # Also without --notbs: this host has the file, and must not read its own in place of the supernode's.
        err = stage.get(url, "x", nodes=(where,), status=3)
        assert said in err, err
        assert not (stage.path / "x").exists()
    for url in (f"file://{root}/sub/../../outside", f"file://{root}/%2e%2e/outside", f"file://{root}/a%00", f"file://{root}/sub%2Fw"):
        assert "not a plain path" in stage.get(url, "x", nodes=(node,), status=2)


@pytest.mark.parametrize("how", ["write", "replace", "truncate"])
def test_a_local_file_that_changes_while_it_is_read_is_never_a_mixture(stage: Any, tmp_path: Path, how: str) -> None:
    path = tmp_path / "w"
    path.write_bytes(content(64 * MIB, 1))
    after = content(64 * MIB if how != "truncate" else MIB, 2)
    process = stage.start_get(f"file://{path}", "out", "--limit-rate", "16M")
    until(lambda: any(each.stat().st_blocks for each in stage.path.iterdir() if "out" in each.name), "a piece")
    if how == "replace":
        (tmp_path / "new").write_bytes(after)
        (tmp_path / "new").rename(path)
    else:
        with open(path, "r+b") as file:
            file.truncate(len(after))
            file.write(after)
    err, code = process.communicate(timeout=60)[1], process.returncode
    # Either version is valid if it is whole.
    if code == 0:
        assert read(stage, "out") in (content(64 * MIB, 1), after)
        assert how != "truncate" or read(stage, "out") == after
    else:
        assert code == 4, err


def test_a_gated_repository_is_downloaded_recursively_only_with_the_token(stage: Any, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"d/{n}": b"%d" % n * 1000 for n in range(20)}
    hub.add("org/gated", files)
    hub.gated, hub.token = {"org/gated"}, TOKEN
    node = stage.supernode("--revalidate-interval", "1h")
    words = ["--recursive", "hf://org/gated", "-n", node.node, "--notbs", "--json"]
    told = _tree(stage, *words, str(stage.path / "none"), host=5, status=(3, 4))
    assert not (stage.path / "none").exists()
    assert "error" in told
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for host in (2, 3):
        told = _tree(stage, *words, str(stage.path / f"out-{host}"), "--sign", "client", host=host)
        assert {path: (stage.path / f"out-{host}" / path).read_bytes() for path in files} == files
        assert told["from"]["origin"] == 0
    assert hub.sent <= 1.1 * sum(map(len, files.values()))


@pytest.mark.parametrize("ending", ["", "/", "@main"])
def test_a_program_downloads_a_whole_repository(stage: Any, hub: Hub, ending: str) -> None:
    files = {"config.json": b"{}", "a b/weights.bin": content(SIZE)}
    hub.add("org/name", files)
    told = fetch(stage, f"hf://org/name{ending}", "out")
    assert told["count"] == len(files)
    assert {path: read(stage, f"out/{path}") for path in files} == files


def test_a_program_downloads_a_directory_of_the_disk(stage: Any) -> None:
    (stage.path / "origin").mkdir()
    (stage.path / "origin" / "x").write_bytes(b"old")
    os.utime(stage.path / "origin" / "x", (1, 1))
    fetch(stage, f"file://{stage.path}/origin/", "out")
    assert read(stage, "out/x") == b"old"


def test_recursive_downloads_of_a_bucket_cannot_be_signed_by_the_client(stage: Any) -> None:
    words = ["--recursive", "s3://bucket/dir/", str(stage.path / "out"), "-n", "127.0.0.1:9", "--sign", "client", "--json"]
    told = _tree(stage, *words, status=(2,))
    assert "--origin-sign" in told["error"]["message"]


def _tree(stage: Any, *words: str, host: int = 2, status: tuple[int, ...] = (0,)) -> Any:
    home = stage.path / f"home-{host}"
    stage.homes.add(home)
    done = subprocess.run([*DFENGINE, "get", *words, "--ip", f"127.0.0.{host}", "--home", str(home)], capture_output=True, timeout=180)
    assert done.returncode in status, (done.stdout, done.stderr)
    return json.loads(done.stdout)
