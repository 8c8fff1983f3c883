"""The forward proxy: one stream through a CONNECT tunnel, and 30 wheels by pip on a second host.

    python -m bench.forward [--size MIB] [--wheels N] [--repeats N]

Only ratios within one run are meaningful: medians over interleaved repeats, after one round that is not counted. Tunnels carry https in
practice, so that is measured, and http besides, in which only the tunnel itself costs time. `python -m bench.doors` prints these tables
too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
import zipfile
from functools import partial

from bench.stage import (
    DFENGINE,
    MIB,
    NGINX,
    Run,
    Stage,
    free_port,
    interleaved,
    machine,
    median,
    own_namespace,
    run,
    spread,
    table,
    wait_port,
)

WHEEL, WHEELS = 2 * MIB, 30


class Forward:
    """nginx with TLS beside the stage's origin, and proxies."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.origin = f"http://127.0.0.1:{stage.origin_port}" if stage.origin_pid else stage.origin()
        path, self.port = stage.path / "tls", free_port()
        path.mkdir()
        self.cert = path / "cert.pem"
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout",
             str(path / "key.pem"), "-out", str(self.cert), "-subj", "/CN=t", "-addext", "subjectAltName=IP:127.0.0.1"])  # fmt: skip
        (path / "nginx.conf").write_text(
            f"""daemon off; worker_processes 1; pid {path}/pid; error_log {path}/error.log; {"user root;" if os.geteuid() == 0 else ""}
            events {{ worker_connections 512; }}
            http {{ access_log off; sendfile on; client_body_temp_path {path}/b; proxy_temp_path {path}/p; default_type text/html;
              fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;
              server {{ listen 127.0.0.1:{self.port} ssl; ssl_certificate {self.cert}; ssl_certificate_key {path}/key.pem;
                root {stage.root}; }} }}"""
        )
        stage.start([NGINX, "-p", str(path), "-c", str(path / "nginx.conf")])
        wait_port(self.port)

    def proxy(self, *options: str) -> str:
        """Start a proxy; return its URL."""
        home = self.stage.home()
        process = self.stage.start([*DFENGINE, "proxy", "--listen", "127.0.0.1:0", "--ip", "127.0.0.1", "--home", str(home), *options])
        assert process.stdout is not None
        return "http://" + process.stdout.readline().decode().split()[1].partition("=")[2]

    def curl(self, url: str, proxy: str = "") -> Run:
        """Download the file to /dev/null, through a tunnel if a proxy is given."""
        through = ["-p", "-x", proxy] if proxy else ["--noproxy", "*"]
        return run(["curl", "-sf", "-o", "/dev/null", "--cacert", str(self.cert), *through, f"{url}/stream"])

    def wheels(self, count: int) -> int:
        """Make an index below /simple/; return the bytes of its wheels."""
        size = 0
        (self.stage.root / "wheels").mkdir()
        for number in range(count):
            name = f"df_bench_{number}"
            path = self.stage.root / "wheels" / f"{name}-1.0-py3-none-any.whl"
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr(f"{name}/data.bin", os.urandom(WHEEL))
                information = f"{name}-1.0.dist-info"
                archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
                archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                archive.writestr(f"{information}/RECORD", "")
            os.utime(path, (path.stat().st_mtime - 3600,) * 2)
            size += path.stat().st_size
            page = self.stage.root / "simple" / name.replace("_", "-") / "index.html"
            page.parent.mkdir(parents=True)
            page.write_text(f'<!DOCTYPE html><html><body><a href="/wheels/{path.name}">{path.name}</a></body></html>')
        return size

    def sent(self) -> int:
        """Bytes of wheels that the index has sent so far."""
        time.sleep(0.05)
        lines = (self.stage.path / "access.log").read_text().splitlines()
        return sum(int(line.split('"')[2].split()[1]) for line in lines if " /wheels/" in line)

    def pip(self, count: int, proxy: str = "") -> Run:
        """Install all wheels."""
        out = self.stage.path / "pip"
        shutil.rmtree(out, ignore_errors=True)
        env = [f"http_proxy={proxy}", f"https_proxy={proxy}", f"PIP_CONFIG_FILE={os.devnull}", "PIP_FIND_LINKS=", f"HOME={self.stage.path}"]
        return run(["env", "-u", "no_proxy", "-u", "NO_PROXY", *env, sys.executable, "-m", "pip", "download", "-q", "--no-deps",
                    "--disable-pip-version-check", "--no-cache-dir", "--index-url", f"{self.origin}/simple/", "-d", str(out),
                    *(f"df-bench-{number}" for number in range(count))])  # fmt: skip


def report(stage: Stage, size: int, count: int, repeats: int) -> None:
    """Print both tables. size: bytes of the stream. count: of the wheels."""
    forward = Forward(stage)
    stage.file("stream", size)
    proxy = forward.proxy("--connect-port", str(forward.port), "--connect-port", forward.origin.rpartition(":")[2])
    rows = []
    for name, url in (("https", f"https://127.0.0.1:{forward.port}"), ("http", forward.origin)):
        runs = interleaved({"direct": partial(forward.curl, url), "tunnel": partial(forward.curl, url, proxy)}, repeats)
        base = median(each.wall for each in runs["direct"])
        rows += [(f"{name}, {way}", spread([size / MIB / each.wall for each in found]), f"{base / median(each.wall for each in found):.2f}")
                 for way, found in runs.items()]  # fmt: skip
    print(table(("one stream", "MiB/s", "x direct"), rows))
    wheels = forward.wheels(count)
    node, _ = stage.supernode()
    one, two = (forward.proxy("-n", node) for _ in range(2))
    first = forward.pip(count, one)
    between = forward.sent()
    second = forward.pip(count, two)
    print(f"\n{count} wheels of {wheels / MIB:.0f} MiB by pip: first host {first.wall:.1f} s, {between} of {wheels} bytes by the index; "
          f"second host {second.wall:.1f} s, {forward.sent() - between} bytes\n")  # fmt: skip
    runs = interleaved({"local index": partial(forward.pip, count), "second host": partial(forward.pip, count, two)}, repeats)
    base = median(each.wall for each in runs["local index"])
    print(table(("pip download", "s", "x local index"),
                [(name, spread([each.wall for each in found]), f"{median(each.wall for each in found) / base:.2f}")
                 for name, found in runs.items()]))  # fmt: skip


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the stream")
    parser.add_argument("--wheels", type=int, default=WHEELS)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    namespace = own_namespace()
    with Stage() as stage:
        print(machine(namespace))
        report(stage, options.size * MIB, options.wheels, options.repeats)


if __name__ == "__main__":
    main()
