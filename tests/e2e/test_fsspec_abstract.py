"""fsspec's own abstract tests of reading: all tests of `get`, with an origin that lists its directories.

The tests write the files that they read, so this file system writes to the origin's folder on the local disk.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests

from dfengine.filesystem import FileSystem
from dfengine.filesystem.protocols import ORIGINS, Http
from tests.e2e.scene import Scene


class Shelf(Http):
    """An HTTP origin whose folders can be listed."""

    folder: ClassVar[Path]
    base: ClassVar[str]
    lists = True

    def url(self, path: str) -> str:
        return path.replace("listed://www", self.base)

    def files(self, url: str, settings: Any) -> Iterator[tuple[str, int]]:
        folder = self.folder / url.removeprefix(self.base).strip("/")
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path.relative_to(folder)), path.stat().st_size


class Stocked(FileSystem):
    """A file system with the tests' write operations, which use the disk and not dfengine."""

    cachable = False

    def local(self, path: str) -> Path:
        return Shelf.folder / str(self._strip_protocol(path)).removeprefix("listed://www").strip("/")

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        self.local(path).mkdir(parents=create_parents)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self.local(path).mkdir(parents=True, exist_ok=exist_ok)

    def touch(self, path: str, truncate: bool = True, **_: Any) -> None:
        self.pipe(path, b"")

    def pipe(self, path: str, value: bytes = b"", **_: Any) -> None:
        self.local(path).parent.mkdir(parents=True, exist_ok=True)
        self.local(path).write_bytes(value)

    def rm(self, path: str, recursive: bool = False, **_: Any) -> None:
        shutil.rmtree(self.local(path))


@pytest.fixture(scope="class")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One nginx for all tests of the class."""
    stage = Scene(tmp_path_factory.mktemp("abstract"))
    try:
        Shelf.folder, Shelf.base = stage.www, stage.origin()
        ORIGINS["listed"] = Shelf
        yield stage
    finally:
        ORIGINS.pop("listed", None)
        stage.close()


class Fixtures(AbstractFixtures):  # type: ignore[misc]  # fsspec has no types
    @pytest.fixture
    def fs(self, origin: Scene) -> Iterator[Stocked]:
        home = origin.path / "home-2"
        origin.homes.add(home)
        made = Stocked(ip="127.0.0.2", home=str(home))
        yield made
        made.invalidate_cache()
        for each in origin.www.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(str(part).rstrip("/") if at < len(parts) - 1 else str(part) for at, part in enumerate(parts))

    @pytest.fixture
    def fs_path(self) -> str:
        return "listed://www/tests"

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False

    @pytest.fixture
    def local_path(self, tmp_path: Path) -> str:
        return os.fspath(tmp_path)


class TestGet(Fixtures, AbstractGetTests):  # type: ignore[misc]  # fsspec has no types
    """All of fsspec's tests of `get`."""
