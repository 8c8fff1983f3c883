"""Worker processes that divide the shards of a data set, as a data loader's do, and read by a file system that the parent created."""

from __future__ import annotations

import hashlib
import multiprocessing
from typing import Any

import fsspec
import pytest

from dfengine.filesystem import FileSystem
from tests.e2e.scene import MIB, Scene
from tests.e2e.test_fsspec import nothing_left, options

__all__ = ["nothing_left"]


def work(fs: FileSystem, shards: list[str], pipe: Any) -> None:
    """A loader's worker: send the digest of each of its shards, read in batches, and the shard's first and last bytes."""
    for shard in shards:
        size, digest = fs.size(shard), hashlib.sha256()
        with fs.open(shard) as file:
            while batch := file.read(300_000):
                digest.update(batch)
        last = fs.cat_ranges([shard] * 2, [0, size - 5], [5, size])
        pipe.send((shard, digest.hexdigest(), b"".join(last)))
    pipe.close()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_workers_read_shards_by_the_parents_file_system(stage: Scene, method: str) -> None:
    base = stage.origin()
    digests = {f"{base}/shard-{n}": stage.file(f"shard-{n}", 5 * MIB + n) for n in range(6)}
    fs = fsspec.filesystem("df", **options(stage, (stage.supernode(),)))
    assert fs.cat_file(f"{base}/shard-0", 0, 1), "the parent has read before the workers start"
    context: Any = multiprocessing.get_context(method)
    workers = []
    for n in range(3):
        here, there = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(fs, list(digests)[n::3], there))
        worker.start()
        there.close()
        workers.append((worker, here))
    found = {}
    for worker, here in workers:
        for _ in range(2):
            assert here.poll(90)
            shard, digest, ends = here.recv()
            found[shard] = digest
            data = (stage.www / shard.rpartition("/")[2]).read_bytes()
            assert ends == data[:5] + data[-5:]
        worker.join(30)
        assert worker.exitcode == 0
        worker.close()
        here.close()
    assert found == digests
