"""An image in an OCI layout, a docker-registry that keeps it, and what that was asked for."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.e2e.scene import DFENGINE, MIB, PATIENCE, Scene, Supernode, free_port, until

REGISTRY = shutil.which("docker-registry") or "/usr/bin/docker-registry"
SKOPEO = shutil.which("skopeo") or "/usr/bin/skopeo"
CONTAINERD = shutil.which("containerd") or "/usr/bin/containerd"
MISSING = [name for name in ("docker-registry", "skopeo", "containerd", "podman", "buildah") if not shutil.which(name)]
"""They are part of what README.md has installed; the tests run as root, which most of these programs need."""

SIZES = (9 * MIB, 5 * MIB + 1, 300_000, 1)
"""Of an image's layers before they are compressed."""


class Image:
    """Layers of these sizes, in an OCI layout at `path`. blobs: digest -> content, of config and layers."""

    def __init__(self, path: Path, sizes: tuple[int, ...], seed: int = 1) -> None:
        import random

        self.path = path
        (path / "blobs" / "sha256").mkdir(parents=True)
        generator = random.Random(seed)
        self.blobs: dict[str, bytes] = {}
        layers = []
        diffs = []
        for n, size in enumerate(sizes):
            tar = self._tar(f"layer-{n}", generator.randbytes(size))
            diffs.append(f"sha256:{hashlib.sha256(tar).hexdigest()}")
            # What is not compressed would be by whoever pushes it.
            layers.append(self._keep(gzip.compress(tar, 1, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip"))
        rootfs = {"type": "layers", "diff_ids": diffs}
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs, "config": {}}).encode()
        described = self._keep(config, "application/vnd.oci.image.config.v1+json")
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": described, "layers": layers,
        }).encode()  # fmt: skip
        self.manifest = self._keep(manifest, "application/vnd.oci.image.manifest.v1+json")
        self.digest = str(self.manifest["digest"])
        self.blobs.pop(self.digest)
        tagged = {**self.manifest, "annotations": {"org.opencontainers.image.ref.name": "1"}}
        (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [tagged]}))
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(map(len, self.blobs.values()))

    @staticmethod
    def _tar(name: str, content: bytes) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        return out.getvalue()

    def _keep(self, content: bytes, media_type: str) -> dict[str, str | int]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        (self.path / "blobs" / "sha256" / digest.partition(":")[2]).write_bytes(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}


class Registry:
    """A docker-registry of this scene. more: of its configuration. storage: where it keeps blobs, as YAML, "" for a directory."""

    def __init__(self, stage: Scene, more: str = "", storage: str = "") -> None:
        self.stage = stage
        self.place = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.place}"
        self._log = stage.path / f"registry-{self.place}.log"
        self._config = stage.path / f"registry-{self.place}.yml"
        storage = storage or f"filesystem: {{rootdirectory: {stage.path}/registry-{self.place}}}"
        self._config.write_text(
            f"version: 0.1\nlog: {{accesslog: {{disabled: false}}, level: error}}\n"
            f"storage: {{{storage}}}\nhttp: {{addr: '{self.place}'}}\n{more}"
        )
        self.start()

    def start(self) -> None:
        """Also again, after `stop`."""
        import socket

        # Its client of S3 ends with a panic where the environment names certificates.
        environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen([REGISTRY, "serve", str(self._config)], stdout=log, stderr=log, env=environment)
        self.stage._processes.append(self.process)
        host, _, port = self.place.rpartition(":")

        def listening() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) == 0

        until(listening, "a registry listening")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def push(self, image: Image, name: str, *options: str) -> None:
        """By skopeo, as NAME:1."""
        command = [SKOPEO, "--insecure-policy", "copy", "--dest-tls-verify=false", *options]
        subprocess.run([*command, f"oci:{image.path}:1", f"docker://{self.place}/{name}:1"], check=True, capture_output=True, timeout=120)

    def asked(self) -> list[tuple[str, str, int, int]]:
        """(method, path, status, bytes of the body) of each answer so far."""
        found = re.findall(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d+) (\d+)', self._log.read_text())
        return [(method, path, int(status), int(sent)) for method, path, status, sent in found]

    def sent(self, program: str = "") -> int:
        """Bytes of blobs; program: to those whose User-Agent begins so."""
        found = re.findall(rf'"GET \S+/blobs/\S+ HTTP/[\d.]+" \d+ (\d+) "[^"]*" "{program}', self._log.read_text())
        return sum(map(int, found))


def two_mirrors(stage: Scene, registry: Registry, node: Supernode, *options: str) -> list[str]:
    """The URLs of the proxies of two hosts, for which the registry is registry.test."""
    return [stage.proxy("--registry", f"registry.test={registry.url}", *options, host=host, nodes=(node,))[1] for host in (2, 3)]


def check(image: Image, found: dict[str, bytes]) -> None:
    """Every blob is there, byte by byte."""
    for digest, content in image.blobs.items():
        assert found.get(digest) == content, digest


def once(image: Image, registry: Registry) -> None:
    """Its blobs left the registry once; what was sent into a connection that was closed early is little for such sizes."""
    until(lambda: registry.sent() >= image.size, "the registry's log of its last response")
    assert registry.sent() <= image.size * 1.02 + MIB


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

    def forget(self, image: Image) -> None:
        """Remove all that it has of the image."""
        self.run("content", "rm", *image.blobs, image.digest)
        self.run("images", "rm", "registry.test/app/x:1")
