"""The reader of a stream over a file in memory: order of its reads, and reads after its close."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dfengine.errors import LocalError
from dfengine.settings import GetSettings
from dfengine.streaming import reader
from dfengine.streaming.reader import Reader

PIECE, PIECES = 1000, 50
BODY = b"".join(n.to_bytes(4, "big") for n in range(PIECE * PIECES // 4))


class Source:
    """A download with all pieces in a file in memory."""

    def __init__(self, settings: GetSettings, observer: object = None) -> None:
        self.fd = os.memfd_create("stream")
        os.write(self.fd, BODY)
        self.at = 0
        self.log: list[str] = []
        self.stopped = threading.Event()
        self.before: Callable[[], object] = lambda: None
        self.memory = type("Memory", (), {"expected": ()})

    def next(self) -> tuple[int, int, int, int] | None:
        self.before()
        if self.stopped.is_set():
            self.log.append("stopped")
            raise LocalError("the reader was closed")
        return (self.at, self.fd, self.at * PIECE, PIECE) if self.at < PIECES else None

    def consumed(self, n: int) -> None:
        assert n == self.at
        self.at += 1

    def stop(self, error: BaseException) -> None:
        self.stopped.set()


class DownloadThread:
    """The download thread of a Source."""

    result = failure = None
    over = False

    def __init__(self, source: Source, name: str) -> None:
        self.source = source

    def start(self) -> None:
        """No thread is needed."""

    def join(self) -> None:
        """No thread is needed."""

    def is_alive(self) -> bool:
        return False

    def close(self) -> None:
        self.source.log.append("left")
        os.close(self.source.fd)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(reader, "StreamDownload", Source)
    monkeypatch.setattr(reader, "DownloadThread", DownloadThread)
    with Reader(GetSettings(url="http://o/f", output="-")) as found:
        yield found


READS: list[Callable[[Any], object]] = [
    lambda made: made.read(30), lambda made: made.readinto(bytearray(30)), lambda made: made.readall(), lambda made: made.read(),
    lambda made: made.readline(), lambda made: made.next_piece(), lambda made: list(made),
]  # fmt: skip


@pytest.mark.parametrize("read", READS)
def test_a_closed_reader_reads_nothing(made: Any, read: Callable[[Any], object]) -> None:
    assert made.read(10) == BODY[:10]
    fd = made._streaming.fd
    made.close()
    other = os.memfd_create("another file")
    os.write(other, b"other bytes" * 1000)
    numbers = {other, os.dup2(other, fd)}  # as the next opened file would
    try:
        with pytest.raises(ValueError, match="closed"):
            read(made)
        made.close()
    finally:
        for number in numbers:
            os.close(number)


def test_close_waits_for_the_read_of_another_thread(made: Any) -> None:
    waits, source, raised = threading.Event(), made._streaming, []

    def before() -> None:
        waits.set()
        assert source.stopped.wait(60)

    source.before = before

    def read() -> None:
        try:
            made.read(10)
        except LocalError as error:
            raised.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    assert waits.wait(60)
    made.close()
    thread.join(60)
    assert len(raised) == 1
    assert source.log == ["stopped", "left"]


@pytest.mark.parametrize("size", [1, 7, 333, PIECE, 5 * PIECE])
def test_reads_of_several_threads_return_each_byte_once(made: Any, size: int) -> None:
    found: list[list[bytes]] = [[] for _ in range(4)]

    def read(mine: list[bytes]) -> None:
        while part := made.read(size):
            mine.append(part)

    threads = [threading.Thread(target=read, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    offsets = [at for start in range(0, len(BODY), PIECE) for at in range(start, start + PIECE, min(size, PIECE))]
    parts = [BODY[at : min(at + size, at - at % PIECE + PIECE)] for at in offsets]
    assert sorted(part for mine in found for part in mine) == sorted(parts)


def test_a_signal_handler_may_close_the_reader_during_a_read(made: Any) -> None:
    """The handler runs in the reading thread, so no lock prevents it from closing the source of the read."""
    source = made._streaming

    def before() -> None:
        made.close()
        source.stopped.clear()

    source.before = before
    with pytest.raises(ValueError, match="closed"):
        made.read(10)
