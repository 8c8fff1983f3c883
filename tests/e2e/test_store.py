"""A supernode that lost its disk reads its copies from the object store, and survives damage to the store."""

from __future__ import annotations

import os
import random
import shutil
from functools import partial
from pathlib import Path

import boto3
import pytest

from tests.e2e.scene import DFENGINE, MIB, Scene, Supernode, filled, until
from tests.e2e.stores import ENVIRONMENT, moto

SIZE = 13 * MIB + 5


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "store-key"
    path.write_text("not the swarm's secret")
    path.chmod(0o600)
    return path


def wait_until_stored(node: Supernode) -> None:
    until(lambda: node.metric("dfengine_store_written_bytes_total") >= SIZE, "a stored copy")
    until(lambda: not node.metric("dfengine_store_writes_pending"), "the end of all writes to the store")


def end_and_delete_disk(stage: Scene, node: Supernode) -> None:
    """End the supernode and delete its disk."""
    node.process.terminate()
    node.process.wait(60)
    shutil.rmtree(node.home)


def test_copies_are_read_from_a_directory_after_the_disk_is_lost(stage: Scene, key: Path) -> None:
    folder = stage.path / "store"
    folder.mkdir()
    options = ("--store", f"file://{folder}", "--store-key-file", str(key))
    digest, base = stage.file("f", SIZE), stage.origin()
    node = stage.supernode(*options)
    stage.get(f"{base}/f", "one", "--pattern", "cdn", nodes=(node,))
    wait_until_stored(node)
    asked = stage.sent("/f")
    end_and_delete_disk(stage, node)
    node = stage.supernode(*options)
    told = stage.get(f"{base}/f", "two", "--notbs", "--pattern", "cdn", host=3, nodes=(node,))
    assert (stage.digest("two"), told["from"]["origin"]) == (digest, 0)
    assert (stage.sent("/f"), node.metric("dfengine_origin_bytes_total")) == (asked, 0)
    assert [each["status"] for each in stage.requests("/f")][-1] == 304
    end_and_delete_disk(stage, node)
    # The origin is down: the copy in the store suffices.
    stage.nginx.terminate()
    stage.nginx.wait(60)
    node = stage.supernode(*options)
    stage.get(f"{base}/f", "three", "--notbs", "--pattern", "cdn", host=4, nodes=(node,))
    assert stage.digest("three") == digest
    end_and_delete_disk(stage, node)
    stage.origin()
    # The second piece is damaged: it alone is read from the origin. After that the store's path is a file.
    [data] = folder.rglob("data-*")
    with open(data, "r+b") as file:
        file.seek(SIZE - 3)
        file.write(b"lie")
    node = stage.supernode(*options)
    stage.get(f"{base}/f", "four", "--notbs", "--pattern", "cdn", host=5, nodes=(node,))
    assert stage.digest("four") == digest
    assert 0 < node.metric("dfengine_origin_bytes_total") < SIZE
    assert node.metric("dfengine_store_failures_total") >= 1
    wait_until_stored(node)  # the damaged piece is written again
    end_and_delete_disk(stage, node)
    assert data.read_bytes() == (stage.www / "f").read_bytes()
    shutil.rmtree(folder)
    folder.write_text("a file")
    said = stage.path / "said"
    with open(said, "wb") as out:
        refused = stage._start(["sh", "-c", 'exec "$@" 2>&1', "sh", *_command(stage, options)], out.fileno())
        assert refused.wait(60) == 2
    assert "is no directory" in said.read_text()


def test_a_full_store_fails_no_download(stage: Scene, key: Path, small: Path) -> None:
    options = ("--store", f"file://{small}", "--store-key-file", str(key))
    filled(small / "ballast", SIZE // 2)
    digest, base = stage.file("f", SIZE), stage.origin()
    first, second = stage.supernode(*options), stage.supernode(*options)
    for n, node in enumerate((first, second), 3):
        stage.get(f"{base}/f", f"out{n}", "--notbs", "--pattern", "cdn", host=n, nodes=(node,))
        assert stage.digest(f"out{n}") == digest
        until(partial(node.metric, "dfengine_store_failures_total"), "a counted failure of the store")
    assert second.metric("dfengine_origin_bytes_total") == SIZE, "an incomplete copy in the store is not read"


def _command(stage: Scene, options: tuple[str, ...]) -> list[str]:
    ports = "--port", "0", "--download-port", "0"
    return [*DFENGINE, "supernode", *ports, "--host", "127.0.0.1", "--home-dir", str(stage.path / "n"), *options]


def test_supernodes_share_copies_in_a_bucket_and_survive_its_removal(stage: Scene, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with moto() as url:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        client.create_bucket(Bucket="copies")
        options = ("--store", "s3://copies/of/swarm", "--store-key-file", str(key))
        digest, base = stage.file("f", SIZE), stage.origin()
        first, second = stage.supernode(*options), stage.supernode(*options)
        stage.get(f"{base}/f", "one", "--pattern", "cdn", nodes=(first,))
        wait_until_stored(first)
        names = [each["Key"] for each in client.list_objects_v2(Bucket="copies")["Contents"]]
        assert all(name.startswith("of/swarm/df1/") for name in names), names
        # Another supernode has no copy: it reads that of the first from the bucket, and nothing from the origin.
        stage.get(f"{base}/f", "two", "--notbs", "--pattern", "cdn", host=3, nodes=(second,))
        assert (stage.digest("two"), second.metric("dfengine_origin_bytes_total")) == (digest, 0)
        # Without the bucket the origin is read, and failed writes to the store fail no download.
        for name in names:
            client.delete_object(Bucket="copies", Key=name)
        client.delete_bucket(Bucket="copies")
        other = stage.file("g", SIZE, seed=random.Random(os.getpid()).randrange(9))
        stage.get(f"{base}/g", "three", "--notbs", "--pattern", "cdn", host=4, nodes=(second,))
        assert stage.digest("three") == other
        until(lambda: second.metric("dfengine_store_failures_total"), "a counted failure of the store")
