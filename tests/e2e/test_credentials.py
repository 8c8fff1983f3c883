"""Access to private files, origins and swarms with a secret, with real processes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, ClassVar

from dfengine.net.secret import HEADER, SERVER_NAME, Signer, read_secret
from tests.e2e.scene import status
from tests.origins import quiet

BODY = os.urandom(3 << 20)


class Private(quiet.QuietHandler):
    """Sends BODY to requests with either of two tokens."""

    seen: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        token = self.headers.get("Authorization", "")
        self.seen.append(token)
        known = token in ("Bearer one-t0ken", "Bearer two-t0ken")
        self.send_response(200 if known else 401)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(BODY) if known else 0))
        self.end_headers()
        if known:
            self.wfile.write(BODY)


def test_each_token_has_its_own_task_and_copies_are_private(stage: Any) -> None:
    with quiet.serving(Private) as address:
        url = f"http://{address}/private.bin"
        node = stage.supernode("--revalidate-interval", "1h")
        one = stage.get(url, "a", "--header", "Authorization: Bearer one-t0ken", "--notbs", host=2, nodes=(node,))
        again = stage.get(url, "b", "--header", "authorization: Bearer one-t0ken", "--notbs", host=3, nodes=(node,))
        two = stage.get(url, "c", "--header", "Authorization: Bearer two-t0ken", "--notbs", host=4, nodes=(node,))
        assert one["task_id"] == again["task_id"] != two["task_id"]
        assert Private.seen.count("Bearer one-t0ken") == Private.seen.count("Bearer two-t0ken") == 1
        for option in ((), ("--header", "Authorization: Bearer wrong")):
            assert "credentials" in stage.get(url, "d", *option, "--notbs", host=5, nodes=(node,), status=3)
        assert not (stage.path / "d").exists()
        assert (stage.path / "a").read_bytes() == (stage.path / "c").read_bytes() == BODY
        assert stat.S_IMODE((node.home / "download").stat().st_mode) == 0o700, "other users of this host cannot read the copies"
        for path in Path(stage.path).rglob("*"):
            if path.is_file() and path.name not in "abc":
                assert b"t0ken" not in path.read_bytes(), path


def test_values_of_headers_appear_in_no_output_and_no_file(stage: Any, capfd: Any) -> None:
    """Neither on disk, nor in the supernode's responses, nor in any program's output, whether the download succeeds or not."""
    stage.file("f.bin", 1 << 20)
    origin = stage.origin()
    node = stage.supernode()
    said = []
    asked = ("/private/f.bin", "secret"), ("/private/f.bin", "s3cret"), ("/missing", "secret"), ("/f.bin", "s3cret")
    for n, (path, token) in enumerate(asked):
        headers = ("--header", f"Authorization: Bearer {token}", "--header", f"X-Api-Key: key-{token}")
        get = stage.start_get(origin + path, f"out{n}", *headers, "--verbose", "--notbs", host=2, nodes=(node,))
        said.extend(get.communicate(timeout=60))
        assert get.returncode == (0 if n in (0, 3) else 3)
    said.extend(text.encode() for text in capfd.readouterr())
    said.extend(node.get(path) for path in ("/metrics", "/peers", "/preheats"))
    tasks = [path.stem for path in (node.home / "download").rglob("*.json")]
    assert tasks
    said.extend(node.get(f"/tasks/{task}") for task in tasks)
    for text in said:
        assert b"cret" not in text, text
    for file in stage.path.rglob("*"):
        if file.is_file() and file.name not in ("nginx.conf", "f.bin", "out0", "out3"):
            assert b"s3cret" not in file.read_bytes(), file
            assert b"key-secret" not in file.read_bytes(), file
            assert b"Bearer" not in file.read_bytes(), file


def test_the_peer_server_does_not_inherit_a_token(stage: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("DFENGINE_GET_HEADERS", "Authorization: Bearer one-t0ken")
    stage.file("f.bin", 1 << 20)
    url = stage.origin() + "/private/f.bin"
    node = stage.supernode()
    assert "credentials" in stage.get(url, "a", "--notbs", nodes=(node,), status=3)
    monkeypatch.setenv("DFENGINE_GET_HEADERS", "Authorization: Bearer secret")
    stage.get(url, "a", "--notbs", nodes=(node,))
    environment = Path(f"/proc/{stage.peer_pid()}/environ").read_bytes()
    assert b"PYTHONPATH=" in environment
    assert b"DFENGINE_GET" not in environment
    assert b"Bearer" not in environment


def test_a_denied_origin_is_not_read_and_the_reason_is_reported(stage: Any) -> None:
    url = stage.origin() + "/" + "f.bin"
    (stage.path / "www").mkdir(exist_ok=True)
    node = stage.supernode("--origin-deny", "127.0.0.0/8")
    said = stage.get(url, "a", "--notbs", nodes=(node,), status=3)
    assert "may not fetch from 127.0.0.1" in said
    assert not stage.requests("/f.bin")


def secret_of(stage: Any, name: str) -> str:
    path = stage.path / name
    path.write_text(os.urandom(24).hex() + "\n")
    path.chmod(0o600)
    return str(path)


def test_a_swarm_with_a_secret_refuses_requests_without_it(stage: Any) -> None:
    ours, theirs = secret_of(stage, "secret"), secret_of(stage, "other")
    sha = stage.file("f.bin", 9 << 20)
    url = stage.origin() + "/f.bin"
    node = stage.supernode("--secret-file", ours)
    first = stage.get(url, "a", "--secret-file", ours, "--notbs", host=2, nodes=(node,))
    second = stage.get(url, "b", "--secret-file", ours, "--notbs", host=3, nodes=(node,))
    assert stage.digest("a") == stage.digest("b") == sha
    assert second["from"]["peers"] > 0, "the peer server that a get started uses the secret"
    stage.check_read_once("/f.bin", 9 << 20, node)
    for options in ((), ("--secret-file", theirs)):
        assert "secret" in stage.get(url, "c", *options, "--notbs", host=4, nodes=(node,), status=3)
    task = first["task_id"]
    assert status(node.node, f"/tasks/{task}") == status(node.download, f"/download/{task[:3]}/{task}") == 401
    assert status(node.node, "/ping") == 200
    peer = json.loads((stage.path / "home-2" / "peer.lock").read_text())
    name = next((stage.path / "home-2" / "tasks").iterdir()).name
    assert status(f"127.0.0.2:{peer['port']}", f"/peer/file/{name}") == 401
    described = next((node.home / "download").rglob(f"{task}.json"))
    assert json.loads(described.read_text())["digest"] == "blake3"


def test_a_signed_request_cannot_be_replayed_at_any_server(stage: Any) -> None:
    path = secret_of(stage, "secret")
    here, there = stage.supernode("--secret-file", path), stage.supernode("--secret-file", path)

    signed = {HEADER: Signer(read_secret(path), here.get(SERVER_NAME).decode().strip()).sign("GET", "/peers")}
    assert [status(node, "/peers", signed) for node in (here.node, here.node, there.node)] == [200, 403, 401]
    assert status(here.download, "/peers", signed) == 401, "each port is a separate server"
    stage.kill(here.process)
    again = stage.supernode("--secret-file", path, home=here.home, port=here.port)
    assert status(again.node, "/peers", signed) == 401


def test_an_unreadable_secret_file_is_an_error(stage: Any) -> None:
    assert "secret" in stage.get("http://127.0.0.1:1/f", "a", "--secret-file", str(stage.path / "absent"), status=2)
