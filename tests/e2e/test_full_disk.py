"""Disks without room: whatever is written, `get` says so and ends with 7, and a supernode serves on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from scene import DFENGINE, MIB, PATIENCE, Scene, filled, until

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
