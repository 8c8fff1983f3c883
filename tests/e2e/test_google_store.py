"""A Google bucket behind the proxy's S3 interface and for downloads, as Google documents its store; see `google_store`."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.google_store import Google
from tests.e2e.scene import MIB, Scene
from tests.e2e.test_s3_places import client, listed, refused

SIZE = 9 * MIB + 77
KEYS = ("a b+c", "dir/ü", "dir/deep/#?%", "empty", "z")


def content(key: str, seed: int = 0) -> bytes:
    return b"" if key == "empty" else random.Random(f"{key}{seed}").randbytes(SIZE)


@pytest.fixture(name="environment", autouse=True)
def one_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith(("GOOGLE_", "STORAGE_EMULATOR")):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture(name="store", params=[False, True], ids=["public", "closed"])
def one_store(request: pytest.FixtureRequest, environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Google]:
    with Google(closed=request.param) as store:
        for key in KEYS:
            store.put(key, content(key))
        environment.setenv("GOOGLE_BASE_URL", store.url)
        environment.setenv("GOOGLE_ALLOW_HTTP", "true")
        (tmp_path / "account.json").write_text(store.account)
        environment.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "account.json"))
        yield store


def test_a_google_bucket_is_read_and_listed_by_s3_clients(stage: Scene, store: Google) -> None:
    node = stage.supernode("--origin-sign", "gs://models")
    options = ("--s3-bucket", "models=gs://models", "--s3-bucket", "part=gs://models/dir", "--s3-fresh", "0s")
    here, there = (client(f"{stage.proxy(*options, host=host, nodes=(node,))[1]}/s3") for host in (2, 3))
    for key in KEYS:
        answer = here.get_object(Bucket="models", Key=key)
        assert answer["Body"].read() == content(key), key
        assert (answer["ContentType"], answer["Metadata"]) == ("application/x-weights", {"colour": "red"})
    head = there.head_object(Bucket="part", Key="ü")
    part = there.get_object(Bucket="part", Key="ü", Range=f"bytes={SIZE - 9}-", IfMatch=head["ETag"])
    assert part["Body"].read() == content("dir/ü")[-9:]
    assert there.get_object(Bucket="part", Key="deep/#?%")["Body"].read() == content("dir/deep/#?%")
    assert node.metric("dfengine_origin_bytes_total") == SIZE * (len(KEYS) - 1)
    assert listed(here, "models") == sorted(KEYS)
    assert listed(here, "models", Delimiter="/") == ["a b+c", "empty", "z", "dir/"]
    assert listed(here, "part") == ["deep/#?%", "ü"]
    assert refused(here.get_object, Bucket="models", Key="none") == (404, "NoSuchKey")
    # One part: Google's entity-tags do not state parts.
    assert here.head_object(Bucket="models", Key="z", PartNumber=1)["ContentLength"] == SIZE
    assert refused(here.get_object, Bucket="models", Key="z", PartNumber=2) == (416, "InvalidPartNumber")
    # A new generation replaces the old one at once.
    old, new = store.latest["z"], store.put("z", content("z", 1))
    assert here.get_object(Bucket="models", Key="z")["Body"].read() == content("z", 1)
    if not store.closed:  # only an access key in the environment could sign for a generation, and Google's environment has none
        assert here.get_object(Bucket="models", Key="z", VersionId=str(old))["Body"].read() == content("z")
        assert here.get_object(Bucket="models", Key="z", VersionId=str(new))["Body"].read() == content("z", 1)
    assert {who for _, _, status, who in store.asked if status < 300} == {"signed", "token"} | ({""} if not store.closed else set())


def test_a_foreign_account_gets_only_public_objects(stage: Scene, store: Google, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stage.get("gs://models/dir/ü", "a")
    assert (stage.path / "a").read_bytes() == content("dir/ü")
    with Google() as other:
        (tmp_path / "account.json").write_text(other.account)
    here = client(f"{stage.proxy('--s3-bucket', 'models=gs://models')[1]}/s3")
    if store.closed:
        assert refused(here.get_object, Bucket="models", Key="z") == (403, "AccessDenied")
    else:
        assert here.get_object(Bucket="models", Key="z")["Body"].read() == content("z")
