"""Buckets that are directories or a web server's index; access keys; malformed requests."""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.e2e.scene import DFENGINE, MIB, Scene, filled, free_port, until
from tests.e2e.upstream import Asked, Upstream

KEYS = {"config.json": b"{}", "a b/w+1.bin": random.Random(1).randbytes(3 * MIB + 5), "a b/\u00fc/empty": b"", "a b.txt": b"x"}


def folder(path: Path) -> Path:
    for key, body in KEYS.items():
        (path / key).parent.mkdir(parents=True, exist_ok=True)
        (path / key).write_bytes(body)
    return path


def client(url: str, access: str = "", secret: str = "") -> Any:
    config = Config(signature_version="s3v4" if access else UNSIGNED, retries={"max_attempts": 1})
    keys = {"aws_access_key_id": access, "aws_secret_access_key": secret} if access else {}
    return boto3.client("s3", endpoint_url=url, region_name="eu-west-1", config=config, **keys)


def refused(call: Any, **given: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as error:
        call(**given)
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def listed(here: Any, bucket: str, **given: Any) -> list[str]:
    answer = here.list_objects_v2(Bucket=bucket, **given)
    return [each["Key"] for each in answer.get("Contents", ())] + [each["Prefix"] for each in answer.get("CommonPrefixes", ())]


def test_a_directory_and_a_web_servers_index_are_served_as_buckets(stage: Scene) -> None:
    disk, secret = folder(stage.path / "disk"), stage.path / "secret"
    secret.mkdir()
    (secret / "s").write_bytes(b"secret")
    (disk / "link").symlink_to(secret / "s")
    folder(stage.www / "odd" / "d")
    origin = stage.origin(odd="autoindex on; autoindex_format json;")
    (stage.www / "d").symlink_to("odd/d")
    node = stage.supernode()
    url = stage.proxy("--s3-bucket", f"disk={disk}", "--s3-bucket", f"web={origin}/odd/d/", "--s3-fresh", "0s", nodes=(node,))[1]
    here = client(f"{url}/s3")
    for bucket in ("disk", "web"):
        for key, body in KEYS.items():
            answer = here.get_object(Bucket=bucket, Key=key)
            assert answer["Body"].read() == body, (bucket, key)
            head = here.head_object(Bucket=bucket, Key=key)
            assert (head["ETag"], head["ContentLength"], head["LastModified"]) == (answer["ETag"], len(body), answer["LastModified"])
        part = here.get_object(Bucket=bucket, Key="a b/w+1.bin", Range=f"bytes={2 * MIB}-{2 * MIB + 9}")["Body"].read()
        assert part == KEYS["a b/w+1.bin"][2 * MIB : 2 * MIB + 10]
        assert listed(here, bucket, Delimiter="/") == ["a b.txt", "config.json", "a b/"]
        assert listed(here, bucket, Prefix="a b/") == ["a b/w+1.bin", "a b/\u00fc/empty"]
        assert listed(here, bucket, StartAfter="a b/w", MaxKeys=1) == ["a b/w+1.bin"]
        for key in ("none", "a b", "a b/", "../secret/s", "a b/../../secret/s", "/config.json", "a b//w+1.bin", "config.json/x", "nul\0"):
            assert refused(here.get_object, Bucket=bucket, Key=key)[0] in (400, 403, 404), key
        assert listed(here, bucket, Prefix="../") == []
    sizes = {each["Key"]: each["Size"] for each in here.list_objects_v2(Bucket="web")["Contents"]}
    assert sizes == {key: len(body) for key, body in KEYS.items()}
    # A link that leads out of the directory is not followed, and does not break listings.
    assert refused(here.get_object, Bucket="disk", Key="link") == (403, "AccessDenied")
    # While the index's server is down, files on this host are served.
    stage.nginx.terminate()
    stage.nginx.wait(20)
    assert here.get_object(Bucket="web", Key="a b/w+1.bin")["Body"].read() == KEYS["a b/w+1.bin"]
    assert refused(here.get_object, Bucket="web", Key="never asked for") == (503, "SlowDown")
    # A replaced file is served in its new version.
    (disk / "new").write_bytes(b"y")
    os.rename(disk / "new", disk / "config.json")
    assert here.get_object(Bucket="disk", Key="config.json")["Body"].read() == b"y"


def test_bytes_after_a_response_are_not_taken_for_the_next_response(stage: Scene) -> None:
    """The server sends surplus bytes that look like another response."""

    def answer(tag: str) -> bytes:
        return f'HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\nContent-Range: bytes 0-0/9\r\nETag: "{tag}"\r\n\r\n'.encode()

    def send(sock: socket.socket, asked: Asked) -> None:
        sock.sendall(answer(asked.target[1:]))
        time.sleep(0.1)  # libcurl itself detects surplus bytes that share a buffer with the head
        sock.sendall(b"x" + answer("another") + b"y")

    with Upstream() as server:
        server.scripts = {f"/{key}": send for key in "abcd"}
        here = client(f"{stage.proxy('--s3-bucket', f'web={server.url}/', '--s3-fresh', '0s')[1]}/s3")
        assert [here.head_object(Bucket="web", Key=key)["ETag"] for key in "abcd"] == ['"a"', '"b"', '"c"', '"d"']


def test_access_keys_are_enforced_and_malformed_requests_refused(stage: Scene) -> None:
    keys, port = stage.path / "keys", free_port()
    keys.write_text("AKID0 secret-of-0\nAKID1 secret-of-1\n")
    folder(stage.path / "disk")
    options = ("--s3-bucket", f"disk={stage.path / 'disk'}", "--s3-keys", str(keys))
    keys.chmod(0o644)
    command = [*DFENGINE, "proxy", "--home", str(stage.path / "home-0"), *options]
    found = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert found.returncode == 2
    assert b"chmod 600" in found.stderr
    keys.chmod(0o600)
    _, url = stage.proxy(*options, "--s3-listen", f"127.0.0.1:{port}")
    for place in (f"{url}/s3", f"http://127.0.0.1:{port}"):
        here = client(place, "AKID1", "secret-of-1")
        assert here.get_object(Bucket="disk", Key="a b/w+1.bin")["Body"].read() == KEYS["a b/w+1.bin"]
        assert listed(here, "disk", Prefix="a b/", Delimiter="/") == ["a b/w+1.bin", "a b/\u00fc/"]
        signed = here.generate_presigned_url("get_object", {"Bucket": "disk", "Key": "config.json"})
        assert urllib.request.urlopen(signed, timeout=60).read() == b"{}"
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(signed.replace("config", "Config"), timeout=60)
        assert error.value.code == 403
        error.value.close()
        assert refused(client(place).get_object, Bucket="disk", Key="config.json") == (403, "AccessDenied")
        wrong = client(place, "AKID1", "secret-of-0")
        assert refused(wrong.get_object, Bucket="disk", Key="config.json") == (403, "SignatureDoesNotMatch")
        assert refused(client(place, "AKID2", "secret-of-1").list_buckets) == (403, "InvalidAccessKeyId")

    def sent(data: bytes) -> bytes:
        """The bytes received until the connection ends, which may be before all data is sent."""
        got = bytearray()

        def receive() -> None:
            with contextlib.suppress(OSError):
                while block := line.recv(1 << 16):
                    got.extend(block)

        with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
            receiving = threading.Thread(target=receive)
            receiving.start()
            with contextlib.suppress(OSError):
                line.sendall(data)
            receiving.join()
        return bytes(got)

    def status(data: bytes) -> int:
        found = re.match(rb"HTTP/1.1 (\d{3}) ", sent(data))
        assert found is not None
        return int(found[1])

    tail = b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    assert status(b"GET /disk?prefix=" + b"a" * MIB + tail) == 431
    for target in (b"/disk?max-keys=-1", b"/%ff/%00", b"/disk/%2e%2e%2f%2e%2e", b"/disk?" + b"&" * 5000, b"//", b"/disk/" + b"%41" * 2000):
        assert 400 <= status(b"GET " + target + tail) < 500, target
    assert status(b"PUT /disk/k HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\nConnection: close\r\n\r\n") == 405
    authorization = b"GET /disk/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: AWS4-HMAC-SHA256 "
    for value in (b"Credential=", b"Credential=" + b"/" * 10000, b"Credential=a/b, SignedHeaders=" + b";" * 9000 + b", Signature=0"):
        assert status(authorization + quote(value, safe="=/;, -").encode() + b"\r\n\r\n") == 400
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        line.sendall(b"GET /disk/config.json HT")  # and no more: the connection is closed, and delays no other request
        assert listed(client(f"http://127.0.0.1:{port}", "AKID0", "secret-of-0"), "disk", Prefix="config") == ["config.json"]
        line.settimeout(60)
        until(lambda: line.recv(100) == b"", "the close of a connection that sends no request")


def test_a_full_disk_does_not_prevent_reads(small: Path, closed: Scene) -> None:
    stage = closed
    body = random.Random(2).randbytes(40 * MIB)
    (stage.www / "d").mkdir()
    (stage.www / "d" / "k").write_bytes(body)
    origin = stage.origin(odd="autoindex on;")
    (small / "home").mkdir()
    filled(small / "ballast", 20 * MIB)
    here = client(f"{stage.proxy('--s3-bucket', f'web={origin}/d/', '--home', str(small / 'home'))[1]}/s3")
    assert here.get_object(Bucket="web", Key="k")["Body"].read() == body
    assert here.get_object(Bucket="web", Key="k", Range="bytes=1000000-29999999")["Body"].read() == body[1000000:30000000]
    left = here.get_object(Bucket="web", Key="k")["Body"]  # and never read: it delays no other request
    assert here.get_object(Bucket="web", Key="k", Range="bytes=-5")["Body"].read() == body[-5:]
    left.close()
    assert not [*(small / "home" / "files").glob("*.part")] or sum(path.stat().st_blocks for path in small.rglob("*.part")) * 512 < 20 * MIB
