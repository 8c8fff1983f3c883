"""A bounded number of open files, besides those in use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dfengine.errors import StorageError
from dfengine.storage.descriptors import Descriptors, ReopenedFile
from tests.own_descriptors import own_descriptors


@pytest.fixture
def made(tmp_path: Path) -> Callable[[str, Descriptors], ReopenedFile]:
    def make(name: str, descriptors: Descriptors) -> ReopenedFile:
        path = tmp_path / name
        path.write_text(name)
        return ReopenedFile(str(path), os.open(path, os.O_RDWR), descriptors)

    return make


def opened() -> int:
    return len(own_descriptors())


def text(file: ReopenedFile) -> str:
    held = file.hold()
    return os.pread(held.fd, 100, 0).decode()


def test_few_descriptors_are_open_and_all_files_can_be_read(made: Callable[[str, Descriptors], ReopenedFile]) -> None:
    before, descriptors = opened(), Descriptors(3)
    files = [made(str(n), descriptors) for n in range(20)]
    assert opened() == before + 3
    assert [text(file) for file in files] == [str(n) for n in range(20)]
    assert opened() == before + 3
    held = [file.hold() for file in files]
    assert opened() == before + 20, "a file in use was closed"
    assert [os.pread(each.fd, 100, 0).decode() for each in held] == [str(n) for n in range(20)]
    del held
    for file in files:
        file.release()
    assert opened() == before


def test_a_removed_or_replaced_file_is_not_mistaken_for_the_original(
    made: Callable[[str, Descriptors], ReopenedFile], tmp_path: Path
) -> None:
    before, descriptors = opened(), Descriptors()
    ours, other, known = made("ours", descriptors), made("other", descriptors), made("known", descriptors)
    sent = ours.hold()
    ours.detach()
    os.unlink(tmp_path / "ours")
    (tmp_path / "ours").write_text("another, perhaps of the same inode")
    assert os.pread(sent.fd, 100, 0) == b"ours"
    assert text(ours) == "ours", "the file in use was closed"
    del sent
    with pytest.raises(StorageError, match="removed"):
        ours.hold()
    other.release()
    (tmp_path / "new").write_text("by another program")
    (tmp_path / "new").rename(tmp_path / "other")
    with pytest.raises(StorageError, match="replaced"):
        other.hold()
    known.release()
    os.unlink(tmp_path / "known")
    with pytest.raises(StorageError, match="cannot open"):
        known.hold()
    assert opened() == before
