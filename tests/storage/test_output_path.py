"""The output: its name and place, and outputs that are written into instead of being replaced."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dfengine.errors import BadValue, StorageError, TimedOut
from dfengine.storage.output_path import descriptor, opened, prepare, resolve_output, takes_stream, url_name


@pytest.mark.parametrize(
    ("url", "name"),
    [("http://h/a/b.bin", b"b.bin"), ("http://h/%E9.bin", b"\xe9.bin"), ("http://h/%E8.bin?x=/y", b"\xe8.bin"),
     ("http://h/%C3%A9", "\u00e9".encode()), ("http://h/\u00e9", "\u00e9".encode()), ("http://h/a%2Fb", b"b"), ("http://h/a%20b", b"a b")],
)  # fmt: skip
def test_an_outputs_name_has_the_bytes_of_the_url(url: str, name: bytes) -> None:
    assert os.fsencode(url_name(url)) == name


@pytest.mark.parametrize("url", ["http://h", "http://h/a/", "http://h/..", "http://h/%2e%2E", "http://h/a%00", "http://h/a%2F."])
def test_a_url_without_a_file_name_requires_an_option(url: str) -> None:
    with pytest.raises(BadValue, match="-o FILE"):
        url_name(url)


def test_the_output_path_follows_from_name_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()

    def name() -> str:
        return "n"

    said = {("", ""): "n", ("f", ""): "f", ("there", ""): "there/n", ("new/", ""): "new/n", ("", "d"): "d/n", ("f", "d"): "d/f",
            ("new/", "d"): "d/new/n", ("/abs", "d"): "/abs", ("there", "d"): "d/there"}  # fmt: skip
    assert {key: resolve_output(name, *key) for key in said} == said


def test_a_missing_folder_is_created_on_request(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "f"
    with pytest.raises(StorageError, match=r"No such file.*--create-dirs"):
        prepare(str(path), create=False)
    prepare(str(path), create=True)
    prepare(str(path), create=True)
    assert path.parent.is_dir()
    path.write_text("no folder")
    with pytest.raises(StorageError, match="cannot make the folder"):
        prepare(str(path / "c" / "f"), create=True)


def test_a_descriptor_is_recognized_by_its_path_also_through_links(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/stdout")
    (tmp_path / "again").symlink_to("log")
    (tmp_path / "loop").symlink_to("loop")
    said = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/7": 7, "/proc/self/fd/12": 12, str(tmp_path / "again"): 1,
            str(tmp_path / "loop"): -1, "/dev/null": -1, "out": -1, "/dev/fd/x": -1}  # fmt: skip
    assert {path: descriptor(path) for path in said} == said


def test_devices_and_fifos_take_a_stream(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_text("")
    said = {"/dev/null": True, str(tmp_path / "fifo"): True, str(tmp_path / "file"): False, str(tmp_path): False, "missing": False}
    assert {path: takes_stream(path) for path in said} == said


def test_descriptors_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with pytest.raises(StorageError, match="reading only"), opened(f"/dev/fd/{reader}"):
        pass
    os.set_inheritable(writer, True)
    with opened(f"/dev/fd/{writer}") as fd:
        assert fd == writer
        assert not os.get_inheritable(fd), "a peer server would inherit the descriptor and keep the reader waiting"
    os.close(reader)
    os.close(writer)
    with pytest.raises(StorageError, match="Bad file descriptor"), opened(f"/dev/fd/{writer}"):
        pass


def test_opening_a_fifo_waits_for_a_reader_and_writes_block(tmp_path: Path) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    with pytest.raises(TimedOut, match="no process reads"), opened(fifo, 0.05):
        pass
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path(fifo).read_bytes()))
    reader.start()
    with opened(fifo, 20.0) as fd:
        assert os.get_blocking(fd)
        os.write(fd, b"bytes")
    reader.join()
    assert got == [b"bytes"]
