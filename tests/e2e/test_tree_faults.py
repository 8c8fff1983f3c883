"""False manifests and data of a directory, and full disks: failed files are named, and no wrong bytes get a file's name."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import subprocess
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from dfengine.manifest import File, Manifest
from tests.e2e.scene import DFENGINE, MIB, SMALL, Scene, Supernode, filled, until
from tests.e2e.standin import LegacySupernode
from tests.e2e.test_tree import end, files_below, index, make_tree, start

BASE = "http://127.0.0.1:1/tree/"
FILES = {"a": 5000, "b/c": 3 * MIB, "b/d": 10, "e": 0, "f": 900}


class Liar(LegacySupernode):
    """A 1.x supernode that also serves the two tasks of a tree, with the given bytes."""

    def __init__(self, manifest: bytes, data: bytes, **given: Any) -> None:
        self._of = {"manifest": manifest, "data": data}
        super().__init__(manifest, **given)

    def _register(self, request: BaseHTTPRequestHandler, fields: dict[str, Any]) -> None:
        with self.lock:
            self.content = self._of[fields["tree"]]
            self.md5 = hashlib.md5(self.content).hexdigest()
            self.asked.clear()
        super()._register(request, fields)


def bodies() -> dict[str, bytes]:
    return {path: random.Random(path).randbytes(size) for path, size in FILES.items()}


def manifest(digests: dict[str, str] | None = None) -> Manifest:
    told = digests or {}
    return Manifest(BASE, [File(path, BASE + path, size, digest=told.get(path, "")) for path, size in FILES.items()])


def play(stage: Scene, encoded: bytes, data: bytes, status: int = 0, **given: Any) -> dict[str, Any]:
    with Liar(encoded, data, **given) as liar:
        process = start(stage, BASE, "out", host=2, nodes=[f"127.0.0.1:{liar.port}"], notbs=True)
        return end(process, status)


def raw(**fields: Any) -> bytes:
    return json.dumps({"dfengine": 1, "base": BASE, **fields}, separators=(",", ":")).encode()


def test_a_correct_manifest_and_its_data_are_accepted(stage: Scene) -> None:
    files = bodies()
    right = {path: f"sha256:{hashlib.sha256(body).hexdigest()}" for path, body in files.items()}
    told = play(stage, manifest(right).encode(), b"".join(files[path] for path in sorted(files)))
    assert not [each for each in told["files"] if each[2]]
    assert files_below(stage.path / "out") == {path: digest.removeprefix("sha256:") for path, digest in right.items()}


@pytest.mark.parametrize("wrong", [("a",), ("b/c",), ("e",), ("b/c", "f")])
def test_files_that_differ_from_the_manifests_digests_fail(stage: Scene, wrong: tuple[str, ...]) -> None:
    files = bodies()
    told = {path: f"sha256:{hashlib.sha256(body + (b'x' if path in wrong else b'')).hexdigest()}" for path, body in files.items()}
    found = play(stage, manifest(told).encode(), b"".join(files[path] for path in sorted(files)))
    assert tuple(path for path, _, why, *_ in found["files"] if why) == wrong
    assert all("digest" in why for _, _, why, *_ in found["files"] if why)
    left = files_below(stage.path / "out")
    assert {path for path in left if not path.startswith(".dfengine.")} == files.keys() - set(wrong)
    for path in left.keys() & files.keys():
        assert left[path] == hashlib.sha256(files[path]).hexdigest()
    for place in (stage.path / "out").glob(".dfengine.*"):
        place.rename(stage.path / "left")  # the directory of parts, from which a next run would resume


@pytest.mark.parametrize(
    "encoded",
    [
        raw(paths=["../x"], sizes=[1]), raw(paths=["/etc/x"], sizes=[1]), raw(paths=["a/../../x"], sizes=[1]),
        raw(paths=["a", "a"], sizes=[1, 1]), raw(paths=["a", "a/b"], sizes=[1, 1]), raw(paths=["a\0"], sizes=[1]),
        raw(paths=["x" * 256], sizes=[1]), raw(paths=["a"], sizes=[-1]), raw(paths=["a"], sizes=[1 << 62]), raw(paths=["a"], sizes=["1"]),
        raw(paths=["a"], sizes=[1], links=["../x"]), raw(paths=["a"], sizes=[1], modes=[0o4755]), raw(paths=["."], sizes=[1]),
        raw(paths=[".dfengine.x/record"], sizes=[1]), b"<html>", b"", b"[" * 100000,
        Manifest("http://127.0.0.1:1/other/", [File("a", "http://127.0.0.1:1/other/a", 1)]).encode(),
    ],
)  # fmt: skip
def test_an_unsafe_or_invalid_manifest_is_refused_before_any_write(stage: Scene, encoded: bytes) -> None:
    with Liar(encoded, b"1") as liar:
        process = start(stage, BASE, "out", host=2, nodes=[f"127.0.0.1:{liar.port}"], notbs=True)
        out, err = process.communicate(timeout=120)
        assert process.returncode in (2, 4), (out, err)
        assert not err
        assert json.loads(out)["error"]
    assert not (stage.path / "out").exists()
    assert not [path for path in stage.path.rglob("*") if path.name in ("x", "record")]


def test_the_error_names_the_supernode_that_sent_an_invalid_manifest(stage: Scene) -> None:
    with Liar(b"<html>", b"1") as liar:
        told = end(start(stage, BASE, "out", host=2, nodes=[f"127.0.0.1:{liar.port}"], notbs=True), 4)
        assert f"supernode 127.0.0.1:{liar.port}: the received manifest is not JSON" in told["error"]


def test_the_error_of_a_timeout_names_the_allowed_time(stage: Scene) -> None:
    make_tree(stage)
    url = index(stage)
    told = end(start(stage, url, "out", timeout=3.0, locallimit="100k"), 8)
    assert "not finished within 3 s" in told["error"]


@pytest.mark.parametrize("length", [0, 3, 3 * MIB + 5909, 3 * MIB + 5911, 5 * MIB])
def test_data_of_another_length_is_refused(stage: Scene, length: int) -> None:
    told = play(stage, manifest().encode(), bytes(length), status=3)
    assert "bytes" in told["error"]
    assert not [path for path in files_below(stage.path / "out") if not path.startswith(".dfengine.")]
    for place in (stage.path / "out").glob(".dfengine.*"):
        place.rename(stage.path / "left")


def test_data_damaged_in_transfer_is_not_written_under_a_files_name(stage: Scene) -> None:
    files = bodies()
    data = b"".join(files[path] for path in sorted(files))
    play(stage, manifest().encode(), data, 3, fault=lambda n, before: "flip" if n else "")
    for path, body in files_below(stage.path / "out").items():
        assert path.startswith(".dfengine.") or body == hashlib.sha256(files[path]).hexdigest()
    for place in (stage.path / "out").glob(".dfengine.*"):
        place.rename(stage.path / "left")


@pytest.mark.parametrize("free", [0, 4096 * 9, 6 * MIB])
@pytest.mark.parametrize("with_node", [False, True])
def test_a_full_disk_fails_a_tree_and_the_next_run_completes_it(small: Path, closed: Scene, free: int, with_node: bool) -> None:
    stage = closed
    expected, url = make_tree(stage), index(stage)
    nodes: tuple[Supernode, ...] = (stage.supernode(),) if with_node else ()
    filled(small / "ballast", free)
    told = end(start(stage, url, str(small / "out"), *nodes), 7)
    assert "no room" in told["error"] or "No space" in told["error"]
    for path, body in files_below(small / "out").items() if (small / "out").exists() else ():
        assert path.startswith(".dfengine.") or expected[path] == body
    (small / "ballast").unlink()
    end(start(stage, url, str(small / "out"), *nodes))
    assert files_below(small / "out") == expected


def test_a_disk_too_small_for_a_tree_is_reported_without_the_supernode(small: Path, closed: Scene) -> None:
    stage = closed
    make_tree(stage, {"large": SMALL, "b": 1})
    url, node = index(stage), stage.supernode()
    home = stage.path / "home-2"
    stage.homes.add(home)
    words = [*DFENGINE, "get", "--recursive", url, str(small / "out"), "-n", node.node, "--ip", "127.0.0.2", "--home", str(home)]
    done = subprocess.run(words, capture_output=True, check=False, timeout=120)
    assert done.returncode == 7
    assert re.fullmatch(rf"dfengine: no room in {small / 'out'}: \d+ bytes are missing, \d+ are free\n", done.stderr.decode()), done.stderr


def test_a_disk_that_fills_up_during_a_tree_fails_it_and_the_next_run_resumes(small: Path, closed: Scene) -> None:
    """The disk has room at the beginning; another file takes it."""
    stage = closed
    expected, url = make_tree(stage, {f"d/{n:03}": 40_000 for n in range(700)}), index(stage)
    node = stage.supernode()
    process = start(stage, url, str(small / "out"), node, locallimit="6M")
    until(lambda: list((small / "out").glob("d/*")), "the first files")
    filled(small / "ballast")
    told = end(process, 7)
    assert "No space" in told["error"]
    assert all(path.startswith(".dfengine.") or expected[path] == body for path, body in files_below(small / "out").items())
    (small / "ballast").unlink()
    end(start(stage, url, str(small / "out"), node))
    assert files_below(small / "out") == expected
    assert os.listdir(small / "out") == ["d"]
