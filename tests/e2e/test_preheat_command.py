"""`dfengine preheat`: files and images, at one supernode and at several; waiting for, showing and cancelling preheats."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import subprocess
import threading
from typing import Any

import pytest

from tests.e2e.certificates import Authority
from tests.e2e.images import MISSING, SIZES, Image, Registry, check, copied, skopeo
from tests.e2e.scene import DFENGINE, MIB, PATIENCE, Scene, Supernode, until
from tests.e2e.test_images import BASIC, HTPASSWD
from tests.e2e.test_preheat import index
from tests.e2e.upstream import Upstream, get


@pytest.fixture(autouse=True)
def programs() -> None:
    """The README's instructions install these programs."""
    assert not MISSING, f"apt-get install docker-registry skopeo containerd: {MISSING} are missing"


def command(*words: str, nodes: tuple[Supernode, ...]) -> list[str]:
    return [*DFENGINE, "preheat", *words, *(word for node in nodes for word in ("-n", node.node))]


def run(*words: str, nodes: tuple[Supernode, ...], status: int = 0) -> str:
    """The command's stdout, or stderr where it should fail."""
    done = subprocess.run(command(*words, nodes=nodes), capture_output=True, timeout=PATIENCE * 3, check=False)
    assert done.returncode == status, done.stderr.decode()
    return (done.stderr if status else done.stdout).decode()


def test_a_preheated_file_is_listed_shown_pinned_and_removed(stage: Scene) -> None:
    digest, size = stage.file("f", 3 * MIB), 3 * MIB
    url, node = stage.origin() + "/f", stage.supernode("--revalidate-interval", "1h")
    said = json.loads(run(f"{url}?x=1", "--filter", "x", "--wait", "--json", "--pin", nodes=(node,)))
    [told] = said["nodes"]
    assert (told["status"], told["tasks"][0]["length"]) == ("SUCCESS", size)
    assert stage.get(f"{url}?x=2", "out", "--filter", "x", "--notbs", nodes=(node,))["task_id"] == told["tasks"][0]["taskId"]
    assert stage.digest("out") == digest
    assert len(stage.requests("/f")) == 1
    [listed] = json.loads(run("ls", "--json", nodes=(node,)))["preheats"]
    assert (listed["ID"], listed["status"], listed["url"]) == (said["id"], "SUCCESS", f"{url}?...")
    assert said["id"] in run("ls", nodes=(node,))
    assert f"{size}/{size}" in run("stat", said["id"], nodes=(node,))
    assert '"pinned": true' in subprocess.run([*DFENGINE, "cache", "ls", "--json", "-n", node.node], capture_output=True, timeout=60,
                                              check=True).stdout.decode()  # fmt: skip
    run("cancel", said["id"], nodes=(node,))
    assert "is not a preheat" in run("stat", said["id"], nodes=(node,), status=2)
    assert "404" in run(f"{url}-none", "--wait", nodes=(node,), status=3)


def test_images_are_preheated_with_a_password(stage: Scene) -> None:
    users = stage.path / "users"
    users.write_text(HTPASSWD)
    registry, image = Registry(stage, BASIC.replace("PATH", str(users))), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x", "--dest-creds", "user:password")
    node = stage.supernode()
    what = f"docker://{registry.place}/app/x:1"
    assert "--plain-http" in run(what, "--wait", nodes=(node,), status=4)
    told = run(what, "--plain-http", "--user", "user:password", "--wait", nodes=(node,))
    assert f"{len(image.blobs)} files, {image.size} bytes" in told
    said = run(what, "--plain-http", "--wait", nodes=(node,), status=4)
    assert "needs a user and password" in said
    said = run(what, "--plain-http", "--user", "user:wrong", "--wait", nodes=(node,), status=4)
    assert "401" in said
    assert "wrong" not in said
    assert "platform" in run(f"{registry.url}/v2/app/x/manifests/1", "--platform", "linux", nodes=(node,), status=2)


def test_an_image_is_divided_among_supernodes_as_by_downloads(stage: Scene) -> None:
    """Each blob is read from the registry once, at the supernode where hosts request it."""
    registry, image = Registry(stage), Image(stage.path / "oci", (*range(100_000, 100_012),))
    registry.push(image, "app/x")
    nodes = tuple(stage.supernode("--revalidate-interval", "1h") for _ in range(3))
    said = json.loads(run(f"{registry.url}/v2/app/x/manifests/1", "--wait", "--json", nodes=nodes))
    parts = [[part["digest"] for part in told["tasks"]] for told in said["nodes"]]
    assert sorted(digest for each in parts for digest in each) == sorted(image.blobs)
    until(lambda: registry.sent() >= image.size, "the registry's log of its last response")
    sent = registry.sent()
    assert sent == image.size
    mirror = stage.proxy("--registry", f"registry.test={registry.url}", nodes=nodes)[1]
    skopeo(stage, mirror, registry, stage.path / "dir")
    check(image, copied(stage.path / "dir"))
    assert registry.sent() == sent
    assert [len(json.loads(run("ls", "--json", nodes=(node,)))["preheats"]) for node in nodes] == [1] * 3


@pytest.mark.parametrize("how", ["signal", "timeout"])
def test_a_signal_or_timeout_during_the_wait_cancels_the_preheat(stage: Scene, how: str) -> None:
    with Upstream() as upstream:
        node = stage.supernode()
        index(upstream, "linux/amd64")
        blob = next(path for path in upstream.scripts if "/blobs/" in path)
        reached, goes_on = threading.Event(), threading.Event()

        def slow(sock: Any, asked: Any) -> bool:
            reached.set()
            goes_on.wait(PATIENCE)
            return False

        upstream.scripts[blob] = slow
        url = f"{upstream.url}/v2/app/x/manifests/1"
        more = ("--timeout", "3s") if how == "timeout" else ()
        process = subprocess.Popen(command(url, "--platform", "all", "--wait", *more, nodes=(node,)), stderr=subprocess.PIPE)
        stage._processes.append(process)
        if how == "signal":
            assert reached.wait(PATIENCE)
            until(lambda: b'preheats/{id}"' in node.get("/metrics"), "the wait for the preheat")
            process.send_signal(signal.SIGTERM)
        err = process.communicate(timeout=PATIENCE * 2)[1].decode()
        assert process.returncode == (128 + signal.SIGTERM if how == "signal" else 8), err
        assert "cancelled" in err
        [told] = json.loads(run("ls", "--json", nodes=(node,)))["preheats"]
        assert (told["status"], told["errorMsg"]) == ("FAILED", "it was cancelled")
        goes_on.set()


def test_a_preheat_is_cancelled_by_its_id(stage: Scene) -> None:
    with Upstream() as upstream:
        node = stage.supernode()
        goes_on = threading.Event()

        def slow(sock: Any, asked: Any) -> bool:
            goes_on.wait(PATIENCE)
            return False

        upstream.scripts["/v2/app/x/manifests/1"] = slow
        name = run(f"{upstream.url}/v2/app/x/manifests/1", nodes=(node,)).strip()
        run("cancel", name, nodes=(node,))
        until(lambda: "it was cancelled" in run("stat", name, nodes=(node,)), "the end of the preheat")
        goes_on.set()


def test_preheats_need_the_supernodes_token(stage: Scene) -> None:
    token = stage.path / "token"
    token.write_text("a-token-for-preheats")
    os.chmod(token, 0o600)
    stage.file("f", 1000)
    url, node = stage.origin() + "/f", stage.supernode("--preheat-token-file", str(token))
    assert "401" in run(url, nodes=(node,), status=3)
    run(url, "--wait", "--token-file", str(token), nodes=(node,))
    assert "SUCCESS" in run("ls", "--token-file", str(token), nodes=(node,))


@pytest.mark.parametrize(("words", "reason"), [
    (("http://o/f",), "name it"), (("thing", "-n", "127.0.0.1:1"), "neither a URL"), (("docker://A", "-n", "127.0.0.1:1"), "docker://"),
    (("ls", "x", "-n", "127.0.0.1:1"), "ls, stat"), (("cancel", "-n", "127.0.0.1:1"), "ls, stat"),
    (("cancel", "../x", "-n", "127.0.0.1:1"), "not an ID"), (("http://o/f", "--platform", "all", "-n", "127.0.0.1:1"), "for images"),
    (("http://o/f", "--scope", "some", "-n", "127.0.0.1:1"), "not one of"),
])  # fmt: skip
def test_invalid_arguments_are_rejected(words: tuple[str, ...], reason: str) -> None:
    assert reason in run(*words, nodes=(), status=2)


def test_an_unreachable_supernode_is_named_in_the_error() -> None:
    for what in ("http://o/f", "docker://o.example/f"):
        assert "127.0.0.1:1" in run(what, "-n", "127.0.0.1:1", nodes=(), status=3)


def test_preheats_from_a_registry_with_a_private_authority(stage: Scene) -> None:
    """Supernode and proxies are given the authority and verify alike, so they share the blobs."""
    authority = Authority(stage.path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*authority.issue("registry", "IP:127.0.0.1"))
    with Upstream(tls) as upstream:
        node = stage.supernode("--revalidate-interval", "1h")
        blobs = index(upstream, "linux/amd64")["linux/amd64"]
        url = f"{upstream.url}/v2/app/x/manifests/1"
        assert "certificate" in run(url, "--platform", "all", "--wait", nodes=(node,), status=4)
        run(url, "--platform", "all", "--cacerts", authority.ca, "--wait", nodes=(node,))
        run(url, "--platform", "all", "--insecure", "--wait", nodes=(node,))
        mirror = stage.proxy("--registry", upstream.url, "--cacerts", authority.ca, nodes=(node,))[1]
        asked = len([each for each in upstream.asked if each.method == "GET" and "/blobs/" in each.target])
        for blob in blobs:
            digest = hashlib.sha256(blob).hexdigest()
            assert get(mirror, f"/v2/app/x/blobs/sha256:{digest}")[1] == blob
        assert asked == len([each for each in upstream.asked if each.method == "GET" and "/blobs/" in each.target])
        wrong = stage.path / "none.pem"
        assert "cannot be read" in run(url, "--cacerts", str(wrong), nodes=(node,), status=2)
