"""Copies leave a disk that fills up: never for what somebody claims, only for bytes that are there, and only if that can suffice.

    a file's length is told    it must fit beside the copies that are in use, else it is not begun; nothing leaves
    a piece is about to come   less than --disk-low is free: idle copies leave until --disk-high is
    a write finds no room      idle copies leave until it has; if all that may leave is too little, none does

Idle copies leave in the order of their last use: first those of tasks that nobody downloads or serves, then those that everybody who has
joined has whole. Where nothing can leave, the largest of the copies that are being fetched fails, and the others wait for its room.

Looking at ten thousand copies takes its time, so it is done in the fetches' threads; whether a task is used is asked of the loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from dfengine.errors import DiskFull, StorageError

if TYPE_CHECKING:
    from dfengine.supernode.copies.cache import Cache

    class Usage(Protocol):
        """Which copies may leave; asked on the loop's thread. `origin_fetches.OriginFetches` is one."""

        def order(self, task: str) -> int:
            """0: nobody uses it. 1: everybody who joined has it whole. 2: it must stay."""

        def running(self, task: str) -> bool:
            """It is being fetched."""

        def drop(self, task: str) -> bool:
            """It leaves memory and disk, unless it must stay by now."""

PAUSE = 1.0
"""Seconds after a look for --disk-low that was in vain, to the next one."""

LITTLE = 64 << 10
"""Bytes that a record or a description needs at most at once."""

PATIENCE = 5.0
"""Seconds that a write waits for the room of a larger copy."""

SLICE = 1000
"""Tasks that the loop is asked about at once."""

TICK = 0.05

Result = TypeVar("Result")


class Room:
    """low, high: bytes, --disk-low and --disk-high. Used in any thread but the loop's."""

    def __init__(self, cache: Cache, usage: Usage, loop: asyncio.AbstractEventLoop, low: int, high: int) -> None:
        self._cache, self._usage, self._loop = cache, usage, loop
        self.low, self._high = low, high
        self._turn = threading.Lock()
        self._again = 0.0
        self._made = 0
        """How often room was made so far."""
        self._closed = False

    def check(self, length: int) -> None:
        """A file needs `length` more bytes (0 or less: unknown). Raises StorageError if copies that may leave are not enough for it."""
        free = self._cache.free()
        if length <= free:
            return
        idle = sum(size for *_, size in self._idle())
        if length > free + idle:
            raise StorageError(f"the supernode has no room for {length} bytes: {free} are free, {idle} more can be")

    def keep_low(self) -> None:
        """More bytes come: idle copies leave if less than --disk-low is free."""
        now = time.monotonic()
        if now >= self._again and self._cache.free() < self.low:
            with self._turn:
                if self._cache.free() < self.low:
                    self._evict(self._idle(), 0)
                    self._again = now + PAUSE if self._cache.free() < self.low else 0.0

    def write(self, task: str, write: Callable[[], Result], need: int, rest: Callable[[], int]) -> Result:
        """Carry out `write`, of `need` bytes; where the disk is full room is made and it is tried again. rest: bytes of the task's
        copy that are still to come. Raises StorageError.
        """
        end = 0.0
        while True:
            made = self._made
            try:
                return write()
            except DiskFull:
                with self._turn:
                    if self._closed:
                        raise
                    if self._made != made:
                        continue
                    idle = self._idle()
                    there = sum(size for *_, size in idle)
                    if need <= there and rest() <= there + self._cache.free() and self._evict(idle, need):
                        self._made += 1
                        continue
                end = end or time.monotonic() + PATIENCE
                if self._is_largest(task) or time.monotonic() > end:
                    raise
            self._wait(made, end)

    def freed(self) -> None:
        """A copy has left: whoever waits may try again."""
        self._made += 1

    def close(self) -> None:
        """The process ends: the loop is not asked any more."""
        self._closed = True

    def _wait(self, made: int, end: float) -> None:
        while self._made == made and not self._closed and time.monotonic() < end:
            time.sleep(TICK)

    def _idle(self) -> list[tuple[int, float, str, int]]:
        """(order, last use, task, bytes) of the copies that may leave, in the order in which they do."""
        copies = list(self._cache.copies())
        orders: list[int] = []
        for at in range(0, len(copies), SLICE):
            part = [task for _, task, _ in copies[at : at + SLICE]]
            orders += self._ask(lambda part=part: [self._usage.order(task) for task in part], [])  # type: ignore[misc]
        return sorted((order, used, task, size) for order, (used, task, size) in zip(orders, copies, strict=False) if order < 2)

    def _evict(self, idle: list[tuple[int, float, str, int]], need: int) -> bool:
        """Copies leave until `need` bytes of them have, and --disk-high is free if less than --disk-low was. Hold `_turn`."""
        gone, high = 0, self._high if self._cache.free() < self.low else 0
        for *_, task, size in idle:
            if gone >= need and self._cache.free() >= high:
                break
            if self._ask(lambda task=task: self._usage.drop(task), False):  # type: ignore[misc]
                gone += size
        return gone > 0

    def _is_largest(self, task: str) -> bool:
        """No copy that is being fetched has more bytes on the disk."""
        sizes = {name: size for _, name, size in self._cache.copies()}
        running: list[str] = self._ask(lambda: [name for name in sizes if self._usage.running(name)], [])
        return all((sizes[name], name) <= (sizes.get(task, 0), task) for name in running)

    def _ask(self, question: Callable[[], Result], otherwise: Result) -> Result:
        """What the loop's thread says to it; `otherwise` when the process ends."""
        said: list[Result] = []
        told = threading.Event()

        def answer() -> None:
            said.append(question())
            told.set()

        try:
            self._loop.call_soon_threadsafe(answer)
        except RuntimeError:  # the loop has ended
            return otherwise
        while not told.wait(TICK) and not self._closed:
            pass
        return said[0] if said else otherwise


class CopyRoom:
    """Of one task's copy. room None: as much as there is."""

    def __init__(self, room: Room | None, task: str) -> None:
        self._room, self._task = room, task

    def check(self, length: int) -> None:
        """See Room."""
        if self._room is not None:
            self._room.check(length)

    def keep_low(self) -> None:
        """See Room."""
        if self._room is not None:
            self._room.keep_low()

    def write(self, write: Callable[[], Result], need: int = LITTLE, rest: Callable[[], int] = int) -> Result:
        """See Room."""
        return write() if self._room is None else self._room.write(self._task, write, need, rest)

    def freed(self) -> None:
        """See Room."""
        if self._room is not None:
            self._room.freed()
