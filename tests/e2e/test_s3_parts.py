"""Requests with `partNumber` to the S3 facade: objects with one part, and objects made by a multipart upload."""

from __future__ import annotations

import random
import socket
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from tests.e2e.scene import MIB, Scene
from tests.e2e.test_s3_places import refused
from tests.e2e.upstream import Asked, Upstream

SIZES = 5 * MIB, 6 * MIB + 1, 77
PARTS = [random.Random(n).randbytes(size) for n, size in enumerate(SIZES)]
BODY = b"".join(PARTS)
TAG = f'"{"0123456789abcdef" * 2}-{len(PARTS)}"'


class Store:
    """Serves one object as S3 documents it. tag: entity-tag of its version. tells: whether it supports `partNumber`."""

    def __init__(self) -> None:
        self.tag, self.tells = TAG, True
        self.parts_asked = 0

    def send(self, sock: socket.socket, asked: Asked) -> None:
        number = parse_qs(urlsplit(asked.target).query).get("partNumber")
        start, past = 0, len(BODY)
        fields = [f"ETag: {self.tag}", "Last-Modified: Mon, 02 Nov 2026 10:00:00 GMT"]
        if number is not None and self.tells:
            self.parts_asked += 1
            n = int(number[0])
            start = sum(SIZES[: n - 1])
            past = start + SIZES[n - 1]
            fields.append(f"x-amz-mp-parts-count: {len(SIZES)}")
        elif "range" in asked.fields:
            first, _, last = asked.fields["range"].removeprefix("bytes=").partition("-")
            start, past = int(first), min(len(BODY), int(last or len(BODY)) + 1)
        whole = (start, past) == (0, len(BODY))
        fields += [] if whole else [f"Content-Range: bytes {start}-{past - 1}/{len(BODY)}"]
        head = [f"HTTP/1.1 {'200 OK' if whole else '206 Partial Content'}", f"Content-Length: {past - start}", *fields, "", ""]
        sock.sendall("\r\n".join(head).encode() + (b"" if asked.method == "HEAD" else BODY[start:past]))


def client_of(url: str) -> Any:
    config = Config(signature_version=UNSIGNED, retries={"max_attempts": 1})
    return boto3.client("s3", endpoint_url=f"{url}/s3", region_name="us-east-1", config=config)


def test_an_object_of_no_multipart_upload_has_one_part(stage: Scene, tmp_path: Path) -> None:
    disk = stage.path / "disk"
    disk.mkdir()
    (disk / "k").write_bytes(BODY)
    (disk / "empty").write_bytes(b"")
    url = stage.proxy("--s3-bucket", f"disk={disk}")[1]
    here = client_of(url)
    answer = here.get_object(Bucket="disk", Key="k", PartNumber=1)
    assert answer["Body"].read() == BODY
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["ContentRange"] == f"bytes 0-{len(BODY) - 1}/{len(BODY)}"
    assert "PartsCount" not in answer
    head = here.head_object(Bucket="disk", Key="k", PartNumber=1, IfMatch=answer["ETag"])
    assert (head["ResponseMetadata"]["HTTPStatusCode"], head["ContentLength"], head["ETag"]) == (206, len(BODY), answer["ETag"])
    assert here.get_object(Bucket="disk", Key="empty", PartNumber=1)["Body"].read() == b""
    for number in (2, 10000):
        assert refused(here.get_object, Bucket="disk", Key="k", PartNumber=number) == (416, "InvalidPartNumber")
        assert refused(here.head_object, Bucket="disk", Key="k", PartNumber=number)[0] == 416
    assert refused(here.get_object, Bucket="disk", Key="k", PartNumber=10001) == (400, "InvalidArgument")
    assert refused(here.get_object, Bucket="disk", Key="k", PartNumber=1, Range="bytes=0-9") == (400, "InvalidRequest")
    assert refused(here.get_object, Bucket="disk", Key="none", PartNumber=1) == (404, "NoSuchKey")
    assert refused(here.get_object, Bucket="disk", Key="k", PartNumber=2, IfMatch='"other"') == (412, "PreconditionFailed")
    command = ["aws", "--endpoint-url", f"{url}/s3", "--no-sign-request", "--region", "us-east-1", "s3api", "get-object"]
    subprocess.run([*command, "--bucket", "disk", "--key", "k", "--part-number", "1", str(tmp_path / "k")], check=True, capture_output=True)
    assert (tmp_path / "k").read_bytes() == BODY


def test_parts_of_a_multipart_upload_are_those_of_the_store(stage: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Upstream() as server:
        store = Store()
        server.scripts["/models/k"] = store.send
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        here = client_of(stage.proxy("--s3-bucket", "models=s3://models", "--sign", "none", "--s3-fresh", "0s")[1])
        start = 0
        for n, body in enumerate(PARTS, 1):
            answer = here.get_object(Bucket="models", Key="k", PartNumber=n)
            assert answer["Body"].read() == body
            assert answer["ContentRange"] == f"bytes {start}-{start + len(body) - 1}/{len(BODY)}"
            assert (answer["PartsCount"], answer["ETag"]) == (len(PARTS), TAG)
            head = here.head_object(Bucket="models", Key="k", PartNumber=n)
            assert (head["PartsCount"], head["ContentLength"]) == (len(PARTS), len(body))
            start += len(body)
        assert store.parts_asked == len(PARTS)  # each once
        assert refused(here.get_object, Bucket="models", Key="k", PartNumber=len(PARTS) + 1) == (416, "InvalidPartNumber")
        here.download_file("models", "k", str(tmp_path / "k"))
        assert (tmp_path / "k").read_bytes() == BODY
        # For a store without `partNumber` no parts are invented.
        store.tag, store.tells = TAG.replace("0", "1"), False
        assert refused(here.get_object, Bucket="models", Key="k", PartNumber=1) == (501, "NotImplemented")
        assert here.get_object(Bucket="models", Key="k", IfMatch=store.tag)["Body"].read() == BODY
