"""Images pulled through two hosts by container programs, each configured as its documentation says."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import socket
import subprocess
import time
from urllib.parse import unquote

import pytest

from tests.e2e.images import MISSING, SIZES, Containerd, Image, Registry, check, copied, once, skopeo, together, two_mirrors
from tests.e2e.scene import DFENGINE, MIB, PATIENCE, Scene, until
from tests.e2e.upstream import Asked, Upstream, get, ok


@pytest.fixture(autouse=True)
def programs() -> None:
    assert not MISSING, f"apt-get install {' '.join(MISSING)}"


def test_skopeo_pulls_an_image_once_through_two_mirrors(stage: Scene) -> None:
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    node = stage.supernode()
    mirrors = two_mirrors(stage, registry, node)
    together(*(lambda n=n, mirror=mirror: skopeo(stage, mirror, registry, stage.path / f"dir-{n}") for n, mirror in enumerate(mirrors)))
    for n in range(2):
        check(image, copied(stage.path / f"dir-{n}"))
    once(image, registry)


def test_containerd_pulls_an_image_once_through_two_mirrors(stage: Scene) -> None:
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    node = stage.supernode()
    mirrors = two_mirrors(stage, registry, node)
    hosts = [Containerd(stage, n, mirror, registry) for n, mirror in enumerate(mirrors)]
    fetch, pull = ("content", "fetch"), ("images", "pull", "--snapshotter", "native")
    together(lambda: hosts[0].pull(*fetch), lambda: hosts[1].pull(*pull))
    for host in hosts:
        check(image, host.blobs(image))
        host.forget(image)
    once(image, registry)
    # Pull again: all blobs are on the proxies' disks.
    together(lambda: hosts[0].pull(*pull), lambda: hosts[1].pull(*fetch))
    for host in hosts:
        check(image, host.blobs(image))
    once(image, registry)


BASIC = """auth: {htpasswd: {realm: test, path: PATH}}
"""
HTPASSWD = "user:$2y$05$YIYzetT1S6pES.7tpxZnLORTXlue72gUSsXwWXkMxXFH3F0XbEHji\n"
"""user, password"""


def test_images_behind_a_password_are_shared_only_with_clients_that_have_it(stage: Scene) -> None:
    """Two hosts with the right password share. A wrong one is refused, also for blobs on disk and while the registry is down."""
    users = stage.path / "users"
    users.write_text(HTPASSWD)
    registry, image = Registry(stage, BASIC.replace("PATH", str(users))), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x", "--dest-creds", "user:password")
    node = stage.supernode()
    mirrors = two_mirrors(stage, registry, node)
    hosts = [Containerd(stage, n, mirror, registry) for n, mirror in enumerate(mirrors)]
    with pytest.raises(AssertionError, match=r"401|authorization"):
        hosts[0].pull("content", "fetch", "--user", "user:wrong")
    together(*(lambda host=host: host.pull("content", "fetch", "--user", "user:password") for host in hosts))
    for host in hosts:
        check(image, host.blobs(image))
        host.forget(image)
    once(image, registry)
    with pytest.raises(AssertionError, match=r"401|authorization"):
        hosts[1].pull("content", "fetch", "--user", "user:wrong")
    # The registry stops. Credentials that it accepted before are still served, all others are refused.
    registry.stop()
    token = base64.b64encode(b"user:password").decode()
    asked = functools.partial(get, mirrors[0], "/v2/app/x/manifests/1?ns=registry.test")
    answer, body = asked(Authorization=f"Basic {token}")
    assert (answer.status, digest(body)) == (200, image.digest)
    assert "registry does not answer" in answer.headers["warning"]
    assert asked(Authorization="Basic wrong")[0].status == 502
    assert asked()[0].status == 502
    blob = f"/v2/app/x/blobs/{next(iter(image.blobs))}?ns=registry.test"
    assert get(mirrors[0], blob, Authorization=f"Basic {token}")[1] == next(iter(image.blobs.values()))
    assert get(mirrors[0], blob)[0].status == 502
    registry.start()
    hosts[0].pull("content", "fetch", "--user", "user:password")
    check(image, hosts[0].blobs(image))


def test_pulls_are_served_from_disk_while_the_registry_is_down(stage: Scene) -> None:
    """Also by a proxy that was killed and restarted meanwhile."""
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    process, mirror = stage.proxy("--registry", f"registry.test={registry.url}")
    skopeo(stage, mirror, registry, stage.path / "first")
    kept = stage.path / "home-2" / "blobs"
    until(lambda: len(list(kept.iterdir())) == len(image.blobs), "all blobs on the disk")
    registry.stop()
    skopeo(stage, mirror, registry, stage.path / "second")
    check(image, copied(stage.path / "second"))
    stage.kill(process)
    _, mirror = stage.proxy("--registry", f"registry.test={registry.url}")
    answer, body = get(mirror, "/v2/app/x/manifests/1")
    assert (answer.status, digest(body)) == (200, image.digest)
    answer, _ = get(mirror, f"/v2/app/x/manifests/{image.digest}", "HEAD")
    assert (answer.status, answer.headers["content-length"]) == (200, str(len(body)))
    assert answer.headers["docker-content-digest"] == image.digest
    assert answer.headers["content-type"] == image.manifest["mediaType"]
    assert get(mirror, "/v2/app/x/manifests/2")[0].status == 502


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def test_pulls_complete_after_their_supernode_is_killed(stage: Scene) -> None:
    registry, image = Registry(stage), Image(stage.path / "oci", (40 * MIB, 20 * MIB))
    registry.push(image, "app/x")
    node = stage.supernode()
    mirrors = two_mirrors(stage, registry, node)

    def kill() -> None:
        until(lambda: registry.sent() or node.metric("dfengine_origin_bytes_total") > 8 * MIB, "bytes at the supernode")
        stage.kill(node.process)

    pulls = [lambda n=n, mirror=mirror: skopeo(stage, mirror, registry, stage.path / f"dir-{n}") for n, mirror in enumerate(mirrors)]
    together(kill, *pulls)
    for n in range(2):
        check(image, copied(stage.path / f"dir-{n}"))


def test_hosts_toml_previews_and_writes_changes_and_keeps_foreign_files(stage: Scene) -> None:
    folder = stage.path / "etc"

    def told(*options: str, status: int = 0) -> str:
        command = [*DFENGINE, "proxy", "hosts-toml", "--registry", "https://r.io", *options]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode == status, done.stderr.decode()
        return done.stdout.decode() + done.stderr.decode()

    assert "nothing is written" in told()
    assert told("--write", str(folder)).count(": new\n") == 3
    assert told("--write", str(folder)).count("is as it should be") == 3
    assert told("--write", str(folder), "--listen", "127.0.0.1:1234").count(": changed\n") == 3
    own = folder / "containerd/certs.d/r.io/hosts.toml"
    own.write_text("# mine\n")
    assert "not replaced" in told("--write", str(folder), status=7)
    assert own.read_text() == "# mine\n"
    empty = subprocess.run([*DFENGINE, "proxy", "hosts-toml"], capture_output=True, timeout=PATIENCE, check=False)
    assert (empty.returncode, b"--registry" in empty.stderr) == (2, True)


class Tokens:
    """A token server for a registry (the distribution project's token specification); it issues a new token for each request."""

    def __init__(self, stage: Scene) -> None:
        import datetime

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.x509.oid import NameOID

        self._key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
        now = datetime.datetime.now(datetime.UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key()).serial_number(1)
        made = made.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
        cert = made.sign(self._key, hashes.SHA256())
        self._x5c = base64.b64encode(cert.public_bytes(serialization.Encoding.DER)).decode()
        self.bundle = stage.path / "tokens.pem"
        self.bundle.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        self.given: set[str] = set()
        self.server = Upstream()
        self.server.scripts["/token"] = self._give
        self.config = (
            f"auth: {{token: {{realm: '{self.server.url}/token', service: test, issuer: tests, rootcertbundle: '{self.bundle}'}}}}\n"
        )

    def _give(self, sock: socket.socket, asked: Asked) -> None:
        if asked.method != "GET":  # OAuth; clients then try GET
            ok(b"", status="405 Method Not Allowed")(sock, asked)
            return
        query = dict(part.split("=", 1) for part in unquote(asked.target.partition("?")[2]).split("&") if "=" in part)
        kind, _, rest = query.get("scope", "").partition(":")
        name, _, actions = rest.rpartition(":")
        right = asked.fields.get("authorization") == "Basic " + base64.b64encode(b"user:password").decode()
        access = [{"type": kind, "name": name, "actions": actions.split(",")}] if kind and right else []
        now = int(time.time())
        payload = {"iss": "tests", "sub": "user", "aud": "test", "exp": now + 300, "nbf": now - 60, "iat": now,
                   "jti": f"{len(self.given)}", "access": access}  # fmt: skip
        token = self._signed({"typ": "JWT", "alg": "RS256", "x5c": [self._x5c]}, payload)
        self.given.add(token)
        ok(json.dumps({"token": token, "access_token": token, "expires_in": 300}).encode(), "Content-Type: application/json")(sock, asked)

    def _signed(self, *parts: object) -> str:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_hosts_with_different_registry_tokens_read_an_image_once(stage: Scene) -> None:
    """A pull with a wrong password is refused afterwards, although the blobs are on disk."""
    tokens = Tokens(stage)
    with tokens.server:
        registry, image = Registry(stage, tokens.config), Image(stage.path / "oci", SIZES)
        registry.push(image, "app/x", "--dest-creds", "user:password")
        node = stage.supernode()
        mirrors = two_mirrors(stage, registry, node)
        hosts = [Containerd(stage, n, mirror, registry) for n, mirror in enumerate(mirrors)]
        before = len(tokens.given)
        together(*(lambda host=host: host.pull("content", "fetch", "--user", "user:password") for host in hosts))
        for host in hosts:
            check(image, host.blobs(image))
        once(image, registry)
        assert len(tokens.given) >= before + 2
        hosts[1].forget(image)
        with pytest.raises(AssertionError, match=r"401|403|authorization|insufficient"):
            hosts[1].pull("content", "fetch", "--user", "user:wrong")


def test_the_proxy_serves_a_registry_mirror_of_a_dfdaemon_configuration(stage: Scene) -> None:
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    node = stage.supernode()
    path = stage.path / "dfdaemon.yml"
    flags = f'dfget_flags: ["--node", "{node.node}"]\n'
    path.write_text(f"registry_mirror:\n  remote: {registry.url}\n{flags}proxies:\n- regx: blobs/sha256.*\n")
    mirror = stage.proxy("--dfdaemon", str(path))[1]
    for digest, content in image.blobs.items():
        assert get(mirror, f"/v2/app/x/blobs/{digest}")[1] == content
    assert node.metric("dfengine_origin_bytes_total") == image.size
