"""Blobs through a proxy: every byte once from the registry, whoever asks, and never a wrong one."""

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


def test_hosts_pull_a_blob_once_from_its_registry(stage: Scene, registry: Blobs) -> None:
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
    # Once more: from the disk, and the registry is asked for nothing.
    before = len(registry.asked)
    answer, body = get(hosts[0], path)
    assert body == DATA
    assert answer.headers["content-type"] == "text/x-blob"
    assert answer.headers["docker-content-digest"] == path.rpartition("/")[2]
    assert len(registry.asked) == before


def test_by_any_name_it_is_one_task(stage: Scene, registry: Blobs) -> None:
    """Another repository, another registry: the digest is the name."""
    node = stage.supernode()
    with Blobs() as other:
        first, second = registry.keep("a", DATA), other.keep("x/y/z", DATA)
        one = stage.proxy("--registry", registry.url, host=2, nodes=(node,))[1]
        two = stage.proxy("--registry", other.url, host=3, nodes=(node,))[1]
        assert get(one, first)[1] == get(two, second)[1] == DATA
        check_read_once(node, len(DATA), registry, other)


def test_without_a_supernode_a_host_asks_once(stage: Scene, registry: Blobs) -> None:
    path = registry.keep("a", DATA)
    url = stage.proxy("--registry", registry.url)[1]
    assert get(url, path)[1] == DATA
    assert get(url, path)[1] == DATA
    # What was sent into a connection that was closed before its end was not taken.
    assert registry.sent <= len(DATA) + buffered()
    assert len([each for each in registry.asked if each.method == "HEAD"]) == 1


def test_ranges_and_conditions(stage: Scene, registry: Blobs) -> None:
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


def test_what_is_not_asked_for_is_not_fetched(stage: Scene, registry: Blobs) -> None:
    """A client that reads the beginning and leaves."""
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


def test_a_lying_registry_gives_nobody_a_whole_blob(stage: Scene, registry: Blobs) -> None:
    node = stage.supernode()
    path = registry.keep("a", DATA)
    registry.lies[path] = DATA[:-1] + bytes([DATA[-1] ^ 1])
    for host, nodes in ((2, ()), (3, (node,))):
        url = stage.proxy("--registry", registry.url, host=host, nodes=nodes)[1]
        # It is cut off before its end, or refused where all of it had come before the answer began.
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            assert get(url, path)[0].status == 502
        with contextlib.suppress(http.client.IncompleteRead, ConnectionError):
            answer, body = get(url, path, Range="bytes=0-9")
            assert answer.status == 502 or body in (DATA[:10], b"")
    # The copy at the supernode is gone as well: once the registry is right, all is.
    del registry.lies[path]
    for host, nodes in ((4, ()), (5, (node,))):
        url = stage.proxy("--registry", registry.url, host=host, nodes=nodes)[1]

        def right(url: str = url) -> bool:
            try:
                return get(url, path)[1] == DATA
            except (http.client.HTTPException, ConnectionError):
                return False

        until(right, "the right blob")


def test_tokens(stage: Scene, registry: Blobs) -> None:
    """Hosts with different tokens share one copy; a bad one gets the registry's answer, also for what is here."""
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


def test_tokens_may_be_kept_apart(stage: Scene, registry: Blobs) -> None:
    """Hosts, and clients of one host."""
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


def test_nobody_joins_a_private_task_without_its_token(stage: Scene, registry: Blobs) -> None:
    """By its own words at the supernode, past the proxy."""
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
        # A name that is not the URL's own.
        assert _registered(node, f"{other.url}/v2/b/blobs/sha256:{'0' * 64}", hex) is None


def _registered(node: Supernode, url: str, hex: str, *headers: str) -> str | None:
    """The task of a download that registers so."""
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


def test_a_full_registry_of_clients(stage: Scene, registry: Blobs) -> None:
    """Many clients of one host, some of which leave, get one blob that still comes."""
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


def test_a_restarted_proxy_has_its_blobs_and_compares_them(stage: Scene, registry: Blobs) -> None:
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


def test_redirects_to_an_object_store_are_taken_here(stage: Scene, registry: Blobs) -> None:
    """By a URL that is signed anew each time, and without the registry's token."""
    node = stage.supernode()
    with Blobs() as store:
        store.tokens = {""}  # a token of the registry's is refused there
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


def test_a_disk_without_room_breaks_no_pull(small: Path, stage: Scene, registry: Blobs) -> None:
    """What the disk cannot keep is passed on."""
    large = DATA * 4
    path, other = registry.keep("a", large), registry.keep("a", DATA)
    url = stage.proxy("--registry", registry.url, "--home", str(small / "home"))[1]
    assert len(large) > SMALL
    for _ in range(2):
        assert get(url, path)[1] == large
    assert get(url, other)[1] == DATA


def test_a_proxy_that_is_killed_in_mid_pull(stage: Scene, registry: Blobs) -> None:
    """The next one goes on from what is on the disk."""
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


def test_blobs_leave_a_disk_that_may_keep_few(stage: Scene, registry: Blobs) -> None:
    """And come back."""
    paths = [registry.keep("a", DATA + bytes([n])) for n in range(4)]
    url = stage.proxy("--registry", registry.url, "--cache-size", "60M", "--expiretime", "1s")[1]
    for n, path in enumerate(paths):
        assert get(url, path)[1] == DATA + bytes([n])
    home = stage.path / "home-2"

    def held() -> int:
        found = [path.stat() for folder in ("blobs", "files") for path in (home / folder).iterdir()]
        return sum({each.st_ino: each.st_blocks * 512 for each in found}.values())

    until(lambda: held() <= 60 * MIB, "blobs leaving")
    assert get(url, paths[0])[1] == DATA + b"\0"


def test_a_pinned_blob_stays(stage: Scene, registry: Blobs) -> None:
    """By its content, or by the download that brought it; while the proxy runs."""
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
    until(lambda: len(kept()) <= 60 * MIB // len(DATA), "others leaving")
    assert pinned in kept()
    sent = registry.sent
    assert get(url, paths[0])[1] == DATA + b"\0"
    assert registry.sent == sent
    cache("unpin", str(home / "blobs" / pinned))
    assert json.loads(cache("stat", pinned, "--json"))["pinned"] is False
    cache("rm", pinned)
    assert pinned not in kept()
    assert get(url, paths[0])[1] == DATA + b"\0"


def test_another_registry_opens_nothing(stage: Scene, registry: Blobs) -> None:
    """Whoever has a registry of his own, and knows a digest, is given nothing that others' tokens have opened; also after a restart."""
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


def test_a_supernode_that_is_silent_holds_up_no_pull(stage: Scene, registry: Blobs) -> None:
    path = registry.keep("a", DATA)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = stage.proxy("--registry", registry.url, "-n", f"127.0.0.1:{silent.getsockname()[1]}")[1]
        assert get(url, path)[1] == DATA


def test_a_blob_that_another_program_changes_on_the_disk(stage: Scene, registry: Blobs) -> None:
    """Also a moment after it came, and with its time set back: it is fetched anew before a byte goes out."""
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
    assert len([line for line in told.splitlines() if json.loads(line)["event"] == "blob_changed"]) >= changes


def test_a_registry_that_fails_what_it_has_permitted(stage: Scene, registry: Blobs) -> None:
    """The client has its answer after a few tries, and not after all that a download would make."""
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
def test_a_registry_that_breaks_off_and_names_no_version(stage: Scene, registry: Blobs, node: bool) -> None:
    """The digest names it: what came is gone on from by ranges."""
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
