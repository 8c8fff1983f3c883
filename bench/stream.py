"""A stream compared with a download of the same file: speed, first byte, memory, disk, and the supernode's bytes for eight streams.

    python -m bench.stream [--size MIB] [--repeats N] [--swarm MIB]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path

from bench.stage import DFENGINE, GB, MIB, Run, Stage, interleaved, machine, median, own_namespace, run, spread, stop_peer, table

PIECE = 4 * MIB
NULL = "cat > /dev/null"


def get(stage: Stage, url: str, node: str, host: int, out: str, *options: str, home: Path | None = None) -> Run:
    """One download or stream as a whole process group; its peer server is ended after it unless `home` is given."""
    place = home or stage.home()
    command = [*DFENGINE, "get", url, "-n", node, "--ip", f"127.0.0.{host}", "--home", str(place), "--quiet", *options]
    if out == "-":
        quoted = " ".join(f"'{word}'" for word in [*command, "-o", "-"])
        result = run(["bash", "-c", f"set -o pipefail; {quoted} | {NULL}"])
    else:
        Path(out).unlink(missing_ok=True)
        result = run([*command, "-o", out])
    if home is None:
        stop_peer(place)
        shutil.rmtree(place, ignore_errors=True)
    return result


def speed(stage: Stage, url: str, size: int, repeats: int) -> list[list[str]]:
    """Rows: from the supernode and from one peer, a file in tmpfs and a stream through a pipe."""
    rows = []
    out = str(stage.path / "out")
    node, _ = stage.supernode()
    fed, _ = stage.supernode()
    keeper = stage.home()
    # A peer with the whole file, at a second supernode, so that the first one has no peers.
    get(stage, url, fed, 9, str(stage.path / "kept"), "--expiretime", "1h", "--alivetime", "1h", home=keeper)
    for source, at in (("supernode", node), ("one peer", fed)):
        runs = interleaved({
            "file": partial(get, stage, url, at, 2, out),
            "stream": partial(get, stage, url, at, 2, "-"),
        }, repeats)  # fmt: skip
        base = median([one.wall for one in runs["file"]])
        for name, results in runs.items():
            rows.append([
                f"{name} from {source}", spread([size / one.wall / MIB for one in results]),
                f"{base / median([one.wall for one in results]):.2f}", spread([one.cpu / (size / GB) for one in results]),
            ])  # fmt: skip
    stop_peer(keeper)
    return rows


def memory_and_disk(stage: Stage, node: str, url: str) -> str:
    """Maximum memory of a stream of 20 times its window, and the bytes that it and its host's peer server wrote to disks."""
    home = Path(os.path.expanduser("~")) / f".dfengine-bench-{os.getpid()}"
    try:
        # The host's peer server runs already: starting it would write its address, one line, beside its lock.
        get(stage, url, node, 3, str(stage.path / "first"), home=home)
        peer = json.loads((home / "peer.lock").read_text())["pid"]
        before = written(peer)
        command = [*DFENGINE, "get", url, "-n", node, "--ip", "127.0.0.3", "--home", str(home), "--quiet", "-o", "-",
                   "--window", "4", "--cache", "16M"]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        resident = slots = disk = 0
        while block := process.stdout.read(MIB):
            resident = max(resident, status(process.pid, "VmRSS"))
            slots = max(slots, taken(process.pid))
            disk = max(disk, written(process.pid))
            del block
        if process.wait():
            raise RuntimeError("the stream failed")
        size = int(subprocess.check_output(["stat", "-c", "%s", str(stage.path / "first")]))
        piece = (min(max(size // (100 * MIB) - 2, 0) + 4, 15)) * MIB
        bound = 4 * piece + 16 * MIB + 64 * MIB
        return (
            f"window 4 pieces of {piece // MIB} MiB, cache 16 MiB: RSS {resident / MIB:.0f} + slots {slots / MIB:.0f} MiB, "
            f"bound {bound / MIB:.0f} MiB; written to disks: stream {disk}, peer server {written(peer) - before} bytes"
        )
    finally:
        stop_peer(home)
        time.sleep(0.2)
        shutil.rmtree(home, ignore_errors=True)


def status(pid: int, name: str) -> int:
    """A line of /proc/<pid>/status in bytes, 0 if the process has ended."""
    try:
        return next(int(line.split()[1]) << 10 for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name))
    except (OSError, StopIteration):
        return 0


def written(pid: int) -> int:
    """write_bytes of /proc/<pid>/io: bytes written to block devices because of the process."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def taken(pid: int) -> int:
    """Bytes of a stream's memory slots."""
    taken = 0
    for fd in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            if "dfengine-stream" in os.readlink(fd):
                taken += os.stat(fd).st_blocks * 512
        except OSError:
            continue
    return taken


def first_byte(stage: Stage, node: str, url: str, repeats: int) -> str:
    """Seconds to the first byte at the reader, compared with `dfengine version`, which is start-up only."""
    starts, firsts = [], []
    for _ in range(repeats):
        starts.append(run([*DFENGINE, "version"]).wall)
        home = stage.home()
        begun = time.perf_counter()
        command = [*DFENGINE, "get", url, "-n", node, "--ip", "127.0.0.4", "--home", str(home), "--quiet", "-o", "-"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        process.stdout.read(1)
        firsts.append(time.perf_counter() - begun)
        process.stdout.close()
        process.wait()
        stop_peer(home)
    return f"first byte after {spread(firsts, 1e3)} ms; `dfengine version` takes {spread(starts, 1e3)} ms"


def swarm(stage: Stage, url: str, size: int, digest: str, skew: float) -> str:
    """Eight streams, started within a second or `skew` seconds apart: bytes that the supernode sent."""
    node, process = stage.supernode()
    readers, homes = [], [stage.home() for _ in range(8)]
    begun = time.perf_counter()
    for at, home in enumerate(homes):
        # Each host gets an eighth of the machine's rate, or the first one would be finished before the last begins.
        command = [*DFENGINE, "get", url, "-n", node, "--ip", f"127.0.0.{10 + at}", "--home", str(home), "--quiet", "-o", "-",
                   "--window", "16", "--cache", "256M", "-s", "60M"]  # fmt: skip
        quoted = " ".join(f"'{word}'" for word in command)
        readers.append(subprocess.Popen(["bash", "-c", f"{quoted} | sha256sum"], stdout=subprocess.PIPE, start_new_session=True))
        time.sleep(skew if skew else 0.1)
    right = sum(reader.communicate()[0].decode().split()[0] == digest for reader in readers)
    seconds = time.perf_counter() - begun
    sent = sent_bytes(node)
    for home in homes:
        stop_peer(home)
    process.terminate()
    return f"{right} of 8 digests right, the supernode sent {sent / size:.2f} x the file, {seconds:.1f} s in all"


def sent_bytes(node: str) -> float:
    """Bytes that a supernode has sent."""
    from urllib.request import urlopen

    with urlopen(f"http://{node}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("dfengine_sent_bytes_total "))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--swarm", type=int, default=1024, help="MiB of the file that eight stream")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    namespace = own_namespace()
    size = arguments.size * MIB
    with Stage() as stage:
        stage.file("big", size)
        origin = stage.origin()
        print(machine(namespace))
        print(f"{arguments.size} MiB, {arguments.repeats} repeats, median (range)\n", flush=True)
        rows = speed(stage, origin + "/big", size, arguments.repeats)
        print(table(["", "MiB/s", "x file", "CPU s/GB with cat"], rows), flush=True)
        node, _ = stage.supernode()
        print("\n" + memory_and_disk(stage, node, origin + "/big"), flush=True)
        print(first_byte(stage, node, origin + "/big", arguments.repeats), flush=True)
        path = stage.file("many", arguments.swarm * MIB)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        for name, skew in (("together", 0.0), ("5 s apart", 5.0)):
            print(f"8 streams {name}: " + swarm(stage, origin + "/many", arguments.swarm * MIB, digest, skew), flush=True)


if __name__ == "__main__":
    main()
