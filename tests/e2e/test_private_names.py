"""A supernode reveals neither a private file's id nor where its bytes are: the id gives access to the file."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import re
import subprocess
import sys
from contextlib import AbstractContextManager

import pytest

from dfengine.task import task_id
from tests.e2e.scene import Scene, Supernode, until
from tests.origins import quiet

SIZE = 6 << 20
BODY = b"PRIVATE-CONTENT " * (SIZE // 16)
READ = (
    "/api/v2/tasks", "/api/v2/cache", "/api/v2/events?limit=1000", "/api/v2/preheats", "/api/v2/overview", "/api/v2/hosts",
    "/api/v2/origins", "/cache", "/api/v1/cache", "/peers", "/preheats", "/api/v1/preheats", "/oapi/v1/jobs", "/metrics", "/",
)  # fmt: skip
"""Paths that every client may read."""

ONE = "/tasks/", "/api/v1/tasks/", "/api/v2/tasks/", "/cache/", "/api/v2/cache/", "/preheats/", "/api/v2/preheats/", "/oapi/v1/jobs/"
"""Paths to which a name is appended."""


class Origin(quiet.QuietHandler):
    """Sends BODY below /private/ to u:pw, below /signed/ for the signature, and elsewhere to every client."""

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == "Basic " + base64.b64encode(b"u:pw").decode()
        given = "private" not in self.path or known
        given = given and ("signed" not in self.path or "sig=SIG" in self.path)
        self.send_response(200 if given else 403)
        self.send_header("ETag", f'"{self.path}"')
        self.send_header("Content-Length", str(SIZE if given else 0))
        self.end_headers()
        if given:
            self.wfile.write(BODY)


def origin() -> AbstractContextManager[str]:
    return quiet.serving(Origin)


def ask(address: str, path: str, method: str = "GET", body: object = None, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    line = http.client.HTTPConnection(address, timeout=20)
    try:
        line.request(method, path, None if body is None else json.dumps(body), headers or {})
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def public_text(node: Supernode) -> str:
    """All responses that every client may read, and those for the names in them."""
    found = [ask(node.node, path)[1].decode() for path in READ]
    for name in sorted(set(re.findall(r"[0-9a-f]{64}", "".join(found)))):
        found += [ask(node.node, path + name)[1].decode() for path in ONE]
        found.append(ask(node.node, f"/api/v2/tasks/{name}/swarm")[1].decode())
        line = http.client.HTTPConnection(node.node, timeout=20)
        line.request("GET", f"/api/v2/live?after=0&watch=/api/v2/tasks/{name}/swarm")
        stream, text = line.getresponse(), ""
        while not re.search("^event: (swarm|gone)$", text, re.M):
            text += stream.readline().decode()
        found += [text, stream.readline().decode(), stream.readline().decode()]
        line.close()
    return "\n".join(found)


def readable(node: Supernode, text: str) -> list[str]:
    """Names in the text for which the download port sends a file's bytes."""
    names = sorted(set(re.findall(r"[0-9a-f]{64}", text)))
    head = {"Range": "bytes=0-1028"}
    paths = {name: (f"/download/{name[:3]}/{name}", f"/piece/{name}") for name in names}
    return [name for name in names if any(ask(node.download, path, headers=head)[0] == 206 for path in paths[name])]


def test_public_responses_and_logs_give_no_access_to_private_files(stage: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    with origin() as at:
        node = stage.supernode("--log-level", "debug", "--access-log")
        public = stage.get(f"http://{at}/public.bin", "p", nodes=(node,))["task_id"]
        by_password = stage.get(f"http://{at}/private/a.bin", "a", "-u", "u:pw", nodes=(node,))["task_id"]
        urls = f"http://{at}/signed/b.bin?sig=SIG", f"http://us:PW@{at}/c.bin"
        ids = [by_password, *(stage.get(url, f"f{n}", nodes=(node,))["task_id"] for n, url in enumerate(urls))]
        assert ids[1:] == [task_id(url) for url in urls], "such an id allows the URL to be guessed"
        right, wrong = ({"Authorization": f"Basic {text}"} for text in ("dTpwdw==", "eDp4"))
        status, made = ask(node.node, "/preheats", "POST", {"url": f"http://{at}/private/d.bin", "headers": right})
        assert status == 201
        preheat = json.loads(made)["ID"]
        until(lambda: json.loads(ask(node.node, f"/preheats/{preheat}")[1])["status"] == "SUCCESS", "the end of the preheat")
        assert ask(node.node, "/preheats", "POST", {"url": f"http://{at}/private/no.bin", "headers": wrong})[0] == 500
        lost = f"http://us:PW@{at}/signed/no.bin?name='a\"&sig=SIX"
        status, refused = ask(node.node, "/preheats", "POST", {"url": lost})
        assert (status, b"403" in refused, b"taskID" in refused) == (500, True, False)
        assert "403" in stage.get(lost, "lost", "--notbs", nodes=(node,), status=3)

        text = public_text(node) + refused.decode()
        copies = {path.stem for path in (node.home / "download").rglob("*.json")}
        assert readable(node, text) == [public]
        assert copies >= {*ids, public}
        names = [path.name.split(".bin-") for path in (stage.path / "home-2" / "tasks").iterdir()]
        private = [sign for name, sign in names if name != "public"]
        assert len(private) == 3
        stage.kill(node.process)
        text += capfd.readouterr().err
        assert "fetch_started" in text
        assert "/api/v2/tasks" in text, "the access log is included"
        for task in copies - {public}:
            assert task not in text
        for sign in private:
            assert sign not in text, "a CID reveals the path at which a host serves its file"
        assert public in text
        assert task_id(lost) not in text
        assert [word for word in ("SIG", "SIX", "PW", "taskID") if word in text] == []


def test_a_private_task_is_managed_by_its_public_name(stage: Scene) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", "dfengine", *words, "-n", node.node]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with origin() as at:
        home = stage.path / "node"
        node = stage.supernode(home=home)
        task = stage.get(f"http://{at}/private/a.bin", "a", "-u", "u:pw", nodes=(node,))["task_id"]
        [row] = json.loads(ask(node.node, "/api/v2/tasks")[1])["items"]
        name = row["task"]
        assert name != task
        for each in (name, task):  # a client that knows the id may use it, as with 1.x
            assert json.loads(ask(node.node, f"/tasks/{each}")[1])["ID"] == each
            assert json.loads(ask(node.node, f"/api/v2/tasks/{each}")[1])["task"] == name
            assert json.loads(ask(node.node, f"/api/v2/tasks?q={each}")[1])["total"] == 1
            assert json.loads(ask(node.node, f"/api/v2/tasks/{each}/swarm")[1])["total"] == 1
        assert json.loads(ask(node.node, f"/api/v2/tasks?q={task[:63]}")[1])["total"] == 0, "an id cannot be found digit by digit"
        assert f"task:                  {name}" in run("tasks", name[:12])
        stage.kill(node.process)

        node = stage.supernode(home=home)
        run("cache", "pin", name)
        assert name in run("cache", "ls")
        [copy] = json.loads(ask(node.node, "/cache")[1])
        assert (copy["task"], copy["pinned"]) == (name, True), "the same after a restart"
        assert json.loads((home / "kept.json").read_text())[task]["pinned"]
        run("cache", "unpin", name)
        run("cache", "rm", name)
        assert not (home / "download" / task[:3] / task).exists()
        assert ask(node.node, f"/cache/{name}")[0] == 404
