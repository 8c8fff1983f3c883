"""Buckets behind `dfengine proxy`: S3 clients read them through two hosts, and each object is read from its store once."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.e2e.scene import MIB, Scene
from tests.e2e.stores import ENVIRONMENT, Gate, moto

SIZE = 9 * MIB + 77


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture(name="gate")
def one_gate(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """An S3 server with the bucket `models`; the environment of every process of the test names it."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    with Gate(store) as gate:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": gate.url}.items():
            monkeypatch.setenv(name, value)
        gate.client = boto3.client("s3", endpoint_url=store, region_name="us-east-1")
        gate.client.create_bucket(Bucket="models")
        yield gate
        for each in gate.client.list_objects_v2(Bucket="models").get("Contents", ()):
            gate.client.delete_object(Bucket="models", Key=each["Key"])
        gate.client.delete_bucket(Bucket="models")


def client(url: str, **config: Any) -> Any:
    """A boto3 client of an endpoint, by boto3's documentation; without keys requests are unsigned."""
    plain = Config(signature_version=UNSIGNED, retries={"max_attempts": 1}, **config)
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", config=plain)


def refused(call: Any, **given: Any) -> tuple[int, str]:
    """Status and S3 error code of a call that must fail."""
    with pytest.raises(ClientError) as error:
        call(**given)
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def test_two_hosts_read_a_bucket_and_each_object_leaves_the_store_once(stage: Scene, gate: Gate) -> None:
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
    # Each request for an object's metadata reads one byte.
    assert SIZE <= gate.sent() <= SIZE + 100
    assert [each["Key"] for each in first.list_objects_v2(Bucket="all")["Contents"]] == ["llama/empty", "llama/weights.bin", "other"]
    assert [each["Key"] for each in first.list_objects_v2(Bucket="llama")["Contents"]] == ["empty", "weights.bin"]
    # The supernode may hold the old version for a moment: it must not be served under the new entity-tag. The proxy must not rely on its
    # cached metadata either when another version is requested.
    new = gate.client.put_object(Bucket="models", Key="llama/weights.bin", Body=content(SIZE, 1))["ETag"]
    answer = second.get_object(Bucket="llama", Key="weights.bin", Range=f"bytes={MIB}-{3 * MIB - 1}", IfMatch=new)
    assert answer["ETag"] == new
    assert answer["Body"].read() == content(SIZE, 1)[MIB : 3 * MIB]
    assert refused(second.get_object, Bucket="llama", Key="weights.bin", IfMatch=told["ETag"]) == (412, "PreconditionFailed")


KEYS = [
    "a", "a/b", "a/b/c", "a//d", "a b+c&d%25.txt", "\u00fc/\u20ac\U0001f600", "con\x01trol\x1f", "llama/", "llama/1", "llama/2", "llama0",
    "trailing/", "<tag>", "~tilde", "x" * 1000, "b c+d/1", "b c+d/2", "e%20f%2B/+",
]  # fmt: skip


def names(answer: Any) -> list[Any]:
    told = [[each["Key"], each["Size"], each["ETag"], each["LastModified"]] for each in answer.get("Contents", ())]
    return [told, [each["Prefix"] for each in answer.get("CommonPrefixes", ())], answer["IsTruncated"]]


def test_listings_equal_those_of_the_store_for_any_key(stage: Scene, gate: Gate) -> None:
    for key in (*KEYS, ".."):
        gate.client.put_object(Bucket="models", Key=key, Body=key.encode())
    here = client(f"{stage.proxy('--s3-bucket', 'models=s3://models', '--s3-bucket', 'part=s3://models/a')[1]}/s3")
    for given in ({}, {"Delimiter": "/"}, {"Prefix": "a"}, {"Prefix": "a/", "Delimiter": "/"}, {"Prefix": "llama", "Delimiter": "a"},
                  {"StartAfter": "a/b"}, {"Prefix": "nothing"}, {"Prefix": "a/b/c"}, {"MaxKeys": 3}):  # fmt: skip
        assert names(here.list_objects_v2(Bucket="models", **given)) == names(gate.client.list_objects_v2(Bucket="models", **given)), given
    for given in ({}, {"Marker": "a/b"}, {"Delimiter": "/", "Prefix": "a"}):
        assert names(here.list_objects(Bucket="models", **given)) == names(gate.client.list_objects(Bucket="models", **given)), given
    for call in ("list_objects", "list_objects_v2"):
        for delimiter in ("", "/"):
            pages = list(here.get_paginator(call).paginate(Bucket="models", Delimiter=delimiter, PaginationConfig={"PageSize": 2}))
            assert len(pages) > 3
            found = [each["Key"] for page in pages for each in page.get("Contents", ())]
            assert found == [key for key in sorted([*KEYS, ".."]) if not delimiter or delimiter not in key]
            folders = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())]
            assert folders == sorted({key.partition("/")[0] + "/" for key in KEYS if delimiter and delimiter in key})
    gate.client.put_object(Bucket="models", Key="a/", Body=b"")
    for call in ("list_objects", "list_objects_v2"):
        pages = here.get_paginator(call).paginate(Bucket="part", PaginationConfig={"PageSize": 1})
        assert [each["Key"] for page in pages for each in page.get("Contents", ())] == ["/d", "b", "b/c"]
    for key in KEYS:
        assert here.get_object(Bucket="models", Key=key)["Body"].read() == key.encode(), key
    assert here.get_object(Bucket="part", Key="/d")["Body"].read() == b"a//d"
    assert refused(here.get_object, Bucket="models", Key="..") == (400, "InvalidURI")


def test_conditional_requests_ranges_and_error_codes(stage: Scene, gate: Gate) -> None:
    gate.client.put_object(Bucket="models", Key="k", Body=b"0123456789", ContentType="text/plain")
    here = client(f"{stage.proxy('--s3-bucket', 'models=s3://models', '--s3-fresh', '0s')[1]}/s3")
    told = here.head_object(Bucket="models", Key="k")
    tag, date = told["ETag"], told["LastModified"]

    def get(**given: Any) -> bytes:
        return bytes(here.get_object(Bucket="models", Key="k", **given)["Body"].read())

    before, after = date.replace(year=2020), date.replace(year=2037)
    for given in ({}, {"IfMatch": tag}, {"IfNoneMatch": '"other"'}, {"IfModifiedSince": before}, {"IfUnmodifiedSince": after},
                  {"IfMatch": tag, "IfUnmodifiedSince": before}, {"IfNoneMatch": '"other"', "IfModifiedSince": after}):  # fmt: skip
        assert get(**given) == b"0123456789", given
    get_k = partial(here.get_object, Bucket="models", Key="k")
    for given, status in (({"IfMatch": '"other"'}, 412), ({"IfNoneMatch": tag}, 304), ({"IfModifiedSince": date}, 304),
                          ({"IfUnmodifiedSince": before}, 412)):  # fmt: skip
        assert refused(get_k, **given)[0] == status, given
        assert refused(here.head_object, Bucket="models", Key="k", **given)[0] == status, given
    assert refused(get_k, IfMatch='"other"') == (412, "PreconditionFailed")
    with pytest.raises(ClientError) as unmodified:
        get_k(IfNoneMatch=tag)
    assert unmodified.value.response["ResponseMetadata"]["HTTPHeaders"]["content-length"] == "10"
    for asked, found in (("bytes=0-0", b"0"), ("bytes=-3", b"789"), ("bytes=8-100", b"89"), ("bytes=3-", b"3456789"),
                         ("bytes=1-2,4-5", b"0123456789"), ("lines=1-2", b"0123456789"), ("bytes=5-4", b"0123456789")):  # fmt: skip
        assert get(Range=asked) == found, asked
    assert refused(get_k, Range="bytes=10-") == (416, "InvalidRange")
    answer = here.get_object(Bucket="models", Key="k", ResponseContentType="a/b", ResponseContentDisposition="inline")
    assert (answer["ContentType"], answer["ContentDisposition"]) == ("a/b", "inline")
    # An object stored with a content encoding is served unchanged, with its Content-Encoding.
    gate.client.put_object(Bucket="models", Key="z", Body=gzip.compress(b"z" * 99), ContentEncoding="gzip", CacheControl="no-store")
    answer = here.get_object(Bucket="models", Key="z")
    assert (answer["ContentEncoding"], answer["CacheControl"]) == ("gzip", "no-store")
    assert gzip.decompress(answer["Body"].read()) == b"z" * 99
    assert refused(here.get_object, Bucket="models", Key="none") == (404, "NoSuchKey")
    assert refused(here.head_object, Bucket="models", Key="none")[0] == 404
    assert refused(here.get_object, Bucket="other", Key="k") == (404, "NoSuchBucket")
    assert refused(here.head_bucket, Bucket="other")[0] == 404
    assert refused(here.get_object, Bucket="models", Key="k", PartNumber=2) == (416, "InvalidPartNumber")
    assert refused(here.put_object, Bucket="models", Key="k", Body=b"x" * MIB) == (405, "MethodNotAllowed")
    assert refused(here.delete_object, Bucket="models", Key="k") == (405, "MethodNotAllowed")
    assert refused(here.get_bucket_acl, Bucket="models") == (501, "NotImplemented")
    assert refused(here.list_objects_v2, Bucket="models", ContinuationToken="wrong") == (400, "InvalidArgument")
    here.head_bucket(Bucket="models")
    assert here.get_bucket_location(Bucket="models")["LocationConstraint"] is None
    # A changed object is served in its new version, never mixed with the old.
    gate.client.put_object(Bucket="models", Key="k", Body=b"abc")
    assert refused(get_k, IfMatch=tag) == (412, "PreconditionFailed")
    assert get() == b"abc"
    gate.client.delete_object(Bucket="models", Key="k")
    assert refused(get_k) == (404, "NoSuchKey")


def test_the_null_version_is_read_from_a_bucket_whose_versioning_was_enabled_later(stage: Scene, gate: Gate) -> None:
    gate.client.put_object(Bucket="models", Key="v", Body=b"before")
    here = client(f"{stage.proxy('--s3-bucket', 'models=s3://models', '--s3-fresh', '0s')[1]}/s3")
    try:
        for _ in range(2):
            assert here.get_object(Bucket="models", Key="v", VersionId="null")["Body"].read() == b"before"
            gate.client.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
            gate.client.put_object(Bucket="models", Key="v", Body=b"after that")
        assert here.get_object(Bucket="models", Key="v")["Body"].read() == b"after that"
    finally:
        for each in gate.client.list_object_versions(Bucket="models")["Versions"]:
            gate.client.delete_object(Bucket="models", Key=each["Key"], VersionId=each["VersionId"])


def until_cut(body: Any) -> Iterator[bytes]:
    """The body's blocks up to the cut of the connection; fails if the body ends regularly."""
    try:
        while block := body.read(1 << 16):
            yield block
    except (BotoCoreError, OSError):
        return
    raise AssertionError("the answer has ended as if it were whole")


def test_a_response_whose_object_changes_in_mid_transfer_is_cut(stage: Scene, gate: Gate) -> None:
    gate.client.put_object(Bucket="models", Key="k", Body=content(SIZE))
    here = client(f"{stage.proxy('--s3-bucket', 'models=s3://models', '--s3-fresh', '0s')[1]}/s3")
    gate.cut = 3 * MIB
    gate.holds = True
    gate.go_on.clear()
    body = here.get_object(Bucket="models", Key="k")["Body"]
    assert gate.was_cut.wait(60)
    gate.client.put_object(Bucket="models", Key="k", Body=content(SIZE, 1))
    gate.go_on.set()
    got = b"".join(until_cut(body))
    assert got == content(SIZE)[: len(got)]
    assert len(got) < SIZE
    assert here.get_object(Bucket="models", Key="k")["Body"].read() == content(SIZE, 1)
