"""Images pulled by the programs that pull images, each configured as its documentation says, through two hosts."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from images import CONTAINERD, MISSING, SKOPEO, Image, Registry
from scene import DFENGINE, MIB, PATIENCE, Scene, until
from upstream import Asked, Upstream, get, ok

SIZES = (9 * MIB, 5 * MIB + 1, 300_000, 1)


@pytest.fixture(autouse=True)
def programs() -> None:
    """They are part of what the README installs; the tests run as root, which containerd and podman need."""
    assert not MISSING, f"apt-get install docker-registry skopeo containerd: {MISSING} are missing"


def check(image: Image, found: dict[str, bytes]) -> None:
    """Every blob is there, byte by byte."""
    for digest, content in image.blobs.items():
        assert found.get(digest) == content, digest


def once(image: Image, registry: Registry) -> None:
    """Its blobs left the registry once; what was sent into a connection that was closed early is little for such sizes."""
    assert image.size <= registry.sent() <= image.size * 1.02 + MIB


def together(*calls: Any) -> None:
    """Run them at the same time; what one raises is raised here."""
    failed: list[BaseException] = []

    def run(call: Any) -> None:
        try:
            call()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE * 3)
    assert not failed, failed


def written(stage: Scene, registry: Registry, mirror: str) -> Path:
    """Where `hosts-toml` has written the configuration for registry.test."""
    folder = stage.path / f"etc-{urlsplit(mirror).port}"
    if not folder.exists():
        command = [*DFENGINE, "proxy", "hosts-toml", "--registry", f"registry.test={registry.url}", "--listen", urlsplit(mirror).netloc]
        subprocess.run([*command, "--write", str(folder)], check=True, capture_output=True, timeout=PATIENCE)
    return folder


def mirrored(stage: Scene, registry: Registry, mirror: str) -> str:
    """registries.conf for registry.test."""
    return (written(stage, registry, mirror) / "containers/registries.conf.d/50-dfengine.conf").read_text()


def skopeo(stage: Scene, mirror: str, registry: Registry, to: Path, *options: str) -> None:
    """Pull registry.test/app/x:1, whose mirror is this proxy."""
    conf = to.with_suffix(".conf")
    conf.write_text(mirrored(stage, registry, mirror))
    to.mkdir()
    command = [SKOPEO, "--insecure-policy", "--registries-conf", str(conf), "copy", *options, "docker://registry.test/app/x:1", f"dir:{to}"]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE * 2, check=False)
    assert done.returncode == 0, done.stderr.decode()


def copied(to: Path) -> dict[str, bytes]:
    return {f"sha256:{path.name}": path.read_bytes() for path in to.iterdir() if len(path.name) == 64}


def test_skopeo(stage: Scene) -> None:
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    node = stage.supernode()
    mirrors = [stage.proxy("--registry", f"registry.test={registry.url}", host=host, nodes=(node,))[1] for host in (2, 3)]
    together(*(lambda n=n, mirror=mirror: skopeo(stage, mirror, registry, stage.path / f"dir-{n}") for n, mirror in enumerate(mirrors)))
    for n in range(2):
        check(image, copied(stage.path / f"dir-{n}"))
    once(image, registry)


class Containerd:
    """One of its own root, state and socket, whose registry.test has `mirror`."""

    def __init__(self, stage: Scene, number: int, mirror: str, registry: Registry) -> None:
        self.path = path = stage.path / f"ctr-{number}"
        path.mkdir()
        self.hosts = written(stage, registry, mirror) / "containerd/certs.d"
        config = path / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{path}/root"\nstate = "{path}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\n  address = "{path}/sock"\n'
        )
        with open(path / "log", "wb") as log:
            self.process = subprocess.Popen([CONTAINERD, "-c", str(config)], stdout=log, stderr=log)
        stage._processes.append(self.process)
        until(lambda: subprocess.run([*self._ctr(), "version"], capture_output=True, timeout=20, check=False).returncode == 0, "containerd")

    def _ctr(self) -> list[str]:
        return ["ctr", "-a", f"{self.path}/sock"]

    def run(self, *words: str) -> bytes:
        """What `ctr` prints."""
        done = subprocess.run([*self._ctr(), *words], capture_output=True, timeout=PATIENCE * 2, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def pull(self, *words: str) -> None:
        self.run(*words, "--hosts-dir", str(self.hosts), "registry.test/app/x:1")

    def blobs(self, image: Image) -> dict[str, bytes]:
        return {digest: self.run("content", "get", digest) for digest in image.blobs}


def test_containerd(stage: Scene) -> None:
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    node = stage.supernode()
    mirrors = [stage.proxy("--registry", f"registry.test={registry.url}", host=host, nodes=(node,))[1] for host in (2, 3)]
    hosts = [Containerd(stage, n, mirror, registry) for n, mirror in enumerate(mirrors)]
    together(*(lambda host=host: host.pull("content", "fetch") for host in hosts))
    for host in hosts:
        check(image, host.blobs(image))
    once(image, registry)
    hosts[0].run("content", "rm", *image.blobs, image.digest)
    hosts[0].run("images", "rm", "registry.test/app/x:1")
    hosts[0].pull("images", "pull", "--snapshotter", "native")
    check(image, hosts[0].blobs(image))
    once(image, registry)


BASIC = """auth: {htpasswd: {realm: test, path: PATH}}
"""
WRITTEN = "user:$2y$05$YIYzetT1S6pES.7tpxZnLORTXlue72gUSsXwWXkMxXFH3F0XbEHji\n"
"""user, password"""


def test_a_registry_that_wants_a_password_and_then_stops(stage: Scene) -> None:
    """Two hosts with the right one share; a wrong one gets nothing, also of what is here."""
    users = stage.path / "users"
    users.write_text(WRITTEN)
    registry, image = Registry(stage, BASIC.replace("PATH", str(users))), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x", "--dest-creds", "user:password")
    node = stage.supernode()
    mirrors = [stage.proxy("--registry", f"registry.test={registry.url}", host=host, nodes=(node,))[1] for host in (2, 3)]
    hosts = [Containerd(stage, n, mirror, registry) for n, mirror in enumerate(mirrors)]
    with pytest.raises(AssertionError, match=r"401|authorization"):
        hosts[0].pull("content", "fetch", "--user", "user:wrong")
    together(*(lambda host=host: host.pull("content", "fetch", "--user", "user:password") for host in hosts))
    for host in hosts:
        check(image, host.blobs(image))
        host.run("content", "rm", *image.blobs, image.digest)
        host.run("images", "rm", "registry.test/app/x:1")
    once(image, registry)
    with pytest.raises(AssertionError, match=r"401|authorization"):
        hosts[1].pull("content", "fetch", "--user", "user:wrong")
    # It stops. Who was given it before still is; nobody else.
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


def test_pulls_go_on_while_the_registry_is_down(stage: Scene) -> None:
    """Also by a proxy that was killed and started again meanwhile."""
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


def test_a_supernode_that_is_killed_in_mid_pull(stage: Scene) -> None:
    registry, image = Registry(stage), Image(stage.path / "oci", (40 * MIB, 20 * MIB))
    registry.push(image, "app/x")
    node = stage.supernode()
    mirrors = [stage.proxy("--registry", f"registry.test={registry.url}", host=host, nodes=(node,))[1] for host in (2, 3)]

    def kill() -> None:
        until(lambda: registry.sent() or node.metric("dfengine_origin_bytes_total") > 8 * MIB, "bytes at the supernode")
        stage.kill(node.process)

    pulls = [lambda n=n, mirror=mirror: skopeo(stage, mirror, registry, stage.path / f"dir-{n}") for n, mirror in enumerate(mirrors)]
    together(kill, *pulls)
    for n in range(2):
        check(image, copied(stage.path / f"dir-{n}"))


def test_podman(stage: Scene) -> None:
    assert shutil.which("podman"), "apt-get install podman"
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    node = stage.supernode()
    for host in (2, 3):
        mirror = stage.proxy("--registry", f"registry.test={registry.url}", host=host, nodes=(node,))[1]
        conf = stage.path / f"podman-{host}.conf"
        conf.write_text(mirrored(stage, registry, mirror))
        folder = stage.path / f"podman-{host}"
        command = ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]
        policy = stage.path / "policy.json"
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        environment = {**os.environ, "CONTAINERS_REGISTRIES_CONF": str(conf), "HOME": str(stage.path)}
        pulled = subprocess.run([*command, "pull", "--signature-policy", str(policy), "registry.test/app/x:1"], capture_output=True,
                                timeout=PATIENCE * 2, env=environment, check=False)  # fmt: skip
        assert pulled.returncode == 0, pulled.stderr.decode()
        shown = subprocess.run([*command, "image", "inspect", "registry.test/app/x:1"], capture_output=True, timeout=PATIENCE,
                               env=environment, check=True)  # fmt: skip
        assert json.loads(shown.stdout)[0]["Digest"] == image.digest
    once(image, registry)


def test_what_hosts_toml_would_change(stage: Scene) -> None:
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
    """A server that gives tokens for a registry (the distribution project's token specification), another one each time."""

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
        if asked.method != "GET":  # by OAuth: clients try the other way then
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


def test_a_registry_that_wants_tokens(stage: Scene) -> None:
    """Each host has tokens of its own, and the registry's bytes are read once."""
    tokens = Tokens(stage)
    with tokens.server:
        registry, image = Registry(stage, tokens.config), Image(stage.path / "oci", SIZES)
        registry.push(image, "app/x", "--dest-creds", "user:password")
        node = stage.supernode()
        mirrors = [stage.proxy("--registry", f"registry.test={registry.url}", host=host, nodes=(node,))[1] for host in (2, 3)]
        hosts = [Containerd(stage, n, mirror, registry) for n, mirror in enumerate(mirrors)]
        before = len(tokens.given)
        together(*(lambda host=host: host.pull("content", "fetch", "--user", "user:password") for host in hosts))
        for host in hosts:
            check(image, host.blobs(image))
        once(image, registry)
        assert len(tokens.given) >= before + 2
        hosts[1].run("content", "rm", *image.blobs, image.digest)
        hosts[1].run("images", "rm", "registry.test/app/x:1")
        with pytest.raises(AssertionError, match=r"401|403|authorization|insufficient"):
            hosts[1].pull("content", "fetch", "--user", "user:wrong")


def test_a_dfdaemon_that_becomes_a_proxy(stage: Scene) -> None:
    """By the file that it had."""
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
