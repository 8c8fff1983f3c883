"""Many files: a tree of small ones compared with rclone, aria2c and wget, also over a long link; lists of URLs; a hub's snapshot.

    python -m bench.many [--rows warm,link,cold,list,hub] [--files N] [--link-files N] [--hub-bytes N] [--repeats N]

Every contender is a whole process. The nginx, or the supernode, is on loopback in the same namespace, and outputs are on tmpfs. Each
download has a fresh home, so it starts its peer server. Medians over all repeats, after one round that is not counted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.stage import DFENGINE, Run, Stage, free_port, interleaved, machine, median, own_namespace, run, spread, stop_peer, table

SIZE = 10_000
"""Bytes of a small file."""

OLD = 1_750_000_000
"""Modification time of the files: files that are too new would be revalidated one by one."""

FOLDER = 100
"""Number of files of one directory."""

TRIP = 20.0
"""Round trip of the long link, in milliseconds."""

AFAR = "127.0.0.77"
"""Address of the relay."""

SNAPSHOT = "import sys; from huggingface_hub import snapshot_download as s; s('org/name', local_dir=sys.argv[1])"


class Many:
    """A stage with one origin, and the contenders' commands."""

    def __init__(self, stage: Stage, repeats: int) -> None:
        self.stage, self.repeats = stage, repeats
        self.out = stage.path / "out"
        self.origin = stage.origin()

    def tree(self, name: str, files: int) -> str:
        """Create `files` small files below the origin's root; return the directory's URL."""
        for n in range(files):
            path = self.stage.root / name / f"{n // FOLDER:03}" / f"{n:05}.bin"
            if n % FOLDER == 0:
                path.parent.mkdir(parents=True)
            path.write_bytes(os.urandom(SIZE))
            os.utime(path, (OLD, OLD))
        return f"{self.origin}/{name}/"

    def fresh(self) -> str:
        """An empty directory for outputs."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        return str(self.out)

    def check(self, files: int, size: int) -> None:
        """Check that all files are complete."""
        found = [path.stat().st_size for path in self.out.rglob("*") if path.is_file() and path.suffix != ".html"]
        if len(found) != files or sum(found) != size:
            raise RuntimeError(f"{len(found)} files of {sum(found)} bytes came, not {files} of {size}")

    def get(self, words: list[str], files: int, size: int, ip: str = "127.0.0.3") -> Run:
        """Run `dfengine get` with a fresh home; arguments: `words`."""
        home = self.stage.home()
        result = run([*DFENGINE, "get", *words, "--ip", ip, "--home", str(home), "--quiet"], timeout=1200)
        self.check(files, size)
        stop_peer(home)
        shutil.rmtree(home, ignore_errors=True)
        return result

    def other(self, command: Callable[[str], list[str]], files: int, size: int) -> Run:
        """Run another program with the path for its outputs."""
        result = run(command(self.fresh()), timeout=1200)
        self.check(files, size)
        return result

    def listed(self, name: str, base: str, files: int) -> str:
        """A file with the URLs of a tree, for aria2c and `get --input-file`, which create no directories: names are unique."""
        path = self.stage.path / f"{name}.urls"
        path.write_text("".join(f"{base}{n // FOLDER:03}/{n:05}.bin\n" for n in range(files)))
        return str(path)

    def beside(self, url: str, name: str, files: int) -> dict[str, Callable[[], Run]]:
        """rclone, aria2c and wget for the index at `url`."""
        listed, size = self.listed(name, url, files), files * SIZE
        return {
            "rclone copy --transfers 16": lambda: self.other(
                lambda out: ["rclone", "copy", "--config", "/dev/null", "--http-url", url, ":http:", out, "--transfers", "16",
                             "--checkers", "16", "-q"], files, size),
            "aria2c -j16": lambda: self.other(
                lambda out: ["aria2c", "-q", "-j16", "-i", listed, "-d", out], files, size),
            "wget -r": lambda: self.other(
                lambda out: ["wget", "-q", "-r", "-np", "-nH", "-R", "index.html*", "--cut-dirs=1", "-P", out, url], files, size),
        }  # fmt: skip

    def report(self, what: str, runs: dict[str, list[Run]], files: int) -> None:
        """Print a table of times, files per second, and ratios to the first contender."""
        first = median(each.wall for each in next(iter(runs.values())))
        rows = [
            [name, spread([each.wall for each in found], 1e3), f"{files / median(each.wall for each in found):.0f}",
             f"{median(each.wall for each in found) / first:.2f}", spread([each.cpu for each in found], 1e3)]
            for name, found in runs.items()
        ]  # fmt: skip
        print(f"\n{what}, {self.repeats} repeats, median (range)\n")
        print(table(["", "wall ms", "files/s", "x get", "client CPU ms"], rows), flush=True)

    # ROWS

    def warm(self, files: int) -> None:
        """A warm supernode, to tmpfs."""
        url = self.tree("tree", files)
        node, _ = self.stage.supernode()
        size = files * SIZE
        words = ["--recursive", url, str(self.out), "-n", node]
        contenders: dict[str, Callable[[], Run]] = {
            "get --recursive, warm supernode": lambda: (self.fresh(), self.get(words, files, size))[1],
            "the same, --pattern cdn": lambda: (self.fresh(), self.get([*words, "--pattern", "cdn"], files, size))[1],
            "get --recursive, no supernode": lambda: (self.fresh(), self.get(words[:3], files, size))[1],
        }
        self.report(f"{files} x {SIZE} bytes", interleaved({**contenders, **self.beside(url, "tree", files)}, self.repeats), files)

    def cold(self, files: int) -> None:
        """Requests to the origin."""
        url = self.tree("cold", files)
        folders, size, rows = -(-files // FOLDER) + 1, files * SIZE, []
        for lap in range(self.repeats):
            node, process = self.stage.supernode()
            requests, sent = self.stage.origin_requests(), self.stage.origin_bytes()
            self.fresh()
            result = self.get(["--recursive", url, str(self.out), "-n", node], files, size)
            requests, sent = self.stage.origin_requests() - requests, self.stage.origin_bytes() - sent
            rows.append([str(lap + 1), f"{result.wall * 1e3:.0f}", str(requests), f"{requests - files - folders:+d}", f"{sent / size:.4f}"])
            process.terminate()
            process.wait()
            self.stage.forget(process)
        print(f"\ncold: {files} x {SIZE} bytes in {folders - 1} directories\n")
        print(table(["run", "wall ms", "origin requests", "beyond files + indexes", "origin bytes / F"], rows), flush=True)

    def link(self, files: int) -> None:
        """A round-trip time between the host and all servers."""
        self.tree("far", files)
        port, relayed = int(self.origin.rpartition(":")[2]), free_port()
        node, process = self.stage.supernode("--advertise-ip", AFAR)
        control = int(node.rpartition(":")[2])
        download = _download_port(process.pid, control)
        relay = self.stage.start([sys.executable, "-m", "bench.relay", AFAR, str(TRIP), f"{relayed}:127.0.0.1:{port}",
                                  f"{control}:127.0.0.1:{control}", f"{download}:127.0.0.1:{download}"])  # fmt: skip
        assert relay.stdout is not None
        if relay.stdout.readline() != b"ready\n":
            raise RuntimeError("the relay did not start")
        url, size = f"http://{AFAR}:{relayed}/far/", files * SIZE
        words = ["--recursive", url, str(self.out), "-n", f"{AFAR}:{control}"]
        contenders = {"get --recursive, warm supernode": lambda: (self.fresh(), self.get(words, files, size))[1]}
        runs = interleaved({**contenders, **self.beside(url, "far", files)}, self.repeats)
        self.report(f"{files} x {SIZE} bytes, round trip {TRIP:.0f} ms", runs, files)

    def urls(self, files: int) -> None:
        """A list of URLs: the cost per URL in one process."""
        base, size = self.tree("list", files), files * SIZE
        listed = self.listed("list", base, files)
        config = self.stage.path / "list.curl"
        config.write_text("".join(f'url = "{url}"\nremote-name\n' for url in Path(listed).read_text().split()))
        node, _ = self.stage.supernode()
        words = ["--input-file", listed, "-j", "16", "-P", str(self.out)]
        contenders: dict[str, Callable[[], Run]] = {
            "get --input-file -j 16, warm supernode": lambda: (self.fresh(), self.get([*words, "-n", node], files, size))[1],
            "the same, --pattern cdn": lambda: (self.fresh(), self.get([*words, "-n", node, "--pattern", "cdn"], files, size))[1],
            "get --input-file -j 16, no supernode": lambda: (self.fresh(), self.get(words, files, size))[1],
            "aria2c -j16 -i": lambda: self.other(lambda out: ["aria2c", "-q", "-j16", "-i", listed, "-d", out], files, size),
            "curl --parallel": lambda: self.other(
                lambda out: ["curl", "-s", "--parallel", "--parallel-max", "16", "--output-dir", out, "-K", str(config)], files, size),
        }  # fmt: skip
        self.report(f"a list of {files} x {SIZE} bytes", interleaved(contenders, self.repeats), files)

    def hub(self, whole: int, files: int = 40) -> None:
        """A snapshot of a repository, and how often the hub sends its bytes for four hosts."""
        from tests.origins.hub import Hub

        with Hub() as hub:
            hub.add("org/name", {f"model-{n:05}.safetensors": os.urandom(whole // files) for n in range(files)})
            os.environ |= {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                           "HF_HOME": str(self.stage.path / "hf")}  # fmt: skip
            node, _ = self.stage.supernode("--revalidate-interval", "1h")
            size = whole // files * files
            words = ["--recursive", "hf://org/name", str(self.out), "-n", node]
            sent = hub.sent
            self._at_once(node, files, size)
            asked = hub.sent - sent
            contenders: dict[str, Callable[[], Run]] = {
                "get --recursive, warm supernode": lambda: (self.fresh(), self.get(words, files, size))[1],
                "huggingface_hub.snapshot_download": lambda: self._snapshot(files, size),
                "the same through a warm proxy": lambda: self._snapshot(files, size, f"{mirror}/hub"),
            }
            mirror = self._mirror(hub.url, node)
            self._snapshot(files, size, f"{mirror}/hub")
            self.report(f"hf:// snapshot, {files} files, {size / 1e9:.2f} GB", interleaved(contenders, self.repeats), files)
            sent = hub.sent
            self._snapshot(files, size)
            print(f"\norigin bytes: four hosts at once by a cold supernode {asked / size:.3f} F, one snapshot_download "
                  f"{(hub.sent - sent) / size:.3f} F", flush=True)  # fmt: skip

    def _mirror(self, hub: str, node: str) -> str:
        """Start a `dfengine proxy` of this hub; return its URL."""
        home = str(self.stage.home())
        process = self.stage.start(
            [*DFENGINE, "proxy", "--listen", "127.0.0.5:0", "--hub", hub, "--ip", "127.0.0.5", "--home", home, "-n", node]
        )
        assert process.stdout is not None
        return "http://" + process.stdout.readline().decode().split()[1].removeprefix("proxy=")

    def _snapshot(self, files: int, size: int, endpoint: str = "") -> Run:
        before = os.environ["HF_ENDPOINT"]
        os.environ["HF_ENDPOINT"] = endpoint or before
        try:
            result = run([sys.executable, "-c", SNAPSHOT, self.fresh()], timeout=1200)
        finally:
            os.environ["HF_ENDPOINT"] = before
        shutil.rmtree(self.out / ".cache", ignore_errors=True)
        self.check(files, size)
        return result

    def _at_once(self, node: str, files: int, size: int, hosts: int = 4) -> None:
        """Four hosts download the same files at the same time."""
        places = [(self.stage.home(), self.stage.path / f"host-{n}") for n in range(hosts)]
        running = [
            subprocess.Popen([*DFENGINE, "get", "--recursive", "hf://org/name", str(out), "-n", node, "--ip", f"127.0.0.{n + 11}",
                              "--home", str(home), "--quiet", "--notbs"])
            for n, (home, out) in enumerate(places)
        ]  # fmt: skip
        for process, (_, out) in zip(running, places, strict=True):
            if process.wait(1200):
                raise RuntimeError("a host failed")
            found = [path.stat().st_size for path in out.iterdir() if path.is_file()]
            if (len(found), sum(found)) != (files, size):
                raise RuntimeError(f"a host has {len(found)} files of {sum(found)} bytes")
        for home, out in places:
            stop_peer(home)
            shutil.rmtree(out)


def _download_port(pid: int, control: int) -> int:
    """The other port on which a supernode listens."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        ports = {
            int(line.split()[3].rpartition(":")[2])
            for line in subprocess.run(["ss", "-Hltnp"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
            if f"pid={pid}," in line
        }  # fmt: skip
        if len(ports) == 2:
            return (ports - {control}).pop()
        time.sleep(0.05)
    raise RuntimeError("the supernode does not listen on two ports")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="warm,link,cold,list,hub")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--link-files", type=int, default=1000, help="wget takes a round trip for each")
    parser.add_argument("--list-files", type=int, default=200)
    parser.add_argument("--hub-bytes", type=int, default=2_000_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    namespace = own_namespace()
    with Stage() as stage:
        many = Many(stage, arguments.repeats)
        print(machine(namespace), flush=True)
        rows = {
            "warm": lambda: many.warm(arguments.files),
            "link": lambda: many.link(arguments.link_files),
            "cold": lambda: many.cold(arguments.files),
            "list": lambda: many.urls(arguments.list_files),
            "hub": lambda: many.hub(arguments.hub_bytes),
        }
        for name in arguments.rows.split(","):
            rows[name]()


if __name__ == "__main__":
    main()
