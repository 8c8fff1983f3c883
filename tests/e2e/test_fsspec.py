"""dfengine as a file system of fsspec: chained URLs, ranges, forked and spawned workers, and no threads or files left afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import json
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.asyn import get_loop

from dfengine.errors import BadValue, OriginUnreachable
from dfengine.filesystem import FileSystem
from tests.e2e.scene import MIB, Scene, Supernode, free_port, until

PIECE = 4 * MIB - 5
ROOT = Path(__file__).resolve().parents[2]


def registered() -> None:
    """Register dfengine's entry points, as fsspec does for an installed package."""
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["fsspec.specs"]
    for name, value in points.items():
        fsspec.register_implementation(name, value.replace(":", "."), clobber=True)


def held() -> list[str]:
    """This process's open memory files, files in home directories and connections. Event loops of other libraries are not counted."""
    connections = {f"socket:[{line.split()[9]}]" for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]}
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            path = os.readlink(f"/proc/self/fd/{fd}")
            if path in connections or "memfd:" in path or "home-" in path:
                found.append(path.split(" ")[0])
    return sorted(found)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Check that no file stays open and no thread of dfengine is left, except those that run blocking calls."""
    registered()
    get_loop()
    before = held()
    yield
    for fs in list(FileSystem._cache.values()):
        fs.invalidate_cache()
    FileSystem.clear_instance_cache()
    until(lambda: not ours(), "the end of threads")
    assert held() == before


def ours() -> list[str]:
    """Names of the threads of open files, without those that run blocking calls."""
    names = [one.name for one in threading.enumerate()]
    return [name for name in names if name.startswith("dfengine") and not name.startswith("dfengine-fsspec")]


def options(stage: Scene, nodes: tuple[Supernode, ...] = (), host: int = 2, **more: Any) -> dict[str, Any]:
    home = stage.path / f"home-{host}"
    stage.homes.add(home)
    swarm = {"nodes": [node.node for node in nodes]} if nodes else {}
    return {**swarm, "ip": f"127.0.0.{host}", "home": str(home), **more}


@pytest.fixture
def url(stage: Scene) -> str:
    """The URL of a file of 20 MiB and 123 bytes."""
    stage.file("f", 20 * MIB + 123)
    return stage.origin() + "/f"


def content(stage: Scene, name: str = "f") -> bytes:
    return (stage.www / name).read_bytes()


def test_a_chained_url_is_opened_and_read_at_any_offset(stage: Scene, url: str) -> None:
    data = content(stage)
    with fsspec.open(f"df::{url}", **options(stage, (stage.supernode(),))) as file:
        assert file.size == len(data)
        assert file.seek(-10, io.SEEK_END) == len(data) - 10
        assert file.read() == data[-10:]
        file.seek(5 * MIB)
        assert file.read(MIB) == data[5 * MIB : 6 * MIB]
        buffer = bytearray(100)
        assert file.readinto(buffer) == 100
        assert buffer == data[6 * MIB : 6 * MIB + 100]
        file.seek(0)
        assert file.read() == data
        assert file.full_name == f"df::{url}"
        assert file.info() == file.fs.info(url)


def test_reads_fetch_only_their_pieces_and_readers_share_them(stage: Scene, url: str) -> None:
    node = stage.supernode()
    stage.get(url, "warm", host=3, nodes=(node,))
    before = node.metric("dfengine_sent_bytes_total")
    fs = fsspec.filesystem("df", **options(stage, (node,)))
    data = content(stage)
    with fs.open(url) as one, fs.open(url) as other:
        for file in (one, other):
            file.seek(9 * MIB)
            assert file.read(1000) == data[9 * MIB : 9 * MIB + 1000]
        assert fs.cat_file(url, 9 * MIB, 9 * MIB + 10) == data[9 * MIB : 9 * MIB + 10]
        file = fs._files._held[url].file
        assert file.opened()._file.available.count() == 1
    assert node.metric("dfengine_sent_bytes_total") - before <= PIECE + 5


def test_cat_head_tail_and_cat_ranges(stage: Scene, url: str) -> None:
    data = content(stage)
    fs = fsspec.filesystem("df", **options(stage))
    assert fs.cat(url) == data
    assert fs.cat_file(url, -5) == data[-5:]
    assert fs.cat_file(url, 10, -10) == data[10:-10]
    assert fs.cat_file(url, None, 7) == data[:7]
    assert fs.cat_file(url, 7, 7) == fs.cat_file(url, 9, 3) == b""
    assert fs.cat_file(url, len(data) + 5, len(data) + 10) == b""
    assert fs.head(url, 4) == data[:4]
    assert fs.tail(url, 4) == data[-4:]
    generator = random.Random(2)
    starts = [generator.randrange(len(data)) for _ in range(50)]
    ends = [start + generator.randrange(300_000) for start in starts]
    stage.file("g", MIB)
    urls = [url if i % 3 else url[:-1] + "g" for i in range(50)]
    found = fs.cat_ranges(urls, starts, ends, max_gap=100)
    assert found == [(data if each == url else content(stage, "g"))[start:end] for each, start, end in zip(urls, starts, ends, strict=True)]
    missing = fs.cat_ranges([url, url + "x"], 0, 3)
    assert missing[0] == data[:3]
    assert isinstance(missing[1], FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([url, url + "x"], [0, 1], [3, 4], on_error="raise")
    with pytest.raises(ValueError, match="2 paths, 1 starts"):
        fs.cat_ranges([url, url], [0], 3)
    with pytest.raises(TypeError, match="not a list"):
        fs.cat_ranges(url, 0, 3)


def test_file_information_errors_and_unsupported_operations(stage: Scene, url: str) -> None:
    fs = fsspec.filesystem("df", **options(stage))
    info = fs.info(url)
    assert (info["name"], info["size"], info["type"]) == (url, 20 * MIB + 123, "file")
    assert len(info["version"]) > 8
    assert fs.size(url) == 20 * MIB + 123
    assert fs.exists(url)
    assert fs.isfile(url)
    assert not fs.isdir(url)
    assert fs.find(url) == [url]
    assert fs.glob(url + "?a=1") == [url + "?a=1"], "the ? of a query is no glob pattern"
    gone = url + "-gone"
    assert not fs.exists(gone)
    assert not fs.isfile(gone)
    assert fs.find(gone) == []
    for call in (fs.info, fs.cat, fs.open, lambda each: fs.get(each, str(stage.path / "out"))):
        with pytest.raises(FileNotFoundError, match="404"):
            call(gone)
    with pytest.raises(PermissionError):
        fs.open(url.replace("/f", "/private/f"))
    for call in (fs.ls, lambda each: list(fs.walk(each)), lambda each: fs.glob(each + "*")):
        with pytest.raises(NotImplementedError, match="has no listing"):
            call(url)
    for mode in ("wb", "ab", "r+b", "xb"):
        with pytest.raises(NotImplementedError, match="read-only"):
            fs.open(url, mode)
    with pytest.raises(NotImplementedError):
        fs.pipe_file(url, b"")


def test_credentials_may_be_options_of_the_chained_http_or_of_df(stage: Scene, url: str) -> None:
    private = url.replace("/f", "/private/f")
    headers = {"Authorization": "Bearer secret"}
    with fsspec.open(f"df::{private}", df=options(stage), http={"headers": headers}) as file:
        assert file.read(5) == content(stage)[:5]
    with fsspec.open(f"df::{private}", headers=["Authorization: Bearer secret"], **options(stage)) as file:
        assert file.read(5) == content(stage)[:5]


def test_invalid_options_and_protocols_are_refused_before_any_request(stage: Scene, url: str) -> None:
    with pytest.raises(BadValue, match=r"df reads http, https, .*, not memory://"):
        fsspec.open("df::memory://a/b")
    with pytest.raises(BadValue, match=r"df reads http, https, .*, not ftp://"):
        fsspec.filesystem("df").open("ftp://a/b")
    with pytest.raises(BadValue, match="df reads URLs"):
        fsspec.open("df://a/b").open()
    with pytest.raises(BadValue, match="cookies: the options of http are headers"):
        fsspec.open(f"df::{url}", http={"cookies": {}})
    for wrong in ({"minrate": "a lot"}, {"nodes": 5}, {"minrat": "1M"}, {"digest": "sha256:short"}, {"store": "cloud"}):
        with pytest.raises((BadValue, TypeError), match=next(iter(wrong))):
            fsspec.filesystem("df", **wrong)
    assert stage.requests() == []


class Told(fsspec.Callback):  # type: ignore[misc]  # fsspec has no types
    """A callback that records the reported values."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[int] = []

    def absolute_update(self, value: int) -> None:
        super().absolute_update(value)
        self.values.append(value)


def test_a_file_is_fetched_to_the_disk_to_an_open_file_and_by_simplecache(stage: Scene, url: str) -> None:
    data = content(stage)
    fs = fsspec.filesystem("df", **options(stage))
    callback = Told()
    fs.get_file(url.replace("/f", "/slow/f"), str(stage.path / "deep" / "er" / "out"), callback=callback)
    assert (stage.path / "deep" / "er" / "out").read_bytes() == data
    assert (callback.size, callback.value) == (len(data), len(data))
    assert len(callback.values) > 3
    assert callback.values == sorted(callback.values)
    target = io.BytesIO()
    fs.get_file(url, target)
    assert target.getvalue() == data
    fs.get([url], str(stage.path / "folder") + "/")
    assert (stage.path / "folder" / "f").read_bytes() == data
    with fsspec.open(f"simplecache::df::{url}", df=options(stage), simplecache={"cache_storage": str(stage.path / "cache")}) as file:
        assert file.read() == data
    (local,) = fsspec.open_local([f"simplecache::df::{url}"], df=options(stage), simplecache={"cache_storage": str(stage.path / "other")})
    assert Path(local).read_bytes() == data


def test_text_files_plain_and_compressed(stage: Scene) -> None:
    text = "".join(f"{n},é\n" for n in range(50_000))
    (stage.www / "t.csv").write_bytes(text.encode())
    (stage.www / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    base = stage.origin()
    for name in ("t.csv", "t.csv.gz"):
        with fsspec.open(f"df::{base}/{name}", "rt", compression="infer", encoding="utf8", newline="", **options(stage)) as file:
            assert "".join(file) == text


def test_a_changed_file_is_read_after_the_cache_is_invalidated(stage: Scene, url: str) -> None:
    fs = fsspec.filesystem("df", **options(stage))
    first = content(stage)
    assert fs.cat_file(url, 0, 10) == first[:10]
    key = fs.ukey(url)
    stage.file("f", MIB, seed=1)
    assert fs.cat_file(url, 0, 10) == first[:10]
    fs.invalidate_cache(url)
    assert fs.cat(url) == content(stage) != first
    assert fs.ukey(url) != key


def test_instances_are_shared_by_their_options_and_can_be_pickled(stage: Scene, url: str) -> None:
    data, given = content(stage), options(stage)
    fs = fsspec.filesystem("df", **given)
    assert fsspec.filesystem("df", **given) is fs
    assert fsspec.filesystem("df", **given, timeout=50.0) is not fs
    chained, path = fsspec.core.url_to_fs(f"df::{url}", **given)
    other, _ = fsspec.core.url_to_fs(f"df::{url}x", **given)
    assert path == url
    assert chained is other, "the file's URL is no option"
    for again in (pickle.loads(pickle.dumps(fs)), fsspec.AbstractFileSystem.from_json(fs.to_json()), pickle.loads(pickle.dumps(chained))):
        assert again.cat_file(url, 3, 9) == data[3:9]
    assert json.loads(fs.to_json())["ip"] == given["ip"]
    with fs.open(url) as file:
        file.seek(1000)
        with pickle.loads(pickle.dumps(file)) as there:
            assert there.tell() == 1000
            assert there.read(10) == data[1000:1010]
    opened = pickle.loads(pickle.dumps(fsspec.open(f"df::{url}", **given)))
    with opened as file:
        assert file.read(4) == data[:4]


def test_concurrent_coroutines_of_an_asynchronous_instance(stage: Scene, url: str) -> None:
    data, given = content(stage), options(stage, (stage.supernode(),))

    async def main() -> None:
        fs = fsspec.filesystem("df", asynchronous=True, skip_instance_cache=True, **given)
        found = await asyncio.gather(*[fs._cat_file(url, n * 1000, n * 1000 + 10) for n in range(100)])
        assert found == [data[n * 1000 : n * 1000 + 10] for n in range(100)]
        assert (await fs._info(url))["size"] == len(data)
        assert await fs._exists(url)
        fs.invalidate_cache()

    asyncio.run(main())


def read_in_child(fs: FileSystem, file: Any, url: str, offset: int, pipe: Any) -> None:
    try:
        file.seek(offset)
        pipe.send((fs.cat_file(url, offset, offset + 1000), file.read(1000), fs.info(url)["size"]))
    except BaseException as error:
        pipe.send(error)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_child_processes_read_files_that_the_parent_opened(stage: Scene, url: str, method: str) -> None:
    data, given = content(stage), options(stage, (stage.supernode(),))
    fs = fsspec.filesystem("df", **given)
    context: Any = multiprocessing.get_context(method)
    with fs.open(url) as file:
        assert file.read(10) == data[:10]
        ends = []
        for n in range(3):
            here, there = context.Pipe()
            child = context.Process(target=read_in_child, args=(fs, file, url, n * 5 * MIB, there))
            child.start()
            ends.append((child, here, n * 5 * MIB))
        for child, here, offset in ends:
            assert here.poll(60)
            assert here.recv() == (data[offset : offset + 1000], data[offset : offset + 1000], len(data))
            child.join(30)
            assert child.exitcode == 0
            child.close()
            here.close()
        assert file.read(10) == data[10:20]
        assert fs.cat_file(url, 0, 3) == data[:3]


def test_an_unreachable_origin_is_an_error_and_not_a_missing_file(stage: Scene) -> None:
    fs = fsspec.filesystem("df", **options(stage, retry=0, connect_timeout=2))
    with pytest.raises(OriginUnreachable):
        fs.exists(f"http://127.0.0.1:{free_port()}/f")


UNFINISHED = """
import sys, threading, time, fsspec, json

fsspec.register_implementation("df", "dfengine.filesystem.FileSystem")
fs = fsspec.filesystem("df", **json.loads(sys.argv[2]))

class Told(fsspec.Callback):
    def absolute_update(self, value):
        print("begun", flush=True)

if sys.argv[3] == "get":
    threading.Thread(target=fs.get_file, args=(sys.argv[1], sys.argv[4]), kwargs={"callback": Told()}, daemon=True).start()
elif sys.argv[3] == "cat":
    threading.Thread(target=fs.cat, args=(sys.argv[1],), daemon=True).start()
    while not any(held.file for held in fs._files._held.values()):
        time.sleep(0.01)
    print("begun", flush=True)
else:
    file = fs.open(sys.argv[1])
    file.read(1)
    print("begun", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("how", ["cat", "get", "open"])
def test_a_program_exits_without_waiting_for_reads(stage: Scene, how: str) -> None:
    stage.file("f", 20 * MIB)
    url = stage.origin(slow="300k") + ("/f" if how == "open" else "/slow/f")
    command = [sys.executable, "-c", UNFINISHED, url, json.dumps(options(stage)), how, str(stage.path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stdout.readline() == b"begun\n"
        program.stdin.close()
        began = time.monotonic()
        assert program.wait(60) == 0
        assert time.monotonic() - began < 30, "the whole file would take a minute"


WRITES: dict[str, tuple[str, ...]] = {
    "mkdir": (), "makedir": (), "makedirs": (), "mkdirs": (), "rmdir": (), "rm": (), "rm_file": (), "delete": (), "touch": (), "sign": (),
    "created": (), "modified": (), "pipe": ("x",), "pipe_file": ("x",), "write_text": ("x",), "write_bytes": ("x",),
    "mv": ("http://o/g",), "move": ("http://o/g",), "rename": ("http://o/g",),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITES)
def test_methods_that_write_are_refused_and_name_the_path(name: str) -> None:
    fs = fsspec.filesystem("df")
    path = "http://127.0.0.1:1/the/path"
    given = (b"x",) if WRITES[name] == ("x",) and name != "write_text" else WRITES[name]
    with pytest.raises(NotImplementedError, match=r"df .*127\.0\.0\.1:1/the/path"):
        getattr(fs, name)(path, *given)


@pytest.mark.parametrize("mode", ["wb", "ab", "xb", "w", "r+b", "a"])
def test_modes_that_write_are_refused(mode: str) -> None:
    with pytest.raises(NotImplementedError, match=r"df is read-only: .*mode .*:1/f"):
        fsspec.filesystem("df").open("http://127.0.0.1:1/f", mode)


def test_refused_copies_and_uploads_name_their_target(tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"x")
    fs = fsspec.filesystem("df")
    source, to, told = "http://127.0.0.1:1/f", "http://127.0.0.1:1/g", "df is read-only: it cannot write .*1/g"
    for name, given in {"put": (str(tmp_path / "here"), to), "put_file": (str(tmp_path / "here"), to), "upload": (str(tmp_path / "*"), to),
                        "copy": (source, to), "cp": (source, to), "cp_file": (source, to)}.items():  # fmt: skip
        with pytest.raises(NotImplementedError, match=told):
            getattr(fs, name)(*given)
    with pytest.raises(NotImplementedError, match="a, b, c and 2 more"):
        fs.rm(list("abcde"))
    with pytest.raises(NotImplementedError, match="1/g"):
        fs.pipe({to: b"x"})
    mapped = fs.get_mapper(to)
    with pytest.raises(NotImplementedError, match="1/g"):
        mapped["key"] = b"x"


def test_seek_rejects_invalid_positions_as_pythons_files_do(stage: Scene, url: str) -> None:
    with fsspec.filesystem("df", **options(stage)).open(url) as file:
        for given in ((0, 9), (-1, 0), (-1, 1)):
            with pytest.raises(ValueError):  # noqa: PT011
                file.raw.seek(*given)
        for values in (("x",), (0.5,), (0, "x")):
            with pytest.raises(TypeError):
                file.raw.seek(*values)
        assert file.raw.seek(-1, os.SEEK_END) == 20 * MIB + 122


@pytest.mark.parametrize("path", [None, 5, 1.5, b"http://o/f", object()], ids=repr)
def test_invalid_paths_are_rejected(path: Any) -> None:
    fs = fsspec.filesystem("df")
    for call in (fs.open, fs.info, fs.cat_file, fs.exists):
        with pytest.raises(BadValue, match="path"):
            call(path)


def test_invalid_ranges_are_rejected_and_excessive_ones_clipped(stage: Scene, url: str) -> None:
    fs = fsspec.filesystem("df", store=None, **options(stage))
    for start, end in (("x", None), (0, "x"), (b"x", 5), (0, 1.5), ([], 1), (object(), None)):
        with pytest.raises(BadValue, match="range"):
            fs.cat_file(url, start, end)
        with pytest.raises(BadValue, match="range"):
            fs.cat_ranges([url], [start], [end], on_error="raise")
    assert fs.cat_file(url, -(2**70), 3) == content(stage)[:3]
    assert fs.cat_file(url, 2**70) == b""
    with fs.open(url, block_size=2**70) as file:
        assert file.read(3) == content(stage)[:3]
