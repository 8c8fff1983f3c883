"""The real packages pandas, pyarrow, polars and zarr read from the swarm by fsspec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec
import numpy
import pandas
import polars
import pyarrow.dataset
import pyarrow.parquet
import pytest
import zarr

from tests.e2e.scene import Scene, Supernode
from tests.e2e.test_fsspec import nothing_left, options

__all__ = ["nothing_left"]

COLUMNS, ROWS = 5, 1_000_000


@pytest.fixture
def node(stage: Scene) -> Supernode:
    return stage.supernode()


@pytest.fixture
def table(stage: Scene) -> dict[str, numpy.ndarray]:
    """A table of 40 MB, at the origin as t.parquet: each column is 8 contiguous MB."""
    generator = numpy.random.default_rng(1)
    columns = {f"c{n}": generator.random(ROWS) for n in range(COLUMNS)}
    pyarrow.parquet.write_table(pyarrow.table(columns), stage.www / "t.parquet", compression="none", use_dictionary=False)
    return columns


@pytest.fixture
def url(stage: Scene, node: Supernode, table: Any) -> Iterator[str]:
    """The table's URL; checks that a reader of one column receives less than half of the file."""
    url = stage.origin() + "/t.parquet"
    yield url
    assert 8 * ROWS < node.metric("dfengine_sent_bytes_total") < 8 * ROWS * COLUMNS / 2


def test_pandas_reads_a_column(stage: Scene, node: Supernode, url: str, table: dict[str, numpy.ndarray]) -> None:
    found = pandas.read_parquet(f"df::{url}", columns=["c1"], storage_options=options(stage, (node,)))
    assert list(found.columns) == ["c1"]
    assert (found["c1"].to_numpy() == table["c1"]).all()


def test_pyarrow_reads_a_column(stage: Scene, node: Supernode, url: str, table: dict[str, numpy.ndarray]) -> None:
    fs = fsspec.filesystem("df", **options(stage, (node,)))
    found = pyarrow.parquet.read_table(url, columns=["c3"], filesystem=fs)
    assert (found["c3"].to_numpy() == table["c3"]).all()
    assert pyarrow.dataset.dataset(url, filesystem=fs, format="parquet").count_rows() == ROWS


def test_polars_reads_a_column(stage: Scene, node: Supernode, url: str, table: dict[str, numpy.ndarray]) -> None:
    fs = fsspec.filesystem("df", **options(stage, (node,)))
    lazy = polars.scan_pyarrow_dataset(pyarrow.dataset.dataset(url, filesystem=fs, format="parquet"))
    found = lazy.select("c2").collect()
    assert (found["c2"].to_numpy() == table["c2"]).all()


def test_polars_reads_an_open_file(stage: Scene, node: Supernode, table: dict[str, numpy.ndarray]) -> None:
    url = stage.origin() + "/t.parquet"
    with fsspec.open(f"df::{url}", **options(stage, (node,))) as file:
        found = polars.read_parquet(file, columns=["c0", "c4"])
    assert (found["c4"].to_numpy() == table["c4"]).all()


def test_zarr_reads_the_chunks_of_a_slice(stage: Scene, node: Supernode) -> None:
    data = numpy.arange(1000 * 1000, dtype="int32").reshape(1000, 1000)
    array = zarr.create_array(str(stage.www / "a.zarr"), shape=data.shape, chunks=(250, 250), dtype="int32", fill_value=-1)
    array[:500] = data[:500]  # the other half has no chunks
    url = stage.origin() + "/a.zarr"
    store = zarr.storage.FsspecStore.from_url(f"df::{url}", storage_options=options(stage, (node,)), read_only=True)
    found = zarr.open_array(store, mode="r")
    assert numpy.array_equal(found[100:200, 300:400], data[100:200, 300:400])
    assert {each["path"] for each in stage.requests() if "/c/" in each["path"]} == {"/a.zarr/c/0/1"}
    assert numpy.array_equal(found[490:510, 990:], numpy.vstack([data[490:500, 990:], numpy.full((10, 10), -1)]))
    assert numpy.array_equal(found[:500], data[:500])
    store.close()
    store.fs.invalidate_cache()
