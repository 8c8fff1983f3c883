"""Google's and Azure's stores, by their emulators."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import random
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from tests.e2e.scene import MIB, free_port
from tests.e2e.stores import listed, running

SIZE = 9 * MIB + 77
ACCOUNT, KEY = "devstoreaccount1", base64.b64encode(b"k3y" * 20).decode()


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "AZURE_", "AZURITE_", "STORAGE_EMULATOR")):
            monkeypatch.delenv(name)


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def behind_the_facade(stage: Any, url: str, key: str) -> None:
    """Read the bucket through the proxy's S3 facade. key: of one of its two objects."""
    here = boto3.client("s3", endpoint_url=f"{stage.proxy('--s3-bucket', f'models={url}', host=6)[1]}/s3", region_name="us-east-1",
                        config=Config(signature_version=UNSIGNED, retries={"max_attempts": 1}))  # fmt: skip
    answer = here.get_object(Bucket="models", Key=key, Range=f"bytes={SIZE - 9}-")
    assert answer["Body"].read() == content(SIZE)[-9:]
    told = here.list_objects_v2(Bucket="models")
    assert {each["Key"]: each["Size"] for each in told["Contents"]} == {"a b+c": SIZE, key: SIZE}
    assert {each["ETag"] for each in told["Contents"] if each["Key"] == key} == {answer["ETag"]}
    assert [each["Prefix"] for each in here.list_objects_v2(Bucket="models", Delimiter="/")["CommonPrefixes"]] == ["dir/"]


@pytest.fixture(name="google")
def one_google(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    port = free_port()
    with running(sys.executable, "-m", "gcp_storage_emulator", "start", "--host", "127.0.0.1", "--port", str(port), "--in-memory",
                 "--default-bucket", "models", port=port) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        yield url


def test_google_objects_are_downloaded_alone_and_by_a_supernode(stage: Any, google: str) -> None:
    for key in ("a b+c", "dir/ü"):
        target = f"{google}/upload/storage/v1/b/models/o?uploadType=media&name={quote(key, safe='')}"
        urllib.request.urlopen(urllib.request.Request(target, content(SIZE), {"Content-Type": "application/octet-stream"})).close()
    stage.get("gs://models/a b+c", "a")
    node = stage.supernode("--revalidate-interval", "1h")
    stage.get("gs://models/dir/ü", "b", "--notbs", host=2, nodes=(node,))
    stage.get("gs://models/dir/ü", "c", "--notbs", host=3, nodes=(node,))
    assert {(stage.path / name).read_bytes() for name in "abc"} == {content(SIZE)}
    assert "404" in stage.get("gs://models/none", "d", status=4)


@pytest.fixture(name="azure")
def one_azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    command = shutil.which("azurite-blob")
    if command is None:
        # azurite is in no package of apt or PyPI, and all else can be tested without npm. `.ci/run` installs it wherever npm can.
        pytest.skip("azurite is not installed: npm install -g azurite")
    port = free_port()
    with running(command, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(tmp_path), "--silent",
                 "--skipApiVersionCheck", "--disableTelemetry", port=port, environment={"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}) as url:
        for name, value in {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": url, "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                            "AZURE_STORAGE_ACCOUNT_KEY": KEY}.items():
            monkeypatch.setenv(name, value)
        put(f"{url}/{ACCOUNT}/models?restype=container", b"", {}, "\nrestype:container")
        yield url


def put(url: str, body: bytes, headers: dict[str, str], query: str = "") -> None:
    """Send a PUT to the blob service, signed by the account's key ("Authorize with Shared Key" of Azure's REST API)."""
    sent = {"x-ms-date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()), "x-ms-version": "2021-08-06", **headers}
    path = urllib.request.urlparse(url).path  # type: ignore[attr-defined]
    lines = "".join(f"{name}:{sent[name]}\n" for name in sorted(sent))
    kind = "application/octet-stream"
    text = f"PUT\n\n\n{len(body) or ''}\n\n{kind}\n\n\n\n\n\n\n{lines}/{ACCOUNT}{path}{query}"
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    request = urllib.request.Request(url, body, {**sent, "Content-Type": kind, "Authorization": f"SharedKey {ACCOUNT}:{signature}"},
                                     method="PUT")
    urllib.request.urlopen(request).close()


def test_azure_blobs_are_downloaded_by_get_supernode_and_s3_facade(stage: Any, azure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a b+c", "dir/ü#?%"):
        put(f"{azure}/{ACCOUNT}/models/{quote(key)}", content(SIZE), {"x-ms-blob-type": "BlockBlob"})
    stage.get("az://models/a b+c", "a")
    assert listed("az://models/dir") == {"ü#?%": SIZE}
    node = stage.supernode("--origin-sign", "az://models", "--revalidate-interval", "1h")
    plain = stage.supernode()
    stage.get("az://models/a b+c", "d", "--notbs", "--sign", "client", host=4, nodes=(plain,))
    behind_the_facade(stage, "az://models", "dir/ü#?%")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_KEY")
    stage.get("az://models/dir/ü%23%3F%25", "b", "--notbs", host=2, nodes=(node,))
    stage.get("az://models/dir/ü%23%3F%25", "c", "--notbs", host=3, nodes=(node,))
    assert {(stage.path / name).read_bytes() for name in "abcd"} == {content(SIZE)}
    assert node.metric("dfengine_origin_bytes_total") == SIZE
