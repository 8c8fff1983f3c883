"""Blobs through a proxy: each byte is read once from the registry for all clients, and no wrong byte is delivered."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.blob_registry import DATA, Blobs, check_read_once
from tests.e2e.scene import DFENGINE, MIB, PATIENCE, SMALL, Scene, Supernode, buffered, until
from tests.e2e.upstream import Asked, get, ok


@pytest.fixture
def registry() -> Iterator[Blobs]:
    with Blobs() as made:
        yield made


def test_three_hosts_read_a_blob_once_from_its_registry(stage: Scene, registry: Blobs) -> None:
    node = stage.supernode()
    path = registry.keep("a/b", DATA)
    hosts = [stage.proxy("--registry", registry.url, host=host, nodes=(node,))[1] for host in (2, 3, 4)]
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda url=url: found.append(get(url, path)[1])) for url in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
    assert [hashlib.sha256(each).hexdigest() for each in found] == [hashlib.sha256(DATA).hexdigest()] * 3
    check_read_once(node, len(DATA), registry)
    # The next pull reads the disk and sends no request to the registry.
    before = len(registry.asked)
    answer, body = get(hosts[0], path)
    assert body == DATA
    assert answer.headers["content-type"] == "text/x-blob"
    assert answer.headers["docker-content-digest"] == path.rpartition("/")[2]
    assert len(registry.asked) == before


def test_one_digest_is_one_task_across_repositories_and_registries(stage: Scene, registry: Blobs) -> None:
    """The digest names the task."""
    node = stage.supernode()
    with Blobs() as other:
        first, second = registry.keep("a", DATA), other.keep("x/y/z", DATA)
        one = stage.proxy("--registry", registry.url, host=2, nodes=(node,))[1]
        two = stage.proxy("--registry", other.url, host=3, nodes=(node,))[1]
        assert get(one, first)[1] == get(two, second)[1] == DATA
        check_read_once(node, len(DATA), registry, other)


def test_without_a_supernode_a_host_reads_a_blob_once(stage: Scene, registry: Blobs) -> None:
    path = registry.keep("a", DATA)
    url = stage.proxy("--registry", registry.url)[1]
    assert get(url, path)[1] == DATA
    assert get(url, path)[1] == DATA
    # Buffered bytes of a connection that was closed early count as sent, but were not received.
    assert registry.sent <= len(DATA) + buffered()
    assert len([each for each in registry.asked if each.method == "HEAD"]) == 1


def test_range_and_conditional_requests_for_a_blob(stage: Scene, registry: Blobs) -> None:
    node = stage.supernode()
    path, empty = registry.keep("a", DATA), registry.keep("a", b"")
    url = stage.proxy("--registry", registry.url, nodes=(node,))[1]
    tag, length = f'"{path.rpartition("/")[2]}"', len(DATA)
    for text, start, past in (("0-0", 0, 1), (f"{9 * MIB}-", 9 * MIB, length), ("-7", length - 7, length), (f"5-{length * 2}", 5, length)):
        answer, body = get(url, path, Range=f"bytes={text}")
        assert (answer.status, body) == (206, DATA[start:past])
        assert answer.headers["content-range"] == f"bytes {start}-{past - 1}/{length}"
    answer, body = get(url, path, Range="bytes=0-1, 20000000-20000002")
    kind = answer.headers["content-type"]
    assert answer.status == 206
    assert kind.startswith("multipart/byteranges; boundary=")
    parts = body.split(b"--" + kind.partition("=")[2].encode())
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:3]] == [DATA[:2] + b"\r\n", DATA[20000000:20000003] + b"\r\n"]
    answer, body = get(url, path, Range=f"bytes={length}-")
    assert (answer.status, answer.headers["content-range"], body) == (416, f"bytes */{length}", b"")
    assert get(url, path, Range="bytes=" + "0-,1-," * 50)[0].status == 400
    assert len(get(url, path, Range="lines=1-2")[1]) == length
    assert get(url, path, If_None_Match=tag)[0].status == 304
    assert get(url, path, If_Match='"x"')[0].status == 412
    assert get(url, path, If_Range=tag, Range="bytes=0-0")[0].status == 206
    assert get(url, path, If_Range='"x"', Range="bytes=0-0")[0].status == 200
    answer, body = get(url, path, "HEAD")
    assert (answer.status, answer.headers["content-length"], body) == (200, str(length), b"")
    answer, body = get(url, empty)
    assert (answer.status, answer.headers["content-length"], body) == (200, "0", b"")
    assert get(url, empty, Range="bytes=0-")[0].status == 416


def test_the_rest_of_a_blob_is_not_fetched_after_its_client_disconnects(stage: Scene, registry: Blobs) -> None:
    """The client reads the beginning and disconnects."""
    large = DATA * 10
    registry.rate = 64 * MIB
    path = registry.keep("a", large)
    url = stage.proxy("--registry", registry.url)[1]
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), PATIENCE) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nRange: bytes=0-\r\n\r\n".encode())
        assert sock.recv(1024).startswith(b"HTTP/1.1 206")
    before = -1
    while before != registry.sent:
        before = registry.sent
        time.sleep(1)
    assert registry.sent < 180 * MIB
    assert get(url, path, Range="bytes=0-99")[1] == large[:100]


def test_a_blob_with_wrong_bytes_is_never_delivered_whole(stage: Scene, registry: Blobs) -> None:
    node = stage.supernode()
    path = registry.keep("a", DATA)
    registry.lies[path] = DATA[:-1] + bytes([DATA[-1] ^ 1])
    for host, nodes in ((2, ()), (3, (node,))):
        url = stage.proxy("--registry", registry.url, host=host, nodes=nodes)[1]
        # The response is cut off before its end, or is a 502 if the whole blob arrived before the response began.
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            assert get(url, path)[0].status == 502
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            answer, body = get(url, path, Range="bytes=0-9")
            assert answer.status == 502 or body in (DATA[:10], b"")
    # The supernode's copy is dropped as well: once the registry sends the right bytes, every host receives them.
    del registry.lies[path]
    for host, nodes in ((4, ()), (5, (node,))):
        url = stage.proxy("--registry", registry.url, host=host, nodes=nodes)[1]

        def right(url: str = url) -> bool:
            try:
                return get(url, path)[1] == DATA
            except (http.client.HTTPException, ConnectionError):
                return False

        until(right, "the right blob")


def test_blobs_on_disk_are_served_only_with_a_token_that_the_registry_accepts(stage: Scene, registry: Blobs) -> None:
    """Hosts with different tokens share one copy; a bad token receives the registry's response, also for a blob on disk."""
    node = stage.supernode()
    registry.tokens = {"one", "two"}
    path = registry.keep("a", DATA)
    hosts = [stage.proxy("--registry", registry.url, host=host, nodes=(node,))[1] for host in (2, 3)]
    for url in hosts:
        answer, body = get(url, path, Authorization="Bearer bad")
        assert (answer.status, body, answer.headers["www-authenticate"]) == (401, b"no", 'Bearer realm="https://auth/t"')
    assert get(hosts[0], path, Authorization="Bearer one")[1] == DATA
    assert get(hosts[1], path, Authorization="Bearer two")[1] == DATA
    check_read_once(node, len(DATA), registry)
    for url in hosts:
        assert get(url, path, Authorization="Bearer bad")[0].status == 401
        assert get(url, path)[0].status == 401
        assert get(url, path, Range="bytes=0-9", If_None_Match="*")[0].status == 401
        assert get(url, path, Authorization="Bearer two")[1] == DATA


def test_private_split_keeps_one_copy_for_each_token(stage: Scene, registry: Blobs) -> None:
    """For hosts, and for clients of one host."""
    node = stage.supernode()
    registry.tokens = {"one", "two"}
    path = registry.keep("a", DATA)
    hosts = [stage.proxy("--registry", registry.url, "--private", "split", host=host, nodes=(node,))[1] for host in (2, 3)]
    assert get(hosts[0], path, Authorization="Bearer one")[1] == DATA
    assert get(hosts[1], path, Authorization="Bearer two")[1] == DATA
    assert registry.sent >= len(DATA) * 2
    assert get(hosts[0], path, Authorization="Bearer two")[1] == DATA
    assert len(list((stage.path / "home-2" / "blobs").iterdir())) == 2
    for url in hosts:
        assert get(url, path, Authorization="Bearer bad")[0].status == 401
        assert get(url, path)[0].status == 401


def test_registrations_for_a_private_task_need_its_token(stage: Scene, registry: Blobs) -> None:
    """A download that registers at the supernode directly, without the proxy."""
    node = stage.supernode()
    registry.tokens = {"one"}
    path = registry.keep("a", DATA)
    url = stage.proxy("--registry", registry.url, nodes=(node,))[1]
    assert get(url, path, Authorization="Bearer one")[1] == DATA
    hex = path.rpartition(":")[2]
    with Blobs() as other:
        elsewhere = other.keep("b", DATA[:-1] + b"x")
        other.scripts[f"/v2/b/blobs/sha256:{hex}"] = other.scripts[elsewhere]
        assert _registered(node, registry.url + path, hex) is None
        assert _registered(node, registry.url + path, hex, "Authorization: Bearer bad") is None
        mine = _registered(node, registry.url + path, hex, "Authorization: Bearer one")
        assert mine is not None
        for header in ((), ("Authorization: Bearer one",)):
            assert _registered(node, f"{other.url}/v2/b/blobs/sha256:{hex}", hex, *header) != mine
        # A task name with another digest than the URL's.
        assert _registered(node, f"{other.url}/v2/b/blobs/sha256:{'0' * 64}", hex) is None


def _registered(node: Supernode, url: str, hex: str, *headers: str) -> str | None:
    """The task that a registration with these fields is assigned; None if it is refused."""
    import json
    import urllib.parse
    import urllib.request

    fields: dict[str, Any] = {
        "rawUrl": url, "taskUrl": f"df:sha256:{hex}", "cID": f"127.0.0.9-{len(headers)}-{time.time():.3f}",
        "ip": "127.0.0.9", "port": 20000, "path": "/peer/file/x", "hostName": "x", "version": "1.0.0", "headers": list(headers),
    }  # fmt: skip
    request = urllib.request.Request(f"http://{node.node}/peer/registry", json.dumps(fields).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            told = json.loads(answer.read())
    except urllib.error.HTTPError:
        return None
    return str(told["data"]["taskId"]) if told.get("code") == 200 else None


def test_concurrent_clients_of_one_blob_some_of_which_disconnect(stage: Scene, registry: Blobs) -> None:
    """24 clients of one host pull a blob that is still arriving; 8 of them disconnect."""
    node = stage.supernode()
    registry.rate = 16 * MIB
    path = registry.keep("a", DATA)
    url = stage.proxy("--registry", registry.url, nodes=(node,))[1]
    found: list[bool] = []

    def pull(leave: bool) -> None:
        if leave:
            with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), PATIENCE) as sock:
                sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                sock.recv(100000)
            return
        found.append(get(url, path)[1] == DATA)

    threads = [threading.Thread(target=pull, args=(bool(n % 3 == 0),)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 2)
    assert found == [True] * 16


def test_a_restarted_proxy_serves_its_blobs_and_detects_changed_ones(stage: Scene, registry: Blobs) -> None:
    path = registry.keep("a", DATA)
    process, url = stage.proxy("--registry", registry.url)
    assert get(url, path)[1] == DATA
    kept = stage.path / "home-2" / "blobs" / path.rpartition(":")[2]
    until(kept.exists, "the blob on the disk")
    process.terminate()
    process.wait(PATIENCE)
    sent = registry.sent
    process, url = stage.proxy("--registry", registry.url)
    assert get(url, path)[1] == DATA
    assert registry.sent == sent
    process.terminate()
    process.wait(PATIENCE)
    with open(kept, "r+b") as file:
        file.write(b"wrong")
    url = stage.proxy("--registry", registry.url)[1]
    assert get(url, path)[1] == DATA


def test_the_proxy_follows_redirects_to_an_object_store_itself(stage: Scene, registry: Blobs) -> None:
    """To a URL with a new signature each time, and without the registry's token."""
    node = stage.supernode()
    with Blobs() as store:
        store.tokens = {""}  # the store refuses requests with the registry's token
        key = store.keep("bucket", DATA)
        registry.tokens = {"one", "two"}
        path = registry.keep("a", DATA)
        signatures = iter(range(100))

        def redirect(sock: socket.socket, asked: Asked) -> None:
            if asked.fields.get("authorization", "").removeprefix("Bearer ") not in registry.tokens:
                sock.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
                return
            location = f"{store.url}{key}?X-Amz-Signature={next(signatures)}"
            head = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Type: text/html\r\n"
            sock.sendall(head.encode() + b"Content-Length: 0\r\n\r\n")

        registry.scripts[path] = redirect
        for host, token in ((2, "one"), (3, "two")):
            url = stage.proxy("--registry", registry.url, host=host, nodes=(node,))[1]
            answer, body = get(url, path, Authorization=f"Bearer {token}")
            assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
            assert body == DATA
            assert get(url, path, Authorization="Bearer bad")[0].status == 401
        assert store.sent <= len(DATA) * 1.02 + buffered()


def test_a_blob_larger_than_the_disk_is_delivered(small: Path, stage: Scene, registry: Blobs) -> None:
    """Bytes that the disk has no room for are passed on without being stored."""
    large = DATA * 4
    path, other = registry.keep("a", large), registry.keep("a", DATA)
    url = stage.proxy("--registry", registry.url, "--home", str(small / "home"))[1]
    assert len(large) > SMALL
    for _ in range(2):
        assert get(url, path)[1] == large
    assert get(url, other)[1] == DATA


def test_a_restarted_proxy_resumes_a_pull_that_was_killed(stage: Scene, registry: Blobs) -> None:
    """It fetches only the bytes that are not on disk."""
    registry.rate = 8 * MIB
    path = registry.keep("a", DATA)
    node = stage.supernode()
    process, url = stage.proxy("--registry", registry.url, nodes=(node,))
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), PATIENCE) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        got = 0
        while got < 6 * MIB:
            got += len(sock.recv(MIB))
        stage.kill(process)
        with contextlib.suppress(ConnectionError):
            while part := sock.recv(MIB):
                got += len(part)
    assert got < len(DATA)
    registry.rate = 0
    url = stage.proxy("--registry", registry.url, nodes=(node,))[1]
    assert get(url, path, Range=f"bytes={5 * MIB}-")[1] == DATA[5 * MIB :]
    assert get(url, path)[1] == DATA
    assert registry.sent <= len(DATA) * 1.02 + buffered()


def test_blobs_are_evicted_down_to_the_cache_size_and_fetched_again(stage: Scene, registry: Blobs) -> None:
    paths = [registry.keep("a", DATA + bytes([n])) for n in range(4)]
    url = stage.proxy("--registry", registry.url, "--cache-size", "60M", "--expiretime", "1s")[1]
    for n, path in enumerate(paths):
        assert get(url, path)[1] == DATA + bytes([n])
    home = stage.path / "home-2"

    def held() -> int:
        found = [path.stat() for folder in ("blobs", "files") for path in (home / folder).iterdir()]
        return sum({each.st_ino: each.st_blocks * 512 for each in found}.values())

    until(lambda: held() <= 60 * MIB, "blobs evicted")
    assert get(url, paths[0])[1] == DATA + b"\0"


def test_a_pinned_blob_is_not_evicted_until_it_is_unpinned_or_removed(stage: Scene, registry: Blobs) -> None:
    """Pinned by its digest, unpinned by its path, while the proxy runs."""
    paths = [registry.keep("a", DATA + bytes([n])) for n in range(5)]
    url = stage.proxy("--registry", registry.url, "--cache-size", "60M", "--expiretime", "1s")[1]
    home = stage.path / "home-2"

    def cache(*words: str) -> str:
        command = [*DFENGINE, "cache", *words, "--home", str(home)]
        return subprocess.run(command, capture_output=True, timeout=60, check=True).stdout.decode()

    def kept() -> list[str]:
        return sorted(path.name for path in (home / "blobs").iterdir())

    pinned = paths[0].rpartition("sha256:")[2]
    assert get(url, paths[0])[1] == DATA + b"\0"
    until(lambda: kept() == [pinned], "the blob on the disk")
    assert f"df:sha256:{pinned}" in cache("ls")
    cache("pin", f"df:sha256:{pinned}")
    assert json.loads(cache("stat", pinned, "--json"))["pinned"] is True
    for n in (1, 2, 3, 4):
        assert get(url, paths[n])[1] == DATA + bytes([n])
    until(lambda: len(kept()) <= 60 * MIB // len(DATA), "other blobs evicted")
    assert pinned in kept()
    sent = registry.sent
    assert get(url, paths[0])[1] == DATA + b"\0"
    assert registry.sent == sent
    cache("unpin", str(home / "blobs" / pinned))
    assert json.loads(cache("stat", pinned, "--json"))["pinned"] is False
    cache("rm", pinned)
    assert pinned not in kept()
    assert get(url, paths[0])[1] == DATA + b"\0"


def test_a_second_registry_does_not_grant_access_to_private_blobs(stage: Scene, registry: Blobs) -> None:
    """A client with its own registry that knows a digest receives no blob that others' tokens opened; also after a restart."""
    registry.tokens = {"one"}
    path = registry.keep("a", DATA)
    other = bytes(len(DATA))
    with Blobs() as evil:
        script = evil.scripts[evil.keep("x", other)]
        evil.scripts[path] = script
        options = ("--registry", registry.url, "--registry", evil.url)
        process, url = stage.proxy(*options)
        assert get(url, path, Authorization="Bearer one")[1] == DATA
        until(lambda: list((stage.path / "home-2" / "blobs").iterdir()), "the blob on the disk")
        for _ in range(2):
            for fields in ({}, {"Authorization": "Bearer one"}, {"Range": "bytes=0-99"}):
                with contextlib.suppress(http.client.HTTPException, ConnectionError):
                    answer, body = get(url, f"{path}?ns={urlsplit(evil.url).netloc}", **fields)
                    assert answer.status == 502 or body in (other, other[:100])
            assert get(url, path, Authorization="Bearer one")[1] == DATA
            assert get(url, path)[0].status == 401
            process.terminate()
            process.wait(PATIENCE)
            process, url = stage.proxy(*options)


@pytest.mark.parametrize("restarted", [False, True])
def test_unproved_bytes_are_sent_only_to_clients_of_the_registry_that_sent_them(stage: Scene, registry: Blobs, restarted: bool) -> None:
    """While another registry sends other bytes for the same digest, and when an earlier process has left them on the disk."""
    path = registry.keep("a", DATA)
    with Blobs() as evil:
        evil.keep("a", DATA)
        evil.lies[path], evil.rate = bytes(len(DATA)), 2 * MIB
        options = ("--registry", registry.url, "--registry", evil.url)
        process, url = stage.proxy(*options)
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), PATIENCE) as held:
            held.sendall(f"GET {path}?ns={urlsplit(evil.url).netloc} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            got = 0
            while got < 5 * MIB:
                got += len(held.recv(MIB))
            if restarted:
                stage.kill(process)
                evil.rate = 0
                url = stage.proxy(*options)[1]
            for fields in ({}, {"Authorization": "Bearer one"}):
                answer, body = get(url, f"{path}?ns={urlsplit(registry.url).netloc}", Range="bytes=1024-9999", **fields)
                assert (answer.status, body) == (206, DATA[1024:10000])
            assert get(url, f"{path}?ns={urlsplit(registry.url).netloc}")[1] == DATA


def test_a_silent_supernode_does_not_block_a_pull(stage: Scene, registry: Blobs) -> None:
    path = registry.keep("a", DATA)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = stage.proxy("--registry", registry.url, "-n", f"127.0.0.1:{silent.getsockname()[1]}")[1]
        assert get(url, path)[1] == DATA


def test_a_blob_changed_on_disk_is_fetched_again_before_it_is_served(stage: Scene, registry: Blobs) -> None:
    """Also when it changes right after its arrival, or its modification time is set back."""
    data = DATA[: 5 * MIB]
    path = registry.keep("a", data)
    process, url = stage.proxy("--registry", registry.url, "--log-format", "json", errors=subprocess.PIPE)
    kept = stage.path / "home-2" / "blobs" / path.rpartition(":")[2]
    changes = 0
    assert get(url, path)[1] == data
    for restored in (False, True):
        for change in ("overwritten", "cut"):
            until(kept.exists, "the blob on the disk")
            before = kept.stat()
            if change == "cut":
                os.truncate(kept, MIB)
            else:
                with open(kept, "r+b") as file:
                    file.write(b"wrong")
            if restored:
                os.utime(kept, ns=(before.st_atime_ns, before.st_mtime_ns))
            changes += 1
            assert get(url, path, Range="bytes=0-9")[1] == data[:10], (change, restored)
            assert get(url, path)[1] == data, (change, restored)
    process.terminate()
    _, told = process.communicate(timeout=PATIENCE)
    assert len([line for line in told.splitlines() if json.loads(line)["event"] == "blob_damaged"]) >= changes


def test_registry_errors_reach_the_client_after_a_few_attempts(stage: Scene, registry: Blobs) -> None:
    """HEAD succeeds and GET fails; the client does not wait for all attempts of a download."""
    path = registry.keep("a", DATA)
    right = registry.scripts[path]
    url = stage.proxy("--registry", registry.url)[1]

    def fails(sock: socket.socket, asked: Asked) -> None:
        (right if asked.method == "HEAD" else ok(b"no", more, status=status))(sock, asked)

    registry.scripts[path] = fails
    for status, more in (("429 Too Many Requests", "Retry-After: 100"), ("500 Internal Server Error", "X-Of: registry")):
        registry.asked.clear()
        answer, body = get(url, path)
        name, _, value = more.partition(": ")
        assert (answer.status, answer.headers[name], body) == (int(status[:3]), value, b"no")
        # The fifth pause of a download ends 7.75 s after its first failure at least.
        assert len([asked for asked in registry.asked if asked.method == "GET"]) <= (2 if more.startswith("Retry") else 6)
    registry.scripts[path] = right
    assert get(url, path)[1] == DATA


@pytest.mark.parametrize("node", [False, True])
def test_a_pull_resumes_by_range_from_a_registry_that_names_no_version(stage: Scene, registry: Blobs, node: bool) -> None:
    """The digest identifies the version, so ranges need no If-Range."""
    data = DATA[: 5 * MIB]
    path = registry.keep("a", data)
    sent = 0

    def halves(sock: socket.socket, asked: Asked) -> bool:
        nonlocal sent
        first, past, status = 0, len(data), "200 OK"
        if asked.fields.get("range", "").startswith("bytes=") and "if-range" not in asked.fields:
            start, _, last = asked.fields["range"].removeprefix("bytes=").partition("-")
            first, past = int(start), int(last) + 1 if last else len(data)
            status = f"206 Partial Content\r\nContent-Range: bytes {first}-{past - 1}/{len(data)}"
        sock.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {past - first}\r\n\r\n".encode())
        if asked.method == "HEAD":
            return True
        part = data[first : first + max((past - first) // 2, 64 << 10)][: past - first]
        sock.sendall(part)
        sent += len(part)
        return first + len(part) == past

    registry.scripts[path] = halves
    url = stage.proxy("--registry", registry.url, nodes=(stage.supernode(),) if node else ())[1]
    assert get(url, path)[1] == data
    assert sent < 2 * len(data)
