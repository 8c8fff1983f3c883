"""Downloads of real files: origin, supernode, peers, digests, resumption, restarts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.scene import MIB, Scene, descriptors, until

SIZES = {"empty": 0, "one": 1, "piece": 4 * MIB - 5, "piece and one": 4 * MIB - 4, "some": 9_000_000}


def part_file(stage: Scene, name: str) -> Path:
    """The part file of an output."""
    return next(stage.path.glob(f".{name}.*.part"))


def part_bytes(stage: Scene, name: str) -> int:
    """Bytes written to an output's part file (tmpfs and ext4 count whole blocks)."""
    parts = list(stage.path.glob(f".{name}.*.part"))
    return parts[0].stat().st_blocks * 512 if parts else 0


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_files_of_every_size_from_supernode_and_peer(stage: Scene, size: int) -> None:
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode()
    first = stage.get(url, "a", nodes=(node,))
    second = stage.get(url, "b", "--digest", f"sha256:{digest}", host=3, nodes=(node,))
    assert stage.digest("a") == stage.digest("b") == digest
    assert first["from"] == {"peers": 0, "supernode": size, "origin": 0, "host": 0, "resumed": 0}
    assert second["from"] == {"peers": size, "supernode": 0, "origin": 0, "host": 0, "resumed": 0}
    assert (first["length"], first["back_to_source"], second["digest"]) == (size, None, first["digest"])
    stage.check_read_once("/f", size, node)


@pytest.mark.parametrize("mib", [200, 1024])
def test_large_files_are_served_by_peers_to_peers(stage: Scene, mib: int) -> None:
    digest = stage.file("big", mib * MIB)
    url = stage.origin() + "/big"
    node = stage.supernode()
    results = [stage.get(url, f"out{host}", host=host, nodes=(node,)) for host in (2, 3, 4)]
    for host in (2, 3, 4):
        assert stage.digest(f"out{host}") == digest
    assert results[0]["from"]["supernode"] == mib * MIB
    for result in results[1:]:
        assert result["from"] == {"peers": mib * MIB, "supernode": 0, "origin": 0, "host": 0, "resumed": 0}
    stage.check_read_once("/big", mib * MIB, node)
    assert json.loads(node.get(f"/tasks/{results[0]['task_id']}"))["cdnStatus"] == "SUCCESS"


def test_peers_that_start_together_serve_each_other_and_read_the_origin_once(stage: Scene) -> None:
    size = 120 * MIB
    digest = stage.file("f", size)
    url = stage.origin(slow="60m") + "/slow/f"
    node = stage.supernode()
    gets = [stage.start_get(url, f"out{host}", host=host, nodes=(node,)) for host in range(2, 10)]
    results = [stage.end(get) for get in gets]
    assert {stage.digest(f"out{host}") for host in range(2, 10)} == {digest}
    stage.check_read_once("/slow/f", size, node)
    assert sum(result["from"]["peers"] for result in results) > 3 * size
    assert sum(result["from"]["origin"] for result in results) == 0


def test_the_output_and_the_served_copy_are_one_file(stage: Scene) -> None:
    stage.file("f", 9_000_000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    stage.get(url, "a", nodes=(node,))
    served = list((stage.path / "home-2" / "data").iterdir())
    assert [path.samefile(stage.path / "a") for path in served] == [True]
    assert not list(stage.path.glob(".a.*"))


def test_a_second_download_uses_the_running_peer_server(stage: Scene) -> None:
    stage.file("f", 100_000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    lock = stage.path / "home-2" / "peer.lock"
    stage.get(url, "a", nodes=(node,))
    said = json.loads(lock.read_text())
    assert said["ip"] == "127.0.0.2"
    assert str(stage.path / "home-2").encode() in Path(f"/proc/{said['pid']}/cmdline").read_bytes(), "the lock names the peer server"
    stage.get(url + "?2", "b", nodes=(node,))
    assert stage.peer_pid() == said["pid"]
    assert json.loads(lock.read_text())["port"] == said["port"]
    home, servers = str(stage.path / "home-2").encode(), 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # a process may end meanwhile
            words = path.read_bytes().split(b"\0")
            servers += home in words and b"peer" in words
    assert servers == 1


def test_an_output_on_another_file_system_is_served_without_a_copy(stage: Scene, tmp_path: Path) -> None:
    if os.stat(tmp_path).st_dev == os.stat(stage.path).st_dev:
        tmp_path = Path("/var/tmp") / stage.path.name
        tmp_path.mkdir()
    digest = stage.file("f", 9_000_000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    try:
        out = str(tmp_path / "out")
        stage.get(url, out, nodes=(node,))
        assert list((stage.path / "home-2" / "data").iterdir()) == []
        second = stage.get(url, "b", host=3, nodes=(node,))
        assert second["from"]["peers"] == 9_000_000
        assert stage.digest("b") == digest
        # The owner changes the output: the changed bytes reach no download.
        with open(out, "r+b") as file:
            file.write(b"mine")
        stage.get(url, "c", host=4, nodes=(node,))
        assert stage.digest("c") == digest
    finally:
        for path in tmp_path.iterdir():
            path.unlink()
        tmp_path.rmdir()


def test_a_killed_download_resumes(stage: Scene) -> None:
    size = 160 * MIB
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode("--max-bandwidth", "40M")
    get = stage.start_get(url, "out", nodes=(node,))
    until(lambda: part_bytes(stage, "out") > size // 2, "half of the file")
    stage.kill(get)
    before = part_bytes(stage, "out")
    assert not (stage.path / "out").exists()
    result = stage.get(url, "out", nodes=(node,))
    assert stage.digest("out") == digest
    assert result["from"]["resumed"] >= 0.95 * before - 4 * 4 * MIB
    assert result["from"]["resumed"] >= 0.95 * (size // 2)
    assert result["from"]["resumed"] + result["from"]["supernode"] + result["from"]["peers"] == size
    stage.check_read_once("/f", size, node)


def test_an_interrupted_download_says_how_to_resume_and_resumes(stage: Scene) -> None:
    size = 80 * MIB
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode("--max-bandwidth", "40M")
    for number, least in ((signal.SIGTERM, 8 * MIB), (signal.SIGINT, 32 * MIB)):
        get = stage.start_get(url, "out", nodes=(node,))
        until(partial(lambda least: part_bytes(stage, "out") > least, least), "more bytes in the part file")
        get.send_signal(number)
        assert "run it again" in stage.end(get, 128 + number)
        assert not (stage.path / "out").exists()
    assert stage.get(url, "out", nodes=(node,))["from"]["resumed"] > 0
    assert stage.digest("out") == digest


def test_a_download_continues_after_its_supernode_is_killed_and_restarted(stage: Scene) -> None:
    size = 160 * MIB
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode("--max-bandwidth", "40M", "--origin-connections", "1")
    get = stage.start_get(url, "out", "--notbs", nodes=(node,))
    until(lambda: part_bytes(stage, "out") > size // 3, "a third of the file")
    stage.kill(node.process)
    port, download = node.port, int(node.download.rpartition(":")[2])
    stage.supernodes.remove(node)
    again = stage.supernode("--max-bandwidth", "40M", "--origin-connections", "1", home=node.home, port=port, download_port=download)
    result = stage.end(get)
    assert stage.digest("out") == digest
    assert result["back_to_source"] is None
    # Lost are the piece in flight, 4 MiB, and the bytes in one socket, which nginx counts as sent (10 MiB of buffers by Linux's defaults).
    assert stage.sent("/f") <= size + 16 * MIB
    assert again.process.poll() is None


def test_a_supernode_that_is_killed_in_mid_fetch_resumes_its_copy(stage: Scene) -> None:
    size = 60 * MIB
    digest = stage.file("f", size)
    url = stage.origin(slow="20m") + "/slow/f"
    node = stage.supernode()
    get = stage.start_get(url, "out", "--notbs", nodes=(node,))
    until(lambda: part_bytes(stage, "out") > 12 * MIB, "some of the file")
    stage.kill(node.process)
    stage.supernodes.remove(node)
    stage.supernode(home=node.home, port=node.port, download_port=int(node.download.rpartition(":")[2]))
    stage.end(get)
    assert stage.digest("out") == digest
    until(lambda: len(stage.requests("/slow/f")) >= 2, "nginx's log")
    assert stage.requests("/slow/f")[-1]["status"] == 206
    assert stage.requests("/slow/f")[-1]["range"].startswith("bytes=")


def test_a_restarted_supernode_serves_its_cache_after_revalidation(stage: Scene) -> None:
    digest = stage.file("f", 9_000_000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    stage.get(url, "a", nodes=(node,))
    node.process.terminate()
    node.process.wait(20)
    again = stage.supernode(home=node.home)
    stage.get(url, "b", host=3, nodes=(again,))
    assert stage.digest("b") == digest
    assert [(request["status"], request["sent"]) for request in stage.requests("/f")] == [(200, 9_000_000), (304, 0)]


def test_a_download_continues_from_the_next_supernode(stage: Scene) -> None:
    size = 80 * MIB
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    nodes = tuple(stage.supernode("--max-bandwidth", "30M") for _ in range(2))
    get = stage.start_get(url, "out", "--notbs", "--verbose", nodes=nodes)
    until(lambda: part_bytes(stage, "out") > 16 * MIB, "some of the file")
    first, other = sorted(nodes, key=lambda node: -node.metric("dragonfly_supernode_dfgettasks_registered_total"))
    stage.kill(first.process)
    stage.supernodes.remove(first)
    said = get.communicate(timeout=120)[1].decode()
    assert get.returncode == 0, said
    assert stage.digest("out") == digest
    assert f"registered again at {other.node}" in said


def test_a_download_continues_from_the_supernode_after_its_peer_is_killed(stage: Scene) -> None:
    size = 120 * MIB
    digest = stage.file("f", size)
    url = stage.origin() + "/f"
    node = stage.supernode()
    stage.get(url, "a", "--totallimit", "30M", nodes=(node,))
    get = stage.start_get(url, "b", "--notbs", host=3, nodes=(node,))
    until(lambda: part_bytes(stage, "b") > 16 * MIB, "some of the file")
    os.kill(stage.peer_pid(2), signal.SIGKILL)
    stage.homes.discard(stage.path / "home-2")
    result = stage.end(get)
    assert stage.digest("b") == digest
    assert result["from"]["peers"] > 0
    assert result["from"]["supernode"] > 0
    assert result["from"]["peers"] + result["from"]["supernode"] == size


def test_a_changed_file_is_downloaded_in_its_new_version(stage: Scene) -> None:
    old = stage.file("f", 9_000_000)
    url = stage.origin() + "/f"
    node = stage.supernode("--revalidate-interval", "0")
    stage.get(url, "a", nodes=(node,))
    new = stage.file("f", 9_000_001, seed=1)
    result = stage.get(url, "b", host=3, nodes=(node,))
    assert (stage.digest("a"), stage.digest("b")) == (old, new)
    assert result["from"]["supernode"] == 9_000_001


def test_without_a_supernode_the_origin_is_read_in_parallel(stage: Scene) -> None:
    digest = stage.file("f", 40 * MIB)
    base = stage.origin()
    result = stage.get(base + "/f", "a")
    assert stage.digest("a") == digest
    assert result["from"]["origin"] == 40 * MIB
    assert "supernode" in result["back_to_source"]
    # The response that stated the length is cut after its share; the bytes in the sockets by then count in addition.
    assert stage.sent("/f") <= 40 * MIB + 8 * MIB
    assert len([request for request in stage.requests("/f") if request["status"] == 206]) > 1
    for folder in ("noranges", "chunked", "moved"):
        stage.get(f"{base}/{folder}/f", folder)
        assert stage.digest(folder) == digest


@pytest.mark.parametrize("folder", ["noranges", "chunked", "moved"])
def test_origins_without_ranges_or_length_and_with_redirects(stage: Scene, folder: str) -> None:
    digest = stage.file("f", 13 * MIB)
    url = f"{stage.origin()}/{folder}/f"
    node = stage.supernode()
    first = stage.get(url, "a", "--notbs", nodes=(node,))
    second = stage.get(url, "b", "--notbs", "--digest", f"sha256:{digest}", host=3, nodes=(node,))
    assert stage.digest("a") == stage.digest("b") == digest
    assert first["length"] == second["length"] == 13 * MIB
    assert second["from"]["peers"] + second["from"]["supernode"] == 13 * MIB


def test_credentials_reach_the_origin(stage: Scene) -> None:
    digest = stage.file("f", 5_000_000)
    url = stage.origin() + "/private/f"
    node = stage.supernode()
    stage.get(url, "no", "--notbs", nodes=(node,), status=3)
    stage.get(url, "no", nodes=(node,), status=4)
    stage.get(url, "a", "--header", "Authorization: Bearer secret", "--notbs", nodes=(node,))
    assert stage.digest("a") == digest


def test_a_missing_file_is_requested_once_by_the_supernode(stage: Scene) -> None:
    url = stage.origin() + "/missing"
    node = stage.supernode()
    for host in (2, 3, 4):
        assert "404" in stage.get(url, "no", "--notbs", host=host, nodes=(node,), status=3)
    assert len(stage.requests("/missing")) == 1
    assert not list(stage.path.glob("no*"))


def test_a_wrong_md5_fails_all_downloads_and_leaves_no_file(stage: Scene) -> None:
    stage.file("f", 9_000_000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    gets = [stage.start_get(url, f"out{host}", "-m", "0" * 32, "--notbs", host=host, nodes=(node,)) for host in (2, 3)]
    for get in gets:
        get.communicate(timeout=60)
        assert get.returncode in (3, 5)
    assert not list(stage.path.glob("out*"))


def test_a_wrong_digest_exits_with_5_and_leaves_no_output(stage: Scene) -> None:
    stage.file("f", 9_000_000)
    url = stage.origin() + "/f"
    node = stage.supernode()
    for algorithm, length in (("sha256", 64), ("blake3", 64), ("xxh3", 32), ("md5", 32)):
        assert f"the file's {algorithm} is " in stage.get(url, "out", "--digest", f"{algorithm}:{'0' * length}", nodes=(node,), status=5)
        assert not (stage.path / "out").exists()


def test_twenty_downloads_leave_no_sockets_open_at_the_supernode(stage: Scene) -> None:
    """After twenty downloads the supernode has at most two sockets more than after the second."""
    base = stage.origin()
    node = stage.supernode("--task-expire-time", "0")
    for n in range(20):
        stage.file(f"f{n}", 10_000 + n)
    counts = []
    for n in range(20):
        stage.get(f"{base}/f{n}", f"out{n}", nodes=(node,))
        counts.append(len([name for name in descriptors(node.process.pid) if "socket" in name]))
    assert counts[-1] <= counts[1] + 2
