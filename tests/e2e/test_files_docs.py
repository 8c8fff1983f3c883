"""The commands of docs/files.md's tour run as documented, with local stand-ins for the web server, the store and the hub."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from tests.e2e.scene import Scene, until
from tests.e2e.stores import ENVIRONMENT, moto
from tests.origins.hub import Hub

PAGE = Path(__file__).resolve().parents[2] / "docs" / "files.md"


def test_commands_of_the_tour_in_files_md(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    (stage.www / "data").mkdir()
    for name in ("a.csv", "b.parquet", "sub/c.parquet"):
        (stage.www / "data" / name).parent.mkdir(exist_ok=True)
        stage.file(f"data/{name}", 10_000)
    index = stage.origin(odd="autoindex on;")
    for name in list(os.environ):
        if name.startswith(("AWS_", "HF_", "DFENGINE_")):
            monkeypatch.delenv(name)
    user = stage.path / "user"
    user.mkdir()
    weights = random.Random(1).randbytes(5_000_000)
    with moto() as store, Hub() as hub:
        client = boto3.client("s3", endpoint_url=store, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
        client.create_bucket(Bucket="models")
        for key, body in (("llama/weights.bin", weights), ("llama/config.json", b"{}"), ("other/x", b"x")):
            client.put_object(Bucket="models", Key=key, Body=body)
        hub.add("org/name", {"config.json": b"{}", "model.safetensors": weights, "pytorch_model.bin": b"old", "a/b.txt": b"text"})
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": store, "HF_ENDPOINT": hub.url, "HF_HOME": str(user)}.items():
            monkeypatch.setenv(name, value)
        node = stage.supernode("--origin-sign", "s3://models/")
        # The host has no credentials: the supernode uses its own for the bucket.
        for name in ENVIRONMENT:
            monkeypatch.delenv(name)
        tour = PAGE.read_text().split("## A first tour\n")[1].split("\n## ")[0]
        script = "\n".join(re.findall(r"(?ms)^```sh\n(.*?)^```$", tour))
        assert script.count("dfengine get") >= 6
        for word, place in ((" supernode", f" {node.node}"), ("http://files.example/", f"{index}/odd/")):
            script = script.replace(word, place)
        environment = {**os.environ, "HOME": str(user), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        if not shutil.which("dfengine", path=environment["PATH"]):
            script = f'dfengine() {{ "{sys.executable}" -m dfengine "$@"; }}\n{script}'
        environment["PYTHONPATH"] = str(PAGE.parents[1])
        done = subprocess.run(
            ["bash", "-eu", "-c", script], cwd=user, env=environment, capture_output=True, text=True, timeout=240, check=False
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == ["10000\ta.csv", "10000\tb.parquet", "10000\tsub/c.parquet"]
    found = sorted(str(path.relative_to(user)) for path in user.rglob("*") if path.is_file() and ".dfengine" not in path.parts)
    assert found == [
        "data/b.parquet", "data/sub/c.parquet", "list", "listed/a.csv", "listed/small/config.json",
        "llama/config.json", "llama/weights.bin", "model/a/b.txt", "model/config.json", "model/model.safetensors",
        "some/config.json", "some/weights.bin",
    ]  # fmt: skip
    for name in ("llama/weights.bin", "model/model.safetensors", "some/weights.bin"):
        assert (user / name).read_bytes() == weights
    assert "1 deleted" in done.stderr
    assert "goes to the origin" not in done.stderr
    lock = user / ".dfengine" / "peer.lock"
    pid = int(re.findall(r'"pid": (\d+)', lock.read_text())[0])
    os.kill(pid, signal.SIGTERM)
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the peer server")
