"""Outputs that cannot be written or change: full disks, read-only directories, size limits, outputs changed while served, signals.

Small file systems are tmpfs mounts of 64 MB, which need root.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.scene import DFENGINE, MIB, SMALL, Scene, filled, until

PIECE = 4 * MIB - 5


def visible_names(folder: Path) -> list[str]:
    """Names in a folder, without dfengine's own dot files."""
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))




@pytest.mark.parametrize("swarm", [True, False])
def test_a_full_disk_is_reported_and_the_download_resumes_later(small: Path, closed: Scene, swarm: bool) -> None:
    stage = closed
    sha = stage.file("f.bin", 40 * MIB)
    url = stage.origin() + "/f.bin"
    nodes = (stage.supernode(),) if swarm else ()
    ballast = small / "ballast"
    ballast.write_bytes(bytes(40 * MIB))
    said = fails_with(stage, url, small / "out", nodes, 7)
    assert "no room" in said
    assert visible_names(small) == ["ballast"]
    ballast.unlink()
    get = stage.start_get(url, str(small / "out"), "-s", "16M", nodes=nodes)
    until(lambda: used_bytes(small) > 12 * MIB, "some pieces")
    filled(ballast)
    _, error = get.communicate(timeout=60)
    assert get.returncode == 7
    assert b"No space left" in error
    assert len(error.splitlines()) == 1
    assert visible_names(small) == ["ballast"]
    ballast.unlink()
    result = stage.get(url, str(small / "out"), nodes=nodes)
    assert stage.digest(str(small / "out")) == sha
    assert result["from"]["resumed"] >= 8 * MIB
    assert visible_names(small) == ["out"]


def test_a_disk_that_fills_up_by_a_file_of_unknown_length_is_reported(small: Path, closed: Scene) -> None:
    closed.file("f.bin", 100 * MIB)
    url = closed.origin() + "/chunked/f.bin"
    for host, nodes in ((2, ()), (3, (closed.supernode(),))):
        said = str(closed.get(url, str(small / f"out-{host}"), host=host, nodes=nodes, status=7))
        assert "No space left" in said
        assert visible_names(small) == []
        for entry in small.iterdir():
            entry.unlink()


def fails_with(stage: Scene, url: str, output: Path, nodes: tuple[object, ...], status: int) -> str:
    said = str(stage.get(url, str(output), nodes=nodes, status=status))  # type: ignore[arg-type]
    assert len(said.splitlines()) == 1, said
    return said


def test_a_read_only_directory_is_reported(small: Path, closed: Scene) -> None:
    closed.file("f.bin", MIB)
    url = closed.origin() + "/f.bin"
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    said = fails_with(closed, url, small / "out", (closed.supernode(),), 7)
    assert "Read-only" in said


def test_a_file_size_limit_is_reported_and_a_later_download_succeeds(stage: Scene) -> None:
    sha = stage.file("f.bin", 40 * MIB)
    url = stage.origin() + "/f.bin"
    node = stage.supernode()
    output = stage.path / "out"
    home = stage.path / "home-2"
    stage.homes.add(home)
    command = [*DFENGINE, "get", url, "-o", str(output), "-n", node.node, "--ip", "127.0.0.2", "--home", str(home)]
    limit = 20 * MIB
    process = subprocess.run(
        command, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)), capture_output=True, timeout=60, check=False
    )
    assert process.returncode == 7, process.stderr
    assert b"too large" in process.stderr
    assert len(process.stderr.splitlines()) == 1
    assert not output.exists()
    stage.get(url, "out", nodes=(node,))
    assert stage.digest("out") == sha


@pytest.mark.parametrize("what", ["removed", "read-only"])
def test_an_output_directory_that_is_removed_or_becomes_read_only(small: Path, closed: Scene, what: str) -> None:
    stage = closed
    sha = stage.file("f.bin", 40 * MIB)
    url = stage.origin() + "/f.bin"
    node = stage.supernode()
    folder = small / "folder"
    folder.mkdir()
    get = stage.start_get(url, str(folder / "out"), "-s", "16M", nodes=(node,))
    until(lambda: used_bytes(small) > 12 * MIB, "some pieces")
    with contextlib.ExitStack() as undo:
        if what == "removed":
            shutil.rmtree(folder)
        else:
            subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
            undo.callback(subprocess.run, ["umount", str(folder)], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        _, error = get.communicate(timeout=60)
        assert get.returncode == 7, error
        assert (b"No such file" if what == "removed" else b"Read-only") in error
        assert len(error.splitlines()) == 1
        assert what == "removed" or visible_names(folder) == []
    folder.mkdir(exist_ok=True)
    result = stage.get(url, str(folder / "out"), nodes=(node,))
    assert stage.digest(str(folder / "out")) == sha
    assert (result["from"]["resumed"] > 0) == (what == "read-only")


@pytest.mark.parametrize("what", ["removed", "changed", "cut", "replaced"])
def test_an_output_that_is_changed_while_served_corrupts_no_download(stage: Scene, what: str) -> None:
    sha = stage.file("f.bin", 10 * PIECE)
    url = stage.origin() + "/f.bin"
    node = stage.supernode("--revalidate-interval", "1h", "--supernode-limit", "1")
    stage.get(url, "a", host=2, nodes=(node,))
    output = stage.path / "a"
    get = stage.start_get(url, "b", "-s", "12M", "--notbs", host=3, nodes=(node,))
    until(lambda: node.metric("dfengine_pieces_in_flight") > 0 or get.poll() is not None, "pieces in flight")
    if what == "removed":
        output.unlink()
    elif what == "changed":
        with open(output, "r+b") as file:
            for n in range(10):
                file.seek(n * PIECE + 1000)
                file.write(b"changed")
    elif what == "cut":
        os.truncate(output, 1000)
    else:
        other = stage.path / "other"
        other.write_bytes(bytes(10 * PIECE))
        other.rename(output)
    stage.end(get)
    stage.get(url, "c", "--notbs", host=4, nodes=(node,))
    assert stage.digest("b") == stage.digest("c") == sha
    stage.check_read_once("/f.bin", 10 * PIECE, node)


def test_two_downloads_to_one_output_do_not_corrupt_it(stage: Scene) -> None:
    sha = stage.file("f.bin", 40 * MIB)
    url = stage.origin() + "/f.bin"
    node = stage.supernode()
    gets = [stage.start_get(url, "out", "-s", "40M", host=2, nodes=(node,)) for _ in range(2)]
    ends = [(get.wait(60), get.stderr.read().decode()) for get in gets if get.stderr is not None]
    assert 0 in [code for code, _ in ends], ends
    for code, said in ends:
        assert code in (0, 7), said
        assert len(said.splitlines()) == (code != 0), said
    assert stage.digest("out") == sha
    assert not [name for name in os.listdir(stage.path) if name.startswith((".out", "out."))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_at_any_point_leaves_no_wrong_file_and_a_later_download_succeeds(stage: Scene, number: signal.Signals) -> None:
    sha = stage.file("f.bin", 30 * MIB)
    url = stage.origin() + "/f.bin"
    node = stage.supernode()
    stage.get(url, "warm", host=3, nodes=(node,))
    chance = random.Random(int(number))
    hits = 0
    for _ in range(9):
        get = stage.start_get(url, "out", "-s", "40M", host=2, nodes=(node,))
        time.sleep(chance.uniform(0.02, 1.1))
        get.send_signal(number)
        code = get.wait(20)
        said = get.stderr.read().decode() if get.stderr else ""
        if "KeyboardInterrupt" in said and "/dfengine/" not in said:
            continue  # Python was still starting: the traceback is its own
        assert code in (0, 128 + number, -number), said
        assert "Traceback" not in said
        hits += code != 0
        assert not (stage.path / "out").exists() or stage.digest("out") == sha
        (stage.path / "out").unlink(missing_ok=True)
    assert hits
    stage.get(url, "out", host=2, nodes=(node,))
    assert stage.digest("out") == sha
    assert not [name for name in os.listdir(stage.path) if name.startswith((".out", "out."))]


def used_bytes(folder: Path) -> int:
    """Bytes in use on the folder's file system."""
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def test_a_supernode_evicts_copies_on_a_small_disk(small: Path, closed: Scene) -> None:
    stage = closed
    urls = {name: stage.file(name, 20 * MIB) for name in ("f0", "f1", "f2", "f3", "f4", "f5", "f6")}
    origin = stage.origin()
    node = stage.supernode("--disk-low", "24M", "--disk-high", "40M", home=small / "cache")
    for name, sha in urls.items():
        result = stage.get(f"{origin}/{name}", f"out-{name}", "--notbs", "--pattern", "cdn", nodes=(node,))
        assert stage.digest(f"out-{name}") == sha
        assert result["from"]["supernode"] == 20 * MIB
    assert used_bytes(small) <= SMALL
    big = stage.file("big", 100 * MIB)
    result = stage.get(f"{origin}/big", "out-big", nodes=(node,))
    assert stage.digest("out-big") == big
    assert result["back_to_source"], "a file that does not fit the cache is read from the origin"
    sha = stage.file("after", 20 * MIB)
    stage.get(f"{origin}/after", "out-after", "--notbs", "--pattern", "cdn", nodes=(node,))
    assert stage.digest("out-after") == sha


def test_a_peer_server_evicts_expired_files_on_a_small_disk(small: Path, closed: Scene) -> None:
    stage = closed
    home = small / "home-2"
    stage.homes.add(home)
    shas = {f"f{n}": stage.file(f"f{n}", 20 * MIB) for n in range(5)}
    origin = stage.origin()
    node = stage.supernode()
    for name, sha in shas.items():
        until(lambda: used_bytes(small) < 40 * MIB, "free space")
        command = [*DFENGINE, "get", f"{origin}/{name}", "-o", str(small / name), "-n", node.node, "--ip", "127.0.0.2", "--home", str(home),
                   "--expiretime", "1s", "--alivetime", "4s", "--quiet"]
        subprocess.run(command, check=True, timeout=60)
        assert stage.digest(str(small / name)) == sha
        (small / name).unlink()
    until(lambda: used_bytes(small) < MIB, "the removal of all files")
    until(lambda: not (home / "peer.lock").read_text(), "the end of the peer server")
