"""Outputs of downloads of several files, which must be distinct."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from dfengine.app import file_list
from dfengine.app.file_list import BatchSettings, Outputs
from dfengine.client.batch import BatchFile
from dfengine.errors import BadValue, StorageError
from dfengine.settings import GetSettings


def several(folder: str = "", **more: bool) -> BatchSettings:
    return BatchSettings(GetSettings(url="", output=""), folder=folder, **more)


def listed(text: bytes, folder: str = "") -> list[BatchFile]:
    return list(file_list.of_list(several(folder), io.BytesIO(text), lambda name: None))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_outputs_are_named_by_their_urls() -> None:
    found = file_list.of_urls(several("d", create_dirs=True), ["http://o/a", "http://p/b%20c?q"])
    assert [(each.settings.url, each.settings.output) for each in found] == [("http://o/a", "d/a"), ("http://p/b%20c?q", "d/b c")]
    assert os.path.isdir("d")


def test_a_missing_directory_is_reported_before_any_download_starts() -> None:
    with pytest.raises(StorageError, match="--create-dirs"):
        file_list.of_urls(several("d"), ["http://o/a", "http://o/b"])


@pytest.mark.parametrize("urls", [["http://o/a", "http://p/a"], ["http://o/a?1", "http://o/b", "http://o/%61"]])
def test_two_urls_with_one_output_are_refused(urls: list[str]) -> None:
    with pytest.raises(BadValue, match="two URLs have the output a"):
        file_list.of_urls(several(), urls)


def test_outputs_of_a_list_and_of_the_command_line_must_be_distinct(folder: Path) -> None:
    (folder / "list").write_bytes(b"http://p/a\n")
    first = file_list.of_urls(several(), ["http://o/a"])
    with file_list.opened("list") as file, pytest.raises(BadValue, match="two URLs have the output a"):
        file_list.checked(several(), file, lambda name: None, first)
    found = list(file_list.of_list(several(), io.BytesIO(b"http://p/a\nhttp://p/b\n"), lambda name: None, first))
    assert [each.fault is None for each in found] == [False, True]


def test_outputs_are_compared_after_resolving_links(folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "link").symlink_to("real")
    found = listed(b"http://o/a\n dir=real\nhttp://p/a\n dir=link\nhttp://o/b\n dir=link\n")
    assert [each.fault is None for each in found] == [True, False, True]


def test_a_url_without_a_file_name_needs_an_output() -> None:
    with pytest.raises(BadValue, match=r"http://o/ names no file.*out="):
        file_list.of_urls(several(), ["http://o/", "http://o/b"])
    assert [each.settings.output for each in listed(b"http://o/\n out=x\n")] == ["x"]


def test_dir_in_a_list_may_be_absolute_unless_the_command_line_sets_a_directory(folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    text = b"http://o/a\n dir=" + os.fsencode(elsewhere) + b"\nhttp://o/b\n out=s/c\n"
    assert [each.settings.output for each in listed(text)] == [f"{elsewhere}/a", "s/c"]
    assert (folder / "s").is_dir()
    first, second = listed(text, "d")
    assert "dir=/" in str(first.fault)
    assert "leads out" in str(first.fault)
    assert second.settings.output == "d/s/c"
    assert [str(each.fault) for each in listed(b"http://o/a\n dir=../x\n", "d")] == [
        "line 1 of the list: dir=../x leads out of the directory: give a relative path without '..'"
    ]
    assert not (folder.parent / "x").exists()


def test_a_list_in_a_file_is_checked_before_the_first_download(folder: Path) -> None:
    (folder / "good").write_bytes(b"http://o/a\nhttp://o/b\n")
    (folder / "bad").write_bytes(b"http://o/a\nhttp://o/b\n out=a\n")
    with file_list.opened("good") as file:
        assert file_list.checked(several(), file, lambda name: None) == 2
        assert len(list(file_list.of_list(several(), file, lambda name: None))) == 2
    with file_list.opened("bad") as file, pytest.raises(BadValue, match="line 2 of the list: two URLs have the output a"):
        file_list.checked(several(), file, lambda name: None)
    read, write = os.pipe()
    os.close(write)
    with open(read, "rb") as file:
        assert file_list.checked(several(), file, lambda name: None) == -1
    with pytest.raises(StorageError, match="missing cannot be read"):
        file_list.opened("missing")


def test_memory_for_known_outputs_is_bounded() -> None:
    outputs = Outputs(100)
    for n in range(1000):
        outputs.add(f"d{n}/f")
    assert len(outputs._now) + len(outputs._before) <= 100
    with pytest.raises(BadValue):
        outputs.add("d999/f")


def test_existing_files_are_skipped_with_skip_existing(folder: Path) -> None:
    (folder / "a").write_text("old")
    found = file_list.of_urls(several(skip_existing=True), ["http://o/a", "http://o/b"])
    assert [each.skipped for each in found] == [True, False]
