"""The Python client in real processes: threads, forks, spawned workers and event loops, and that none leaves threads or files open."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.scene import Scene, Supernode

ROOT = Path(__file__).resolve().parents[2]
SIZE = 20_000_000

BEGIN = """
import asyncio, contextlib, gc, hashlib, json, multiprocessing, os, random, signal, sys, threading, time
import dfengine
from dfengine import aio

def sha(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

def open_files():
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sorted(each for each in found if "/fd" not in each and "/dev/" not in each)

def tell(**told):
    print(json.dumps(told), flush=True)
"""

END = """
gc.collect()
assert [each.name for each in threading.enumerate()] == ["MainThread"], threading.enumerate()
assert open_files() == before, (before, open_files())
"""


class Program:
    """Python programs of one host, 127.0.0.<host>, with the variables `base`, `folder`, `nodes` and `options` (home, address)."""

    def __init__(self, stage: Scene, host: int = 2) -> None:
        self.stage, self.base = stage, stage.origin(slow="4m")
        self.home = stage.path / f"home-{host}"
        stage.homes.add(self.home)
        self._options = {"home": str(self.home), "ip": f"127.0.0.{host}", "quiet": True}

    def start(self, text: str, *nodes: Supernode, **environment: str) -> subprocess.Popen[str]:
        addresses = [node.node for node in nodes] or None
        given = {"base": self.base, "folder": f"{self.stage.path}/", "options": self._options, "nodes": addresses}
        names = "".join(f"{name} = {value!r}\n" for name, value in given.items())
        path = self.stage.path / "program.py"
        path.write_text(f"{BEGIN}{names}before = None\nif __name__ == '__main__':\n    before = open_files()\n{text}")
        return subprocess.Popen(
            [sys.executable, "-W", "error", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(self.stage.path), **environment},
        )  # fmt: skip

    def run(self, text: str, *nodes: Supernode, ends_clean: bool = True, **environment: str) -> dict[str, Any]:
        """Run the program to its end and return what it reported by `tell`. ends_clean: it checks that no thread and no file is left."""
        process = self.start(text + (END if ends_clean else ""), *nodes, **environment)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
        assert not err, err
        told: dict[str, Any] = {}
        for line in out.splitlines():
            told.update(json.loads(line))
        return told


@pytest.fixture
def program(stage: Scene) -> Program:
    return Program(stage)


def test_module_functions_read_settings_from_the_environment(stage: Scene, program: Program) -> None:
    digest, node = stage.file("f", SIZE), stage.supernode()
    told = program.run(
        """
result = dfengine.get(base + "/f", folder + "out", notbs=True)
with dfengine.stream(base + "/f", digest="sha256:" + sha(folder + "out")) as file:
    read = hashlib.sha256(file.read()).hexdigest()
assert file.verified
alone = dfengine.get(base + "/f", folder + "alone", pattern="source")
tell(result=result.from_supernode, out=sha(folder + "out"), read=read, alone=alone.from_origin)
""",
        DFENGINE_GET_NODES=node.node, DFENGINE_GET_HOME=str(program.home), DFENGINE_GET_IP="127.0.0.2", DFENGINE_GET_QUIET="yes",
    )  # fmt: skip
    assert told == {"result": SIZE, "out": digest, "read": digest, "alone": SIZE}


def test_notices_are_in_the_result_and_not_on_stderr(stage: Scene, program: Program) -> None:
    """Messages that the command line would print are in the result, also if the environment requests verbose output."""
    stage.file("f", SIZE)
    node = stage.supernode()
    told = program.run(
        """
options.pop("quiet")
first = dfengine.get(base + "/f", folder + "out", nodes=nodes, **options)
again = dfengine.get(base + "/f", folder + "out", nodes=nodes, **options)
gone = dfengine.get(base + "/f", folder + "other", nodes=["127.0.0.1:1"], force=True, **options)
with dfengine.stream(base + "/f", nodes=["127.0.0.1:1"], **options) as file:
    assert len(file.read()) == first.length
with dfengine.open(base + "/f", nodes=["127.0.0.1:1"], **options) as opened:
    assert len(opened.read()) == first.length
tell(notices=[first.notices, again.notices, gone.notices, file.result.notices])
""",
        node,
        DFENGINE_GET_VERBOSE="yes",
        DFENGINE_GET_QUIET="no",
    )
    first, again, gone, streamed = told["notices"]
    assert first == []
    assert "exists already" in again[-1]
    assert "goes to the origin" in gone[0]
    assert "goes to the origin" in streamed[0]


def test_nodes_may_be_a_single_address(stage: Scene, program: Program) -> None:
    stage.file("f", SIZE)
    node = stage.supernode()
    told = program.run("tell(got=dfengine.Client(nodes=nodes[0], **options).get(base + '/f', folder, notbs=True).from_supernode)", node)
    assert told == {"got": SIZE}
    assert (stage.path / "f").stat().st_size == SIZE


def test_progress_and_results_of_a_download_handle(stage: Scene, program: Program) -> None:
    digest, node = stage.file("f", SIZE), stage.supernode()
    told = program.run(
        """
seen = []
client = dfengine.Client(nodes=nodes, **options)
download = client.download(base + "/slow/f", folder + "out", progress=seen.append)
try:
    download.wait(0.1)
except TimeoutError as error:
    assert "out" in str(error)
assert not download.done and download.result is None and download.error is None
result = download.wait(60)
assert download.done and download.result is result and download.error is None and download.progress == seen[-1]
download.cancel()
assert download.wait() is result
assert [each.done for each in seen] == sorted(each.done for each in seen)
for each in seen:
    assert 0 <= each.done <= SIZE and each.length in (-1, SIZE) and each.rate >= 0 and (each.eta is None or each.eta >= 0)
assert any(each.eta for each in seen)
last = seen[-1]
tell(count=len(seen), last=[last.done, last.from_supernode, last.eta], out=sha(folder + "out"))
""".replace("SIZE", str(SIZE)),
        node,
    )  # fmt: skip
    assert told["count"] > 5
    assert told["last"] == [SIZE, SIZE, 0.0]
    assert told["out"] == digest


WAYS = {"swarm": ("nodes", "/slow/f"), "origin": ("None", "/slow/f"), "no ranges": ("None", "/noranges/f")}


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_of_the_progress_function_ends_the_download_and_is_raised(stage: Scene, program: Program, way: str) -> None:
    digest, node = stage.file("f", 3 * SIZE), stage.supernode()
    given, path = WAYS[way]
    told = program.run(
        f"""
class Enough(Exception): pass

def enough(now):
    if now.done > 25_000_000:  # at most five pieces of 4 MiB are under way: one is here, and is kept
        raise Enough

client = dfengine.Client(nodes={given}, locallimit="8M", **options)
for begin in (client.get, lambda *values, **named: client.download(*values, **named).wait()):
    try:
        begin(base + "{path}", folder + "out", progress=enough)
    except Enough:
        pass
    else:
        raise AssertionError
    assert not os.path.exists(folder + "out")

async def main():
    async with aio.Client(nodes={given}, locallimit="8M", **options) as client:
        await client.get(base + "{path}", folder + "out", progress=enough)

try:
    asyncio.run(main())
except Enough:
    pass
else:
    raise AssertionError
result = client.get(base + "{path}", folder + "out", locallimit=0)
tell(resumed=result.resumed, out=sha(folder + "out"))
""",
        node,
    )
    assert told["resumed"] > 0
    assert told["out"] == digest


def test_cancelling_downloads_and_closing_the_client(stage: Scene, program: Program) -> None:
    digest, node = stage.file("f", SIZE), stage.supernode()
    told = program.run(
        """
def cancelled(call):
    began = time.monotonic()
    try:
        call()
    except dfengine.Cancelled:
        return time.monotonic() - began
    raise AssertionError("it was not cancelled")

def moved(download):
    while not download.progress.done:
        time.sleep(0.01)

client = dfengine.Client(nodes=nodes, locallimit="4M", **options)
download = client.download(base + "/f", folder + "out", locallimit="8M")
while download.progress.done < 17_500_000:  # more than four pieces, which may be under way at once
    time.sleep(0.01)
download.cancel()
times = [cancelled(download.wait)]
assert download.done and isinstance(download.error, dfengine.Cancelled)
never = client.download(base + "/f", folder + "never")
never.cancel()
times.append(cancelled(never.wait))

raised = []
def get():
    raised.append(cancelled(lambda: client.get(base + "/f", folder + "out")))
threads = [threading.Thread(target=get)]
reader = client.stream(base + "/f", window=1)
reader.read(1)
other = client.download(base + "/f", folder + "other")
threads[0].start()
moved(other)
began = time.monotonic()
client.close()
times.append(time.monotonic() - began)
threads[0].join(10)
assert len(raised) == 1 and other.done
cancelled(lambda: [reader.read(1 << 20) for _ in range(1000)])
reader.close()
result = dfengine.Client(nodes=nodes, **options).get(base + "/f", folder + "out")
tell(slowest=max(times), resumed=result.resumed, out=sha(folder + "out"))
""",
        node,
    )
    assert told["slowest"] < 3
    assert told["resumed"] > 0
    assert told["out"] == digest


@pytest.mark.parametrize("where", ["a registration", "an origin", "a supernode that takes no connection"])
def test_waits_for_silent_supernodes_and_origins_can_be_cancelled(stage: Scene, program: Program, where: str) -> None:
    told = program.run(
        f"""
import socket
mute = socket.create_server(("127.0.0.1", 0), backlog=0)
address = "127.0.0.1:%d" % mute.getsockname()[1]
filling = []
if {where!r}.startswith("a supernode"):
    for _ in range(4):
        filling.append(socket.socket())
        filling[-1].setblocking(False)
        filling[-1].connect_ex(mute.getsockname())
origin = {where!r} == "an origin"
client = dfengine.Client(nodes=None if origin else [address], retry=0, **options)
times = []
for _ in range(3):
    download = client.download(f"http://{{address}}/f" if origin else base + "/f", folder + "out")
    accepted = None if filling else mute.accept()[0]
    if accepted is not None:
        accepted.recv(1 << 16)
    time.sleep(0.2)
    began = time.monotonic()
    download.cancel()
    try:
        download.wait()
    except dfengine.Cancelled:
        times.append(time.monotonic() - began)
    if accepted is not None:
        accepted.close()
for each in filling:
    each.close()
mute.close()
tell(times=times)
"""
    )
    assert len(told["times"]) == 3
    assert max(told["times"]) < 5, "the time-outs of supernodes and origins are longer"


CANCELS = """
async def main():
    generator = random.Random(SEED)
    client = aio.Client(nodes=nodes, locallimit="6M", **options)
    cancelled = 0
    for number in range(15):
        task = asyncio.create_task(client.get(base + "/f", folder + "out", progress=lambda now: None))
        await asyncio.sleep(generator.random() ** 2 * 1.0)
        began = time.monotonic()
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            cancelled += 1
            assert time.monotonic() - began < 15, "a bound against a hang"
            assert threading.active_count() == 1, threading.enumerate()
        else:
            os.unlink(folder + "out")
    for number in range(6):
        stream = client.stream(base + "/f", window=1)
        length = generator.randrange(SIZE)
        content = hashlib.sha256()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(generator.random()):
                async with stream:
                    while await stream.read(generator.randrange(1, 1 << 20)):
                        pass
        assert threading.active_count() == 1, threading.enumerate()
    # A read that is cancelled loses nothing.
    async with client.stream(base + "/f") as stream:
        while True:
            try:
                async with asyncio.timeout(generator.random() / 20):
                    part = await stream.read(1 << 20)
            except TimeoutError:
                continue
            content.update(part)
            if not part:
                break
    result = await client.get(base + "/f", folder + "out", locallimit=0)
    tell(cancelled=cancelled, resumed=result.resumed, out=sha(folder + "out"), read=content.hexdigest(), length=length)

"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_downloads_cancelled_at_random_moments_leave_no_threads(stage: Scene, program: Program, loop: str) -> None:
    digest, node = stage.file("f", SIZE), stage.supernode()
    seed = random_seed()
    print(f"seed {seed}")
    run = "asyncio.run(main())"
    if loop == "uvloop":  # uvloop keeps a pipe open
        run = "import uvloop\nuvloop.run(asyncio.sleep(0))\nbefore = open_files()\nuvloop.run(main())"
    told = program.run(CANCELS.replace("SEED", str(seed)).replace("SIZE", str(SIZE)) + run, node)
    assert told["cancelled"] >= 5
    assert (told["out"], told["read"]) == (digest, digest)


def random_seed() -> int:
    """A new seed for each run; always 0 in CI."""
    return 0 if os.environ.get("CI") else int.from_bytes(os.urandom(4), "big")


def test_plain_calls_and_coroutines_within_a_running_event_loop(stage: Scene, program: Program) -> None:
    """As in a notebook: plain calls in the loop's thread and in its executor, and coroutines."""
    digest, node = stage.file("f", SIZE), stage.supernode()
    told = program.run(
        """
async def main():
    client = dfengine.Client(nodes=nodes, **options)
    client.get(base + "/f", folder + "first")
    await asyncio.get_running_loop().run_in_executor(None, client.get, base + "/f", folder + "second")
    await aio.Client(nodes=nodes, **options).get(base + "/f", folder + "third")
    turns = 0
    task = asyncio.create_task(aio.Client(nodes=nodes, **options).get(base + "/slow/f", folder + "fourth"))
    while not task.done():
        await asyncio.sleep(0.01)
        turns += 1
    await task
    tell(turns=turns)

asyncio.run(main())
tell(digests=[sha(folder + name) for name in ("first", "second", "third", "fourth")])
""",
        node,
    )
    assert told["digests"] == [digest] * 4
    assert told["turns"] > 20, "the loop was blocked during the five seconds of the last download"


def test_a_handle_can_be_awaited_by_several_tasks(stage: Scene, program: Program) -> None:
    digest, node = stage.file("f", SIZE), stage.supernode()
    told = program.run(
        """
async def main():
    async with aio.Client(nodes=nodes, **options) as client:
        download = await client.download(base + "/slow/f", folder + "out")
        try:
            await download.wait(0.1)
        except TimeoutError:
            pass
        waiting = asyncio.create_task(download.wait())
        await asyncio.sleep(0.1)
        waiting.cancel()
        first, second = await asyncio.gather(download, download.wait())
        assert first is second is download.result and download.done and waiting.cancelled()
        preheated = await (await client.preheat(base + "/f?x"))
        seen = []
        async with client.stream(base + "/slow/f?s", progress=seen.append) as reader:
            streamed = sum([len(part) async for part in reader])

        def fail(_):
            raise KeyError("of progress")

        try:
            async with client.stream(base + "/slow/f?t", progress=fail) as reader:
                await reader.read(-1)
        except KeyError:
            seen.append("raised")
        other = await client.download(base + "/slow/f?y", folder + "other")
        await asyncio.sleep(0.3)
        other.cancel()
        try:
            await other
        except dfengine.Cancelled:
            pass
        last = await client.download(base + "/slow/f?z", folder + "last")
    assert last.done and isinstance(last.error, dfengine.Cancelled)
    tell(preheated=preheated.length, streamed=[streamed, seen[-2].length, seen[-1]])

asyncio.run(main())
tell(out=sha(folder + "out"))
""",
        node,
    )
    assert told == {"preheated": SIZE, "streamed": [SIZE, SIZE, "raised"], "out": digest}


@pytest.mark.parametrize("swarm", [False, True], ids=["origin", "swarm"])
def test_repeated_opens_leak_no_descriptors_threads_or_memory(stage: Scene, program: Program, swarm: bool) -> None:
    """60 opens a round that end with success, a wrong digest or a missing file. malloc keeps more in the first rounds; a leak goes on."""
    stage.file("f", SIZE)
    told = program.run(
        """
def memory():
    gc.collect()
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) << 10

def once(number):
    store = ("memory", "disk")[number % 2]
    with dfengine.open(base + "/f", nodes=nodes, store=store, buffering=-(number % 3 == 0), **options) as file:
        file.read(10)
    with dfengine.open(base + "/f", nodes=nodes, digest="sha256:" + "0" * 64, **options) as file:
        with contextlib.suppress(dfengine.DigestMismatch):
            file.map()
            raise AssertionError("it is another file")
    with contextlib.suppress(dfengine.OriginError):
        dfengine.open(base + "/none", nodes=nodes, **options)
        raise AssertionError("there is no such file")

for number in range(8):
    once(number)
began, grown, resident = open_files(), [], memory()
while not grown or grown[-1] > 4 << 20 and len(grown) < 12:
    for number in range(20):
        once(number)
    grown.append(memory() - resident)
    resident += grown[-1]
tell(grown=grown, files=open_files() == began, threads=threading.active_count())
""",
        *([stage.supernode()] if swarm else []),
    )
    assert told["files"]
    assert told["threads"] == 1
    assert told["grown"][-1] <= 4 << 20, told["grown"]


def test_threads_share_a_client(stage: Scene, program: Program) -> None:
    digests, node = [stage.file(f"f{number}", SIZE // 4) for number in range(6)], stage.supernode()
    told = program.run(
        """
client = dfengine.Client(nodes=nodes, **options)
threads = [threading.Thread(target=client.get, args=(f"{base}/f{n}", f"{folder}out{n}")) for n in range(6)]
for each in threads: each.start()
for each in threads: each.join()
tell(digests=[sha(f"{folder}out{n}") for n in range(6)])
""",
        node,
    )
    assert told["digests"] == digests


def test_two_clients_of_one_process_in_two_swarms(stage: Scene, program: Program) -> None:
    """Each client has a secret that the other's supernode refuses."""
    digest = stage.file("f", SIZE)
    nodes = []
    for number in range(2):
        secret = stage.path / f"secret{number}"
        secret.write_text(f"{number}" * 40)
        secret.chmod(0o600)
        nodes.append(stage.supernode("--secret-file", str(secret)))
    stage.homes.add(stage.path / "home-3")
    told = program.run(
        """
clients = [dfengine.Client(nodes=node, secret_file=f"{folder}secret{n}", notbs=True, **{**options, "home": f"{folder}home-{2 + n}"})
           for n, node in enumerate(nodes)]
downloads = [client.download(base + "/slow/f", f"{folder}out{n}") for n, client in enumerate(clients)]
results = [each.wait(60) for each in downloads]
try:
    clients[0].get(base + "/f", folder + "wrong", nodes=nodes[1])
except dfengine.SupernodeError:
    tell(refused=True)
tell(digests=[sha(f"{folder}out{n}") for n in range(2)], sources=[each.from_supernode for each in results])
""",
        *nodes,
    )
    assert told == {"refused": True, "digests": [digest, digest], "sources": [SIZE, SIZE]}


def test_a_forked_child_starts_its_own_downloads_and_does_not_affect_the_parents(stage: Scene, program: Program) -> None:
    """The child cannot wait for downloads that the parent started; the parent's downloads complete."""
    digest, node = stage.file("f", SIZE), stage.supernode()
    told = program.run(
        """
client = dfengine.Client(nodes=nodes, **options)
download = client.download(base + "/slow/f", folder + "out")
alone = dfengine.Client(**options).download(base + "/slow/f", folder + "alone")
reader = client.stream(base + "/slow/f", window=1)
reader.read(1)
while not (download.progress.done and alone.progress.done):
    time.sleep(0.01)
read, write = os.pipe()
pid = os.fork()
if not pid:
    try:
        shared = [each for each in open_files() if "socket" in each or ".part" in each or "stream" in each]
        said = []
        for call in (download.wait, alone.wait, lambda: reader.read(1)):
            try:
                call()
            except dfengine.LocalError as error:
                said.append("forked" in str(error))
        assert download.done and not alone.progress.done == SIZE
        download.cancel()
        client.cancel()
        reader.close()
        result = client.get(base + "/f", folder + "child")
        with client.stream(base + "/f") as stream:
            length = len(stream.read())
        os.write(write, json.dumps([shared, said, result.length, length, sha(folder + "child")]).encode())
        os._exit(0)
    except BaseException as error:
        os.write(write, json.dumps(repr(error)).encode())
        os._exit(1)
child = json.loads(os.read(read, 1 << 16))
os.waitpid(pid, 0)
os.close(read)
os.close(write)
download.wait(60)
alone.wait(60)
content = b"x" + reader.read()
reader.close()
tell(child=child, out=sha(folder + "out"), alone=sha(folder + "alone"), length=len(content))
""".replace("SIZE", str(SIZE)),
        node,
    )
    assert told["child"] == [[], [True, True, True], SIZE, SIZE, digest]
    assert told["out"] == told["alone"] == digest
    assert told["length"] == SIZE


def test_a_forked_child_inherits_no_memory_or_connections_of_open_files(stage: Scene, program: Program) -> None:
    """No memory, lock or connection: their descriptors refer to /dev/null. libcurl's eventfd, which only wakes libcurl, is not counted."""
    stage.file("f", SIZE)
    told = program.run(
        """
files = [
    dfengine.open(base + "/f", nodes=nodes, store="memory", **options), dfengine.open(base + "/f", nodes=nodes, store="disk", **options),
    dfengine.open(base + "/slow/f", **options), dfengine.open(base + "/f", nodes=nodes, no_join=True, buffering=-1, **options),
]
views = [files[0].map(), files[1].map()]
files[3].read(10)
stream = dfengine.stream(base + "/f", nodes=nodes, **options)
stream.read(10)
began = [each for each in open_files() if each not in before]
pid = os.fork()
if not pid:
    found = [each for each in open_files() if each not in before and each != "anon_inode:[eventfd]"]
    assert bytes(views[0][:10]) == bytes(views[1][:10])
    del views
    with open("/proc/self/maps") as maps:
        gone = "dfengine-file" not in maps.read()
    tell(found=found, gone=gone, read=len(files[0].read(7)))
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
del views
for each in (*files, stream):
    each.close()
tell(began=len(began))
""",
        stage.supernode(),
    )
    assert told["began"] > 10
    assert told["found"] == []
    assert told["gone"], "pages without a view are unmapped"
    assert told["read"] == 7


def test_downloads_leave_the_program_no_child_process(stage: Scene, program: Program) -> None:
    """Its SIGCHLD handler is not called, and an ended peer server is no zombie of it."""
    stage.file("f", SIZE)
    told = program.run(
        """
heard = []
signal.signal(signal.SIGCHLD, lambda *_: heard.append(1))
dfengine.get(base + "/f", folder + "out", nodes=nodes, **options)
with open(options["home"] + "/peer.lock") as lock:
    pid = json.load(lock)["pid"]
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    alone = True
else:
    alone = False
server = os.pidfd_open(pid)
signal.pidfd_send_signal(server, signal.SIGTERM)
import select
assert select.select([server], [], [], 60)[0]
os.close(server)
os.truncate(options["home"] + "/peer.lock", 0)  # one that ends before it has begun leaves its number there
tell(alone=alone, heard=heard)
""",
        stage.supernode(),
    )
    assert told == {"alone": True, "heard": []}


def test_a_part_files_lock_ends_with_its_download_although_a_forked_child_runs(stage: Scene, program: Program) -> None:
    digest = stage.file("f", SIZE)
    told = program.run(
        """
client = dfengine.Client(**options)
download = client.download(base + "/slow/f", folder + "out", connections=1)
while download.progress.done < 5_000_000:
    time.sleep(0.01)
read, write = os.pipe()
pid = os.fork()
if not pid:
    os.write(write, b"x")
    while True:
        signal.pause()
os.read(read, 1)
download.cancel()
while not download.done:
    time.sleep(0.01)
result = client.get(base + "/slow/f", folder + "out")
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
os.close(read)
os.close(write)
tell(resumed=result.resumed, out=sha(folder + "out"))
"""
    )
    assert told["resumed"] > 0, "the child had the lock of the part file"
    assert told["out"] == digest


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_client_can_be_used_by_multiprocessing_workers(stage: Scene, program: Program, method: str) -> None:
    digests, node = [stage.file(f"f{number}", SIZE // 8) for number in range(4)], stage.supernode()
    told = program.run(
        f"""
def work(client, number):
    client.get(f"{{base}}/f{{number}}", f"{{folder}}out{{number}}", notbs=True)

if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    client = dfengine.Client(nodes=nodes, **options)
    workers = [context.Process(target=work, args=(client, n)) for n in range(4)]
    for each in workers: each.start()
    for each in workers: each.join()
    tell(codes=[each.exitcode for each in workers], digests=[sha(f"{{folder}}out{{n}}") for n in range(4)])
""",
        node,
        ends_clean=False,
    )
    assert told == {"codes": [0] * 4, "digests": digests}


def test_a_get_can_be_resumed_after_a_keyboard_interrupt(stage: Scene, program: Program) -> None:
    digest, node = stage.file("f", SIZE), stage.supernode()
    text = """
handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
def show(now):
    if now.done > 5_000_000:
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers
        print("moves", flush=True)
try:
    dfengine.Client(nodes=nodes, **options).get(base + "/slow/f", folder + "out", progress=show)
except KeyboardInterrupt:
    pass
else:
    raise AssertionError
assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers
tell(end=True)
"""
    process = program.start(text + END, node)
    assert process.stdout is not None
    assert process.stdout.readline() == "moves\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.splitlines()[-1] == '{"end": true}'
    told = program.run(
        "result = dfengine.Client(nodes=nodes, **options).get(base + '/slow/f', folder + 'out')\n"
        "tell(resumed=result.resumed, out=sha(folder + 'out'))",
        node,
    )
    assert told["resumed"] > 0
    assert told["out"] == digest


def test_a_process_exits_without_waiting_for_its_downloads(stage: Scene, program: Program) -> None:
    stage.file("f", SIZE)
    process = program.start(
        "download = dfengine.Client(locallimit='100K', **options).download(base + '/f', folder + 'out')\n"
        "while not download.progress.done: time.sleep(0.01)\n"
    )
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert not (stage.path / "out").exists()


def test_the_progress_function_may_close_the_client_but_not_wait_for_its_download(stage: Scene, program: Program) -> None:
    stage.file("f", SIZE)
    node = stage.supernode()
    told = program.run(
        """
client = dfengine.Client(nodes=nodes, **options)
seen = []
def show(now):
    try:
        download.wait()
    except TimeoutError:
        seen.append("runs")
    client.close()
download = client.download(base + "/slow/f", folder + "out", progress=show)
began = time.monotonic()
try:
    download.wait()
except dfengine.Cancelled:
    seen.append("cancelled")
other = dfengine.Client(nodes=nodes, **options)
try:
    other.get(base + "/slow/f", folder + "out", progress=lambda _: other.close())
except dfengine.Cancelled:
    seen.append("cancelled")
tell(seen=sorted(set(seen)), seconds=time.monotonic() - began)
""",
        node,
    )
    assert told["seen"] == ["cancelled", "runs"]
    assert told["seconds"] < 8


def test_closing_a_client_closes_its_open_files(stage: Scene, program: Program) -> None:
    stage.file("f", SIZE)
    node = stage.supernode()
    told = program.run(
        """
with dfengine.Client(nodes=nodes, **options) as client:
    plain, buffered = client.open(base + "/f"), client.open(base + "/f", buffering=-1)
    same = plain.pread(5, 10) == buffered.read(15)[5:]
    raw = buffered.raw
dropped = dfengine.Client(nodes=nodes, **options)
dropped.open(base + "/f").close()
dropped.close()
buffered.close()
tell(same=same, closed=[plain.closed, raw.closed])
end = time.monotonic() + 10
while threading.active_count() > 1 and time.monotonic() < end:  # threads of open files end by themselves
    time.sleep(0.01)
""",
        node,
    )
    assert told == {"same": True, "closed": [True, True]}


def test_preheats_of_a_client_and_their_cancellation(stage: Scene, program: Program) -> None:
    stage.file("f", SIZE)
    node = stage.supernode()
    told = program.run(
        """
with open(folder + "www/f", "rb") as file:
    md5 = hashlib.file_digest(file, "md5").hexdigest()
client = dfengine.Client(nodes=["127.0.0.1:1", *nodes], **options)
told = []
for given in ({}, {"md5": md5.upper()}, {"identifier": "v1"}, {"filter": "x"}, {"headers": {"Range": "bytes=0-99"}}):
    url = base + "/slow/f" + ("?x=1" if "filter" in given else "")
    preheated = client.preheat(url, **given).wait(60)
    result = client.get(url, folder + "out", force=True, pattern="cdn", notbs=True, **given)
    told.append([preheated.task_id == result.task_id, preheated.length == result.length, preheated.node == nodes[0]])
try:
    client.preheat(base + "/none").wait(60)
except dfengine.SupernodeError as error:
    tell(reason=str(error))
waiting = client.preheat(base + "/slow/f?other")
waiting.cancel()
try:
    waiting.wait()
except dfengine.Cancelled:
    tell(told=told)
""",
        node,
    )
    assert told["told"] == [[True] * 3] * 5
    assert re.search(r"answers 404 Not Found$", told["reason"])


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_concurrent_reads_of_an_open_file_of_which_some_are_cancelled(stage: Scene, program: Program, loop: str) -> None:
    digest, node = stage.file("f", SIZE), stage.supernode()
    told = program.run(
        f"import {loop}\nseed = {random_seed()}"
        + """
async def main():
    draw = random.Random(seed)
    async with aio.Client(nodes=nodes, **options) as client:
        opening = asyncio.create_task(client.open(base + "/slow/f?never"))
        await asyncio.sleep(draw.random() * 0.2)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        async with await client.open(base + "/slow/f", store="memory") as file:
            size = await file.size()
            spans = [(draw.randrange(size), draw.randrange(1, 300_000)) for _ in range(60)]
            reads = [asyncio.create_task(file.pread(*span)) for span in spans]
            await asyncio.sleep(0.3)
            for read in draw.sample(reads, 30):
                read.cancel()
            found = await asyncio.gather(*reads, return_exceptions=True)
            await file.seek(-1000, os.SEEK_END)
            end = await file.read()
            whole = bytes(await file.map())
            cancelled = sum(isinstance(each, asyncio.CancelledError) for each in found)
            for (offset, count), each in zip(spans, found):
                assert isinstance(each, asyncio.CancelledError) or each == whole[offset:offset + count]
            assert end == whole[-1000:] and await file.readv([(0, 10), (size, 5)]) == [whole[:10], b""]
        try:
            await file.pread(0, 1)
        except ValueError:
            tell(size=size, cancelled=cancelled, digest=hashlib.sha256(whole).hexdigest())

"""
        + f"{loop}.run(asyncio.sleep(0))\nbefore = open_files()  # uvloop keeps a pipe\n{loop}.run(main())\n",
        node,
    )
    assert 0 < told.pop("cancelled") <= 30
    assert told == {"size": SIZE, "digest": digest}


LEFT_OPEN = ["client.stream(url, digest=wrong)", "client.open(url, digest=wrong)", "dfengine.open(url, nodes=nodes, **options)"]


@pytest.mark.parametrize("how", LEFT_OPEN)
def test_a_program_that_does_not_close_its_files_exits_without_output_on_stderr(stage: Scene, program: Program, how: str) -> None:
    stage.file("f", SIZE)
    node = stage.supernode()
    told = program.run(
        f"""
client, url, wrong = dfengine.Client(nodes=nodes, **options), base + "/f", "sha256:" + "0" * 64
file = {how}
try:
    while file.read(1 << 20):
        pass
except dfengine.DigestMismatch:
    tell(mismatch=True)
tell(over=True)
""",
        node,
        ends_clean=False,
    )
    assert told == {"over": True, **({"mismatch": True} if "wrong" in how else {})}
