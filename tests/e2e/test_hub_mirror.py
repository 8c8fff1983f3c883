"""The hub behind a proxy's /hub: the hub's own clients download through two hosts, and each byte is read once from the hub."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import IncompleteRead
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.scene import MIB, PATIENCE, Scene, buffered, until
from tests.e2e.upstream import Asked, Upstream, get, ok
from tests.origins.hub import Hub

TOKEN = "hf_t0ken"
FILES = {
    "config.json": b'{"a": 1}',
    "a b/weights.safetensors": random.Random(1).randbytes(9 * MIB + 77),
    "model.bin": random.Random(2).randbytes(3 * MIB),
    "empty.txt": b"",
    "tokens/vocab.txt": b"one\ntwo\n",
}
SIZE = sum(map(len, FILES.values()))
SNAPSHOT = "import sys; from huggingface_hub import snapshot_download as s; s(sys.argv[1], repo_type=sys.argv[2], local_dir=sys.argv[3])"


SCRIPT = """
const { listFiles, downloadFile } = require("@huggingface/hub");
(async () => {
  const hubUrl = process.argv[1], repo = "org/name";
  for await (const file of listFiles({ repo, recursive: true, hubUrl })) {
    if (file.type !== "file") continue;
    const answer = await downloadFile({ repo, path: file.path, hubUrl });
    const bytes = Buffer.from(await answer.arrayBuffer());
    console.log(JSON.stringify([file.path, require("node:crypto").createHash("sha256").update(bytes).digest("hex")]));
  }
})();
"""


@pytest.fixture(name="hub")
def one_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in list(os.environ):
        if name.startswith("HF_"):
            monkeypatch.delenv(name)
    with Hub() as hub:
        hub.xet, hub.token = True, TOKEN
        yield hub


def snapshot(
    stage: Scene, url: str, name: str, repository: str = "org/name", kind: str = "model", token: str = ""
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Start huggingface_hub's snapshot_download with Xet enabled, with the mirror configured as in its documentation."""
    env = {**os.environ, "HF_ENDPOINT": f"{url}/hub", "HF_HOME": str(stage.path / f"{name}.home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    env |= {"HF_TOKEN": token} if token else {}
    process = subprocess.Popen([sys.executable, "-c", SNAPSHOT, repository, kind, str(stage.path / name)], env=env, stderr=subprocess.PIPE)
    stage._processes.append(process)
    return process


def whole(stage: Scene, name: str, files: dict[str, bytes] = FILES) -> bool:
    return all((stage.path / name / path).read_bytes() == content for path, content in files.items())


def ends(process: subprocess.Popen[bytes]) -> int:
    assert process.stderr is not None
    _, told = process.communicate(timeout=PATIENCE * 3)
    print(told.decode())
    return process.returncode


def test_two_hosts_download_a_snapshot_that_is_read_once_from_the_hub(stage: Scene, hub: Hub) -> None:
    node = stage.supernode()
    hub.add("org/name", FILES)
    hosts = [stage.proxy("--hub", hub.url, host=host, nodes=(node,))[1] for host in (2, 3)]
    assert [ends(each) for each in [snapshot(stage, url, f"out{n}") for n, url in enumerate(hosts)]] == [0, 0]
    assert whole(stage, "out0")
    assert whole(stage, "out1")
    assert SIZE <= hub.sent <= SIZE * 1.02
    # The next snapshot is read from the disk.
    sent = hub.sent
    assert ends(snapshot(stage, hosts[0], "again")) == 0
    assert whole(stage, "again")
    assert hub.sent == sent
    # No client used Xet past the proxy.
    assert not [path for _, path, _ in hub.seen if "xet" in path]


def test_hf_download_without_a_supernode(stage: Scene, hub: Hub) -> None:
    """The store's responses have different entity-tags: the hub's fields identify the version."""
    hub.add("org/name", FILES)
    url = stage.proxy("--hub", hub.url)[1]
    env = {**os.environ, "HF_ENDPOINT": f"{url}/hub", "HF_HOME": str(stage.path / "hf")}
    hf = Path(sys.executable).parent / "hf"
    command = [str(hf), "download", "org/name", "--local-dir", str(stage.path / "out")]
    subprocess.run(command, env=env, timeout=PATIENCE * 3, check=True, stdout=subprocess.DEVNULL)
    assert whole(stage, "out")
    # Buffered bytes of a connection that was closed early count as sent, but were not received.
    assert SIZE <= hub.sent <= SIZE * 1.02 + buffered()


def test_the_hubs_javascript_client_of_two_hosts_reads_files_once(stage: Scene, hub: Hub) -> None:
    node = shutil.which("node")
    if node is None or subprocess.run([node, "-e", 'require("@huggingface/hub")'], stderr=subprocess.DEVNULL).returncode:
        # It is available by npm only, which not every machine has: see .ci/run.
        pytest.skip("@huggingface/hub is not installed: npm install @huggingface/hub, and NODE_PATH")
    # The client requests the first byte of each file, and takes the 416 of an empty file for a failure.
    files = {path: content for path, content in FILES.items() if content}
    hub.add("org/name", files)
    supernode = stage.supernode()
    for host in (2, 3):
        url = stage.proxy("--hub", hub.url, host=host, nodes=(supernode,))[1]
        done = subprocess.run([node, "-e", SCRIPT, f"{url}/hub"], stdout=subprocess.PIPE, timeout=PATIENCE * 3, check=True)
        found = dict(json.loads(line) for line in done.stdout.splitlines())
        assert found == {path: hub.sha256(content) for path, content in files.items()}
    assert SIZE <= hub.sent <= SIZE * 1.02 + buffered()


def test_the_hubs_fields_are_kept_and_its_links_lead_to_the_proxy(stage: Scene, hub: Hub) -> None:
    commit = hub.add("org/name", FILES)
    hub.cached = {"org/name"}
    url = stage.proxy("--hub", hub.url)[1]
    weights, digest = f"/hub/org/name/resolve/{commit}/model.bin", hub.sha256(FILES["model.bin"])
    for target in (weights, "/hub/org/name/resolve/main/model.bin", f"{weights}?download=true"):
        answer, _ = get(url, target, "HEAD")
        assert (answer.status, answer.headers["content-length"]) == (200, str(3 * MIB))
        assert (answer.headers["x-repo-commit"], answer.headers["x-linked-etag"]) == (commit, f'"{digest}"')
        assert answer.headers["etag"] == f'"{digest}"'
        assert not {"location", "x-xet-hash", "link"} & {name.lower() for name in answer.headers}
    answer, body = get(url, weights, Range="bytes=5-9")
    assert (answer.status, body) == (206, FILES["model.bin"][5:10])
    assert get(url, weights, If_None_Match=f'"{digest}"')[0].status == 304
    # Small files have git's digest as entity-tag, whether the Hub answers directly or by a redirect to itself.
    small = f"/hub/org/name/resolve/{commit}/config.json"
    answer, body = get(url, small)
    assert (answer.status, body) == (200, FILES["config.json"])
    assert answer.headers["x-repo-commit"] == commit
    assert answer.headers["etag"] == f'"{hub.sha1(body)}"'
    # Links of a tree's pages lead to the proxy, and its members have no Xet hashes.
    answer, body = get(url, f"/hub/api/models/org/name/tree/{commit}?recursive=true")
    assert answer.headers["link"] == f'<{url}/hub/api/models/org/name/tree/{commit}?recursive=true&cursor=3>; rel="next"'
    assert {"xetHash"} & {key for member in json.loads(body) for key in member} == set()
    assert hub.sha256(FILES["a b/weights.safetensors"]) in body.decode()
    for target in ("/hub/org/name/resolve/main/none", "/hub/api/models/org/none"):
        answer, _ = get(url, target)
        assert (answer.status, bool(answer.headers["x-error-code"])) == (404, True)
    assert get(url, "/hub/org/../x")[0].status == 404
    assert get(url, "/hubris")[0].status == 404


def test_a_gated_repository_is_served_only_with_a_valid_token(stage: Scene, hub: Hub) -> None:
    node = stage.supernode()
    hub.gated.add("datasets/org/data")
    commit = hub.add("datasets/org/data", FILES)
    hosts = [stage.proxy("--hub", hub.url, host=host, nodes=(node,))[1] for host in (2, 3)]
    assert [ends(each) for each in [snapshot(stage, url, f"out{n}", "org/data", "dataset", TOKEN) for n, url in enumerate(hosts)]] == [0, 0]
    assert whole(stage, "out0")
    assert whole(stage, "out1")
    assert SIZE <= hub.sent <= SIZE * 1.02
    for path in FILES:
        for token in ("", "Bearer other"):
            fields = {"Authorization": token} if token else {}
            answer, body = get(hosts[0], f"/hub/datasets/org/data/resolve/{commit}/{path.replace(' ', '%20')}", **fields)
            assert (answer.status, body) == (401, b"gated")
    assert {authorization for server, _, authorization in hub.seen if server == "store"} == {""}


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_branch_of_a_busy_hub_has_the_hubs_own_response(stage: Scene, status: str) -> None:
    """The branch may have moved since the hub responded."""
    body, commit, busy = b"one\n", "0123456789" * 4, False
    tag = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()

    def answer(sock: socket.socket, asked: Asked) -> object:
        if busy:
            return ok(b"busy", "Retry-After: 7", status=status)(sock, asked)
        return ok(body, f"X-Repo-Commit: {commit}", f'ETag: "{tag}"')(sock, asked)

    with Upstream() as hub:
        for revision in ("main", commit):
            hub.scripts[f"/org/name/resolve/{revision}/f"] = answer
        url = stage.proxy("--hub", hub.url)[1]
        for revision in ("main", commit):
            assert get(url, f"/hub/org/name/resolve/{revision}/f")[1] == body
        busy = True
        for method in ("HEAD", "GET"):
            told, _ = get(url, "/hub/org/name/resolve/main/f", method)
            assert (told.status, told.headers["Retry-After"]) == (int(status[:3]), "7")
            assert get(url, f"/hub/org/name/resolve/{commit}/f", method)[0].status == 200


def test_a_slow_snapshot_completes_after_the_other_host_is_killed(stage: Scene, hub: Hub) -> None:
    """Two hosts download from a slow hub, and the proxy of the first one is killed in mid-transfer."""
    node = stage.supernode()
    hub.add("org/name", FILES)
    hub.rate = 2 * MIB
    first, one = stage.proxy("--hub", hub.url, host=2, nodes=(node,))
    two = stage.proxy("--hub", hub.url, host=3, nodes=(node,))[1]
    begun, other = snapshot(stage, one, "out0"), snapshot(stage, two, "out1")
    until(lambda: hub.sent > MIB, "bytes of the hub")
    stage.kill(first)
    assert ends(other) == 0
    assert whole(stage, "out1")
    stage.kill(begun)


def test_files_that_differ_from_the_hubs_digest_are_not_accepted(stage: Scene, hub: Hub, tmp_path: Path) -> None:
    commit = hub.add("org/name", FILES)
    url = stage.proxy("--hub", hub.url)[1]
    passed = stage.proxy("--hub", hub.url, "--xet", "passthrough", host=3)[1]
    small = f"/hub/org/name/resolve/{commit}/config.json"
    answer, body = get(passed, small)
    assert (answer.status, body) == (200, FILES["config.json"])
    for path, wrong in (("model.bin", b"w" * (3 * MIB)), ("config.json", b'{"a": 2}')):
        right = FILES[path]
        hub.lies[right] = wrong
        try:
            answer, body = get(url, f"/hub/org/name/resolve/{commit}/{path}")
        except (IncompleteRead, ConnectionResetError):
            continue  # cut off before its last bytes
        assert answer.status == 502, path
    answer, body = get(passed, small)
    assert (answer.status, b"has sent other bytes than git:" in body) == (502, True)


def test_uploads_and_other_requests_are_passed_on(stage: Scene, hub: Hub) -> None:
    hub.add("org/name", FILES)
    url = stage.proxy("--hub", hub.url)[1]
    answer, _ = get(url, "/hub/org/name/resolve/main/model.bin?other=1")
    assert answer.status == 302
    assert urlsplit(answer.headers["location"]).netloc == urlsplit(hub.store).netloc
    answer, _ = get(url, "/hub/api/models/org/name", "POST")
    assert answer.status == 501  # the stand-in supports only GET and HEAD
    away = stage.proxy("--hub", hub.url, "--xet", "passthrough", host=4)[1]
    answer, _ = get(away, "/hub/org/name/resolve/main/model.bin", "HEAD")
    assert (answer.status, bool(answer.headers["x-xet-hash"])) == (302, True)
