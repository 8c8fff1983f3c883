"""Cancels at the wrong moment, of coroutines whose work is in threads."""

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
    """See streaming.Reader: its next piece comes never, until it is cancelled."""

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


def test_a_stream_that_is_closed_while_it_is_begun_ends() -> None:
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
    """See files.File: it opens never, until it is closed."""

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
def test_an_opening_that_is_cancelled_ends_with_its_thread_and_without_a_word(cancels: int) -> None:
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
    """See files.File: its reads move the position however late they are cancelled."""

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
def test_a_read_that_is_cancelled_leaves_the_position(read: Any) -> None:
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


def test_an_error_that_nobody_awaits_is_not_printed() -> None:
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
