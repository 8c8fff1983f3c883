"""S3 buckets as origins, with real processes and the store's own client."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

import dfengine
from dfengine.errors import BadListing, OriginError
from dfengine.location import Location
from tests.e2e.scene import MIB, until
from tests.e2e.stores import ENVIRONMENT, Gate, listed, moto

SIZE = 9 * MIB + 77
SECRETS = ("s3cr3t-k3y", "X-Amz-Signature", "X-Amz-Credential", "hf-t0ken")


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def told_no_secret(*texts: object) -> None:
    for text in texts:
        assert not any(secret in str(text) for secret in SECRETS), text


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture(name="gate")
def one_gate(store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """An S3 server that the environment of the test's processes names; its bucket is `models`."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "HF_")):
            monkeypatch.delenv(name)
    with Gate(store) as gate:
        for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": gate.url}.items():
            monkeypatch.setenv(name, value)
        # boto3 connects to the server directly: only dfengine's requests pass the gate.
        gate.client = boto3.client("s3", endpoint_url=store, region_name="us-east-1")
        gate.client.create_bucket(Bucket="models")
        yield gate
        for each in gate.client.list_object_versions(Bucket="models").get("Versions", ()):
            gate.client.delete_object(Bucket="models", Key=each["Key"], VersionId=each["VersionId"])
        gate.client.delete_bucket(Bucket="models")


def put(gate: Gate, key: str, body: bytes, public: bool = False) -> str:
    """Store an object and return its URL."""
    gate.client.put_object(Bucket="models", Key=key, Body=body, ACL="public-read" if public else "private")
    return Location("s3", "models", key).url


def read(stage: Any, name: str) -> bytes:
    return bytes((stage.path / name).read_bytes())


def signatures(gate: Gate) -> list[str]:
    return [query.get("X-Amz-Signature", [""])[0] for _, query, _, _, _ in gate.asked]


# WITHOUT A SUPERNODE


def test_an_object_is_downloaded_by_one_request_without_a_supernode(stage: Any, gate: Gate) -> None:
    url = put(gate, "llama/weights.bin", content(SIZE))
    process = stage.start_get(url, "out", "--verbose", "--connections", "1")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert read(stage, "out") == content(SIZE)
    assert json.loads(out)["url"] == url
    assert gate.sent() == SIZE
    assert len(gate.asked) == 1
    told_no_secret(out, err)


KEYS = [
    "a b", "a%20b", "a+b", "what?versionId=x", "a#b", "ü/日本/é", "a//b", "/lead", "//two", "dir/", "a&b=c;d", "~!*'()", "100%", "%2F%2e",
    "k" * 1024, "n" + "ü" * 511, "tab\there",
]


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_keys_with_special_characters_name_their_own_object(stage: Any, gate: Gate, key: str) -> None:
    # Objects that a wrong encoding of the key would name instead.
    for other in {key.replace("%20", " "), key.replace("+", " "), key.strip("/"), key.replace("//", "/"), key.partition("?")[0]} - {key}:
        put(gate, other, b"another")
    stage.get(put(gate, key, content(1000, 7)), "out")
    assert read(stage, "out") == content(1000, 7)


def test_version_id_selects_a_version_of_an_object(stage: Any, gate: Gate) -> None:
    gate.client.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
    one = gate.client.put_object(Bucket="models", Key="k", Body=content(1000, 1))["VersionId"]
    gate.client.put_object(Bucket="models", Key="k", Body=content(1000, 2))
    stage.get(f"s3://models/k?versionId={one}", "old")
    stage.get("s3://models/k", "new")
    assert read(stage, "old") == content(1000, 1)
    assert read(stage, "new") == content(1000, 2)


def test_a_stream_and_a_range_of_an_object(stage: Any, gate: Gate) -> None:
    url = put(gate, "k", content(SIZE))
    digest, _ = stage.drain(stage.start_stream(url))
    assert digest == hashlib.sha256(content(SIZE)).hexdigest()
    stage.get(url, "part", "--range", "-1000")
    assert read(stage, "part") == content(SIZE)[-1000:]


def test_a_public_object_needs_no_credentials(stage: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    url = put(gate, "k", content(1000), public=True)
    stage.get(url, "a", "--sign", "none")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    stage.get(url, "b")
    assert read(stage, "a") == read(stage, "b") == content(1000)
    assert signatures(gate) == ["", ""]
    gate.refuse = True
    err = stage.get(url, "c", status=4)
    assert "403" in err
    assert url in err
    assert "no credentials were found" in err


@pytest.mark.parametrize("sign", ["supernode", "client"])
def test_timeout_and_interrupt_end_the_wait_for_a_silent_credentials_service(
    stage: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    nodes = (stage.supernode(),) if sign == "client" else ()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        stage.get("s3://models/k", "out", "--timeout", "1", "--sign", sign, nodes=nodes, status=8)
        assert time.monotonic() - began < 20, "the credentials service never responds"
        process = stage.start_get("s3://models/k", "out", "--sign", sign, nodes=nodes)
        silent.settimeout(20)
        silent.accept()[0].close()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (-signal.SIGINT, 128 + signal.SIGINT), "128 + SIGINT where the main thread has no time to end"


def test_open_reads_an_object_with_and_without_a_supernode(stage: Any, gate: Gate) -> None:
    url = put(gate, "k", content(SIZE))
    node = stage.supernode("--origin-sign", "s3://models")
    for nodes in (None, [node.node]):
        with dfengine.open(url, nodes=nodes, home=str(stage.path / "home-2"), ip="127.0.0.2", pattern="cdn") as file:
            file.seek(5 * MIB + 1)
            assert file.read(1000) == content(SIZE)[5 * MIB + 1 :][:1000]
            file.seek(-10, os.SEEK_END)
            assert file.read() == content(SIZE)[-10:]


# EXPIRED SIGNATURES, CHANGED OBJECTS


@pytest.mark.parametrize("swarm", [False, True], ids=["alone", "supernode"])
def test_a_signature_that_expires_during_a_download_is_renewed(stage: Any, gate: Gate, swarm: bool) -> None:
    url = put(gate, "k", content(SIZE))
    nodes = (stage.supernode("--origin-sign", "s3://models", "--origin-connections", "1"),) if swarm else ()
    gate.cut = 4 * MIB + 5
    gate.go_on.clear()
    process = stage.start_get(url, "out", "--connections", "1", *(("--notbs",) if swarm else ()), nodes=nodes)
    assert gate.was_cut.wait(60)
    threading.Timer(1.2, gate.go_on.set).start()  # signatures made within one second are equal
    stage.end(process)
    assert read(stage, "out") == content(SIZE)
    assert [status for _, _, _, status, _ in gate.asked] == [200, 403, 206]
    assert gate.asked[2][2] == f"bytes={4 * MIB + 5}-"
    assert gate.sent() == SIZE
    assert len(set(signatures(gate))) == 2


@pytest.mark.parametrize("swarm", [False, True], ids=["alone", "supernode"])
def test_versions_of_an_object_replaced_during_a_download_are_not_mixed(stage: Any, gate: Gate, swarm: bool) -> None:
    url = put(gate, "k", content(SIZE, 1))
    nodes = (stage.supernode("--origin-sign", "s3://models", "--origin-connections", "1"),) if swarm else ()
    gate.cut = 4 * MIB + 5
    gate.go_on.clear()
    process = stage.start_get(url, "out", "--connections", "1", *(("--notbs",) if swarm else ()), nodes=nodes)
    assert gate.was_cut.wait(60)
    put(gate, "k", content(SIZE, 2))
    threading.Timer(1.2, gate.go_on.set).start()
    stage.end(process)
    assert read(stage, "out") == content(SIZE, 2)


# REFUSALS


@pytest.mark.parametrize("swarm", [False, True], ids=["alone", "supernode"])
def test_refused_credentials_are_reported_without_secrets(stage: Any, gate: Gate, swarm: bool) -> None:
    url = put(gate, "k", content(1000))
    gate.refuse = True
    nodes = (stage.supernode("--origin-sign", "s3://models"),) if swarm else ()
    process = stage.start_get(url, "out", "--verbose", nodes=nodes)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 4, err
    found = json.loads(out)["error"]
    assert (found["status"], found["url"]) == (403, url)
    assert url in found["message"]
    assert "the signature grants no access" in found["message"]
    told_no_secret(out, err)
    assert not (stage.path / "out").exists()


@pytest.mark.parametrize("swarm", [False, True], ids=["alone", "supernode"])
def test_a_missing_object_is_reported(stage: Any, gate: Gate, swarm: bool) -> None:
    nodes = (stage.supernode("--origin-sign", "s3://models"),) if swarm else ()
    err = stage.get("s3://models/none", "out", nodes=nodes, status=4)
    assert "404" in err
    assert "s3://models/none" in err
    told_no_secret(err)


def test_invalid_urls_and_missing_settings_are_reported(stage: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "versionId" in stage.get("s3://models/a?b", "out", status=2)
    assert "names no file" in stage.get("s3://models/", "out", status=2)
    assert "AZURE_STORAGE_ACCOUNT_NAME" in stage.get("az://container/b", "out", status=2)
    assert "Authorization" in stage.get("s3://models/k", "out", "--user", "a:b", status=2)
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    assert "AWS_ALLOW_HTTP=true" in stage.get("s3://models/k", "out", status=2)


# THROUGH A SUPERNODE


def test_two_hosts_without_credentials_read_each_byte_once_from_the_store(
    stage: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(gate, "dir/k", content(SIZE))
    node = stage.supernode("--origin-sign", "s3://models/dir", "--revalidate-interval", "1h")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    one = stage.get(url, "a", "--notbs", host=2, nodes=(node,))
    two = stage.get(url, "b", "--notbs", host=3, nodes=(node,))
    assert read(stage, "a") == read(stage, "b") == content(SIZE)
    assert one["task_id"] == two["task_id"]
    assert two["from"]["peers"] + two["from"]["supernode"] == SIZE
    assert node.metric("dfengine_origin_bytes_total") == gate.sent() == SIZE
    for path in node.home.rglob("*"):
        if path.is_file():
            assert not any(secret.encode() in path.read_bytes() for secret in SECRETS), path


def test_a_supernode_signs_only_urls_below_its_origin_sign_option(stage: Any, gate: Gate) -> None:
    url, inside = put(gate, "other/k", content(1000)), put(gate, "dir/k", content(1000))
    node = stage.supernode("--origin-sign", "s3://models/dir")
    err = stage.get(url, "a", "--notbs", nodes=(node,), status=3)
    assert "credentials" in err
    stage.get(put(gate, "dirt", content(1000), public=True), "b", "--notbs", nodes=(node,))
    assert signatures(gate) == ["", ""]
    stage.get(inside, "c", "--notbs", nodes=(node,))
    assert signatures(gate)[2]


def test_signing_clients_share_an_object_that_each_may_read(stage: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    url = put(gate, "k", content(SIZE))
    node = stage.supernode("--revalidate-interval", "1h")
    one = stage.get(url, "a", "--notbs", "--sign", "client", host=2, nodes=(node,))
    two = stage.get(url, "b", "--notbs", "--sign", "client", host=3, nodes=(node,))
    assert read(stage, "a") == read(stage, "b") == content(SIZE)
    assert one["task_id"] == two["task_id"]
    assert (one["url"], two["from"]["origin"]) == (url, 0)
    assert node.metric("dfengine_origin_bytes_total") == SIZE
    assert gate.sent() == SIZE + 2, "each client's signature is verified by reading one byte"
    # Clients that sign with other credentials, do not sign or cannot sign are refused the copy.
    gate.refused_keys = {"AKIDOTHER"}
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOTHER")
    assert "credentials" in stage.get(url, "c", "--notbs", "--sign", "client", host=4, nodes=(node,), status=3)
    assert "credentials" in stage.get(url, "c", "--notbs", host=4, nodes=(node,), status=3)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    assert "cannot sign" in stage.get(url, "c", "--sign", "client", host=4, nodes=(node,), status=2)
    assert not (stage.path / "c").exists()
    for path in stage.path.rglob("*"):
        if path.is_file():
            assert not any(secret.encode() in path.read_bytes() for secret in SECRETS), path


def test_an_expired_signature_of_a_client_is_replaced_by_another_clients(stage: Any, gate: Gate) -> None:
    url = put(gate, "k", content(SIZE))
    node = stage.supernode("--origin-connections", "1")
    gate.cut = 4 * MIB + 5
    gate.go_on.clear()
    one = stage.start_get(url, "a", "--notbs", "--sign", "client", host=2, nodes=(node,))
    assert gate.was_cut.wait(60)
    time.sleep(1.1)  # signatures made within one second are equal
    two = stage.start_get(url, "b", "--notbs", "--sign", "client", host=3, nodes=(node,))
    until(lambda: node.metric("dragonfly_supernode_dfgettasks_registered_total") == 2, "two registrations")
    gate.go_on.set()
    stage.end(one)
    stage.end(two)
    assert read(stage, "a") == read(stage, "b") == content(SIZE)
    assert gate.sent() == SIZE + 2


def test_origin_deny_applies_to_addresses_of_stores(stage: Any, gate: Gate) -> None:
    url = put(gate, "k", content(1000))
    node = stage.supernode("--origin-sign", "s3://models", "--origin-deny", "127.0.0.1")
    err = stage.get(url, "a", "--notbs", nodes=(node,), status=3)
    assert "may not fetch from 127.0.0.1" in err
    assert not gate.asked


def test_a_download_begun_at_the_store_is_resumed_from_the_swarm(stage: Any, gate: Gate) -> None:
    """Client and supernode identify a version of the object alike."""
    url = put(gate, "k", content(SIZE))
    gate.cut = 4 * MIB
    process = stage.start_get(url, "out", "--connections", "1", "--retry", "0", "--timeout", "10")
    gate.go_on.clear()
    assert gate.was_cut.wait(60)
    stage.end(process, 8)
    gate.go_on.set()
    node = stage.supernode("--origin-sign", "s3://models")
    found = stage.get(url, "out", "--notbs", nodes=(node,))
    assert read(stage, "out") == content(SIZE)
    assert found["from"]["resumed"] > 0


# LISTINGS


def test_buckets_and_prefixes_are_listed(gate: Gate) -> None:
    for key in ("top", "dir/", "dir/a b", "dir/deep/x%", "dirt", "dir/empty", "marker/"):
        put(gate, key, b"" if key.endswith(("/", "empty")) else b"12345")

    assert listed("s3://models/dir") == listed("s3://models/dir/") == {"a b": 5, "deep/x%": 5, "empty": 0}
    assert set(listed("s3://models")) == {"top", "dir/a b", "dir/deep/x%", "dir/empty", "dirt"}
    with pytest.raises(OriginError) as error:
        listed("s3://no-such-bucket")
    assert error.value.status == 404
    told_no_secret(error.value)
    put(gate, "a//b", b"x")
    with pytest.raises(OriginError, match="a//b"):
        listed("s3://models")
    put(gate, "dir/a b/c", b"x")
    with pytest.raises(BadListing, match="'a b' as a file and as a directory"):
        listed("s3://models/dir")
