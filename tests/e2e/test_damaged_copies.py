"""Copies of a supernode that change on disk: no download gets a wrong byte, and damaged pieces are fetched again and stay repaired."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.scene import MIB, Scene, Supernode, descriptors, status, until
from tests.e2e.standin import Origin
from tests.e2e.test_faults import post, registration
from tests.e2e.test_legacy_client import LegacyClient

PIECE = (4 << 20) - 5
SIZE = 18 * MIB


def copies(node: Supernode, kind: str = "") -> list[Path]:
    """The file of the only copy, or its record, as a list of one."""
    found = [path for path in (node.home / "download").glob("*/*") if path.suffix == kind]
    assert len(found) == 1
    return found


def flip(path: Path, *places: int) -> None:
    """Flip one bit at each place of the file; its times stay the same."""
    state = path.stat()
    with open(path, "r+b") as file:
        for place in places:
            file.seek(place)
            (byte,) = file.read(1)
            file.seek(place)
            file.write(bytes([byte ^ 4]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def zero(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(3 * PIECE + 5000)
        file.write(bytes(4096))


def begun_again(stage: Scene, node: Supernode, damage: Callable[[], None]) -> Supernode:
    """Stop the supernode, change its disk, and start it again."""
    node.process.terminate()
    node.process.wait(20)
    damage()
    return stage.supernode(home=node.home)


RECORD = 64
"""Bytes of a record's head; then 8 of bits, 8 more, and 16 for each piece's digest."""

DAMAGE: dict[str, tuple[Callable[[Supernode], None], int]] = {
    "a byte": (lambda node: flip(copies(node)[0], PIECE + 77), 1),
    "a byte of the first piece, and of the last": (lambda node: flip(copies(node)[0], 0, SIZE - 1), 2),
    "a page": (lambda node: zero(copies(node)[0]), 1),
    "a digest": (lambda node: flip(copies(node, ".record")[0], RECORD + 16 + 3 * 16), 1),
    "all digests": (lambda node: flip(copies(node, ".record")[0], *range(RECORD + 16, RECORD + 16 + 5 * 16)), 5),
    "a bit": (lambda node: flip(copies(node, ".record")[0], RECORD), 0),
}
"""What is damaged -> how, and the number of pieces in which damage is detected. A lost bit only means that the piece is missing."""


@pytest.mark.parametrize("what", DAMAGE)
def test_a_copy_damaged_while_the_supernode_is_down_is_repaired(stage: Scene, what: str) -> None:
    sha = stage.file("f", SIZE)
    url = stage.origin() + "/f"
    node = stage.supernode()
    stage.get(url, "a", "--pattern", "cdn", nodes=(node,))
    damage, found = DAMAGE[what]
    before = stage.sent("/f")
    node = begun_again(stage, node, lambda: damage(node))
    client = LegacyClient(node, url, "127.0.0.3")
    content = client.download()
    stage.path.joinpath("b").write_bytes(content)
    stage.get(url, "c", "--notbs", "--pattern", "cdn", host=4, nodes=(node,))
    assert stage.digest("b") == stage.digest("c") == sha
    assert node.metric("dfengine_damaged_pieces_total") == found
    assert node.metric("dfengine_origin_bytes_total") <= max(1, found) * PIECE
    until(lambda: stage.sent("/f") > before, "nginx's log")
    node = begun_again(stage, node, lambda: None)
    stage.get(url, "d", "--notbs", "--pattern", "cdn", host=5, nodes=(node,))
    assert node.metric("dfengine_damaged_pieces_total") == 0
    assert node.metric("dfengine_origin_bytes_total") == 0
    assert stage.digest("d") == sha


@pytest.mark.parametrize("place", [8, 12, 16, 18, 20, 23, 24, 40, 48])
def test_a_damaged_record_head_does_not_lead_to_a_wrong_file(stage: Scene, place: int) -> None:
    sha = stage.file("f", SIZE)
    url = stage.origin() + "/f"
    node = stage.supernode()
    stage.get(url, "a", "--pattern", "cdn", nodes=(node,))
    node = begun_again(stage, node, lambda: flip(copies(node, ".record")[0], place))
    stage.get(url, "c", "--notbs", "--pattern", "cdn", host=4, nodes=(node,))
    assert stage.digest("c") == sha


@pytest.mark.parametrize("what", ["flipped", "cut", "cut to nothing", "removed", "replaced"])
def test_a_copy_changed_under_a_running_supernode_is_repaired(stage: Scene, what: str) -> None:
    """A client that receives a wrong piece reports it; a piece that cannot be sent is marked missing."""
    sha = stage.file("f", SIZE)
    url = stage.origin() + "/f"
    node = stage.supernode("--revalidate-interval", "1h")
    stage.get(url, "a", "--pattern", "cdn", nodes=(node,))
    (copy,) = copies(node)
    if what == "flipped":
        flip(copy, 5, 2 * PIECE)
    elif what.startswith("cut"):
        os.truncate(copy, 0 if what == "cut to nothing" else 2 * PIECE + 1000)
    elif what == "removed":
        copy.unlink()
    else:
        other = copy.with_name("other")
        other.write_bytes(bytes(SIZE))
        other.rename(copy)
    stage.get(url, "b", "--pattern", "cdn", host=3, nodes=(node,))
    assert stage.digest("b") == sha
    if what not in ("removed", "replaced"):  # the copy's file is still open
        until(lambda: node.metric("dfengine_damaged_pieces_total") >= {"flipped": 2, "cut": 3}.get(what, 5), "damaged pieces detected")
    result = stage.get(url, "c", "--notbs", "--pattern", "cdn", host=4, nodes=(node,))
    assert stage.digest("c") == sha
    assert result["from"]["supernode"] == SIZE
    legacy = LegacyClient(node, url, "127.0.0.5").download()
    stage.path.joinpath("d").write_bytes(legacy)
    assert stage.digest("d") == sha


@pytest.mark.parametrize("changed", [False, True])
def test_a_copy_of_an_origin_without_validators_is_compared_completely(stage: Scene, changed: bool) -> None:
    """Without validators, the copy may be of another version than the origin's present bytes."""
    content = os.urandom(SIZE)
    with Origin(content, etag="") as origin:
        url = origin.url
        node = stage.supernode()
        stage.get(url, "a", "--pattern", "cdn", nodes=(node,))
        if changed:
            origin.content = content = os.urandom(SIZE)
        node = begun_again(stage, node, lambda: flip(copies(node)[0], PIECE + 77))
        stage.get(url, "b", "--notbs", "--pattern", "cdn", host=3, nodes=(node,))
        assert (stage.path / "b").read_bytes() == content
        stage.get(url, "c", "--notbs", "--pattern", "cdn", host=4, nodes=(node,))
        assert (stage.path / "c").read_bytes() == content


def test_a_damaged_copy_of_a_changed_file_is_fetched_as_a_new_generation(stage: Scene) -> None:
    stage.file("f", SIZE)
    url = stage.origin() + "/f"
    node = stage.supernode("--revalidate-interval", "1h")
    stage.get(url, "a", "--pattern", "cdn", nodes=(node,))
    flip(copies(node)[0], PIECE + 77)
    sha = stage.file("f", SIZE, seed=1)
    os.utime(stage.www / "f", (1, 1))
    stage.get(url, "b", host=3, nodes=(node,))
    stage.get(url, "c", "--notbs", "--pattern", "cdn", host=4, nodes=(node,))
    assert stage.digest("c") == sha


def test_many_idle_copies_take_no_descriptors(stage: Scene) -> None:
    url = stage.origin()
    node = stage.supernode()
    resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (500, 500))
    for n in range(600):
        (stage.www / f"small{n}").write_bytes(b"x")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: post(node, "/peer/registry", registration(f"{url}/small{n}", n)), range(600)))
    assert {answer["code"] for answer in answers} == {200}
    until(lambda: len(descriptors(node.process.pid)) < 100, "all copies closed")
    sha = stage.file("f", SIZE)
    stage.get(f"{url}/f", "a", "--notbs", "--pattern", "cdn", nodes=(node,))
    assert stage.digest("a") == sha
    for n in range(0, 600, 100):
        task = answers[n]["data"]["taskId"]
        assert status(node.download, f"/download/{task[:3]}/{task}") == 200
