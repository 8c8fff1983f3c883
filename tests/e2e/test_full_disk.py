"""Full disks: `get` reports the error and exits with 7, whichever file cannot be written, and a supernode continues to serve."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.scene import DFENGINE, MIB, PATIENCE, Scene, Supernode, filled, until
from tests.e2e.test_faults import post, registration

PAGE = 4096


@pytest.mark.parametrize("where", ["/", "/chunked/"])
def test_a_get_on_an_almost_full_disk_succeeds_or_exits_with_7_and_one_line(small: Path, closed: Scene, where: str) -> None:
    """Output, record and home are on that disk. With any number of free pages, no process dies of a signal."""
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


def test_a_download_whose_home_is_full_succeeds_and_reports_the_home(small: Path, closed: Scene) -> None:
    """The download continues without a peer server and states the reason."""
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


def test_announced_or_expected_lengths_evict_no_copy(small: Path, closed: Scene) -> None:
    """An origin announces 8 TiB, or more than the disk can have; clients expect arbitrary lengths. Existing copies are kept and served."""
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
def test_a_file_is_stored_right_after_one_that_did_not_fit(small: Path, closed: Scene, where: str) -> None:
    """Without waiting for a sweep; also if the origin does not state the length, so that the large file fills the disk."""
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


def test_downloads_read_the_origin_while_the_supernodes_disk_is_full(small: Path, closed: Scene) -> None:
    """Files of others fill the disk. Files that the supernode cannot store are read from the origin; later ones are stored again."""
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
