"""A stream with an expected digest: closing it compares the digest, or reports that it was not compared."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import os
import socket
import tarfile
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import dfengine
from dfengine.errors import BadValue, DigestMismatch, OriginError, Unverified
from tests.e2e.scene import MIB, Scene, until
from tests.own_descriptors import own_descriptors

PIECE = (4 * MIB) - 5
WRONG = "sha256:" + "0" * 64


def opened(url: str, digest: str, **settings: Any) -> Any:
    return dfengine.stream(url, digest=digest, **{"window": 3, **settings})


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Each test leaves no thread and no descriptor."""
    before = set(own_descriptors())
    yield
    gc.collect()
    until(lambda: not [each for each in threading.enumerate() if each.name.startswith(("fetch-", "stream", "digest", "origin"))],
          "the end of the stream's threads")  # fmt: skip
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1


@pytest.fixture
def archive(stage: Scene) -> tuple[str, str]:
    """(URL, sha256:HEX) of a tar of three pieces; the last has blocks after the archive's end, which a reader of archives does not read."""
    name = stage.www / "a.tar"
    with tarfile.open(name, "w") as tar:
        entry = tarfile.TarInfo("f")
        entry.size = 2 * PIECE
        tar.addfile(entry, io.BytesIO(bytes(2 * PIECE)))
    with open(name, "ab") as file:
        file.write(bytes(2 * MIB))
    return stage.origin() + "/a.tar", "sha256:" + hashlib.sha256(name.read_bytes()).hexdigest()


def extract(reader: Any) -> None:
    with tarfile.open(fileobj=reader, mode="r|") as tar:
        assert [entry.size for entry in tar] == [2 * PIECE]


def test_the_digest_is_compared_when_a_tar_reader_stops_before_the_end(archive: tuple[str, str]) -> None:
    url, right = archive
    with opened(url, right) as reader:
        extract(reader)
        assert reader.result is None, "the reader stopped before the end"
    assert reader.verified
    assert reader.result is not None
    reader = opened(url, WRONG)
    with pytest.raises(DigestMismatch, match="sha256"), reader:
        extract(reader)
    assert reader.closed
    assert not reader.verified
    with opened(url, right) as reader, io.BufferedReader(reader) as buffered:
        extract(buffered)
    assert reader.verified
    buffered = io.BufferedReader(opened(url, WRONG))
    extract(buffered)
    with pytest.raises(DigestMismatch):
        buffered.close()


@pytest.mark.parametrize("path", ["/f", "/chunked/f"])
def test_a_close_compares_the_digest_if_the_rest_is_in_the_window(stage: Scene, path: str) -> None:
    """If the window holds the rest, close reads it; otherwise it fetches nothing and raises Unverified."""
    size = 6 * PIECE + 9
    right = "sha256:" + stage.file("f", size)
    url = stage.origin() + path
    for read, near in ((10, False), (2 * PIECE, False), (4 * PIECE + 1, True), (6 * PIECE, True), (size - 1, True), (size, True)):
        for digest in (right, WRONG):
            reader = opened(url, digest)
            left = read
            while left:
                left -= len(reader.read(left))
            if near and digest == right:
                reader.close()
                assert reader.verified
            else:
                with pytest.raises(DigestMismatch if near else Unverified, match="sha256") as told:
                    reader.close()
                assert near or f"{read} bytes were read" in str(told.value)
                assert near == (not isinstance(told.value, Unverified)) or path == "/chunked/f"
            assert reader.closed
            reader.close()


def test_a_read_to_the_end_compares_the_digest_and_close_does_not_repeat_it(stage: Scene) -> None:
    right = "sha256:" + stage.file("f", 2 * PIECE)
    url = stage.origin() + "/f"
    with opened(url, right.upper().replace("SHA256", "SHA-256")) as reader:
        assert len(reader.readall()) == 2 * PIECE
        assert reader.verified
    with opened(url, WRONG) as reader, pytest.raises(DigestMismatch):
        reader.readall()
    with dfengine.stream(url) as reader:
        reader.read(10)
    assert not reader.verified, "no digest was given"
    with opened(url, WRONG):
        pass  # no byte was read
    with pytest.raises(BadValue):
        opened(url, "sha256:00")


def test_an_error_in_the_with_block_is_raised_at_once_with_a_note(stage: Scene) -> None:
    stage.file("f", 2 * PIECE)
    url = stage.origin(slow="64k") + "/slow/f"
    reader = opened(url, WRONG, minrate=0)
    until(lambda: reader._streaming.memory.transfer, "a response of the origin")
    reader._delivered = 1  # as if the first piece had been delivered, which takes a minute
    with pytest.raises(KeyError) as told, reader:
        raise KeyError("mine")
    assert reader.closed
    assert "was not compared" in told.value.__notes__[0]


def test_close_raises_the_error_of_a_stream_that_failed_unnoticed() -> None:
    """The consumer stopped reading before the error occurred."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with listener.accept()[0] as sock:
                listener.close()  # a second attempt finds no server
                sock.recv(1 << 16)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * PIECE) + bytes(PIECE + 10))

        thread = threading.Thread(target=answer)
        thread.start()
        reader = opened(f"http://127.0.0.1:{listener.getsockname()[1]}/f", WRONG, retry=0)
        assert len(reader.read(10)) == 10
        thread.join()
        with pytest.raises(OriginError):
            reader.close()
        assert reader.closed


def test_a_close_by_another_thread_ends_a_read(stage: Scene) -> None:
    stage.file("f", 2 * PIECE)
    url = stage.origin(slow="64k") + "/slow/f"
    reader = opened(url, WRONG, minrate=0)
    told: list[BaseException] = []

    def read() -> None:
        try:
            reader.read(10)
        except BaseException as error:
            told.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    until(lambda: reader._reading, "a read")
    reader.close()
    thread.join()
    assert "closed" in str(told[0])


def test_a_reader_dropped_without_close_warns_of_the_uncompared_digest(stage: Scene) -> None:
    stage.file("f", 2 * PIECE)
    url = stage.origin() + "/f"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        reader = opened(url, WRONG)
        assert len(reader.read(10)) == 10
        del reader
        gc.collect()
    assert any("10 bytes were read" in str(each.message) for each in told)
    with contextlib.suppress(BadValue):
        dfengine.stream("ftp://h/f")


def test_get_reports_a_digest_not_compared_because_its_reader_left(stage: Scene) -> None:
    stage.file("f", 6 * PIECE)
    process = stage.start_stream(stage.origin() + "/f", "--digest", WRONG, "--window", "1")
    assert process.stdout is not None
    assert process.stderr is not None
    assert len(process.stdout.read(10)) == 10
    process.stdout.close()
    assert process.wait(30) == 23
    assert f"{WRONG} was not compared" in process.stderr.read().decode()
