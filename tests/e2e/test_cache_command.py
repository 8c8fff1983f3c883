"""`dfengine cache`: lists, pins, exports and removes the files that a host serves and the copies that a supernode stores."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import DFENGINE, MIB, Scene, Supernode, until
from tests.e2e.test_sharing import df_name, kill_peer_server, make_file

SIZE = 9 * MIB + 3


def cache(stage: Scene, *words: str, node: Supernode | None = None, host: int = 9, status: int = 0) -> str:
    """The command's stdout, or its stderr if `status` is not 0."""
    where = ["-n", node.node, "--ip", f"127.0.0.{host}"] if node is not None else []
    command = [*DFENGINE, "cache", *words, "--home", str(stage.path / f"home-{host}"), *where]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert done.returncode == status, (done.returncode, done.stderr.decode())
    return (done.stdout if status == 0 else done.stderr).decode()


@contextlib.contextmanager
def served(stage: Scene, name: str, host: int = 9) -> Iterator[Callable[[], int]]:
    """A function that requests the first bytes of a shared file from the host's peer server, over one connection; it returns the status."""
    home = stage.path / f"home-{host}"
    [entry] = [each for each in json.loads(cache(stage, "ls", "--json", host=host))["cached"] if each["url"] == name]
    at = json.loads((home / "peer.lock").read_text())
    line = http.client.HTTPConnection(at["ip"], at["port"], timeout=60)

    def ask() -> int:
        headers = {"Range": "bytes=0-5", "pieceNum": "0", "pieceSize": str(4 * MIB)}
        line.request("GET", f"/peer/file/{entry['name']}", headers=headers)
        answer = line.getresponse()
        answer.read()
        return answer.status

    yield ask
    line.close()


def asked(node: Supernode, method: str, path: str, body: bytes = b"") -> int:
    """The status of one request."""
    line = http.client.HTTPConnection("127.0.0.1", node.port, timeout=20)
    line.request(method, path, body)
    answer = line.getresponse()
    answer.read()
    line.close()
    return answer.status


def test_files_that_a_host_serves_are_listed_pinned_exported_and_removed(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage, size=SIZE)
    name = stage.share(path, nodes=(node,)).strip()
    sha = stage.file("f.bin", SIZE)
    url = stage.origin() + "/f.bin"
    stage.get(url, "f.bin", host=9, nodes=(node,))
    stage.get(url, "other.bin", "--force", host=9, nodes=(node,))
    listed = json.loads(cache(stage, "ls", "--json"))["cached"]
    assert {each["path"] for each in listed} == {str(each.resolve()) for each in (path, stage.path / "f.bin", stage.path / "other.bin")}
    assert all(each["length"] == SIZE and each["here"] == each["pieces"] == 3 for each in listed)
    assert name in cache(stage, "ls")
    assert json.loads(cache(stage, "stat", name, "--json"))["until"] > 0
    cache(stage, "export", name, str(stage.path / "copy"))
    assert df_name(stage.path / "copy") == name
    own = str(stage.path / "f.bin")
    cache(stage, "pin", own)
    (stage.path / "f.bin").unlink()
    (stage.path / "other.bin").unlink()
    until(lambda: "other.bin" not in cache(stage, "ls") and len(cache(stage, "ls").splitlines()) == 3, "the removal of the unpinned file")
    [pinned] = [each for each in json.loads(cache(stage, "ls", "--json"))["cached"] if not each["url"]]
    assert pinned["pinned"]
    cache(stage, "export", pinned["name"], str(stage.path / "again"))
    assert stage.digest("again") == sha
    cache(stage, "unpin", pinned["name"])
    with served(stage, name) as ask:
        assert ask() == 206
        cache(stage, "rm", name)
        assert ask() == 500, "a removed file is refused also on a connection that was open before"
    pid = stage.peer_pid(9)
    assert path.stat().st_ino not in [each.stat().st_ino for each in Path(f"/proc/{pid}/fd").iterdir() if each.exists()]
    until(lambda: cache(stage, "ls").split() == ["name", "bytes", "pieces", "used", "kept", "content"], "the removal of both files")
    assert path.exists()
    assert "is not available" in stage.get(name, "out", host=2, nodes=(node,), status=3)


def test_a_downloaded_share_is_shown_and_exported_by_its_name(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage, size=SIZE)
    name = stage.share(path, nodes=(node,)).strip()
    stage.get(name, "mine", host=2, nodes=(node,))
    [told] = [json.loads(line) for line in cache(stage, "stat", name, "--json", host=2).splitlines()]
    assert told["path"] == str((stage.path / "mine").resolve())
    cache(stage, "export", name, str(stage.path / "copy"), host=2)
    assert df_name(stage.path / "copy") == name


def test_a_changed_file_is_not_exported(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage, size=SIZE)
    name = stage.share(path, nodes=(node,)).strip()
    with open(path, "r+b") as file:
        file.write(b"changed")
    (stage.path / "out").write_text("before")
    said = cache(stage, "export", name, str(stage.path / "out"), status=_code(stage, name))
    assert said
    assert (stage.path / "out").read_text() == "before"
    assert not list(stage.path.glob(".out*"))


def _code(stage: Scene, name: str) -> int:
    """The exit code of an export of a changed file, after the file is withdrawn (within two seconds)."""
    until(lambda: name not in cache(stage, "ls"), "the share withdrawn")
    return 2


def test_copies_of_a_supernode_are_listed_exported_pinned_and_removed(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage, size=SIZE)
    stage.file("f.bin", SIZE)
    url = stage.origin() + "/f.bin?token=secret"
    stage.get(url, "f.bin", nodes=(node,))
    stage.homes.add(stage.path / "home-9")
    name = cache(stage, "import", str(path), "--ttl", "1h", node=node).strip()
    kill_peer_server(stage)
    path.unlink()
    listed = {each["url"]: each for each in json.loads(cache(stage, "ls", "--json", node=node))["cached"]}
    assert set(listed) == {name, url.partition("?")[0] + "?..."}
    assert listed[name]["until"] > 0
    assert "secret" not in cache(stage, "ls", node=node)
    cache(stage, "export", name, str(stage.path / "out"), node=node)
    assert df_name(stage.path / "out") == name
    cache(stage, "pin", name, node=node)
    assert json.loads(cache(stage, "stat", name, "--json", node=node))["pinned"]
    stage.kill(node.process)
    again = stage.supernode(home=node.home)
    assert json.loads(cache(stage, "stat", name, "--json", node=again))["pinned"]
    cache(stage, "unpin", name, node=again)
    cache(stage, "rm", url, node=again)
    cache(stage, "rm", name, node=again)
    assert json.loads(cache(stage, "ls", "--json", node=again))["cached"] == []
    assert "is not available" in stage.get(name, "more", host=3, nodes=(again,), status=3)
    assert "is not the URL or task of a copy" in cache(stage, "stat", name, node=again, status=2)


def test_invalid_arguments_are_rejected(stage: Scene) -> None:
    for words in (("what",), ("ls", "x"), ("stat",), ("export", "x"), ("import", "x"), ("pin",), ("stat", "nothing")):
        assert cache(stage, *words, status=2).startswith("dfengine: ")


def test_invalid_requests_to_the_cache_endpoints_are_refused(stage: Scene) -> None:
    node = stage.supernode()
    requests: list[tuple[str, str, bytes, Any]] = [
        ("GET", "/api/v1/cache/..", b"", 400), ("DELETE", "/api/v1/cache/%2e%2e%2fx", b"", (400, 404)),
        ("GET", "/api/v1/cache/" + "0" * 64, b"", 404),
        ("DELETE", "/api/v1/cache/" + "0" * 64, b"", 404), ("POST", "/api/v1/cache/" + "0" * 64, b'{"pinned":1}', 400),
        ("POST", "/api/v1/cache/" + "0" * 64, b"[]", 400), ("POST", "/api/v1/cache/" + "0" * 64, b'{"pinned":true}', 404),
        ("GET", "/api/v1/cache?pageNum=x", b"", 400), ("GET", "/api/v1/cache?pageNum=999999999&pageSize=999999999", b"", 200),
        ("PUT", "/api/v1/cache", b"", 405), ("GET", "/cache/" + "A" * 64, b"", 400),
    ]  # fmt: skip
    for method, path, body, status in requests:
        assert asked(node, method, path, body) in (status if isinstance(status, tuple) else (status,)), (method, path)
    assert node.metric("dfengine_internal_errors_total") == 0


def test_cache_requests_need_the_swarms_secret_or_the_console_token(stage: Scene) -> None:
    secret = stage.path / "secret"
    secret.write_text("a secret of thirty-two characters")
    secret.chmod(0o600)
    token = stage.path / "token"
    token.write_text("0123456789abcdef")
    token.chmod(0o600)
    node = stage.supernode("--secret-file", str(secret), "--console-token-file", str(token))
    for method, path in (("GET", "/api/v1/cache"), ("DELETE", "/api/v1/cache/" + "0" * 64), ("POST", "/api/v1/cache/" + "0" * 64)):
        assert asked(node, method, path) in (401, 403)
    assert json.loads(cache(stage, "ls", "--json", "--secret-file", str(secret), node=node)) == {"cached": []}
    # A client with the console's token needs no secret.
    stage.file("f", MIB)
    url = stage.origin() + "/f"
    stage.get(url, "out", "--secret-file", str(secret), nodes=(node,))
    shown = "--token-file", str(token)
    cache(stage, "pin", url, *shown, node=node)
    [copy] = json.loads(cache(stage, "ls", "--json", *shown, node=node))["cached"]
    assert (copy["url"], copy["pinned"]) == (url, True)
    cache(stage, "unpin", url, *shown, node=node)
    cache(stage, "rm", url, *shown, node=node)
    assert json.loads(cache(stage, "ls", "--json", *shown, node=node)) == {"cached": []}


@pytest.fixture(autouse=True)
def _homes(stage: Scene) -> None:
    Path(stage.path / "home-9").mkdir(exist_ok=True)


def test_a_directory_is_listed_as_one_line_and_removed_as_a_whole(stage: Scene) -> None:
    node = stage.supernode()
    for path in ("a", "b/c"):
        (stage.www / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        stage.file(f"tree/{path}", 1000)
    url = stage.origin(odd="autoindex on;").rstrip("/") + "/odd/tree/"
    out = stage.path / "out"
    stage.homes.add(stage.path / "home-9")
    command = [*DFENGINE, "get", "--recursive", url, str(out), "--ip", "127.0.0.9", "--home", str(stage.path / "home-9"), "-n", node.node]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    [_, line] = cache(stage, "ls").splitlines()
    assert line.endswith(f"{out.resolve()}  (directory)")
    [_, line] = cache(stage, "ls", node=node).splitlines()
    assert line.endswith(f"{url}  (directory)")
    assert {each["tree"] for each in json.loads(cache(stage, "ls", "--json", node=node))["cached"]} == {"manifest", "data"}
    name = stage.share(out, "--replicas", "1", nodes=(node,), host=9).strip()
    assert [line.partition("df:")[2] for line in cache(stage, "ls", node=node).splitlines() if "df:" in line] == [
        f"{name.removeprefix('df:')}  (directory)"
    ]
    assert str(out.resolve()) in cache(stage, "export", name, str(stage.path / "copy"), status=2)
    assert "--recursive" in cache(stage, "export", name, str(stage.path / "copy"), node=node, status=2)
    assert "--recursive" in cache(stage, "export", url, str(stage.path / "copy"), node=node, status=2)
    assert not (stage.path / "copy").exists()
    lines = [line for line in cache(stage, "ls").splitlines() if "df:" in line]
    assert [line.partition("df:")[2] for line in lines] == [f"{name.removeprefix('df:')}  (directory)"]
    data = next(each for each in json.loads(cache(stage, "ls", "--json"))["cached"] if each["of"])
    with served(stage, data["url"]) as ask:
        assert ask() == 206
        cache(stage, "rm", name)
        assert ask() == 500
    cache(stage, "rm", str(out))  # the directory downloaded there
    assert json.loads(cache(stage, "ls", "--json"))["cached"] == []
    assert not list((stage.path / "home-9/trees").iterdir())


def test_an_expired_copy_is_not_listed(stage: Scene) -> None:
    node, path = stage.supernode(), make_file(stage, size=1000)
    name = cache(stage, "import", str(path), "--ttl", "6s", node=node).strip()
    stage.homes.add(stage.path / "home-9")
    kept = json.loads((node.home / "kept.json").read_bytes())
    [until_then] = [each["until"] for each in kept.values()]
    until(lambda: time.time() > until_then, "the copy's expiry")
    assert name not in cache(stage, "ls", node=node)
    assert "is not the URL or task of a copy" in cache(stage, "stat", name, node=node, status=2)
