"""A swarm changes its secret while downloads run, by the steps of docs/security.md."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.e2e.scene import MIB, Scene, status, until

OLD, NEW = "o" * 32, "n" * 32


def write_secret(path: Path, secret: str) -> str:
    """Replace the file by a rename, so that readers see either the old or the new secret."""
    fresh = path.with_suffix(".fresh")
    fresh.touch(0o600)
    fresh.write_text(secret)
    fresh.rename(path)
    return str(path)


def test_rotating_a_swarms_secret_fails_no_download(stage: Scene) -> None:
    shas = {name: stage.file(name, 9 * MIB) for name in ("0", "1", "2", "3", "long")}
    url = stage.origin()
    first, second = stage.path / "first", stage.path / "second"
    server = ["--secret-file", write_secret(first, OLD), "--secret-file", write_secret(second, OLD)]
    old, new = write_secret(stage.path / "old", OLD), write_secret(stage.path / "new", NEW)
    node = stage.supernode(*server, "--supernode-limit", "2")
    steps = [(OLD, OLD, [old]), (OLD, NEW, [old, new]), (NEW, OLD, [new, old]), (NEW, NEW, [new])]
    # This download runs from the beginning to the last step but one.
    long = stage.start_get(f"{url}/long", "long", "--notbs", "-s", "1500K", "--secret-file", old, host=9, nodes=(node,))
    until(lambda: any(stage.path.glob(".long.*.part")), "the long download's part file")
    for number, (one, two, files) in enumerate(steps):
        if number == len(steps) - 1:
            stage.end(long)
        write_secret(first, one)
        write_secret(second, two)
        node.process.send_signal(signal.SIGHUP)
        words = [word for path in files for word in ("--secret-file", path)]
        gets = [stage.start_get(f"{url}/{number}", f"{number}-{host}", "--notbs", *words, host=host, nodes=(node,)) for host in (2, 3, 4)]
        for host, get in zip((2, 3, 4), gets, strict=True):
            result = stage.end(get)
            assert result["serves"], f"step {number}, host {host}: {result}"
            assert stage.digest(f"{number}-{host}") == shas[str(number)]
    assert stage.digest("long") == shas["long"]
    stage.get(f"{url}/0", "refused", "--notbs", "--secret-file", old, host=5, nodes=(node,), status=3)
    assert "refused" not in os.listdir(stage.path)


def test_a_secret_file_that_is_unusable_on_sighup_changes_nothing(stage: Scene) -> None:
    sha = stage.file("f.bin", 2 * MIB)
    url, path = stage.origin() + "/f.bin", stage.path / "secret"
    node = stage.supernode("--secret-file", write_secret(path, OLD))
    stage.get(url, "a", "--notbs", "--secret-file", write_secret(stage.path / "mine", OLD), nodes=(node,))
    for pid in (node.process.pid, stage.peer_pid(2)):
        path.chmod(0o644)
        os.kill(pid, signal.SIGHUP)
    stage.get(url, "b", "--notbs", "--secret-file", str(stage.path / "mine"), host=3, nodes=(node,))
    assert stage.digest("b") == sha
    assert status(node.node, "/peer/registry") == 401


def test_a_peer_server_without_a_secret_does_not_serve_a_swarm_with_one(stage: Scene) -> None:
    stage.file("f.bin", 2 * MIB)
    url, path = stage.origin() + "/f.bin", stage.path / "secret"
    open_, shut = stage.supernode(), stage.supernode("--secret-file", write_secret(path, OLD))
    stage.get(url, "a", nodes=(open_,))
    stage.peer_pid(2)
    result = stage.get(url, "b", "--secret-file", str(path), nodes=(shut,))
    assert not result["serves"]
    assert "another secret" in result["not_serving_reason"]
