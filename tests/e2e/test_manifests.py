"""Manifests by digest: the registry authorizes each client once, and its bytes are fetched once for all."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.e2e.scene import PATIENCE, Scene, until
from tests.e2e.upstream import Asked, Upstream, get, ok

TYPE = "application/vnd.oci.image.manifest.v1+json"
BODY = json.dumps({"schemaVersion": 2, "mediaType": TYPE, "layers": []}).encode()
PATH = f"/v2/a/manifests/sha256:{hashlib.sha256(BODY).hexdigest()}"
ACCEPT = f"{TYPE}, application/vnd.oci.image.index.v1+json"


class Manifests(Upstream):
    """A registry that sends BODY to clients that accept its type and, if there are `tokens`, send one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: set[str] = set()
        self.body = BODY
        self.scripts[PATH] = self._send

    def _send(self, sock: socket.socket, asked: Asked) -> None:
        if self.tokens and asked.fields.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            ok(b"no", 'WWW-Authenticate: Bearer realm="https://auth/t"', status="401 Unauthorized")(sock, asked)
        elif TYPE not in asked.fields.get("accept", ""):
            ok(b"no", status="404 Not Found")(sock, asked)
        else:
            ok(self.body, f"Content-Type: {TYPE}")(sock, asked)

    @property
    def sent(self) -> list[str]:
        return [each.fields.get("authorization", "") for each in self.asked if each.method == "GET"]


@pytest.fixture
def registry() -> Iterator[Manifests]:
    with Manifests() as made:
        yield made


def test_eight_hosts_cost_the_registry_one_request(stage: Scene, registry: Manifests) -> None:
    node = stage.supernode()
    hosts = [stage.proxy("--registry", registry.url, host=host, nodes=(node,))[1] for host in range(2, 10)]
    found: list[tuple[int, bytes, str]] = []

    def pull(url: str) -> None:
        answer, body = get(url, PATH, Accept=ACCEPT)
        found.append((answer.status, body, answer.headers["content-type"]))

    threads = [threading.Thread(target=pull, args=(url,)) for url in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(200, BODY, TYPE)] * 8
    assert registry.sent == [""]
    # A client that does not accept the type receives the registry's own response.
    assert get(hosts[0], PATH, Accept="text/html")[0].status == 404


def test_manifests_on_disk_are_served_only_with_a_token_that_the_registry_accepts(stage: Scene, registry: Manifests) -> None:
    """Hosts with different tokens share one copy; a refused token receives the registry's response, also for a manifest on disk."""
    node = stage.supernode()
    registry.tokens = {"one", "two"}
    hosts = [stage.proxy("--registry", registry.url, host=host, nodes=(node,))[1] for host in (2, 3)]
    for url, token in zip(hosts, ("one", "two"), strict=True):
        answer, body = get(url, PATH, Accept=ACCEPT, Authorization=f"Bearer {token}")
        assert (answer.status, body, answer.headers["content-type"]) == (200, BODY, TYPE)
        for bad in ({"Authorization": "Bearer bad"}, {}):
            answer, body = get(url, PATH, Accept=ACCEPT, **bad)
            assert (answer.status, body, answer.headers["www-authenticate"]) == (401, b"no", 'Bearer realm="https://auth/t"')
    assert registry.sent.count("Bearer one") + registry.sent.count("Bearer two") == 1


def test_authorized_clients_receive_manifests_while_the_registry_is_down(stage: Scene) -> None:
    node = stage.supernode()
    with Manifests() as registry:
        registry.tokens = {"one"}
        url = stage.proxy("--registry", registry.url, nodes=(node,))[1]
        assert get(url, PATH, Accept=ACCEPT, Authorization="Bearer one")[1] == BODY
    answer, body = get(url, PATH, Accept=ACCEPT, Authorization="Bearer one")
    assert (answer.status, body, answer.headers["content-type"]) == (200, BODY, TYPE)
    for bad in ({"Authorization": "Bearer bad"}, {}):
        assert get(url, PATH, Accept=ACCEPT, **bad)[0].status == 502


def proxy_with_manifests(stage: Scene, registry: Manifests) -> tuple[str, dict[str, str]]:
    """The URL of a proxy that has stored both manifests, and the fields of the client that the registry has authorized."""
    registry.tokens = {"one"}
    registry.scripts["/v2/a/manifests/1"] = registry.scripts[PATH]
    url = stage.proxy("--registry", registry.url)[1]
    own = {"Accept": ACCEPT, "Authorization": "Bearer one"}
    for path in ("/v2/a/manifests/1", PATH):
        assert get(url, path, **own)[1] == BODY
    return url, own


@pytest.mark.parametrize("status", ["429 Too Many Requests", "507 Insufficient Storage"])
def test_authorized_clients_receive_manifests_while_the_registry_refuses_all(stage: Scene, registry: Manifests, status: str) -> None:
    """As registries do whose limit of pulls is reached. Other clients receive the registry's own response."""
    url, own = proxy_with_manifests(stage, registry)
    registry.scripts = dict.fromkeys(("/v2/a/manifests/1", PATH, "/v2/"), ok(b"no", "Retry-After: 100", status=status))
    for path in ("/v2/a/manifests/1", PATH):
        answer, body = get(url, path, **own)
        assert (answer.status, body, answer.headers["content-type"]) == (200, BODY, TYPE)
        refused, _ = get(url, path, Accept=ACCEPT, Authorization="Bearer bad")
        assert (refused.status, refused.headers["retry-after"]) == (int(status[:3]), "100")
    assert get(url, "/v2/", **own)[0].status == 200


def test_authorized_clients_receive_manifests_while_the_registry_is_silent(stage: Scene, registry: Manifests) -> None:
    """One request waits, and the others are answered without a request to the registry. Clients that it has not authorized wait for it."""
    url, own = proxy_with_manifests(stage, registry)
    speaks = threading.Event()

    def silent(sock: socket.socket, asked: Asked) -> None:
        speaks.wait(120)
        registry._send(sock, asked)

    registry.scripts = dict.fromkeys(("/v2/a/manifests/1", PATH, "/v2/"), silent)
    try:
        before = len(registry.asked)
        for path, method in (("/v2/a/manifests/1", "GET"), ("/v2/a/manifests/1", "HEAD"), (PATH, "GET"), ("/v2/", "GET")):
            answer, body = get(url, path, method, **own)
            assert answer.status == 200
            assert method == "HEAD" or path == "/v2/" or body == BODY
        assert len(registry.asked) == before + 1
        refused: list[int] = []
        other = threading.Thread(target=lambda: refused.append(get(url, PATH, Accept=ACCEPT, Authorization="Bearer bad")[0].status))
        other.start()
        until(lambda: len(registry.asked) > before + 1, "a request to the registry")
        assert not refused
    finally:
        speaks.set()
    other.join(120)
    assert refused == [401]


def test_a_manifest_with_a_wrong_digest_is_neither_passed_on_nor_kept(stage: Scene, registry: Manifests) -> None:
    node = stage.supernode()
    registry.body = BODY.replace(b"[]", b"{}")
    urls = [stage.proxy("--registry", registry.url, host=host, nodes=(node,))[1] for host in (2, 3)]
    for url in urls:
        answer, body = get(url, PATH, Accept=ACCEPT)
        assert (answer.status, b"has sent other bytes than sha256:" in body) == (502, True)
    registry.body = BODY
    until(lambda: all(get(url, PATH, Accept=ACCEPT)[1] == BODY for url in urls), "the right manifest")


def test_manifests_are_served_despite_a_silent_supernode(stage: Scene, registry: Manifests) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = stage.proxy("--registry", registry.url, "-n", f"127.0.0.1:{silent.getsockname()[1]}")[1]
        assert get(url, PATH, Accept=ACCEPT)[1] == BODY


def test_a_manifest_whose_type_the_registry_does_not_state_to_head_is_requested_from_it(stage: Scene, registry: Manifests) -> None:
    """A redirect's Content-Type is not that of the manifest, and is often missing."""
    elsewhere = registry.scripts[PATH]
    registry.scripts |= {PATH: ok(b"", f"Location: /else{PATH}", status="307 Temporary Redirect"), f"/else{PATH}": elsewhere}
    url = stage.proxy("--registry", registry.url, nodes=(stage.supernode(),))[1]
    for _ in range(2):
        answer, _ = get(url, PATH, Accept=f"{ACCEPT}, */*")
        assert (answer.status, answer.headers["location"]) == (307, f"/else{PATH}")


def test_a_manifest_without_a_type_is_not_stored(stage: Scene) -> None:
    with Manifests() as registry:
        registry.scripts |= dict.fromkeys((PATH, "/v2/a/manifests/1"), ok(BODY))
        url = stage.proxy("--registry", registry.url)[1]
        for path in (PATH, "/v2/a/manifests/1"):
            answer, body = get(url, path)
            assert (answer.status, body, answer.headers["content-type"]) == (200, BODY, None)
    for path in (PATH, "/v2/a/manifests/1"):
        assert get(url, path)[0].status == 502


def test_types_may_be_accepted_in_several_fields(stage: Scene) -> None:
    """As Podman, Skopeo and CRI-O send them."""

    def asked(url: str, path: str) -> tuple[int, bytes]:
        line = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
        try:
            line.putrequest("GET", path)
            for kind in ("application/vnd.oci.image.index.v1+json", TYPE):
                line.putheader("Accept", kind)
            line.endheaders()
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    with Manifests() as registry:
        registry.scripts["/v2/a/manifests/1"] = ok(BODY, f"Content-Type: {TYPE}")
        url = stage.proxy("--registry", registry.url)[1]
        assert [get(url, path, Accept=ACCEPT)[1] for path in (PATH, "/v2/a/manifests/1")] == [BODY] * 2
        before = len(registry.asked)
        assert asked(url, PATH) == (200, BODY)
        assert len(registry.asked) == before
    for path in (PATH, "/v2/a/manifests/1"):
        assert asked(url, path) == (200, BODY)
