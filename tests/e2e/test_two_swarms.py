"""One process in two swarms at once: the credentials of one swarm are never sent to the other."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.certificates import Authority
from tests.e2e.scene import MIB, Scene, until

PROGRAM = """
import json, sys, threading
import dfengine

def run(number, way, url, output, nodes, settings, told):
    settings["secret_file"] = tuple(settings["secret_file"])
    both.wait()
    try:
        if way == "stream":
            with dfengine.stream(url, nodes=nodes, **settings) as reader, open(output, "wb") as file:
                while block := reader.read(1 << 20):
                    file.write(block)
            told[number] = reader.result.back_to_source
        else:
            told[number] = dfengine.get(url, output, nodes=nodes, **settings).back_to_source
    except dfengine.errors.DfengineError as error:
        told[number] = f"failed: {error}"

downloads = json.loads(sys.argv[1])
both, told = threading.Barrier(len(downloads)), {}
threads = [threading.Thread(target=run, args=(number, *each, told)) for number, each in enumerate(downloads)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps([told[number] for number in range(len(downloads))]))
"""


def secret(path: Path, letter: str) -> str:
    path.touch(0o600)
    path.write_text(letter * 32)
    return str(path)


def test_one_process_downloads_from_two_swarms_at_once(stage: Scene) -> None:
    """One swarm has a secret and TLS, the other has another secret; a file and a stream of each at once, three times."""
    shas = {name: stage.file(name, 6 * MIB) for name in ("a", "b")}
    origin = stage.origin()
    authority = Authority(stage.path)
    ours, theirs = secret(stage.path / "ours", "o"), secret(stage.path / "theirs", "t")
    sealed = stage.supernode(
        "--secret-file", ours, *authority.options("supernode", "IP:127.0.0.1"), tls=authority.context("test"),
    )  # fmt: skip
    plain = stage.supernode("--secret-file", theirs)
    cert, key = authority.issue("host")
    first: dict[str, Any] = {"secret_file": [ours], "tls_cert": cert, "tls_key": key, "tls_ca": authority.ca, "ip": "127.0.0.2"}
    second: dict[str, Any] = {"secret_file": [theirs], "ip": "127.0.0.3"}
    for each, host in ((first, 2), (second, 3)):
        home = stage.path / f"home-{host}"
        stage.homes.add(home)
        each.update(home=str(home), notbs=True, quiet=True, locallimit=12 * MIB)
    for number in range(3):
        downloads = [
            ["get", f"{origin}/a", str(stage.path / f"a-{number}"), [sealed.node], first],
            ["get", f"{origin}/b", str(stage.path / f"b-{number}"), [plain.node], second],
            ["stream", f"{origin}/a", str(stage.path / f"as-{number}"), [sealed.node], first],
            ["stream", f"{origin}/b", str(stage.path / f"bs-{number}"), [plain.node], second],
        ]
        done = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(downloads)], capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr.decode()
        assert json.loads(done.stdout) == [None] * 4
        for name in ("a", "b"):
            assert stage.digest(f"{name}-{number}") == stage.digest(f"{name}s-{number}") == shas[name]
    for node in (sealed, plain):
        until(partial(lambda node: node.metric("dfengine_unproved_peers") == 0, node), "the proof of every host")


def test_downloads_of_one_process_do_not_share_their_secrets(stage: Scene) -> None:
    """Beside a download with the secret, a download without one is refused, and so is one with the other swarm's."""
    stage.file("a", 2 * MIB)
    url = stage.origin() + "/a"
    ours, theirs = secret(stage.path / "ours", "o"), secret(stage.path / "theirs", "t")
    node = stage.supernode("--secret-file", ours)
    settings = [{"secret_file": files, "pattern": "cdn", "notbs": True, "quiet": True} for files in ([ours], [], [theirs])]
    downloads = [["get", url, str(stage.path / f"out-{n}"), [node.node], each] for n, each in enumerate(settings)]
    done = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(downloads)], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert told[0] is None
    assert all(each.startswith("failed: ") for each in told[1:]), told
    assert [(stage.path / f"out-{n}").exists() for n in range(3)] == [True, False, False]
