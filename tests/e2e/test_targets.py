"""What may become of a target: no room, no right, no quota; removed or changed while it is served; two downloads at once; any signal.

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


def left(folder: Path) -> list[str]:
    """Names in a folder, but for those of dfengine's own bookkeeping."""
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))




@pytest.mark.parametrize("swarm", [True, False])
def test_a_full_disk_is_said_and_what_came_is_gone_on_from(small: Path, closed: Scene, swarm: bool) -> None:
    stage = closed
    sha = stage.file("f.bin", 40 * MIB)
    url = stage.origin() + "/f.bin"
    nodes = (stage.supernode(),) if swarm else ()
    ballast = small / "ballast"
    ballast.write_bytes(bytes(40 * MIB))
    said = fails_with(stage, url, small / "out", nodes, 7)
    assert "no room" in said
    assert left(small) == ["ballast"]
    ballast.unlink()
    get = stage.start_get(url, str(small / "out"), "-s", "16M", nodes=nodes)
    until(lambda: used(small) > 12 * MIB, "some pieces")
    filled(ballast)
    _, error = get.communicate(timeout=60)
    assert get.returncode == 7
    assert b"No space left" in error
    assert len(error.splitlines()) == 1
    assert left(small) == ["ballast"]
    ballast.unlink()
    result = stage.get(url, str(small / "out"), nodes=nodes)
    assert stage.digest(str(small / "out")) == sha
    assert result["from"]["resumed"] >= 8 * MIB
    assert left(small) == ["out"]


def test_a_disk_that_fills_up_under_a_file_of_unknown_length(small: Path, closed: Scene) -> None:
    closed.file("f.bin", 100 * MIB)
    url = closed.origin() + "/chunked/f.bin"
    for host, nodes in ((2, ()), (3, (closed.supernode(),))):
        said = str(closed.get(url, str(small / f"out-{host}"), host=host, nodes=nodes, status=7))
        assert "No space left" in said
        assert left(small) == []
        for entry in small.iterdir():
            entry.unlink()


def fails_with(stage: Scene, url: str, output: Path, nodes: tuple[object, ...], status: int) -> str:
    said = str(stage.get(url, str(output), nodes=nodes, status=status))  # type: ignore[arg-type]
    assert len(said.splitlines()) == 1, said
    return said


def test_a_read_only_directory_is_said(small: Path, closed: Scene) -> None:
    closed.file("f.bin", MIB)
    url = closed.origin() + "/f.bin"
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    said = fails_with(closed, url, small / "out", (closed.supernode(),), 7)
    assert "Read-only" in said


def test_a_quota_is_said_and_what_came_is_gone_on_from(stage: Scene) -> None:
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
def test_a_directory_that_is_taken_from_under_a_download(small: Path, closed: Scene, what: str) -> None:
    stage = closed
    sha = stage.file("f.bin", 40 * MIB)
    url = stage.origin() + "/f.bin"
    node = stage.supernode()
    folder = small / "folder"
    folder.mkdir()
    get = stage.start_get(url, str(folder / "out"), "-s", "16M", nodes=(node,))
    until(lambda: used(small) > 12 * MIB, "some pieces")
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
        assert what == "removed" or left(folder) == []
    folder.mkdir(exist_ok=True)
    result = stage.get(url, str(folder / "out"), nodes=(node,))
    assert stage.digest(str(folder / "out")) == sha
    assert (result["from"]["resumed"] > 0) == (what == "read-only")


@pytest.mark.parametrize("what", ["removed", "changed", "cut", "replaced"])
def test_a_target_that_is_touched_while_it_is_served_harms_nobody(stage: Scene, what: str) -> None:
    sha = stage.file("f.bin", 10 * PIECE)
    url = stage.origin() + "/f.bin"
    node = stage.supernode("--revalidate-interval", "1h", "--supernode-limit", "1")
    stage.get(url, "a", host=2, nodes=(node,))
    output = stage.path / "a"
    get = stage.start_get(url, "b", "-s", "12M", "--notbs", host=3, nodes=(node,))
    until(lambda: node.metric("dfengine_pieces_in_flight") > 0 or get.poll() is not None, "pieces under way")
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
    assert stage.sent("/f.bin") == 10 * PIECE


def test_two_downloads_of_one_target(stage: Scene) -> None:
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
def test_a_signal_at_any_point_leaves_no_wrong_file_and_what_can_be_gone_on_from(stage: Scene, number: signal.Signals) -> None:
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
            continue  # Python itself was not up yet, and says so in its own way
        assert code in (0, 128 + number, -number), said
        assert "Traceback" not in said
        hits += code != 0
        assert not (stage.path / "out").exists() or stage.digest("out") == sha
        (stage.path / "out").unlink(missing_ok=True)
    assert hits
    stage.get(url, "out", host=2, nodes=(node,))
    assert stage.digest("out") == sha
    assert not [name for name in os.listdir(stage.path) if name.startswith((".out", "out."))]


def used(folder: Path) -> int:
    """Bytes in use on its file system."""
    state = os.statvfs(folder)
    return (state.f_blocks - state.f_bfree) * state.f_frsize


def test_a_supernodes_cache_on_a_small_disk_makes_room(small: Path, closed: Scene) -> None:
    stage = closed
    urls = {name: stage.file(name, 20 * MIB) for name in ("f0", "f1", "f2", "f3", "f4", "f5", "f6")}
    origin = stage.origin()
    node = stage.supernode("--disk-low", "24M", "--disk-high", "40M", home=small / "cache")
    for name, sha in urls.items():
        result = stage.get(f"{origin}/{name}", f"out-{name}", "--notbs", "--pattern", "cdn", nodes=(node,))
        assert stage.digest(f"out-{name}") == sha
        assert result["from"]["supernode"] == 20 * MIB
    assert used(small) <= SMALL
    big = stage.file("big", 100 * MIB)
    result = stage.get(f"{origin}/big", "out-big", nodes=(node,))
    assert stage.digest("out-big") == big
    assert result["back_to_source"], "a file that does not fit is fetched from the origin"
    sha = stage.file("after", 20 * MIB)
    stage.get(f"{origin}/after", "out-after", "--notbs", "--pattern", "cdn", nodes=(node,))
    assert stage.digest("out-after") == sha


def test_a_peers_home_on_a_small_disk_makes_room(small: Path, closed: Scene) -> None:
    stage = closed
    home = small / "home-2"
    stage.homes.add(home)
    shas = {f"f{n}": stage.file(f"f{n}", 20 * MIB) for n in range(5)}
    origin = stage.origin()
    node = stage.supernode()
    for name, sha in shas.items():
        until(lambda: used(small) < 40 * MIB, "room")
        command = [*DFENGINE, "get", f"{origin}/{name}", "-o", str(small / name), "-n", node.node, "--ip", "127.0.0.2", "--home", str(home),
                   "--expiretime", "1s", "--alivetime", "4s", "--quiet"]
        subprocess.run(command, check=True, timeout=60)
        assert stage.digest(str(small / name)) == sha
        (small / name).unlink()
    until(lambda: used(small) < MIB, "everything gone")
    until(lambda: not (home / "peer.lock").read_text(), "the end of the peer server")
