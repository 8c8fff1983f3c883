"""Directories on a host's own disk that are shared by the digest of their manifest."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import DFENGINE, MIB, Scene, Supernode, until
from tests.e2e.test_cache_command import cache
from tests.e2e.test_sharing import kill_peer_server

SIZES = {"a": 0, "b/small": 1, "b/c/most of a piece": 4 * MIB - 9, "b/c/ü%25#": 10_000, "big": 9 * MIB + 1, "z/run": 77}


def make_file(stage: Scene, name: str = "model", seed: int = 0) -> Path:
    root = stage.path / name
    generator = random.Random(seed)
    for path, size in SIZES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(generator.randbytes(size))
        os.utime(root / path, (1_600_000_000, 1_600_000_000))
    (root / "z/run").chmod(0o755)
    return root


def state(root: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mode & 0o777, int(path.stat().st_mtime))
        for path in root.rglob("*") if path.is_file()
    }  # fmt: skip


def get(stage: Scene, name: str, folder: str, *options: str, host: int = 2, nodes: tuple[Supernode, ...] = (), status: int = 0) -> Any:
    """Run `dfengine get --recursive NAME DIR`; return its JSON object, or its stderr if it fails."""
    home = stage.path / f"home-{host}"
    stage.homes.add(home)
    command = [*DFENGINE, "get", "--recursive", name, str(stage.path / folder), "--ip", f"127.0.0.{host}", "--home", str(home), "--json"]
    command += options
    for node in nodes:
        command += ["-n", node.node]
    done = subprocess.run(command, capture_output=True, check=False, timeout=180)
    assert done.returncode == status, done.stderr.decode()
    return json.loads(done.stdout) if status == 0 else done.stderr.decode()


def test_a_shared_directory_is_served_by_its_host_and_by_others(stage: Scene) -> None:
    node, root = stage.supernode(), make_file(stage)
    name = stage.share(root, nodes=(node,)).strip()
    told = get(stage, name, "one", nodes=(node,))
    assert state(stage.path / "one") == state(root)
    assert told["from"]["peers"] == told["length"] == sum(SIZES.values())
    assert told["manifest"] == name.rpartition(":")[2]
    again = get(stage, name, "one", nodes=(node,))
    assert again["from"]["peers"] == 0
    kill_peer_server(stage)
    get(stage, name, "two", host=3, nodes=(node,))
    assert state(stage.path / "two") == state(root)
    assert not list((node.home / "download").iterdir())


def test_copies_of_a_directory_outlive_the_sharer_and_a_restart(stage: Scene) -> None:
    node, root = stage.supernode(), make_file(stage)
    name = stage.share(root, "--replicas", "1", nodes=(node,)).strip()
    before = state(root)
    kill_peer_server(stage)
    shutil.rmtree(root)
    stage.kill(node.process)
    again = stage.supernode(home=node.home)
    told = get(stage, name, "out", "--pattern", "cdn", nodes=(again,))
    assert told["from"]["supernode"] == told["length"]
    assert state(stage.path / "out") == before


@pytest.mark.parametrize("change", ["written", "removed"])
def test_a_changed_file_is_not_served_and_ends_the_share(stage: Scene, change: str) -> None:
    node, root = stage.supernode(), make_file(stage)
    name = stage.share(root, nodes=(node,)).strip()
    if change == "written":
        with open(root / "big", "r+b") as file:
            file.seek(5 * MIB)
            file.write(b"changed")
    else:
        (root / "big").unlink()
    get(stage, name, "out", nodes=(node,), status=3)
    assert not (stage.path / "out" / "big").exists()
    until(lambda: not list((stage.path / "home-9" / "shares").iterdir()), "the end of the share")


def test_removing_a_directory_ends_its_share(stage: Scene) -> None:
    node, root = stage.supernode(), make_file(stage)
    stage.share(root, nodes=(node,))
    shutil.rmtree(root)
    until(lambda: not list((stage.path / "home-9" / "shares").iterdir()), "the end of the share")


def test_a_directory_with_links_pipes_or_no_file_is_refused(stage: Scene) -> None:
    node, root = stage.supernode(), make_file(stage)
    (root / "b" / "link").symlink_to("small")
    assert "b/link is a symbolic link" in stage.share(root, nodes=(node,), status=2)
    (root / "b" / "link").unlink()
    os.mkfifo(root / "pipe")
    assert "pipe is neither" in stage.share(root, nodes=(node,), status=2)
    (stage.path / "empty").mkdir()
    assert "contains no file" in stage.share(stage.path / "empty", nodes=(node,), status=2)


def test_recursive_get_of_a_shared_file_and_globs_of_a_directory_are_refused(stage: Scene) -> None:
    node, root = stage.supernode(), make_file(stage)
    file = stage.share(root / "big", nodes=(node,)).strip()
    assert "not a shared directory" in get(stage, file, "out", nodes=(node,), status=4)
    name = stage.share(root, nodes=(node,)).strip()
    assert "as a whole" in get(stage, name, "out", "--include", "*.bin", nodes=(node,), status=2)


def test_cache_rm_ends_both_shares_of_a_directory(stage: Scene) -> None:
    node, root = stage.supernode(), make_file(stage)
    name = stage.share(root, nodes=(node,)).strip()
    assert len(list((stage.path / "home-9" / "shares").iterdir())) == 2
    cache(stage, "rm", name)
    assert not list((stage.path / "home-9" / "shares").iterdir())


def test_a_shared_directory_requested_as_a_file_is_refused(stage: Scene) -> None:
    node, root = stage.supernode(), make_file(stage)
    name = stage.share(root, nodes=(node,)).strip()
    told = json.loads(_end(stage, stage.start_get(name, "out", nodes=(node,)), 2))
    assert f"{name} is a shared directory: dfengine get --recursive {name} DIR" in told["error"]["message"]
    assert not list(stage.path.glob("out*"))
    told = _end(stage, stage.start_stream(name, nodes=(node,)), 2, b"")
    assert "is a shared directory" in told
    assert state(stage.path / "model") == state(root)


def _end(stage: Scene, process: subprocess.Popen[bytes], status: int, expected: bytes | None = None) -> str:
    """stdout of the process; with `expected`, which stdout must equal, its stderr."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, (out, err)
    if expected is None:
        return out.decode()
    assert out == expected
    return err.decode()


def test_without_an_output_the_file_is_named_by_its_digest(stage: Scene, tmp_path: Path) -> None:
    node = stage.supernode()
    (stage.path / "one").write_bytes(b"content")
    name = stage.share(stage.path / "one", nodes=(node,)).strip()
    stage.homes.add(stage.path / "home-2")
    done = subprocess.run(
        [*DFENGINE, "get", name, "--ip", "127.0.0.2", "--home", str(stage.path / "home-2"), "-n", node.node], cwd=tmp_path,
        capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    assert f"dfengine: {tmp_path / name.removeprefix('df:')}: 7 B in " in done.stderr.decode()
    assert (tmp_path / name.removeprefix("df:")).read_bytes() == b"content"
