"""Disks without room: whatever is written, `get` says so and ends with 7, and a supernode serves on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.scene import DFENGINE, MIB, PATIENCE, Scene, Supernode, filled, until
from tests.e2e.test_faults import post, registration

PAGE = 4096


@pytest.mark.parametrize("where", ["/", "/chunked/"])
def test_a_get_on_a_disk_with_hardly_any_room_ends_with_one_line(small: Path, closed: Scene, where: str) -> None:
    """Output, record and home are on it. However few pages are left, no process dies of a signal."""
    stage, ends = closed, set()
    sha = stage.file("f", 6 * PAGE)
    url = stage.origin() + where + "f"
    node = stage.supernode()
    for host, (pages, nodes) in enumerate([(pages, nodes) for pages in (0, 1, 2, 3, 5, 8, 13, 40) for nodes in ((), (node,))], 2):
        filled(small / "ballast", pages * PAGE)
        command = [*DFENGINE, "get", url, "-o", str(small / "out"), "--ip", f"127.0.0.{host}", "--home", str(small / "home"),
                   "--alivetime", "1s", *(word for each in nodes for word in ("-n", each.node))]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
        said = done.stderr.decode()
        assert done.returncode in (0, 7), (pages, done.returncode, said)
        ends.add(done.returncode)
        if done.returncode:
            assert "No space left" in said or "no room" in said
            assert len(said.splitlines()) == 1, said
            assert not (small / "out").exists()
        else:
            assert stage.digest(str(small / "out")) == sha
            (small / "out").unlink()
        (small / "ballast").unlink()
    assert ends == {0, 7}
    lock = small / "home" / "peer.lock"
    until(lambda: not lock.exists() or not lock.read_text(), "the end of the peer server")


def test_a_home_without_room_is_named(small: Path, closed: Scene) -> None:
    """The download goes on without the peer server, and says why."""
    stage = closed
    sha = stage.file("f", PAGE)
    node = stage.supernode()
    filled(small / "ballast", 0)
    command = [*DFENGINE, "get", stage.origin() + "/f", "-o", str(stage.path / "out"), "--home", str(small), "--verbose", "-n", node.node]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0
    assert stage.digest("out") == sha
    assert f"serves no pieces: cannot write {small}/peer.lock: No space left on device" in done.stderr.decode()


def copies(node: Supernode) -> int:
    return len(list((node.home / "download").glob("*/*.json")))


def test_a_claim_costs_no_copy(small: Path, closed: Scene) -> None:
    """An origin announces 8 TiB, or more than ever fits; clients expect any length. What is here stays, and serves."""
    stage = closed
    shas = {f"f{n}": stage.file(f"f{n}", 10 * MIB) for n in range(4)}
    origin = stage.origin()
    node = stage.supernode("--disk-low", "0", "--disk-high", "0", "--max-length", "100T", home=small / "supernode")
    for name in shas:
        stage.get(f"{origin}/{name}", name, "--pattern", "cdn", nodes=(node,))
    with open(stage.www / "sparse", "wb") as file:
        file.truncate(8 << 40)
    with open(stage.www / "larger", "wb") as file:
        file.truncate(80 * MIB)
    for n, name in enumerate(("sparse", "larger", "sparse")):
        assert post(node, "/peer/registry", registration(f"{origin}/{name}", n))["code"] == 500
    for n, name in enumerate(shas):
        about = registration(f"{origin}/{name}", 10 + n)
        refused = post(node, "/peer/registry", {**about, "fileLength": 12345 if n else 8 << 40})
        assert refused["code"] == 500
        assert post(node, "/peer/registry", about)["code"] == 200
    before = node.metric("dfengine_origin_bytes_total")
    assert copies(node) == 4
    for name, sha in shas.items():
        stage.get(f"{origin}/{name}", f"{name}-again", "--notbs", "--pattern", "cdn", host=3, nodes=(node,))
        assert stage.digest(f"{name}-again") == sha
    assert node.metric("dfengine_origin_bytes_total") == before


@pytest.mark.parametrize("where", ["/", "/chunked/"])
def test_after_a_file_that_did_not_fit_the_next_one_does(small: Path, closed: Scene, where: str) -> None:
    """At once, and not when somebody comes by to sweep; also where its length was not told, and the disk was full of it."""
    stage = closed
    big, sha = stage.file("big", 100 * MIB), {name: stage.file(name, 20 * MIB) for name in ("s0", "s1", "s2", "s3")}
    origin = stage.origin()
    node = stage.supernode("--disk-low", "0", "--disk-high", "0", home=small / "supernode")
    for n in range(4):
        if n % 2:
            result = stage.get(f"{origin}{where}big", "big", "--force", "--pattern", "cdn", nodes=(node,))
            assert result["back_to_source"]
            assert stage.digest("big") == big
        stage.get(f"{origin}/s{n}", f"s{n}", "--notbs", "--pattern", "cdn", host=3, nodes=(node,))
        assert stage.digest(f"s{n}") == sha[f"s{n}"]
    assert copies(node) == (3 if where == "/" else 1)


def test_a_supernode_on_a_full_disk_goes_on(small: Path, closed: Scene) -> None:
    """Whatever fills its disk is not its own. What it cannot keep is had from the origin."""
    stage = closed
    shas = {name: stage.file(name, 30 * MIB) for name in ("new", "later")}
    origin = stage.origin()
    node = stage.supernode("--disk-low", "0", "--disk-high", "0", home=small / "supernode")
    for n, pages in enumerate((0, 1, 2, 3, 4)):
        filled(small / "ballast", pages * PAGE)
        for where in ("/", "/chunked/"):
            result = stage.get(f"{origin}{where}new", f"new{n}", "--force", host=3, nodes=(node,))
            assert result["back_to_source"]
            assert stage.digest(f"new{n}") == shas["new"]
        (stage.path / f"new{n}").unlink()
        (small / "ballast").unlink()
    stage.get(f"{origin}/later", "later", "--notbs", "--pattern", "cdn", host=5, nodes=(node,))
    assert stage.digest("later") == shas["later"]
