"""Images pulled through two hosts by podman, buildah and ORAS, from a registry on an object store, and past a killed proxy."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.e2e.images import MISSING, SIZES, Containerd, Image, Registry, check, copied, mirrored, once, skopeo, together, two_mirrors
from tests.e2e.scene import MIB, PATIENCE, Scene, until
from tests.e2e.stores import ENVIRONMENT, Gate, moto


@pytest.fixture(autouse=True)
def programs() -> None:
    assert not MISSING, f"apt-get install {' '.join(MISSING)}"


def ran(*command: str, **environment: str) -> bytes:
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE * 2, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("program", ["podman", "buildah"])
def test_podman_and_buildah_pull_an_image_once_through_two_mirrors(stage: Scene, program: str) -> None:
    registry, image = Registry(stage), Image(stage.path / "oci", SIZES)
    registry.push(image, "app/x")
    policy = stage.path / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')

    def pull(n: int, mirror: str) -> None:
        conf, folder = stage.path / f"registries-{n}.conf", stage.path / f"storage-{n}"
        conf.write_text(mirrored(stage, registry, mirror))
        command = [program, "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]
        environment = {"CONTAINERS_REGISTRIES_CONF": str(conf), "HOME": str(stage.path)}
        ran(*command, "pull", "--signature-policy", str(policy), "registry.test/app/x:1", **environment)
        if program == "podman":
            shown = json.loads(ran(*command, "image", "inspect", "registry.test/app/x:1", **environment))
            assert shown[0]["Digest"] == image.digest
        else:
            shown = json.loads(ran(*command, "inspect", "--type", "image", "registry.test/app/x:1", **environment))
            assert shown["FromImageDigest"] == image.digest

    together(*(lambda n=n, mirror=mirror: pull(n, mirror) for n, mirror in enumerate(two_mirrors(stage, registry, stage.supernode()))))
    once(image, registry)


ORAS = """
import sys
from oras.client import OrasClient
verb, place, *rest = sys.argv[1:]
client = OrasClient(hostname=place.partition("/")[0], insecure=True)
if verb == "push":
    client.push(target=place, files=rest, disable_path_validation=True)
else:
    client.pull(target=place, outdir=rest[0])
"""


def test_oras_pushes_through_the_proxy_and_pulls_each_blob_once(stage: Scene) -> None:
    """ORAS does not support mirrors: the proxy is its registry, and passes pushes on."""
    registry = Registry(stage)
    made = {f"file-{n}": os.urandom(size) for n, size in enumerate(SIZES)}
    for name, content in made.items():
        (stage.path / name).write_bytes(content)

    def oras(verb: str, url: str, *rest: str) -> None:
        ran(sys.executable, "-c", ORAS, verb, f"{url.removeprefix('http://')}/app/x:1", *rest, HOME=str(stage.path))

    mirrors = two_mirrors(stage, registry, stage.supernode())
    oras("push", mirrors[0], *(str(stage.path / name) for name in made))
    together(*(lambda n=n, mirror=mirror: oras("pull", mirror, str(stage.path / f"out-{n}")) for n, mirror in enumerate(mirrors)))
    size = sum(map(len, made.values()))
    for n in range(2):
        assert {path.name: path.read_bytes() for path in (stage.path / f"out-{n}").rglob("*") if path.is_file()} == made
    until(lambda: registry.sent() >= size, "the registry's log of its last response")
    assert registry.sent() <= size * 1.02 + MIB


def test_proxies_follow_a_registrys_redirects_to_s3_and_read_the_store_once(stage: Scene) -> None:
    """The registry redirects to URLs with a new signature each time."""
    image = Image(stage.path / "oci", SIZES)
    with moto() as store, Gate(store) as gate:
        import boto3

        keys = ENVIRONMENT["AWS_ACCESS_KEY_ID"], ENVIRONMENT["AWS_SECRET_ACCESS_KEY"]
        client = boto3.client("s3", endpoint_url=store, aws_access_key_id=keys[0], aws_secret_access_key=keys[1], region_name="us-east-1")
        client.create_bucket(Bucket="images")

        def registry(endpoint: str) -> Registry:
            return Registry(stage, storage=f"s3: {{region: us-east-1, regionendpoint: '{endpoint}', bucket: images, accesskey: {keys[0]}, "
                                           f"secretkey: {keys[1]}, secure: false, v4auth: true, rootdirectory: /}}")  # fmt: skip

        registry(store).push(image, "app/x")
        reads = registry(gate.url)
        mirrors = two_mirrors(stage, reads, stage.supernode())
        hosts = [Containerd(stage, 0, mirrors[0], reads)]
        together(lambda: hosts[0].pull("content", "fetch"), lambda: skopeo(stage, mirrors[1], reads, stage.path / "dir"))
        check(image, hosts[0].blobs(image))
        check(image, copied(stage.path / "dir"))
        signed = [(query["X-Amz-Signature"][0], sent) for _, query, _, _, sent in gate.asked if "X-Amz-Signature" in query]
        assert image.size <= sum(sent for _, sent in signed) <= image.size * 1.02 + MIB
        assert len({signature for signature, _ in signed}) > 1
        assert reads.sent() == 0 or all(status == 307 for _, path, status, _ in reads.asked() if "/blobs/" in path)


def test_a_proxy_killed_during_a_pull_resumes_from_its_disk_after_a_restart(stage: Scene) -> None:
    """containerd continues at the registry; the next pulls of both hosts use the restarted proxy and the bytes on its disk."""
    registry, image = Registry(stage), Image(stage.path / "oci", (40 * MIB, 20 * MIB))
    registry.push(image, "app/x")
    node = stage.supernode()
    options = ("--registry", f"registry.test={registry.url}", "--locallimit", "16M")
    process, mirror = stage.proxy(*options, nodes=(node,))
    host = Containerd(stage, 0, mirror, registry)

    def kill() -> None:
        until(lambda: node.metric("dfengine_sent_bytes_total") > 8 * MIB, "pieces at the proxy")
        stage.kill(process)

    together(kill, lambda: host.pull("content", "fetch"))
    check(image, host.blobs(image))
    host.forget(image)
    stage.proxy(*options, "--listen", mirror.removeprefix("http://"), nodes=(node,))
    other = stage.proxy(*options, host=3, nodes=(node,))[1]
    together(lambda: host.pull("content", "fetch"), lambda: skopeo(stage, other, registry, stage.path / "dir"))
    check(image, host.blobs(image))
    check(image, copied(stage.path / "dir"))
    assert image.size <= registry.sent("dfengine") <= image.size * 1.02 + MIB
