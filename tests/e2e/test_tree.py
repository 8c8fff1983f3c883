"""A whole directory as one task: from an index, from a supernode, from other hosts; interrupted, changed, and with links in its way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfengine.errors import StorageError
from dfengine.storage.record import Record
from tests.e2e.scene import DFENGINE, MIB, PATIENCE, Scene, Supernode, scene, until

ROOT = Path(__file__).resolve().parents[2]

FETCH = """
import json, sys
import dfengine
url, out, given = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
try:
    found = dfengine.Client(quiet=True).fetch_tree(url, out, **given)
except dfengine.errors.Incomplete as error:
    found = error.result
except dfengine.DfengineError as error:
    print(json.dumps({"error": str(error), "code": error.exit_code}))
    sys.exit(error.exit_code)
print(json.dumps({
    "count": found.count, "length": found.length, "peers": found.from_peers, "supernode": found.from_supernode,
    "origin": found.from_origin, "resumed": found.resumed, "why": found.back_to_source, "serves": found.serves,
    "files": [[each.path, each.size, str(each.error or ""), each.from_peers, each.from_supernode, each.from_origin, each.resumed]
              for each in found.files],
}))
"""

TREE = {
    **{f"small/{n:03}.bin": 1000 + 37 * n for n in range(120)}, "a.bin": 10_000, "large.bin": 9 * MIB + 5, "sub/b.bin": 3_000_000,
    "sub/deep/empty": 0, "with blank/d\u00e9.txt": 77, "z/large too.bin": 6 * MIB,
}  # fmt: skip
SIZE = sum(TREE.values())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as made:
        yield made
    assert not [path for path in tmp_path.rglob(".dfengine.*") if path.is_dir() and path.parent.name != "left"]


def make_tree(stage: Scene, tree: dict[str, int] = TREE, seed: int = 0) -> dict[str, str]:
    """Path -> sha256 of the files of a tree at the origin, below `tree/`."""
    found = {}
    for path, size in tree.items():
        place = stage.www / "tree" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        body = random.Random(f"{path}-{seed}").randbytes(size)
        place.write_bytes(body)
        os.utime(place, (1.5e9 + seed, 1.5e9 + seed))  # a date of the last minute identifies no version
        found[path] = hashlib.sha256(body).hexdigest()
    return found


def index(stage: Scene, odd: str = "") -> str:
    """The URL of an index of the tree."""
    return f"{stage.origin(odd=f'autoindex on; autoindex_format json; {odd}')}/odd/tree/"


def files_below(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    }  # fmt: skip


def start(stage: Scene, url: str, out: str, *nodes: Supernode, host: int = 2, **given: Any) -> subprocess.Popen[bytes]:
    """Start fetching a tree as host 127.0.0.<host>."""
    home = stage.path / f"home-{host}"
    stage.homes.add(home)
    given = {"home": str(home), "ip": f"127.0.0.{host}", "nodes": [node.node for node in nodes] or None, **given}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", FETCH, url, str(stage.path / out), json.dumps(given)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def end(process: subprocess.Popen[bytes], status: int = 0) -> dict[str, Any]:
    out, err = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == status, (process.returncode, out, err.decode())
    assert not err, err.decode()
    told: dict[str, Any] = json.loads(out)
    return told


def fetch(stage: Scene, url: str, out: str, *nodes: Supernode, host: int = 2, status: int = 0, **given: Any) -> dict[str, Any]:
    told = end(start(stage, url, out, *nodes, host=host, **given), status)
    if nodes and not status:
        stage.proved(*nodes)
    return told


def counts(told: dict[str, Any]) -> tuple[int, int, int, int]:
    """Bytes from peers, supernode and origin, and resumed bytes; check that the counts of the files add up to them."""
    found = told["peers"], told["supernode"], told["origin"], told["resumed"]
    assert tuple(sum(each[at] for each in told["files"]) for at in (3, 4, 5, 6)) == found
    assert sum(found) == told["length"]
    return found


def test_a_tree_is_fetched_from_an_index_and_a_second_run_resumes_all(stage: Scene) -> None:
    expected, url = make_tree(stage), index(stage)
    told = fetch(stage, url, "out")
    assert files_below(stage.path / "out") == expected
    assert counts(told) == (0, 0, SIZE, 0)
    assert [(path, size, why) for path, size, why, *_ in told["files"]] == [(path, TREE[path], "") for path in sorted(TREE)]
    for path in TREE:
        assert int((stage.path / "out" / path).stat().st_mtime) == int((stage.www / "tree" / path).stat().st_mtime)
    before = stage.sent("/odd/tree/large.bin")
    assert counts(fetch(stage, url, "out")) == (0, 0, 0, SIZE)
    assert stage.sent("/odd/tree/large.bin") == before
    assert not (stage.path / "home-2" / "trees").exists() or not list((stage.path / "home-2" / "trees").iterdir())


def test_files_changed_at_the_origin_or_locally_are_fetched_again(stage: Scene) -> None:
    expected, url = make_tree(stage), index(stage)
    fetch(stage, url, "out")
    (stage.www / "tree" / "small/005.bin").write_bytes(b"new")
    os.utime(stage.www / "tree" / "small/005.bin", (1e9, 1e9))
    (stage.path / "out" / "a.bin").write_bytes(b"mine")
    (stage.path / "out" / "sub/b.bin").unlink()
    (stage.path / "out" / "my own").write_bytes(b"kept")
    told = fetch(stage, url, "out")
    expected |= {"small/005.bin": hashlib.sha256(b"new").hexdigest(), "my own": hashlib.sha256(b"kept").hexdigest()}
    assert files_below(stage.path / "out") == expected
    assert 0 < counts(told)[2] < SIZE


def test_globs_select_the_files_of_a_tree(stage: Scene) -> None:
    expected, url = make_tree(stage), index(stage)
    told = fetch(stage, url, "out", include=["*.bin"], exclude=["small/", "large*"])
    wanted = {path for path in expected if path.endswith(".bin") and not path.startswith(("small/", "large"))} - {"z/large too.bin"}
    assert files_below(stage.path / "out") == {path: expected[path] for path in wanted}
    assert told["count"] == len(wanted)


def test_a_directory_with_the_name_of_a_file_fails_that_file_only(stage: Scene) -> None:
    expected, url = make_tree(stage), index(stage)
    (stage.path / "out" / "a.bin").mkdir(parents=True)
    told = fetch(stage, url, "out", pattern="source")
    wrong = [(path, why) for path, _, why, *_ in told["files"] if why]
    assert [path for path, _ in wrong] == ["a.bin"]
    assert "a directory has its name" in wrong[0][1]
    del expected["a.bin"]
    # The next run resumes from the directory of parts.
    found = files_below(stage.path / "out")
    assert {path: body for path, body in found.items() if not path.startswith(".dfengine.")} == expected
    (stage.path / "out" / "a.bin").rmdir()
    told = fetch(stage, url, "out", pattern="source")
    assert files_below(stage.path / "out") == make_tree(stage)
    assert 0 < counts(told)[2] < SIZE


def test_files_below_a_symbolic_link_are_not_written(stage: Scene) -> None:
    _, url = make_tree(stage), index(stage)
    (stage.path / "elsewhere").mkdir()
    (stage.path / "out").mkdir()
    (stage.path / "out" / "small").symlink_to("../elsewhere")
    told = fetch(stage, url, "out", pattern="source")
    assert not list((stage.path / "elsewhere").iterdir())
    assert {path for path, _, why, *_ in told["files"] if why} == {path for path in TREE if path.startswith("small/")}
    assert (stage.path / "out" / "large.bin").stat().st_size == TREE["large.bin"]
    (stage.path / "out" / "small").unlink()
    fetch(stage, url, "out", pattern="source")


def test_a_second_host_fetches_a_tree_from_the_first(stage: Scene) -> None:
    expected, url = make_tree(stage), index(stage)
    node = stage.supernode()
    told = fetch(stage, url, "a", node)
    assert files_below(stage.path / "a") == expected
    assert counts(told) == (0, SIZE, 0, 0)
    assert told["serves"]
    origin = node.metric("dfengine_origin_bytes_total")
    told = fetch(stage, url, "b", node, host=3)
    assert files_below(stage.path / "b") == expected
    assert counts(told)[0] == SIZE, "the first host has every piece, so that the supernode sends none"
    assert node.metric("dfengine_origin_bytes_total") == origin


def test_local_files_are_reused_by_digest_if_the_index_has_no_versions(stage: Scene) -> None:
    """An index in HTML states no times: the digests of the pieces verify the local files."""
    expected = make_tree(stage)
    url, node = f"{stage.origin(odd='autoindex on;')}/odd/tree/", stage.supernode()
    fetch(stage, url, "out", node)
    assert counts(fetch(stage, url, "out", node)) == (0, 0, 0, SIZE)
    body = bytearray((stage.path / "out" / "large.bin").read_bytes())
    body[5 * MIB] ^= 1
    (stage.path / "out" / "large.bin").write_bytes(body)
    (stage.path / "out" / "small/000.bin").unlink()
    told = fetch(stage, url, "out", node)
    assert files_below(stage.path / "out") == expected
    assert 8_000_000 < counts(told)[3] < SIZE
    assert counts(fetch(stage, url, "out", node, force=True))[3] == 0


def test_a_locally_changed_file_is_not_served_to_others(stage: Scene) -> None:
    expected, url = make_tree(stage), index(stage)
    node = stage.supernode()
    fetch(stage, url, "a", node)
    for path in ("large.bin", "small/003.bin"):
        place = stage.path / "a" / path
        body, times = bytearray(place.read_bytes()), place.stat()
        body[-1] ^= 1
        place.write_bytes(body)
        os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
    (stage.path / "a" / "z/large too.bin").unlink()
    told = fetch(stage, url, "b", node, host=3)
    assert files_below(stage.path / "b") == expected
    peers, supernode, _, _ = counts(told)
    assert peers
    assert supernode


@pytest.mark.parametrize("with_node", [False, True])
@pytest.mark.parametrize("part", [0.05, 0.4, 0.8])
def test_a_killed_run_resumes(stage: Scene, part: float, with_node: bool) -> None:
    expected = make_tree(stage)
    url = index(stage, "" if with_node else "limit_rate 6m;")
    nodes = (stage.supernode(),) if with_node else ()
    process = start(stage, url, "out", *nodes, **({"locallimit": "8M"} if with_node else {"connections": 2}))
    out = stage.path / "out"

    def written() -> int:
        return sum(path.stat().st_blocks * 512 for path in out.rglob("*") if path.is_file() and path.name != "record")

    def kept() -> bool:
        """Whether a whole piece is recorded: the written bytes may belong to several incomplete pieces."""
        with contextlib.closing(Record.follow(str(next(out.glob(".dfengine.*/record"))))) as record:
            return any(record.has_range(n, n + 1) for n in range(record.geometry.count))

    def enough() -> bool:
        try:
            return process.poll() is not None or (written() > part * SIZE and (part < 0.1 or kept()))
        except (FileNotFoundError, StopIteration, StorageError):
            return False

    until(enough, "enough bytes of the tree")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for path, body in files_below(out).items():
        assert path.startswith(".dfengine.") or expected[path] == body, "a file has its name before it is complete"
    told = fetch(stage, url, "out", *nodes)
    assert files_below(out) == expected
    if part > 0.1:
        assert counts(told)[3] > 0


def test_a_tree_is_completed_from_the_origin_after_the_supernode_is_killed(stage: Scene) -> None:
    expected, url = make_tree(stage, {**TREE, "very large.bin": 60 * MIB}), index(stage)
    node = stage.supernode()
    process = start(stage, url, "out", node, locallimit="10M", timeout=100)
    until(lambda: list((stage.path / "out").glob("small/*")), "the first files")
    stage.kill(node.process)
    told = end(process)
    assert files_below(stage.path / "out") == expected
    assert told["why"]
    assert counts(told)[1] > 0
    assert counts(told)[2] > 0


@pytest.mark.parametrize("with_node", [False, True])
def test_two_simultaneous_trees_of_one_home_into_two_directories(stage: Scene, with_node: bool) -> None:
    expected, url = make_tree(stage), index(stage)
    nodes = [stage.supernode()] if with_node else []
    both = [start(stage, url, f"out-{n}", *nodes) for n in range(2)]
    for n, process in enumerate(both):
        counts(end(process))
        assert files_below(stage.path / f"out-{n}") == expected
    if with_node:
        assert nodes[0].metric("dfengine_origin_bytes_total") <= 1.02 * SIZE + MIB


def test_a_second_download_into_the_same_directory_is_refused(stage: Scene) -> None:
    expected, url = make_tree(stage), index(stage)
    first = start(stage, url, "out", locallimit="3M")
    until(lambda: list((stage.path / "out").glob(".dfengine.*/record")), "the first download")
    first.send_signal(signal.SIGSTOP)
    second = end(start(stage, url, "out", host=3), 7)
    assert "another download writes a tree to" in second["error"]
    other = stage.www / "other"
    other.mkdir()
    stage.file("other/x", 1000)
    words = [*DFENGINE, "get", "--recursive", f"file://{other}", str(stage.path / "out")]
    refused = subprocess.run([*words, "--delete"], capture_output=True, timeout=PATIENCE, check=False)
    assert (refused.returncode, refused.stderr.count(b"\n")) == (7, 1), refused.stderr
    assert b"another download writes a tree to" in refused.stderr
    below = subprocess.run([*words[:-1], str(stage.path / "out/below"), "--delete"], capture_output=True, timeout=PATIENCE, check=False)
    assert below.returncode == 7
    assert b"--delete would delete of that" in below.stderr
    first.send_signal(signal.SIGCONT)
    end(first)
    assert files_below(stage.path / "out") == expected
    assert subprocess.run([*words, "--delete"], capture_output=True, timeout=PATIENCE, check=False).returncode == 0
    assert [path.name for path in (stage.path / "out").iterdir()] == ["x"]
