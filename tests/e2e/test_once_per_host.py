"""Downloads of one file by several processes of one host: the host fetches it once, also when a process is killed, stopped or late."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import MIB, Scene, Supernode, descriptors, scene, until

SIZE = 120 * MIB
PIECE = 4 * MIB
PACED = ("--locallimit", "24M")
UNDER_WAY = 8 * PIECE
"""Bytes that four threads may have requested, twice each."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as found:
        yield found
    left = [path.name for path in tmp_path.iterdir() if path.name.endswith((".part", ".record"))]
    assert not left, "parts or records remain"


def sent(node: Supernode) -> int:
    """Bytes of files that the supernode has sent, with their frames and heads."""
    return int(node.metric("dfengine_sent_bytes_total"))


def check_once(node: Supernode, size: int = SIZE, more: int = 0) -> None:
    """Each byte arrived at the host once, and at most `more` bytes again. Any download may request the last piece twice."""
    assert size <= sent(node) <= size + PIECE + size // PIECE * 1000 + more


def shared_pages(process: subprocess.Popen[bytes]) -> int:
    """Signal pages that a download has mapped: its own, and its leader's once it has joined."""
    return Path(f"/proc/{process.pid}/maps").read_text().count("dfengine-signals")


def part(stage: Scene, name: str) -> Path | None:
    """The part file of an output."""
    return next((path for path in stage.path.glob(f".{name}.*.part")), None)


def has_got(stage: Scene, name: str, size: int) -> None:
    """Wait until the part of the output holds `size` bytes."""

    def enough() -> bool:
        found = part(stage, name)
        try:
            return found is not None and found.stat().st_blocks * 512 >= size
        except FileNotFoundError:
            return True

    until(enough, f"{size} bytes of {name}")


def leads(stage: Scene, url: str, node: Supernode, name: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a download and wait for its part file."""
    process = stage.start_get(url, name, *PACED, *options, nodes=(node,))
    until(lambda: part(stage, name), "a part file")
    return process


def join(stage: Scene, url: str, node: Supernode, *names: str, options: tuple[str, ...] = ()) -> dict[str, subprocess.Popen[bytes]]:
    """Start downloads and wait until they have joined the leader; by the names of their outputs."""
    found = {name: stage.start_get(url, name, *PACED, *options, nodes=(node,)) for name in names}
    for process in found.values():
        until(partial(lambda process: shared_pages(process) >= 2, process), "a download that has joined")
    return found


def nothing_is_held(stage: Scene) -> None:
    """Wait until the peer server holds no shared memory of ended downloads."""
    pid = stage.peer_pid()
    until(lambda: not [name for name in descriptors(pid) if "memfd" in name], "the end of shared memory")


def ends(stage: Scene, gets: dict[str, subprocess.Popen[bytes]], digest: str) -> dict[str, dict[str, Any]]:
    """Wait until all have succeeded; the bytes of each by source."""
    found = {name: stage.end(process)["from"] for name, process in gets.items()}
    for name in gets:
        assert stage.digest(name) == digest
    return found


def test_eight_concurrent_gets_fetch_a_file_once(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    gets = {f"out-{i}": stage.start_get(f"{url}/f", f"out-{i}", *PACED, nodes=(node,)) for i in range(8)}
    found = ends(stage, gets, digest)
    assert sorted(each["host"] for each in found.values()) == [0, *[SIZE] * 7]
    check_once(node)
    nothing_is_held(stage)


def test_eight_concurrent_gets_of_one_output_fetch_once(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    gets = [stage.start_get(f"{url}/f", "out", *PACED, "--digest", f"sha256:{digest}", nodes=(node,)) for _ in range(8)]
    found = [stage.end(each)["from"] for each in gets]
    assert stage.digest("out") == digest
    assert sorted(each["host"] for each in found) == [0, *[SIZE] * 7]
    check_once(node)


@pytest.mark.parametrize("tenths", [0, 3, 9])
def test_a_follower_takes_over_after_the_leader_is_killed(stage: Scene, tenths: int) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    leader = leads(stage, f"{url}/f", node, "out-0")
    gets = join(stage, f"{url}/f", node, "out-1", "out-2", "out-3", "out-4")
    has_got(stage, "out-0", SIZE * tenths // 10)
    stage.kill(leader)
    found = ends(stage, gets, digest)
    again = stage.get(f"{url}/f", "out-0", nodes=(node,))["from"]
    assert stage.digest("out-0") == digest
    assert again["resumed"] + again["peers"] + again["supernode"] == SIZE
    assert len([1 for each in found.values() if each["host"] == SIZE]) >= 3
    check_once(node, more=UNDER_WAY + again["supernode"])
    nothing_is_held(stage)


def test_followers_take_over_after_two_leaders_are_killed_in_turn(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    first = leads(stage, f"{url}/f", node, "out-0")
    gets = join(stage, f"{url}/f", node, "out-1", "out-2", "out-3", "out-4")
    has_got(stage, "out-0", SIZE // 4)
    stage.kill(first)
    has_got(stage, "out-4", SIZE // 2)
    stage.kill(gets.pop("out-1"))
    ends(stage, gets, digest)
    for name in ("out-0", "out-1"):
        stage.get(f"{url}/f", name, "--pattern", "source")
    check_once(node, more=2 * UNDER_WAY)


def test_gets_of_one_output_resume_after_their_leader_is_killed(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    first = leads(stage, f"{url}/f", node, "out")
    gets = [leads(stage, f"{url}/f", node, "out") for _ in range(2)]
    has_got(stage, "out", SIZE // 2)
    stage.kill(first)
    found = [stage.end(each)["from"] for each in gets]
    assert stage.digest("out") == digest
    assert sorted(each["host"] for each in found) == [0, SIZE]
    assert min(each["resumed"] for each in found if not each["host"]) >= SIZE // 3
    check_once(node, more=UNDER_WAY)


def test_a_follower_takes_over_from_a_stopped_leader(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    leader = leads(stage, f"{url}/f", node, "out-0")
    gets = join(stage, f"{url}/f", node, "out-1", "out-2", "out-3")
    has_got(stage, "out-0", SIZE // 4)
    leader.send_signal(signal.SIGSTOP)
    found = ends(stage, gets, digest)
    assert len([1 for each in found.values() if each["host"] == SIZE]) >= 2, "the followers have one new leader"
    check_once(node, more=UNDER_WAY)
    leader.send_signal(signal.SIGCONT)
    ends(stage, {"out-0": leader}, digest)


def test_a_get_completes_while_the_leader_of_the_same_output_is_stopped(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    leader = leads(stage, f"{url}/f", node, "out")
    get = leads(stage, f"{url}/f", node, "out")
    leader.send_signal(signal.SIGSTOP)
    stage.end(get)
    assert stage.digest("out") == digest
    leader.send_signal(signal.SIGCONT)
    stage.end(leader)
    assert stage.digest("out") == digest


def test_gets_fetch_once_after_the_peer_server_is_killed(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    gets = {"out-0": leads(stage, f"{url}/f", node, "out-0")}
    gets.update(join(stage, f"{url}/f", node, "out-1", "out-2", "out-3"))
    os.kill(stage.peer_pid(), signal.SIGKILL)
    (stage.path / "home-2" / "peer.lock").write_text("")
    ends(stage, gets, digest)
    check_once(node)


def test_followers_stay_with_their_leader_after_the_supernode_is_killed(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    gets = {"out-0": leads(stage, f"{url}/f", node, "out-0")}
    gets.update(join(stage, f"{url}/f", node, "out-1", "out-2", "out-3"))
    has_got(stage, "out-0", SIZE // 3)
    stage.kill(node.process)
    before = stage.sent("/f")
    found = ends(stage, gets, digest)
    assert len([1 for each in found.values() if each["host"] == SIZE]) == 3
    assert stage.sent("/f") - before <= 2 * SIZE


def test_each_concurrent_get_reports_a_missing_file(stage: Scene) -> None:
    url, node = stage.origin(), stage.supernode()
    gets = [stage.start_get(f"{url}/none", f"out-{i}", nodes=(node,)) for i in range(4)]
    for each in gets:
        assert "404" in stage.end(each, 4)


def test_a_follower_that_expects_another_digest_fails_alone(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    right = {"out-0": leads(stage, f"{url}/f", node, "out-0", "--digest", f"sha256:{digest}")}
    right.update(join(stage, f"{url}/f", node, "out-1", options=("--digest", f"sha256:{digest}")))
    wrong = join(stage, f"{url}/f", node, "wrong", options=("--digest", f"sha256:{'0' * 64}"))["wrong"]
    other = join(stage, f"{url}/f", node, "other", options=("--digest", f"sha512:{'0' * 128}"))["other"]
    assert "sha256" in stage.end(wrong, 5)
    assert "sha512" in stage.end(other, 5)
    ends(stage, right, digest)
    assert not (stage.path / "wrong").exists()
    check_once(node)


def test_a_leader_that_expects_another_digest_fails_alone(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    leader = leads(stage, f"{url}/f", node, "wrong", "--digest", f"sha256:{'0' * 64}")
    gets = join(stage, f"{url}/f", node, "out-1", "out-2", options=("--digest", f"sha256:{digest}"))
    assert "sha256" in stage.end(leader, 5)
    ends(stage, gets, digest)
    check_once(node)


def test_gets_with_no_join_fetch_independently(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    gets = {f"out-{i}": stage.start_get(f"{url}/f", f"out-{i}", *PACED, "--no-join", nodes=(node,)) for i in range(2)}
    found = ends(stage, gets, digest)
    assert [each["host"] for each in found.values()] == [0, 0]
    assert node.metric("dragonfly_supernode_dfgettasks_registered_total") == 2


def test_gets_succeed_after_the_leader_has_finished(stage: Scene) -> None:
    digest = stage.file("f", SIZE)
    url, node = stage.origin(), stage.supernode()
    stage.get(f"{url}/f", "out-0", nodes=(node,))
    found = stage.get(f"{url}/f", "out-0", nodes=(node,))["from"]
    assert found["resumed"] == SIZE
    stage.get(f"{url}/f", "out-1", nodes=(node,))
    assert stage.digest("out-1") == digest
    nothing_is_held(stage)
