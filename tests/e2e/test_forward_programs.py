"""pip, apt-get, wget and git lfs through two hosts' forward proxies: each file is read once from its server."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from tests.e2e.certificates import Authority
from tests.e2e.proxies import TlsOrigin
from tests.e2e.scene import PATIENCE, Scene, Supernode
from tests.e2e.test_intercepting import ca_of
from tests.e2e.upstream import Asked, Upstream, ok

KIB = 1 << 10
PAGES = "default_type text/html;"
"""nginx options for files below /odd/."""


def run(command: list[str], proxy: str, cwd: Path, **more: str) -> None:
    """Run a command with this proxy in its environment, and no other settings of proxies, indexes and certificates."""
    env = {name: value for name, value in os.environ.items() if not re.search("(?i)_proxy$|^PIP_|^GIT_|CA_BUNDLE|CERT", name)}
    env |= {"http_proxy": proxy, "https_proxy": proxy, "HOME": str(cwd), "PIP_CONFIG_FILE": os.devnull, **more}
    done = subprocess.run(command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE * 3, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")


def old(path: Path) -> None:
    """Set the modification time to an hour ago: such a time identifies the version."""
    os.utime(path, (time.time() - 3600,) * 2)


def wheels(www: Path) -> dict[str, bytes]:
    """Write a package index below simple/ with three wheels; returns path -> content."""
    found = {}
    for number in range(3):
        name = f"df_test_{number}"
        path = www / "wheels" / f"{name}-1.0-py3-none-any.whl"
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}/data.bin", random.Random(number).randbytes((100 + number) * KIB))
            archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
        old(path)
        found[f"/wheels/{path.name}"] = path.read_bytes()
        page = www / "simple" / name.replace("_", "-") / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text(f'<!DOCTYPE html><html><body><a href="/wheels/{path.name}">{path.name}</a></body></html>')
    return found


def deb(www: Path) -> tuple[str, bytes]:
    """Write an apt repository of one package; returns the package's path and content."""
    tree = www.parent / "deb"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "data").write_bytes(random.Random(9).randbytes(150 * KIB))
    control = "Package: df-test\nVersion: 1.0\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: t\n"
    (tree / "DEBIAN" / "control").write_text(control)
    (www / "apt").mkdir()
    path = www / "apt" / "df-test_1.0_all.deb"
    subprocess.run(["dpkg-deb", "-Zgzip", "--root-owner-group", "-b", str(tree), str(path)], check=True, stdout=subprocess.DEVNULL)
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    packages = f"{control}Filename: ./{path.name}\nSize: {len(content)}\nSHA256: {sha256}\n\n".encode()
    (www / "apt" / "Packages").write_bytes(packages)
    digest = hashlib.sha256(packages).hexdigest()
    (www / "apt" / "Release").write_text(f"Date: Mon, 02 Nov 2026 00:00:00 UTC\nSHA256:\n {digest} {len(packages)} Packages\n")
    old(path)
    return f"/apt/{path.name}", content


def apt(url: str, proxy: str, folder: Path, ca: str) -> bytes:
    """The package that apt-get downloads; the system's own apt is not touched."""
    for each in ("state/lists/partial", "cache/archives/partial", "etc", "out"):
        (folder / each).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "sources").write_text(f"deb [trusted=yes] {url}/apt ./\n")
    options = {
        "Dir::State": folder / "state", "Dir::State::status": folder / "status", "Dir::Cache": folder / "cache", "Dir::Etc": folder / "etc",
        "Dir::Etc::SourceList": folder / "sources", "Dir::Etc::SourceParts": "/dev/null", "Dir::Log": folder, "APT::Sandbox::User": "root",
        "Acquire::http::Proxy": proxy, "Acquire::https::Proxy": proxy, "Acquire::https::CaInfo": ca, "Acquire::Languages": "none",
    }  # fmt: skip
    given = [text for name, value in options.items() for text in ("-o", f"{name}={value}")]
    run(["apt-get", "-qq", *given, "update"], proxy, folder / "out", APT_CONFIG="/dev/null")
    run(["apt-get", "-qq", *given, "download", "df-test"], proxy, folder / "out", APT_CONFIG="/dev/null")
    [path] = (folder / "out").glob("*.deb")
    return path.read_bytes()


def bytes_of(node: Supernode) -> int:
    return int(node.metric("dfengine_origin_bytes_total"))


def test_pip_apt_get_and_wget_of_two_hosts_read_each_package_once(stage: Scene, tmp_path: Path) -> None:
    """By http, and by https, which the proxies intercept."""
    plain = stage.origin(odd=PAGES)
    files = wheels(stage.www)
    path, package = deb(stage.www)
    authority = Authority(tmp_path)
    server = TlsOrigin(stage, *authority.issue("localhost", "DNS:localhost"), f"location /odd/ {{ alias {stage.www}/; {PAGES} }}")
    secret = f"https://localhost:{server.port}"
    node = stage.supernode()
    options = ("--cacerts", authority.ca, "--intercept", f"localhost:{server.port}")
    hosts = [(stage.proxy(*options, host=host, nodes=(node,))[1], ca_of(stage, tmp_path / f"{host}.pem", host)) for host in (2, 3)]
    for number, (proxy, ca) in enumerate(hosts):
        for url in (plain, secret):
            out = tmp_path / f"out-{number}-{url[:5]}"
            out.mkdir()
            run([sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--no-cache-dir", "--index-url",
                 f"{url}/odd/simple/", "-d", "wheels", *(f"df-test-{n}" for n in range(3))], proxy, out, PIP_CERT=ca)  # fmt: skip
            assert {f"/wheels/{each.name}": each.read_bytes() for each in (out / "wheels").iterdir()} == files
            if shutil.which("apt-get"):
                assert apt(url, proxy, out / "apt", ca) == package
            for name, content in files.items():
                run(["wget", "-q", "--ca-certificate", ca, "-O", "wget", url + name], proxy, out)
                assert (out / "wget").read_bytes() == content
    size = sum(map(len, files.values())) + (len(package) if shutil.which("apt-get") else 0)
    assert bytes_of(node) == 2 * size
    for name, content in files.items():
        assert stage.sent(name) == len(content)
        assert sum(int(each["sent"]) for each in server.requests() if each["path"] == name) == len(content)
    if shutil.which("apt-get"):
        assert stage.sent(path) == len(package)


def lfs_server(origin: Upstream, content: bytes) -> str:
    """Serve one object by the batch API of Git LFS; returns the server's URL."""
    oid = hashlib.sha256(content).hexdigest()

    def batch(sock: Any, asked: Asked) -> None:
        assert json.loads(asked.body)["objects"] == [{"oid": oid, "size": len(content)}]
        action = {"oid": oid, "size": len(content), "actions": {"download": {"href": f"http://lfs.test/store/{oid}"}}}
        ok(json.dumps({"transfer": "basic", "objects": [action]}).encode(), "Content-Type: application/vnd.git-lfs+json")(sock, asked)

    origin.scripts["/lfs/objects/batch"] = batch
    origin.scripts[f"/store/{oid}"] = ok(content, f'ETag: "{oid}"', "Accept-Ranges: bytes")
    return "http://lfs.test/lfs"


def test_git_lfs_of_two_hosts_reads_an_object_once(stage: Scene, tmp_path: Path) -> None:
    content = base64.b64encode(random.Random(3).randbytes(200 * KIB))
    node = stage.supernode()
    with Upstream() as origin:
        url = lfs_server(origin, content)
        # Go programs do not use a proxy for loopback addresses.
        (tmp_path / "rules.yml").write_text(f"- {{match: '^http://lfs.test/', redirect: '127.0.0.1:{origin.port}'}}\n")
        for host in (2, 3):
            proxy = stage.proxy("--rules", str(tmp_path / "rules.yml"), host=host, nodes=(node,))[1]
            clone = tmp_path / f"clone-{host}"
            clone.mkdir()
            (clone / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(content).hexdigest()}\nsize {len(content)}\n"
            (clone / "a.bin").write_text(pointer)
            for command in (
                ["init", "-q"], ["lfs", "install", "--local"], ["add", "."],
                ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "t"],
                ["-c", f"lfs.url={url}", "-c", "lfs.locksverify=false", "lfs", "pull"],
            ):  # fmt: skip
                run(["git", *command], proxy, clone, GIT_CONFIG_NOSYSTEM="1")
            assert (clone / "a.bin").read_bytes() == content
        assert bytes_of(node) == len(content)
        # A supernode that revalidates the object does not read it again.
        gets = [each for each in origin.asked if each.target.startswith("/store/") and each.method == "GET"]
        assert len([each for each in gets if "if-none-match" not in each.fields]) == 1
