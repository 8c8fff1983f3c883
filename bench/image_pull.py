"""An image of many layers to N hosts at once through shaped links, pulled by skopeo from each host's `dfengine proxy`.

    python -m bench.image_pull [--hosts N] [--rate MBIT] [--size MIB] [--layers N] [--repeats N] [--direct] [--json]

skopeo writes an OCI layout, so it reads up to six layers at a time; into a directory it would read them one after the other. Each host is a
network namespace (bench.hosts) with a proxy and a skopeo that is configured by `dfengine proxy hosts-toml`. The registry's link is not
shaped, the supernode's is, and the supernode has no part of the image when a run begins. The bound is F/c: F bytes of all blobs, c the rate
of one curl through the same link in the same run. --direct: without proxies, from the registry behind a shaped link.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.hosts import Hosts
from bench.stage import DFENGINE, GB, MIB, machine, median, stop_peer, table
from bench.swarm import Account, busy, link_rate

REGISTRY = shutil.which("docker-registry") or "/usr/bin/docker-registry"
SKOPEO = shutil.which("skopeo") or "/usr/bin/skopeo"
NAME = "registry.test"
LIMIT = 300.0
"""Time limit of a run in seconds."""


def image(path: Path, size: int, layers: int) -> int:
    """Make an OCI layout of about `size` bytes at `path`, each layer a little smaller than the previous; return the bytes of its blobs."""
    folder = path / "blobs" / "sha256"
    folder.mkdir(parents=True)
    total = 0

    def keep(content: bytes, kind: str) -> dict[str, str | int]:
        nonlocal total
        total += len(content)
        digest = hashlib.sha256(content).hexdigest()
        (folder / digest).write_bytes(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    weights = [2 * (layers - n) for n in range(layers)]
    made = [keep(gzip.compress(os.urandom(size * weight // sum(weights)), 0, mtime=0), "layer.v1.tar+gzip") for weight in weights]
    rootfs = {"type": "layers", "diff_ids": [each["digest"] for each in made]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    described = keep(json.dumps(config).encode(), "config.v1+json")
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = keep(json.dumps({"schemaVersion": 2, "mediaType": kind, "config": described, "layers": made}).encode(), "manifest.v1+json")
    tagged = {**manifest, "annotations": {"org.opencontainers.image.ref.name": "1"}}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [tagged]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return total - int(manifest["size"])


class Pull:
    """One run in the directory `path`. account: CPU by role."""

    def __init__(self, net: Hosts, path: Path, hosts: list[str]) -> None:
        self.net, self.path, self.hosts = net, path, hosts
        self.account = Account()
        self.servers: list[tuple[subprocess.Popen[bytes], str]] = []
        self.place = f"{net.address('registry')}:5000"

    def start(self, host: str, role: str, *words: str, ready: bool = True) -> None:
        """Start a server. ready: wait for its message on stdout."""
        with (self.path / f"{role}.log").open("ab") as log:
            process = subprocess.Popen(self.net.command(host, words), stdout=subprocess.PIPE if ready else log, stderr=log,
                                       start_new_session=True)  # fmt: skip
        self.servers.append((process, role))
        if ready:
            assert process.stdout is not None
            if not process.stdout.readline().startswith(b"ready"):
                raise RuntimeError(f"the {role} of {host} does not start")

    def registry(self) -> None:
        """Start the registry with the image of `path`/oci."""
        config = self.path / "registry.yml"
        config.write_text(f"version: 0.1\nlog: {{accesslog: {{disabled: false}}, level: error}}\nhttp: {{addr: '{self.place}'}}\n"
                          f"storage: {{filesystem: {{rootdirectory: {self.path}/registry}}}}\n")  # fmt: skip
        self.start("registry", "registry", REGISTRY, "serve", str(config), ready=False)
        push = [SKOPEO, "--insecure-policy", "copy", "--dest-tls-verify=false", f"oci:{self.path}/oci:1", f"docker://{self.place}/app/x:1"]
        end = time.monotonic() + 20
        while subprocess.run(self.net.command("registry", push), capture_output=True, check=False).returncode:
            if time.monotonic() > end:
                raise RuntimeError("the image cannot be pushed")
            time.sleep(0.1)

    def sent(self) -> int:
        """Bytes of blobs that the registry has sent."""
        found = re.findall(r'"GET \S+/blobs/\S+ HTTP/[\d.]+" \d+ (\d+)', (self.path / "registry.log").read_text())
        return sum(map(int, found))

    def proxies(self, options: list[str]) -> None:
        """Start a supernode, and a proxy on each host."""
        node = self.net.address("node")
        self.start("node", "supernode", *DFENGINE, "supernode", "--host", node, "--advertise-ip", node,
                   "--home-dir", str(self.path / "supernode"))  # fmt: skip
        known = f"{NAME}=http://{self.place}"
        for host in self.hosts:
            self.start(host, "proxy", *DFENGINE, "proxy", "--registry", known, "-n", node, "--ip", self.net.address(host),
                       "--home", str(self.path / f"home-{host}"), *options)  # fmt: skip
        subprocess.run([*DFENGINE, "proxy", "hosts-toml", "--registry", known, "--write", str(self.path / "etc")], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip

    def together(self, direct: bool) -> list[float]:
        """Pull on all hosts: seconds until each host had the whole image."""
        conf = self.path / "etc/containers/registries.conf.d/50-dfengine.conf"
        if direct:
            conf = self.path / "direct.conf"
            conf.write_text(f'[[registry]]\nprefix = "{NAME}"\nlocation = "{self.place}"\ninsecure = true\n')
        begun, running = time.monotonic(), {}
        for host in self.hosts:
            words = [SKOPEO, "--insecure-policy", "--registries-conf", str(conf), "copy", "-q", f"docker://{NAME}/app/x:1",
                     f"oci:{self.path}/{host}:1"]  # fmt: skip
            running[host] = subprocess.Popen(self.net.command(host, words), start_new_session=True)
        seconds = []
        try:
            while running:
                for host, process in list(running.items()):
                    if self.account.ended(process, "skopeo"):
                        del running[host]
                        seconds.append(time.monotonic() - begun)
                        if process.returncode:
                            raise RuntimeError(f"skopeo of {host} ended with {process.returncode}")
                if time.monotonic() - begun > LIMIT:
                    raise RuntimeError(f"not finished within {LIMIT:g} seconds")
                time.sleep(0.005)
        finally:
            for process in running.values():
                os.kill(process.pid, signal.SIGKILL)
                self.account.ended(process, "skopeo", wait=True)
        return seconds

    def close(self) -> None:
        """End the servers."""
        for host in self.hosts:
            stop_peer(self.path / f"home-{host}")
        for process, role in reversed(self.servers):
            os.kill(process.pid, signal.SIGTERM)
            self.account.ended(process, role, wait=True)
            if process.stdout is not None:
                process.stdout.close()
        self.account.rest("peer server", self.net.watch.pid)


def measure(count: int, rate: int, size: int, layers: int, direct: bool, options: list[str]) -> tuple[list[float], dict[str, float]]:
    """One run: (c in MB/s, last and median host over F/c, registry bytes / F, bytes of the supernode's link / F, CPU s/GB, share of cores)
    and CPU seconds by role."""
    path = Path(tempfile.mkdtemp(prefix="dfimage-", dir="/dev/shm"))
    try:
        (path / "www").mkdir()
        with (path / "www" / "probe").open("wb") as out:
            out.truncate(32 * MIB)
        whole = image(path / "oci", size, layers)
        hosts = [f"h{n}" for n in range(count)]
        with Hosts(["registry", "node", *hosts], [rate if direct else 0, *[rate] * (count + 1)]) as net:
            c = link_rate(net, path, "node", hosts[0])
            pull = Pull(net, path, hosts)
            try:
                pull.registry()
                if not direct:
                    pull.proxies(options)
                before, busy_before = net.carried(), busy()
                seconds = pull.together(direct)
                used, passed = (then - since for then, since in zip(busy(), busy_before, strict=True))
                by_node = net.carried()["node"][0] - before["node"][0]
                sent = pull.sent()
            finally:
                pull.close()
            wrong = [host for host in hosts if not same(path / "oci/blobs/sha256", path / host / "blobs/sha256")]
            if wrong:
                raise RuntimeError(f"{', '.join(wrong)} has another image")
        cpu = pull.account.seconds
        over = sorted(each / (whole / c) for each in seconds)
        gigabytes = count * whole / GB
        return [c / 1e6, over[-1], median(over), sent / whole, by_node / whole, sum(cpu.values()) / gigabytes, used / passed], cpu
    finally:
        shutil.rmtree(path, ignore_errors=True)


def same(blobs: Path, found: Path) -> bool:
    """Whether each blob is there, with its sha256."""
    named = {each.name for each in found.iterdir()}
    for name in named:
        with (found / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != name:
                return False
    return {each.name for each in blobs.iterdir()} == named


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=8)
    parser.add_argument("--rate", type=int, default=200, help="Mbit/s each way")
    parser.add_argument("--size", type=int, default=256, help="MiB")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--direct", action="store_true")
    parser.add_argument("--options", default="", help="further flags of the proxies")
    given = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench.image_pull makes network namespaces: run it as root")
    print(machine("a namespace per host, reno"))
    print(f"{given.size} MiB in {given.layers} layers, median (worst) of {given.repeats}\n")
    laps = []
    for _ in range(given.repeats):
        load = os.getloadavg()[0]
        numbers, cpu = measure(given.hosts, given.rate, given.size * MIB, given.layers, given.direct, given.options.split())
        laps.append(numbers)
        roles = ", ".join(f"{role} {seconds:.2f}" for role, seconds in cpu.items())
        print(f"{' '.join(f'{number:.3g}' for number in numbers)}; load {load:.1f}; CPU s: {roles}", flush=True)
    head = ["hosts", "Mbit/s", "c MB/s", "last / (F/c)", "median / (F/c)", "registry sent / F", "supernode sent / F", "CPU s/GB",
            "of all cores"]  # fmt: skip
    columns = [f"{median(column):.3g} ({max(column):.3g})" for column in zip(*laps, strict=True)]
    print("\n" + table(head, [[f"{given.hosts}", f"{given.rate}", *columns]]))


if __name__ == "__main__":
    main()
