"""An unchanged script of Dragonfly 1.x runs through links with its programs' names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.scene import PATIENCE, Scene, Supernode, free_port

SIZE = 5_000_000


def test_command_lines_of_1x_work_through_install_compat_links(stage: Scene) -> None:
    digest, url, links = stage.file("f", SIZE), stage.origin() + "/f", stage.path / "links"
    program = Path(sys.executable).parent / "dfengine"
    said = subprocess.run([program, "install-compat", links], stdout=subprocess.PIPE, timeout=PATIENCE, check=True).stdout.decode().split()
    assert said == [f"{links}/{name}" for name in ("dfget", "supernode", "dfdaemon")]
    home = stage.path / "supernode-0"
    ports = [str(free_port()) for _ in range(2)]
    started: list[str | Path] = [
        "--port", ports[0], "--download-port", ports[1], "--home-dir", home, "--advertise-ip", "127.0.0.1", "-D", "--pool-size", "10",
    ]  # fmt: skip
    process = subprocess.Popen([links / "supernode", *started], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stage.adopt(process)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"ready")
    node = f"127.0.0.1:{ports[0]}"
    stage.supernodes.append(Supernode(process, node, f"127.0.0.1:{ports[1]}", home))
    stage.homes.add(stage.path / "home-2")
    line: list[str | Path] = [
        "-u", url, "-o", stage.path / "out", "--node", f"{node},{node}=2", "--notbs", "--ip", "127.0.0.2", "--expiretime", "3m0s",
        "--home", stage.path / "home-2", "--dfdaemon", "--clientqueue", "6", "-q",
    ]  # fmt: skip
    got = subprocess.run([links / "dfget", *line], stdout=subprocess.PIPE, timeout=PATIENCE, check=True).stdout.decode()
    assert re.fullmatch(rf"download SUCCESS\(0\) cost:\d+\.\d{{3}}s length:{SIZE} reason:0\n", got), got
    assert stage.digest("out") == digest
    line[1] = url + "-missing"
    failed = subprocess.run([links / "dfget", *line], stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
    assert failed.returncode == 3
    assert failed.stdout.startswith(b"download FAIL(3) cost:")
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert b"without effect: --pool-size" in process.stderr.read()
