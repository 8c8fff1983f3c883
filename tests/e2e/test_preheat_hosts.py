"""Images preheated into the caches of proxies, and at other supernodes."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.images import MISSING, SIZES, Image, Registry, once
from tests.e2e.scene import PATIENCE, Scene, Supernode, until
from tests.e2e.test_images import BASIC, HTPASSWD
from tests.e2e.test_preheat import ask, index, preheat_result, start_preheat
from tests.e2e.test_preheat_command import command, run
from tests.e2e.upstream import Upstream, get, ok


@pytest.fixture(autouse=True)
def programs() -> None:
    """The README's instructions install these programs."""
    assert not MISSING, f"apt-get install docker-registry skopeo containerd: {MISSING} are missing"


def kept(stage: Scene, host: int) -> dict[str, bytes]:
    """The blobs on a host's disk."""
    folder = stage.path / f"home-{host}" / "blobs"
    return {f"sha256:{path.name.partition('.')[0]}": path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_images_are_preheated_on_all_hosts_or_selected_ones(stage: Scene) -> None:
    """Each has every blob on its disk before a client requests it; the registry sends each once."""
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    node = stage.supernode()
    assert "no proxy takes work" in preheat_result(node, start_preheat(node, registry, scope="all_peers"))["errorMsg"]
    mirrors = [stage.proxy("--registry", registry.url, host=host, nodes=(node,))[1] for host in (2, 3)]
    stage.proxy("--registry", registry.url, "--no-work", host=4, nodes=(node,))
    ready_by_ip(node, registry, 2, 3)
    told = preheat_result(node, start_preheat(node, registry, ips=["127.0.0.3"]))
    assert told["status"] == "SUCCESS", told
    assert kept(stage, 3) == image.blobs
    assert kept(stage, 2) == {}
    assert {part.get("ip") for part in told["tasks"]} == {None, "127.0.0.3"}
    said = run(f"{registry.url}/v2/app/x/manifests/1", "--scope", "all_peers", "--pin", "--wait", nodes=(node,))
    assert f"{3 * len(image.blobs)} files, {3 * image.size} bytes" in said
    assert kept(stage, 2) == image.blobs
    assert kept(stage, 4) == {}
    once(image, registry)
    for host in (2, 3):
        pinned = {path.name for path in (stage.path / f"home-{host}" / "pinned-blobs").iterdir()}
        assert pinned == {digest.partition(":")[2] for digest in image.blobs}
    sent = registry.sent()
    for digest, content in image.blobs.items():
        assert get(mirrors[0], f"/v2/app/x/blobs/{digest}")[1] == content
    assert registry.sent() == sent
    assert "127.0.0.9" in preheat_result(node, start_preheat(node, registry, ips=["127.0.0.9"]))["errorMsg"]
    told = preheat_result(node, start_preheat(node, registry, count=1))
    assert len({part.get("ip") for part in told["tasks"]}) == 2
    told = preheat_result(node, start_preheat(node, registry, percentage=50))
    assert len({part.get("ip") for part in told["tasks"]}) == 2


def ready_by_ip(node: Any, registry: Any, *hosts: int) -> None:
    """Wait until these proxies accept work."""
    none = {"type": "image", "url": f"{registry.url}/v2/app/x/manifests/none", "ips": [f"127.0.0.{host}" for host in hosts]}
    until(lambda: "no proxy" not in preheat_result(node, ask(node, "POST", "/preheats", none)[1]["ID"])["errorMsg"], "accepting proxies")


@pytest.mark.parametrize("secret", [False, True])
def test_credentials_are_sent_to_proxies_only_in_a_swarm_with_a_secret(stage: Scene, secret: bool) -> None:
    users = stage.path / "users"
    users.write_text(HTPASSWD)
    registry, image = Registry(stage, BASIC.replace("PATH", str(users))), Image(stage.path / "oci", (100_000,))
    registry.push(image, "app/x", "--dest-creds", "user:password")
    own = stage.path / "secret"
    own.write_text("a secret of the swarm's own")
    os.chmod(own, 0o600)
    options = ("--secret-file", str(own)) if secret else ()
    node = stage.supernode(*options)
    stage.proxy("--registry", registry.url, *options, host=2, nodes=(node,))
    what = f"{registry.url}/v2/app/x/manifests/1", "--user", "user:password", "--ips", "127.0.0.2", "--wait", *options

    status, said = tried(what, node)
    if secret:
        assert status == 0, said
        assert set(kept(stage, 2)) == set(image.blobs)
    else:
        assert (status, "only in a swarm with a secret" in said) == (4, True), said
        assert kept(stage, 2) == {}


def tried(what: tuple[str, ...], node: Supernode) -> tuple[int, str]:
    """Exit code and stderr, once the proxy has requested work."""

    def attempt() -> tuple[int, str] | None:
        done = subprocess.run(command(*what, nodes=(node,)), capture_output=True, timeout=PATIENCE * 2, check=False)
        said = done.stderr.decode()
        return None if "no proxy" in said else (done.returncode, said)

    found: tuple[int, str] = until(attempt, "a proxy that accepts work")
    return found


def test_proxies_with_their_own_credentials_preheat_private_images(stage: Scene) -> None:
    users = stage.path / "users"
    users.write_text(HTPASSWD)
    registry, image = Registry(stage, BASIC.replace("PATH", str(users))), Image(stage.path / "oci", (100_000,))
    registry.push(image, "app/x", "--dest-creds", "user:password")
    node = stage.supernode()
    stage.proxy("--registry", registry.url.replace("http://", "http://user:password@"), host=2, nodes=(node,))
    what = f"{registry.url}/v2/app/x/manifests/1", "--user", "user:password", "--ips", "127.0.0.2", "--wait"
    assert tried(what, node) == (0, "")
    assert set(kept(stage, 2)) == set(image.blobs)


def test_proxies_do_not_preheat_from_registries_that_are_not_configured(stage: Scene) -> None:
    with Upstream() as upstream:
        node = stage.supernode()
        index(upstream, "linux/amd64")
        stage.proxy("--registry", "http://127.0.0.1:1", "--only-registries", host=2, nodes=(node,))
        ready_by_ip(node, upstream, 2)
        told = preheat_result(node, start_preheat(node, upstream, platform="all", ips=["127.0.0.2"]))
        assert told["status"] == "FAILED"
        assert "is not configured" in told["errorMsg"]
        assert {part["status"] for part in told["tasks"] if "ip" not in part} == {"SUCCESS"}


def test_a_proxy_accepts_work_after_a_cancelled_preheat(stage: Scene) -> None:
    with Upstream() as upstream:
        node = stage.supernode()
        index(upstream, "linux/amd64")
        process, _ = stage.proxy("--registry", upstream.url, host=2, nodes=(node,))
        ready_by_ip(node, upstream, 2)
        held, goes_on = threading.Event(), threading.Event()
        blob = next(path for path in upstream.scripts if "/blobs/" in path)
        script = upstream.scripts[blob]

        def slow(sock: Any, asked: Any) -> Any:
            if asked.method == "HEAD":  # the proxy verifies that it has access
                held.set()
                goes_on.wait(60)
            return script(sock, asked)

        upstream.scripts[blob] = slow
        name = start_preheat(node, upstream, platform="all", ips=["127.0.0.2"])
        assert held.wait(60)
        assert ask(node, "DELETE", f"/preheats/{name}") == (200, True)
        assert preheat_result(node, name)["errorMsg"] == "it was cancelled"
        goes_on.set()
        # The proxy continues to accept work.
        told = preheat_result(node, start_preheat(node, upstream, platform="all", ips=["127.0.0.2"]))
        assert told["status"] == "SUCCESS", told
        stage.kill(process)


def test_scope_all_seed_peers_preheats_at_all_supernodes(stage: Scene, tmp_path: Path) -> None:
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    stage.file("f", 100_000)
    base, other = stage.origin(), stage.supernode()
    node = stage.supernode("-n", other.node)
    told = preheat_result(node, start_preheat(node, registry, scope="all_seed_peers"))
    assert told["status"] == "SUCCESS", told
    [there] = [part for part in told["tasks"] if "host" in part]
    assert (there["host"], there["length"], there["here"]) == (other.node, image.size, image.size)
    assert [each["status"] for each in ask(other, "GET", "/preheats")[1]] == ["SUCCESS"]
    run(f"{base}/f", "--scope", "all_seed_peers", "--wait", nodes=(node,))
    assert len(stage.requests("/f")) == 2
    stage.kill(other.process)
    told = preheat_result(node, start_preheat(node, registry, scope="all_seed_peers"))
    assert (told["status"], other.node.rpartition(":")[2] in told["errorMsg"]) == ("FAILED", True)


def test_images_with_empty_layers_are_preheated(stage: Scene) -> None:
    with Upstream() as upstream:
        node = stage.supernode()
        stage.proxy("--registry", upstream.url, host=2, nodes=(node,))
        parts = [{"digest": upstream.blob("app/x", blob), "size": len(blob), "mediaType": "x"} for blob in (b"{}", b"")]
        manifest = json.dumps({"schemaVersion": 2, "config": parts[0], "layers": [parts[1]] * 2}).encode()
        upstream.scripts["/v2/app/x/manifests/1"] = ok(manifest, "Content-Type: application/vnd.oci.image.manifest.v1+json")
        ready_by_ip(node, upstream, 2)
        told = preheat_result(node, start_preheat(node, upstream, ips=["127.0.0.2"]))
        assert told["status"] == "SUCCESS", told
        assert list(kept(stage, 2).values()) == [b"{}"], "the empty layer is not stored"
