"""An image in an OCI layout, a docker-registry that keeps it, and what that was asked for."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from scene import Scene, free_port, until

REGISTRY = shutil.which("docker-registry") or "/usr/bin/docker-registry"
SKOPEO = shutil.which("skopeo") or "/usr/bin/skopeo"
CONTAINERD = shutil.which("containerd") or "/usr/bin/containerd"
MISSING = [each for each in (REGISTRY, SKOPEO, CONTAINERD) if not Path(each).exists()]


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
    """A docker-registry of this scene. more: of its configuration."""

    def __init__(self, stage: Scene, more: str = "") -> None:
        self.stage = stage
        self.place = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.place}"
        self._log = stage.path / f"registry-{self.place}.log"
        self._config = stage.path / f"registry-{self.place}.yml"
        self._config.write_text(
            f"version: 0.1\nlog: {{accesslog: {{disabled: false}}, level: error}}\n"
            f"storage: {{filesystem: {{rootdirectory: {stage.path}/registry-{self.place}}}}}\nhttp: {{addr: '{self.place}'}}\n{more}"
        )
        self.start()

    def start(self) -> None:
        """Also again, after `stop`."""
        import socket

        with open(self._log, "ab") as log:
            self.process = subprocess.Popen([REGISTRY, "serve", str(self._config)], stdout=log, stderr=log)
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

    def sent(self) -> int:
        """Bytes of blobs."""
        return sum(sent for method, path, _, sent in self.asked() if method == "GET" and "/blobs/" in path)
