"""Cancellation of coroutines whose work runs in threads, at inconvenient moments."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from dfengine.errors import LocalError
from dfengine.programs.async_file import File
from dfengine.programs.async_stream import Reader
from dfengine.programs.loop_threads import in_thread

PATIENCE = 60.0


class Stream:
    """As streaming.Reader, whose next piece never arrives until it is stopped."""

    def __init__(self) -> None:
        self.turn = threading.Event()
        self.error: BaseException | None = None

    def next_piece(self) -> bytes:
        assert self.turn.wait(PATIENCE)
        assert self.error is not None
        raise self.error

    def stop(self, error: BaseException) -> None:
        self.error = error
        self.turn.set()

    def close(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def test_closing_a_stream_that_is_being_started_ends_it() -> None:
    begun, closed = threading.Event(), threading.Event()
    stream = Stream()

    def begin() -> Any:
        begun.set()
        assert closed.wait(PATIENCE)
        return stream

    async def main() -> None:
        reader = Reader(begin)
        read = asyncio.create_task(reader.read())
        await asyncio.to_thread(begun.wait, PATIENCE)
        read.cancel()
        closing = asyncio.create_task(reader.close())
        await asyncio.sleep(0)
        closed.set()
        await asyncio.wait_for(closing, PATIENCE / 2)

    asyncio.run(main())
    assert stream.turn.is_set()


class Opening:
    """As files.File, whose opening does not end until it is closed."""

    closed = False

    def __init__(self) -> None:
        self.begun, self.turn, self.left = threading.Event(), threading.Event(), threading.Event()

    def opened(self) -> None:
        self.begun.set()
        assert self.turn.wait(PATIENCE)
        self.left.set()
        raise LocalError("the file is closed")

    def close(self) -> None:
        self.turn.set()


@pytest.mark.parametrize("cancels", [1, 2, 3])
def test_a_cancelled_opening_ends_with_its_thread_and_logs_nothing(cancels: int) -> None:
    said: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: said.append(what))
        opening = Opening()
        task = asyncio.create_task(File(opening).opened())  # type: ignore[arg-type]
        await asyncio.to_thread(opening.begun.wait, PATIENCE)
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert opening.left.is_set()
        del task
        gc.collect()

    asyncio.run(main())
    assert said == []


class Moving:
    """As files.File, whose reads move the position even if cancelled late."""

    closed, at = False, 7

    def __init__(self) -> None:
        self.begun, self.turn = threading.Event(), threading.Event()

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int) -> None:
        self.at = offset

    def read(self, count: int) -> bytes:
        self.begun.set()
        assert self.turn.wait(PATIENCE)
        self.at += count
        return bytes(count)

    def readinto(self, buffer: bytearray) -> int:
        return len(self.read(len(buffer)))


@pytest.mark.parametrize("read", [lambda file: file.read(5), lambda file: file.readinto(bytearray(5))])
def test_a_cancelled_read_leaves_the_position_unchanged(read: Any) -> None:
    async def main() -> None:
        moving = Moving()
        file = File(moving)  # type: ignore[arg-type]
        task = asyncio.create_task(read(file))
        await asyncio.to_thread(moving.begun.wait, PATIENCE)
        task.cancel()
        await asyncio.sleep(0)
        moving.turn.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert file.tell() == 7
        await read(file)
        assert file.tell() == 12

    asyncio.run(main())


def test_an_error_that_is_never_awaited_is_not_logged() -> None:
    said: list[Any] = []

    def fail() -> None:
        raise LocalError("nobody hears it")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: said.append(what))
        future = in_thread(fail)
        await asyncio.wait((future,))
        del future
        gc.collect()
        with pytest.raises(LocalError):
            await in_thread(fail)

    asyncio.run(main())
    assert said == []


class Pieces:
    """As streaming.Reader: three pieces of ten bytes, each of which waits for a turn."""

    def __init__(self) -> None:
        self.left = [bytes(range(at, at + 10)) for at in (0, 10, 20)]
        self.turns = threading.Semaphore(0)

    def next_piece(self) -> bytes:
        assert self.turns.acquire(timeout=PATIENCE)
        return self.left.pop(0) if self.left else b""

    def close(self) -> None:
        """There is nothing to release."""

    def __exit__(self, *_: object) -> None:
        """As `close`."""


def test_concurrent_reads_are_served_in_order() -> None:
    async def main() -> None:
        pieces = Pieces()
        stream = Reader(lambda: pieces)  # type: ignore[arg-type,return-value]
        reads = [asyncio.create_task(read) for read in (stream.read(4), stream.read(3), stream.next_piece(), stream.read(5), stream.read())]
        for _ in range(4):
            pieces.turns.release()
        found = await asyncio.gather(*reads)
        assert [len(part) for part in found] == [4, 3, 3, 5, 15]
        assert b"".join(found) == bytes(range(30))
        await stream.close()

    asyncio.run(main())


def test_a_cancelled_read_of_the_rest_loses_no_bytes() -> None:
    async def main() -> None:
        pieces = Pieces()
        stream = Reader(lambda: pieces)  # type: ignore[arg-type,return-value]
        pieces.turns.release()
        assert await stream.read(4) == bytes(range(4))
        task = asyncio.create_task(stream.read())
        pieces.turns.release()
        while len(pieces.left) > 1:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pieces.turns.release(2)
        assert await stream.read() == bytes(range(4, 30))
        await stream.close()

    asyncio.run(main())


def test_reads_of_a_closed_stream_are_refused() -> None:
    async def main() -> None:
        pieces = Pieces()
        stream = Reader(lambda: pieces)  # type: ignore[arg-type,return-value]
        pieces.turns.release()
        assert await stream.read(4) == bytes(range(4))
        await stream.close()
        for read in (stream.read(1), stream.read(), stream.readinto(bytearray(2)), stream.next_piece()):
            with pytest.raises(ValueError, match="closed"):
                await read

    asyncio.run(main())
