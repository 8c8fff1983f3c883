"""Programs that read buckets through an endpoint, by their documentation, on two hosts: each byte is read from the store once."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest

from tests.e2e.scene import MIB, PATIENCE, Scene, free_port, scene
from tests.e2e.stores import ENVIRONMENT, Gate, moto

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDHOST", "AWS_SECRET_ACCESS_KEY": "secret-of-hosts"}
BODY = random.Random(1).randbytes(9 * MIB + 77)
WEIGHTS = {"weights.safetensors": BODY}
FILES = {**WEIGHTS, "a b+c%20d/\u00fc+.json": b"{}"}
SIZE = sum(map(len, FILES.values()))

RUNAI = """
import ctypes, importlib.util, sys, types
# It imports torch, which it needs for tensors alone, and which takes gigabytes.
for name in ("torch", "torch.distributed"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__getattr__ = lambda name: type(name, (), {})
sys.modules["torch"].distributed = sys.modules["torch.distributed"]
from runai_model_streamer.libstreamer.libstreamer import runai_end, runai_request, runai_response, runai_start
from runai_model_streamer_s3.files.files import glob
prefix, out, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
path = next(each for each in glob(prefix) if each.endswith("/weights.safetensors"))
step = 8 << 20
whole, starts = ctypes.create_string_buffer(size), range(0, size, step)
streamer = runai_start()
lengths = [min(step, size - at) for at in starts]
runai_request(streamer, [path], [len(starts)], list(starts), lengths, [ctypes.addressof(whole) + at for at in starts])
found = [runai_response(streamer, 60000) for _ in starts]
runai_end(streamer)
assert all(each[0] == 0 for each in found), found
open(out + "/weights.safetensors", "wb").write(whole.raw)
"""

BOTO3 = """
import boto3, os, sys
prefix, out = sys.argv[1:]
bucket = boto3.resource("s3").Bucket("models")
for each in bucket.objects.filter(Prefix=prefix):
    path = os.path.join(out, os.path.relpath(each.key, prefix))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    bucket.download_file(each.key, path)
"""


class Hosts(NamedTuple):
    """Two hosts with the S3 facade. gate: counts the bytes of the store. urls: of the facade on the hosts, with a path and without one."""

    stage: Scene
    gate: Gate
    urls: tuple[str, str]


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with (
        pytest.MonkeyPatch.context() as patch, moto() as store, Gate(store) as gate,
        tempfile.TemporaryDirectory(prefix="dfe2e-", dir=folder) as path, scene(Path(path)) as stage,
    ):  # fmt: skip
        for name in list(os.environ):
            if name.startswith("AWS_"):
                patch.delenv(name)
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": gate.url}.items():
            patch.setenv(name, value)
        gate.client = boto3.client("s3", endpoint_url=store)
        gate.client.create_bucket(Bucket="models")
        keys = stage.path / "keys"
        keys.write_text(f"{KEYS['AWS_ACCESS_KEY_ID']} {KEYS['AWS_SECRET_ACCESS_KEY']}\n")
        keys.chmod(0o600)
        node = stage.supernode("--origin-sign", "s3://models/")
        port = free_port()
        options = ("--s3-bucket", "models=s3://models", "--s3-keys", str(keys))
        first = stage.proxy(*options, nodes=(node,))[1]
        stage.proxy(*options, "--s3-listen", f"127.0.0.3:{port}", host=3, nodes=(node,))
        yield Hosts(stage, gate, (f"{first}/s3", f"http://127.0.0.3:{port}"))


def read(hosts: Hosts, name: str, command: Callable[[str, Path], list[str]], **more: str) -> None:
    """Run a program on both hosts, and compare its output with the bucket. command: from the endpoint and the output's folder."""
    for key, body in FILES.items():
        hosts.gate.client.put_object(Bucket="models", Key=f"{name}/{key}", Body=body)
    before = hosts.gate.sent()
    for n, url in enumerate(hosts.urls):
        out = hosts.stage.path / f"{name}-{n}"
        out.mkdir()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {**KEYS, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": url, **more}
        subprocess.run(command(url, out), env=environment, timeout=PATIENCE * 2, check=True, stdout=subprocess.DEVNULL)
        found = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        assert found == (WEIGHTS if name == "runai" else FILES)
    # Each request for an object's metadata reads one byte, and listings have a few KB.
    assert len(BODY) <= hosts.gate.sent() - before <= SIZE + (16 << 10)


def test_boto3_downloads_a_bucket(hosts: Hosts) -> None:
    read(hosts, "boto3", lambda url, out: [sys.executable, "-c", BOTO3, "boto3/", str(out)])


def test_the_aws_cli_copies_a_bucket(hosts: Hosts) -> None:
    read(hosts, "cli", lambda url, out: ["aws", "--endpoint-url", url, "s3", "cp", "--recursive", "s3://models/cli/", str(out)])


def test_rclone_copies_a_bucket(hosts: Hosts) -> None:
    config = hosts.stage.path / "rclone.conf"
    config.touch()
    options = ("--config", str(config), "--s3-provider", "Other", "--s3-env-auth", "--s3-region", "us-east-1", "--s3-endpoint")
    read(hosts, "rclone", lambda url, out: ["rclone", "copy", *options, url, ":s3:models/rclone", str(out)])


def test_the_runai_model_streamer_reads_a_bucket(hosts: Hosts) -> None:
    if importlib.util.find_spec("runai_model_streamer_s3") is None and "CI" not in os.environ:
        # It requires torch, which takes gigabytes, so the extra `test` does not install it; `.ci/run` does, and must not skip this test.
        pytest.skip("it is not installed: pip install --no-deps humanize runai-model-streamer runai-model-streamer-s3")
    read(hosts, "runai", lambda url, out: [sys.executable, "-c", RUNAI, "s3://models/runai", str(out), str(len(BODY))],
         RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING="0")  # fmt: skip
