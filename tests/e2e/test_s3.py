"""Buckets behind `dfengine proxy`: S3's own clients read them through two hosts, and each object leaves its store once."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from scene import MIB, Scene
from stores import ENVIRONMENT, Gate, moto

SIZE = 9 * MIB + 77


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture(name="gate")
def one_gate(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """An S3 server, as the environment of every process of the test names it; its bucket is `models`."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    with Gate(store) as gate:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": gate.url}.items():
            monkeypatch.setenv(name, value)
        gate.client = boto3.client("s3", endpoint_url=store, region_name="us-east-1")
        gate.client.create_bucket(Bucket="models")
        yield gate
        for each in gate.client.list_object_versions(Bucket="models").get("Versions", ()):
            gate.client.delete_object(Bucket="models", Key=each["Key"], VersionId=each["VersionId"])
        gate.client.delete_bucket(Bucket="models")


def client(url: str, **config: Any) -> Any:
    """boto3's, as its documentation has it for an endpoint; without keys nothing is signed."""
    plain = Config(signature_version=UNSIGNED, retries={"max_attempts": 1}, **config)
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=plain)


def refused(call: Any, **given: Any) -> tuple[int, str]:
    """Status and code."""
    with pytest.raises(ClientError) as error:
        call(**given)
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_two_hosts_read_a_bucket_and_its_objects_leave_the_store_once(stage: Scene, gate: Gate) -> None:
    node = stage.supernode("--origin-sign", "s3://models/")
    gate.client.put_object(Bucket="models", Key="llama/weights.bin", Body=content(SIZE), Metadata={"colour": "red"}, ContentType="a/b")
    gate.client.put_object(Bucket="models", Key="llama/empty", Body=b"")
    gate.client.put_object(Bucket="models", Key="other", Body=b"x")
    options = ("--s3-bucket", "all=s3://models", "--s3-bucket", "llama=s3://models/llama")
    first, second = (client(f"{stage.proxy(*options, host=host, nodes=(node,))[1]}/s3") for host in (2, 3))
    assert [each["Name"] for each in first.list_buckets()["Buckets"]] == ["all", "llama"]
    told = first.head_object(Bucket="all", Key="llama/weights.bin")
    real = gate.client.head_object(Bucket="models", Key="llama/weights.bin")
    for name in ("ContentLength", "ContentType", "ETag", "LastModified", "Metadata"):
        assert told[name] == real[name], name

    def part(n: int) -> bytes:
        which = (first, second)[n % 2]
        start = n * MIB
        answer = which.get_object(Bucket=("all", "llama")[n % 2], Key=("llama/weights.bin", "weights.bin")[n % 2],
                                  Range=f"bytes={start}-{start + MIB - 1}", IfMatch=told["ETag"])
        assert answer["ContentRange"] == f"bytes {start}-{min(SIZE, start + MIB) - 1}/{SIZE}"
        return bytes(answer["Body"].read())

    order = random.Random(1).sample(range(10), 10)
    with ThreadPoolExecutor(8) as threads:
        parts = dict(zip(order, threads.map(part, order), strict=True))
    assert b"".join(parts[n] for n in range(10)) == content(SIZE)
    assert second.get_object(Bucket="llama", Key="weights.bin")["Body"].read() == content(SIZE)
    assert second.get_object(Bucket="llama", Key="empty")["Body"].read() == b""
    # Questions what an object is take a byte each.
    assert SIZE <= gate.sent() <= SIZE + 100
    assert [each["Key"] for each in first.list_objects_v2(Bucket="all")["Contents"]] == ["llama/empty", "llama/weights.bin", "other"]
    assert [each["Key"] for each in first.list_objects_v2(Bucket="llama")["Contents"]] == ["empty", "weights.bin"]
