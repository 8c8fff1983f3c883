"""Images that a supernode preheats: by both APIs, with and without credentials, and refused preheats."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.images import MISSING, SIZES, Image, Registry, check, copied, once, skopeo
from tests.e2e.scene import Scene, Supernode, until
from tests.e2e.test_images import BASIC, HTPASSWD, Tokens
from tests.e2e.upstream import Upstream, get, ok

BASIC_USER = base64.b64encode(b"user:password").decode()


@pytest.fixture(autouse=True)
def programs() -> None:
    """The README's instructions install these programs."""
    assert not MISSING, f"apt-get install docker-registry skopeo containerd: {MISSING} are missing"


def ask(node: Supernode, method: str, path: str, message: object = None, **fields: str) -> tuple[int, Any]:
    """Status and JSON of one request."""
    body = None if message is None else json.dumps(message).encode()
    request = urllib.request.Request(f"http://{node.node}{path}", body, {"Content-Type": "application/json", **fields}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            text = error.read()
            return error.code, json.loads(text) if text[:1] == b"{" else text.decode()


def start_preheat(node: Supernode, registry: Registry | Upstream, **more: Any) -> str:
    """Start a preheat of app/x:1 and return its id."""
    status, made = ask(node, "POST", "/preheats", {"type": "image", "url": f"{registry.url}/v2/app/x/manifests/1", **more})
    assert status == 201, made
    return str(made["ID"])


def preheat_result(node: Supernode, name: str) -> Any:
    """Wait for a preheat's end and return its final state."""

    def over() -> Any:
        status, told = ask(node, "GET", f"/preheats/{name}")
        assert status == 200, told
        return told if told["status"] in ("SUCCESS", "FAILED") else None

    return until(over, "the end of a preheat")


def done(node: Supernode, name: str, image: Image) -> Any:
    told = preheat_result(node, name)
    assert told["status"] == "SUCCESS", told
    assert {each["digest"]: each["here"] for each in told["tasks"]} == {digest: len(blob) for digest, blob in image.blobs.items()}
    assert {each["status"] for each in told["tasks"]} == {"SUCCESS"}
    return told


def blobs_sent(registry: Registry) -> int:
    """Bytes of whole blobs that the registry sent; a check of credentials reads one byte of each blob."""
    return sum(sent for method, path, status, sent in registry.asked() if method == "GET" and "/blobs/" in path and status == 200)


def test_a_preheated_image_is_pulled_from_the_supernode(stage: Scene) -> None:
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    node = stage.supernode("--revalidate-interval", "1h")
    told = done(node, start_preheat(node, registry), image)
    assert told["finishTime"] >= told["startTime"]
    once(image, registry)
    sent = registry.sent()
    mirror = stage.proxy("--registry", f"registry.test={registry.url}", nodes=(node,))[1]
    skopeo(stage, mirror, registry, stage.path / "dir")
    check(image, copied(stage.path / "dir"))
    assert registry.sent() == sent
    assert [each["ID"] for each in ask(node, "GET", "/preheats")[1]] == [told["ID"]]
    assert ask(node, "DELETE", f"/preheats/{told['ID']}") == (200, True)
    assert ask(node, "GET", f"/preheats/{told['ID']}")[0] == 404


@pytest.mark.parametrize("given", [
    {"username": "user", "password": "password"}, {"headers": {"Authorization": f"Basic {BASIC_USER}"}},
])  # fmt: skip
def test_preheats_from_a_registry_with_a_password(stage: Scene, given: dict[str, Any]) -> None:
    users = stage.path / "users"
    users.write_text(HTPASSWD)
    registry, image = Registry(stage, BASIC.replace("PATH", str(users))), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x", "--dest-creds", "user:password")
    node = stage.supernode("--revalidate-interval", "1h")
    done(node, start_preheat(node, registry, **given), image)
    refused = preheat_result(node, start_preheat(node, registry))
    assert (refused["status"], "password" in refused["errorMsg"]) == ("FAILED", True)
    refused = preheat_result(node, start_preheat(node, registry, username="user", password="wrong"))
    assert (refused["status"], "401" in refused["errorMsg"], "wrong" in json.dumps(refused)) == ("FAILED", True, False)
    # A host whose credentials the registry accepts receives the blobs from the supernode.
    sent = blobs_sent(registry)
    mirror = stage.proxy("--registry", f"registry.test={registry.url}", nodes=(node,))[1]
    for digest, content in image.blobs.items():
        _, body = get(mirror, f"/v2/app/x/blobs/{digest}?ns=registry.test", Authorization=f"Basic {BASIC_USER}")
        assert body == content
        assert get(mirror, f"/v2/app/x/blobs/{digest}?ns=registry.test")[0].status == 401
    assert blobs_sent(registry) == sent
    for path in ("/preheats", "/metrics", f"/preheats/{ask(node, 'GET', '/preheats')[1][0]['ID']}"):
        said = node.get(path)
        assert BASIC_USER.encode() not in said
        assert b'"password"' not in said


def test_preheats_from_a_registry_with_tokens(stage: Scene) -> None:
    """Tokens of a token server, by a password, and a token in the preheat's headers, as Harbor sends it."""
    tokens = Tokens(stage)
    with tokens.server:
        registry, image = Registry(stage, tokens.config), Image(stage.path / "oci", SIZES)
        registry.push(image, "app/x", "--dest-creds", "user:password")
        node = stage.supernode("--revalidate-interval", "1h")
        before = len(tokens.given)
        done(node, start_preheat(node, registry, username="user", password="password"), image)
        assert len(tokens.given) == before + 1
        asked = urllib.request.Request(f"{tokens.server.url}/token?service=test&scope=repository:app/x:pull",
                                       headers={"Authorization": f"Basic {BASIC_USER}"})  # fmt: skip
        with urllib.request.urlopen(asked, timeout=60) as answer:
            token = json.loads(answer.read())["token"]
        sent = blobs_sent(registry)
        done(node, start_preheat(node, registry, headers={"Authorization": f"Bearer {token}"}), image)
        assert blobs_sent(registry) == sent
        assert preheat_result(node, start_preheat(node, registry))["status"] == "FAILED"
        assert token.encode() not in node.get("/preheats")


def index(upstream: Upstream, *platforms: str) -> dict[str, list[bytes]]:
    """app/x:1 as an index of images for these platforms, each of two blobs; platform -> its blobs."""
    kind, members, found = "application/vnd.oci.image.manifest.v1+json", [], {}
    for platform in platforms:
        blobs = [f"{platform} {n}".encode() * 1000 for n in range(2)]
        parts = [{"digest": upstream.blob("app/x", blob), "size": len(blob), "mediaType": "x"} for blob in blobs]
        manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": parts[0], "layers": parts[1:]}).encode()
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        upstream.scripts[f"/v2/app/x/manifests/{digest}"] = ok(manifest, f"Content-Type: {kind}")
        os, architecture = platform.split("/")
        members.append({"mediaType": kind, "digest": digest, "size": len(manifest), "platform": {"os": os, "architecture": architecture}})
        found[platform] = blobs
    whole = json.dumps({"schemaVersion": 2, "manifests": members}).encode()
    upstream.scripts["/v2/app/x/manifests/1"] = ok(whole, "Content-Type: application/vnd.oci.image.index.v1+json")
    return found


def test_preheats_select_platforms_of_an_index(stage: Scene) -> None:
    with Upstream() as upstream:
        node = stage.supernode()
        blobs = index(upstream, "linux/amd64", "linux/arm64", "linux/s390x", "unknown/unknown")

        def lengths(**more: Any) -> list[int]:
            told = preheat_result(node, start_preheat(node, upstream, **more))
            assert told["status"] == "SUCCESS", told
            return sorted(each["length"] for each in told["tasks"])

        def expected(*platforms: str) -> list[int]:
            return sorted(len(blob) for platform in platforms for blob in blobs[platform])

        assert lengths(platform="linux/s390x") == expected("linux/s390x")
        assert lengths(platforms=["linux/amd64", "linux/arm64"]) == expected("linux/amd64", "linux/arm64")
        assert lengths(platform="all") == expected("linux/amd64", "linux/arm64", "linux/s390x")
        assert len(lengths()) == 2
        told = preheat_result(node, start_preheat(node, upstream, platform="windows/amd64"))
        assert "linux/amd64, linux/arm64, linux/s390x" in told["errorMsg"]


def test_preheats_from_a_lying_registry_fail(stage: Scene) -> None:
    """Wrong digests, endless manifests, and a token server at a denied address."""
    with Upstream() as upstream:
        node = stage.supernode("--origin-deny", "127.0.0.9")
        index(upstream, "linux/amd64")

        def refused(**more: Any) -> str:
            told = preheat_result(node, start_preheat(node, upstream, platform="all", **more))
            assert told["status"] == "FAILED", told
            return str(told["errorMsg"])

        for path, script in list(upstream.scripts.items()):
            if "/manifests/sha256:" in path:
                upstream.scripts[path] = ok(b'{"schemaVersion": 2, "config": {}, "layers": []}')
                assert "not what its digest says" in refused()
                upstream.scripts[path] = script
        blob = next(path for path in upstream.scripts if "/blobs/" in path)
        script, upstream.scripts[blob] = upstream.scripts[blob], ok(b"something else")
        assert "sha256" in refused()
        upstream.scripts[blob] = script
        upstream.scripts["/v2/app/x/manifests/1"] = ok(b"{" * 5_000_000)
        assert "sends more than" in refused()
        for where in ("http://127.0.0.9:1/token", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "http://"):
            challenge = f'WWW-Authenticate: Bearer realm="{where}"'
            upstream.scripts["/v2/app/x/manifests/1"] = ok(b"", challenge, status="401 Unauthorized")
            said = refused(username="user", password="password")
            assert "may not fetch" in said or "no token server" in said, said
        here = f"http://127.0.0.9:{upstream.port}/v2/app/x/manifests/1"
        status, made = ask(node, "POST", "/preheats", {"type": "image", "url": here})
        assert status == 201
        assert "may not fetch" in preheat_result(node, made["ID"])["errorMsg"]


def test_a_cancelled_preheat_ends_its_fetches(stage: Scene) -> None:
    with Upstream() as upstream:
        node = stage.supernode()
        index(upstream, "linux/amd64")
        blob = next(path for path in upstream.scripts if "/blobs/" in path)
        script, reached, goes_on = upstream.scripts[blob], threading.Event(), threading.Event()

        def slow(sock: Any, asked: Any) -> Any:
            reached.set()
            goes_on.wait(60)
            return script(sock, asked)

        upstream.scripts[blob] = slow
        name = start_preheat(node, upstream, platform="all")
        assert reached.wait(60)
        assert ask(node, "DELETE", f"/preheats/{name}") == (200, True)
        told = preheat_result(node, name)
        assert (told["status"], told["errorMsg"]) == ("FAILED", "it was cancelled")
        # The cancelled preheat was the only one that waited for the fetch.
        until(lambda: node.metric("dragonfly_supernode_tasks") <= 1, "the end of the fetch")
        goes_on.set()
        upstream.scripts[blob] = script
        assert preheat_result(node, start_preheat(node, upstream, platform="all"))["status"] == "SUCCESS"


def test_preheats_can_pin_their_copies(stage: Scene) -> None:
    with Upstream() as upstream:
        node = stage.supernode()
        index(upstream, "linux/amd64")
        told = preheat_result(node, start_preheat(node, upstream, platform="all", pin=True))
        assert told["status"] == "SUCCESS", told
        for part in told["tasks"]:
            assert ask(node, "GET", f"/api/v1/cache/{part['taskId']}")[1]["pinned"] is True


def test_a_supernode_can_be_terminated_during_a_preheat(stage: Scene, tmp_path: Path) -> None:
    with Upstream() as upstream:
        node = stage.supernode()
        goes_on = threading.Event()

        def slow(sock: Any, asked: Any) -> Any:
            goes_on.wait(60)
            return False

        upstream.scripts["/v2/app/x/manifests/1"] = slow
        start_preheat(node, upstream)
        until(lambda: upstream.asked, "a request to the registry")
        node.process.terminate()
        assert node.process.wait(60) == 0
        goes_on.set()
