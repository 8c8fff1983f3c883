"""A supernode's registrations for trees: manifests, data, changes, and invalid registrations."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from dfengine import wire
from dfengine._piece import Geometry
from dfengine.manifest import Manifest, decode
from tests.e2e.scene import Scene, Supernode, until
from tests.e2e.stores import ENVIRONMENT, moto
from tests.e2e.test_faults import post, registration
from tests.e2e.test_tree import fetch
from tests.origins.directory import Directory
from tests.origins.hub import Hub

PIECE = Geometry(27_000_000).content_size
INDEX = {"json": "autoindex on; autoindex_format json;", "html": "autoindex on;"}


def files_of(sizes: dict[str, int]) -> dict[str, bytes]:
    return {path: random.Random(path).randbytes(size) for path, size in sizes.items()}


SIZES = {"a": 10, "b/c+d%": 20_000, "b/empty": 0, "b/model.bin": 9_000_000, "b/x": 300, "é/1": 5}
FILES = files_of(SIZES | {f"many/{n:03}": 777 for n in range(150)})


def data(files: dict[str, bytes]) -> bytes:
    return b"".join(files[path] for path in sorted(files))


def put(top: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(content)


def register(node: Supernode, url: str, n: int, **more: Any) -> dict[str, Any]:
    """The supernode's response, once it is final."""
    message = {**registration(url, n), "taskUrl": "", **more}
    return until(lambda: (answer := post(node, "/peer/registry", message))["code"] != wire.WAIT and answer, "a response")  # type: ignore[no-any-return]


def copied(node: Supernode, answer: dict[str, Any]) -> bytes:
    """The supernode's copy, once it is complete."""
    task = answer["data"]["taskId"]
    path: Path = node.home / "download" / task[:3] / task
    described = path.with_name(f"{task}.json")
    until(lambda: json.loads(described.read_bytes())["complete"], "the complete copy")
    return path.read_bytes()


def manifest_of(node: Supernode, url: str, n: int = 1, **more: Any) -> Manifest:
    answer = register(node, url, n, tree="manifest", **more)
    assert answer["code"] == wire.SUCCESS, answer
    encoded = copied(node, answer)
    assert answer["data"]["fileLength"] == len(encoded)
    return decode(encoded)


def data_of(node: Supernode, url: str, manifest: Manifest, n: int = 2, **more: Any) -> bytes:
    answer = register(node, url, n, tree="data", manifest=manifest.identity, **more)
    assert answer["code"] == wire.SUCCESS, answer
    assert answer["data"]["fileLength"] == manifest.length
    return copied(node, answer)


@pytest.mark.parametrize("index", INDEX)
def test_a_directory_is_two_tasks_and_its_files_are_read_once(stage: Scene, index: str) -> None:
    put(stage.www / "top", FILES)
    for path in FILES:  # each file changed within the last minute costs a request of its own
        os.utime(stage.www / "top" / path, (1_750_000_000, 1_750_000_000))
    url = f"{stage.origin(odd=INDEX[index])}/odd/top"
    node = stage.supernode()
    manifest = manifest_of(node, url)
    assert manifest.paths == sorted(FILES)
    assert data_of(node, url + "/", manifest) == data(FILES)
    assert data_of(node, url, manifest, 3) == data(FILES)
    asked = stage.requests()
    gets = [each for each in asked if each["method"] == "GET" and not each["path"].endswith("/")]
    heads = [each for each in asked if each["method"] == "HEAD"]
    assert len({each["path"] for each in gets}) == len(FILES)
    assert sum(each["sent"] for each in gets) <= 1.02 * manifest.length + (1 << 20)
    assert len(gets) + len(heads) <= len(FILES) + 12  # the large file is read by several ranges
    assert len(gets) <= node.metric("dfengine_origin_requests_total") <= len(asked)


@pytest.mark.parametrize("age", [0, 3600])
def test_a_changed_file_of_the_same_size_is_noticed(stage: Scene, age: int) -> None:
    top, then = stage.www / "top", time.time() - age
    put(top, {"a": b"old", "b": b"other"})
    for path in ("a", "b"):
        os.utime(top / path, (then - 60, then - 60))
    url, node = f"{stage.origin(odd=INDEX['html'])}/odd/top/", stage.supernode("--revalidate-interval", "0")
    before = manifest_of(node, url)
    assert data_of(node, url, before) == b"oldother"
    put(top, {"a": b"new"})
    os.utime(top / "a", (then, then))
    after = until(lambda: (made := manifest_of(node, url, 3)) != before and made, "another manifest")
    assert data_of(node, url, after, 4) == b"newother"


def test_simultaneous_registrations_for_a_tree_list_it_once(stage: Scene) -> None:
    put(stage.www / "top", FILES)
    url = f"{stage.origin(odd=INDEX['json'])}/odd/top/"
    node = stage.supernode("--revalidate-interval", "1h")
    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(lambda n: manifest_of(node, url, n).identity, range(16)))
    assert len(made) == 1
    assert len([each for each in stage.requests() if each["path"] == "/odd/top/"]) == 1


def test_globs_make_a_tree_of_the_selected_files_only(stage: Scene) -> None:
    put(stage.www / "top", FILES)
    url = f"{stage.origin(odd=INDEX['json'])}/odd/top/"
    node = stage.supernode()
    some: dict[str, Any] = {"include": ["b/*", "a"], "exclude": ["*.bin"]}
    manifest = manifest_of(node, url, **some)
    assert manifest.paths == ["a", "b/c+d%", "b/empty", "b/x"]
    assert data_of(node, url, manifest, **some) == data({path: FILES[path] for path in manifest.paths})
    assert not [each for each in stage.requests() if "many/0" in each["path"] or "model" in each["path"]]
    refused = register(node, url, 4, tree="manifest", include=["none"])
    assert "404" not in refused.get("message", "")
    assert "selected" in refused["message"]


def test_a_changed_tree_is_refused_with_the_files_name_and_listed_again(stage: Scene) -> None:
    files = {f"{n:02}": b"x" * 1000 for n in range(40)}
    with Directory(files) as served:
        node = stage.supernode("--revalidate-interval", "1h")
        manifest = manifest_of(node, served.url)
        files["17"] = b"y" * 1001
        answer = register(node, served.url, 2, tree="data", manifest=manifest.identity)
        if answer["code"] == wire.SUCCESS:  # the registration ended before the changed file was read
            task = answer["data"]["taskId"]
            pull = {"task": task, "cid": "127.0.0.1-2", "want": 4, "wait": 5.0}
            on_the_way = (wire.WAIT, wire.CONTINUE)
            answer = until(lambda: (found := post(node, "/swarm/pull", pull))["code"] not in on_the_way and found, "the failure")
        assert "17: " in answer.get("msg", "") + answer.get("message", "")
        again = manifest_of(node, served.url, 3)
        assert again.identity != manifest.identity
        assert data_of(node, served.url, again, 4) == data(files)


def test_data_of_an_unknown_manifest_is_refused(stage: Scene) -> None:
    with Directory({"a": b"1", "b": b"2"}) as served:
        node = stage.supernode()
        answer = register(node, served.url, 1, tree="data", manifest="0a" * 32)
        assert answer["code"] == 500
        assert "manifest" in answer["message"]


def test_a_restarted_supernode_serves_its_copies_without_the_origin(stage: Scene) -> None:
    files = files_of({f"{n:02}": 400_000 for n in range(30)})
    with Directory(files) as served:
        node = stage.supernode()
        manifest = manifest_of(node, served.url)
        assert data_of(node, served.url, manifest) == data(files)
        asked = len(served.asked("GET"))
        node.process.terminate()
        node.process.wait(30)
        again = stage.supernode(home=node.home)
        assert data_of(again, served.url, manifest) == data(files)
        assert manifest_of(again, served.url) == manifest
        assert len(served.asked("GET")) == asked


BAD: dict[str, dict[str, Any]] = {
    "unknown part": {"tree": "x"},
    "globs without a part": {"include": ["a"]},
    "data without a manifest": {"tree": "data"},
    "data of an invalid identity": {"tree": "data", "manifest": "../../etc/passwd"},
    "a manifest of a manifest": {"tree": "manifest", "manifest": "0a" * 32},
    "too many globs": {"tree": "manifest", "include": ["*"] * 100},
    "a long glob": {"tree": "manifest", "exclude": ["a" * 300]},
    "a glob with a line break": {"tree": "manifest", "include": ["a\n-b"]},
    "a glob with ..": {"tree": "manifest", "include": ["../x"]},
    "an empty character class": {"tree": "manifest", "include": ["[z-a]"]},
    "an md5": {"tree": "manifest", "md5": "0" * 32},
    "a range": {"tree": "manifest", "headers": ["Range: bytes=0-1"]},
    "a stream": {"tree": "data", "manifest": "0a" * 32, "streamMode": True, "windowSize": 4},
    "another name": {"tree": "manifest", "taskUrl": "http://127.0.0.1:9/x"},
    "1.x": {"tree": "manifest", "native": 0},
}


@pytest.fixture(name="node", scope="module")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supernode]:
    from tests.e2e.scene import scene

    with scene(tmp_path_factory.mktemp("node")) as stage:
        yield stage.supernode()


def status(node: Supernode, message: dict[str, Any]) -> int:
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{node.node}/peer/registry", json.dumps(message).encode(), kind)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize("kind", BAD)
def test_invalid_registrations_are_refused(node: Supernode, kind: str) -> None:
    assert status(node, {**registration("http://127.0.0.1:9/d/", 1), "taskUrl": "", **BAD[kind]}) == 400


def test_patterns_that_cause_backtracking_are_matched_quickly(stage: Scene) -> None:
    files = {f"{'a' * 200}/{'ab' * 100}{n:03}": b"x" for n in range(300)}
    hostile = ["*a" * 120 + "b", "**/" + "*a/" * 60 + "b", "[ab]*" * 50 + "c", "/".join(["**", "*a*a*"] * 25) + "/b"] * 8
    with Directory(files) as served:
        node = stage.supernode()
        manifest = manifest_of(node, served.url, exclude=[each + "c" * n for n, each in enumerate(hostile) if len(each) + n <= 256])
        assert len(manifest) == 300


# OTHER KINDS OF ORIGINS


def test_a_directory_of_the_supernodes_disk_is_a_tree_only_below_origin_root(stage: Scene) -> None:
    put(stage.path / "root" / "top", FILES)
    put(stage.path / "other", {"secret": b"x"})
    node = stage.supernode("--origin-root", str(stage.path / "root"))
    url = f"file://{stage.path}/root/top"
    manifest = manifest_of(node, url)
    assert data_of(node, url, manifest) == data(FILES)
    for outside in (f"file://{stage.path}/other", "file:///"):
        assert "403" in (found := register(node, outside, 5, tree="manifest"))["message"] or "root" in found["message"]


def test_a_repository_of_a_hub_is_a_tree(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("org/name", FILES)
        node = stage.supernode()
        manifest = manifest_of(node, "hf://org/name")
        assert data_of(node, "hf://org/name", manifest) == data(FILES)


def test_a_private_tree_is_refused_without_a_token(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("org/name", {"a": b"1"})
        hub.token, hub.gated = "secret", {"org/name"}
        node = stage.supernode()
        shown: dict[str, Any] = {"headers": ["Authorization: Bearer secret"]}
        manifest = manifest_of(node, "hf://org/name", **shown)
        assert data_of(node, "hf://org/name", manifest, **shown) == b"1"
        for part in ({"tree": "manifest"}, {"tree": "data", "manifest": manifest.identity}):
            assert register(node, "hf://org/name", 7, **part)["code"] != wire.SUCCESS


def test_a_bucket_is_a_tree(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    files = {path: content for path, content in FILES.items() if not path.startswith("many/1")}
    with moto() as address:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": address}.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=address, region_name="us-east-1")
        client.create_bucket(Bucket="models")
        for path, content in files.items():
            client.put_object(Bucket="models", Key=f"top/{path}", Body=content)
        client.put_object(Bucket="models", Key="topmost", Body=b"beside it")
        node = stage.supernode("--origin-sign", "s3://models/top")
        manifest = manifest_of(node, "s3://models/top")
        assert manifest.paths == sorted(files)
        assert all(manifest.etags)
        assert data_of(node, "s3://models/top/", manifest) == data(files)
        assert register(node, "s3://models", 8, tree="manifest")["code"] != wire.SUCCESS


# A SUPERNODE THAT DIES


def test_a_killed_supernode_fetches_only_the_rest(stage: Scene) -> None:
    files = files_of({f"{n:02}": 900_000 for n in range(30)})
    reached, go_on = threading.Event(), threading.Event()

    def change(path: str) -> None:
        if path == "20" and not go_on.is_set():
            reached.set()
            go_on.wait(60)

    with Directory(files) as served:
        served.change = change
        node = stage.supernode("--origin-connections", "1")
        manifest = manifest_of(node, served.url)
        answer = register(node, served.url, 2, tree="data", manifest=manifest.identity)
        assert answer["code"] == wire.SUCCESS
        assert reached.wait(60)
        until(lambda: node.metric("dfengine_origin_bytes_total") >= 4 * PIECE, "four pieces")
        node.process.kill()
        node.process.wait(30)
        go_on.set()
        served.seen.clear()
        again = stage.supernode(home=node.home)
        manifest_of(again, served.url, 3)
        assert data_of(again, served.url, manifest, 4) == data(files)
        asked = served.asked("GET")
        assert set(asked) >= {f"{n:02}" for n in range(20, 30)}
        assert not set(asked) & {f"{n:02}" for n in range(8)}


# DOWNLOADS


@pytest.mark.parametrize("with_node", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_a_tree_that_changes_during_its_download_is_listed_again(stage: Scene, with_node: bool, last: bool) -> None:
    files = files_of({f"{n:02}": 200_000 + n for n in range(60)})
    changed: list[str] = []

    def change(path: str) -> None:
        if path == ("59" if last else "05") and not changed:
            changed.append(path)
            files["40"] = b"new" * 9
            files["61"] = b"one more"

    with Directory(files, "html") as served:
        served.change = change
        nodes = [stage.supernode("--revalidate-interval", "1h")] if with_node else []
        told = fetch(stage, served.url, "out", *nodes)
        assert told["count"] == len(told["files"])
        got = {path.name: path.read_bytes() for path in (stage.path / "out").iterdir()}
        # Files read before the change are of the old listing; no file mixes two versions.
        before = {**files_of({"40": 200_040})}
        assert got in (files, {path: content for path, content in (files | before).items() if path != "61"})
        assert last or got == files


@pytest.mark.parametrize("with_node", [True, False])
def test_a_tree_that_changes_continually_fails_with_the_files_name(stage: Scene, with_node: bool) -> None:
    files = files_of({f"{n:02}": 2000 for n in range(9)})

    def change(path: str) -> None:
        files["7 x"] = b"x" * (1 + len(files.get("7 x", b"")))

    with Directory(files, "html") as served:
        change("")
        served.change = change
        nodes = [stage.supernode()] if with_node else []
        told = fetch(stage, served.url, "out", *nodes, status=4)
        assert "7 x" in told["error"]
        assert not (stage.path / "out" / "7 x").exists()
