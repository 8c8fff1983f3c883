"""The fsspec file system with buckets, a hub and the supernode's disk: names as in fsspec, and directories if the origin lists them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.e2e.scene import MIB
from tests.e2e.stores import Gate
from tests.e2e.test_fsspec import nothing_left, options
from tests.e2e.test_hub_origins import one_hub
from tests.e2e.test_object_origins import content, one_gate, put, store
from tests.origins.hub import Hub

__all__ = ["nothing_left", "one_gate", "one_hub", "store"]

SIZE = 5 * MIB + 3


class Cutting(MemoryFileSystem):  # type: ignore[misc]
    """Stand-in for a protocol's package, which fsspec uses for names only: it strips the protocol."""

    protocol = ("s3", "hf")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("s3://").removeprefix("hf://").rstrip("/")


@pytest.fixture
def chained() -> Any:
    fsspec.register_implementation("s3", Cutting, clobber=True)
    fsspec.register_implementation("hf", Cutting, clobber=True)
    yield
    for name in ("s3", "hf"):
        sys.modules["fsspec.registry"]._registry.pop(name, None)


@pytest.fixture
def bucket(gate: Gate) -> dict[str, bytes]:
    """The bucket's keys and bodies."""
    found = {"top": b"12345", "dir/a b%.bin": content(SIZE), "dir/deep/x": b"x", "dir/deep/y": b"yy", "dir/empty": b""}
    for key, body in found.items():
        put(gate, key, body)
    return found


def test_a_bucket_is_listed_walked_and_read(stage: Any, gate: Gate, bucket: dict[str, bytes]) -> None:
    fs = fsspec.filesystem("df", **options(stage))
    base = "s3://models"
    assert sorted(fs.ls(f"{base}/dir/", detail=False)) == [f"{base}/dir/{name}" for name in ("a b%.bin", "deep", "empty")]
    described = {each["name"]: (each["size"], each["type"]) for each in fs.ls(base)}
    assert described == {f"{base}/top": (5, "file"), f"{base}/dir": (0, "directory")}
    asked = len(gate.asked)
    assert sorted(fs.find(base)) == sorted(f"{base}/{key}" for key in bucket)
    assert [(path.removeprefix(base), sorted(folders), sorted(files)) for path, folders, files in fs.walk(base)] == [
        ("", ["dir"], ["top"]), ("/dir", ["deep"], ["a b%.bin", "empty"]), ("/dir/deep", [], ["x", "y"]),
    ]  # fmt: skip
    assert sorted(fs.glob(f"{base}/**/?")) == [f"{base}/dir/deep/x", f"{base}/dir/deep/y"]
    assert fs.du(base) == sum(map(len, bucket.values()))
    assert fs.isdir(f"{base}/dir")
    assert fs.info(f"{base}/dir/a b%.bin")["size"] == SIZE
    assert len(gate.asked) == asked, "one listing is enough"
    for key, body in bucket.items():
        assert fs.cat(f"{base}/{key}") == body
    assert fs.isfile(f"{base}/top")
    assert not fs.isdir(f"{base}/top")
    assert not fs.exists(f"{base}/none")
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{base}/none")
    fs.get(f"{base}/dir", str(stage.path / "copy"), recursive=True)
    assert (stage.path / "copy" / "a b%.bin").read_bytes() == bucket["dir/a b%.bin"]
    assert (stage.path / "copy" / "deep" / "y").read_bytes() == b"yy"


def test_a_listing_is_cached_until_refresh_or_invalidation(stage: Any, gate: Gate, bucket: dict[str, bytes]) -> None:
    fs = fsspec.filesystem("df", **options(stage))
    before = fs.ls("s3://models", detail=False)
    put(gate, "new", b"")
    assert fs.ls("s3://models", detail=False) == before
    assert sorted(fs.ls("s3://models", detail=False, refresh=True)) == sorted([*before, "s3://models/new"])
    put(gate, "newer", b"")
    fs.invalidate_cache()
    assert "s3://models/newer" in fs.ls("s3://models", detail=False)


@pytest.mark.usefixtures("chained")
def test_a_bucket_in_a_chained_url(stage: Any, gate: Gate, bucket: dict[str, bytes]) -> None:
    with fsspec.open("df::s3://models/dir/a b%.bin", **options(stage)) as file:
        assert file.path == "models/dir/a b%.bin"
        assert file.full_name == "df::s3://models/dir/a b%.bin"
        file.seek(SIZE - 10)
        assert file.read() == bucket["dir/a b%.bin"][-10:]
    fs, path = fsspec.core.url_to_fs("df::s3://models/dir", **options(stage))
    assert sorted(fs.find(path)) == sorted(key for key in (f"models/{each}" for each in bucket) if key.startswith("models/dir/"))
    assert fs.cat([f"{path}/deep/x", f"{path}/deep/y"]) == {"models/dir/deep/x": b"x", "models/dir/deep/y": b"yy"}
    files = fsspec.open_files("df::s3://models/dir/deep/*", **options(stage))
    assert [each.path for each in files] == ["models/dir/deep/x", "models/dir/deep/y"]


def test_a_hub_is_listed_and_read(stage: Any, hub: Hub, chained: None) -> None:
    hub.add("org/name", {"config.json": b"{}", "a b/weights.bin": content(SIZE)})
    fs = fsspec.filesystem("df", **options(stage))
    assert sorted(fs.find("hf://org/name")) == ["hf://org/name/a b/weights.bin", "hf://org/name/config.json"]
    assert fs.cat_file("hf://org/name/a b/weights.bin", -5) == content(SIZE)[-5:]
    with fsspec.open("df::hf://org/name/config.json", **options(stage)) as file:
        assert file.read() == b"{}"


def test_files_on_a_supernodes_disk_are_read_but_not_listed(stage: Any, tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(content(SIZE))
    node = stage.supernode("--origin-root", str(tmp_path))
    with fsspec.open(f"df::file://{tmp_path}/a b", **options(stage, (node,))) as file:
        assert file.read() == content(SIZE)
    fs = fsspec.filesystem("df", **options(stage, (node,)))
    with pytest.raises(NotImplementedError, match="file has no listing"):
        fs.ls(f"file://{tmp_path}")
