"""The examples of docs/python.md run unchanged, in their order and in one process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy
import pyarrow.parquet
from safetensors.numpy import save_file

from tests.e2e.scene import Scene, until

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
SIZE = 9_000_000


def test_examples_of_the_python_page_run_as_written(stage: Scene) -> None:
    for name, size in (("model.bin", SIZE), ("small.bin", 1000)):
        stage.file(name, size)
    save_file({"weights": numpy.arange(1000, dtype=numpy.float32)}, stage.www / "model.safetensors")
    (stage.www / "prices.csv").write_text("name,price\na,1.5\n")
    pyarrow.parquet.write_table(pyarrow.table({"price": [1.5, 2.5], "name": ["a", "b"]}), stage.www / "table.parquet")
    for name in ("a.txt", "old/b.txt", "sub/c.txt", "sub/d.bin"):
        (stage.www / "models/small" / name).parent.mkdir(parents=True, exist_ok=True)
        stage.file(f"models/small/{name}", 100)
    base, node, other = stage.origin(odd="autoindex on;"), stage.supernode(), stage.supernode()
    home = stage.path / "user"
    home.mkdir()
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", PAGE.read_text())
    assert len(blocks) > 4
    program = home / "program.py"
    # The page's host names are replaced by the addresses of this test.
    text = "\n\n".join(blocks)
    for name, place in (("http://files.example/models/", f"{base}/odd/models/"), ("http://files.example", base), ("sn1:8002", node.node),
                        ("sn2:8002", other.node)):  # fmt: skip
        text = text.replace(name, place)
    program.write_text(f"import fsspec\n\nfsspec.register_implementation('df', 'dfengine.filesystem.FileSystem', clobber=True)\n\n{text}")
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(PAGE.parents[1])}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], cwd=home, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{node.node} has {SIZE} bytes" in done.stdout
    assert "4.0" in done.stdout.splitlines()
    assert {"a 1.5", str(b"a,1.5\n")} <= {*done.stdout.splitlines()}
    assert (home / "copy.txt").read_text() == "for all hosts"
    for name in ("model.bin", "copy.bin", "first.bin", "third.bin", "fetched/model.bin"):
        assert (home / name).stat().st_size == SIZE
    found = sorted(str(path.relative_to(home / "small")) for path in (home / "small").rglob("*") if path.is_file())
    assert found == ["a.txt", "sub/c.txt"]
    pid = json.loads((home / ".dfengine" / "peer.lock").read_text())["pid"]
    os.kill(pid, signal.SIGTERM)
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the peer server")
