"""Evicts copies from a disk that fills up. A length that an origin states evicts no copy; only received bytes do, and only if that helps.

    the origin states a length     it must fit beside the copies in use, otherwise the fetch fails; no copy is evicted
    a piece is about to arrive     if less than --disk-low is free, idle copies are evicted until --disk-high is
    a write finds the disk full    idle copies are evicted until it fits; if all of them would not suffice, none is

Idle copies are evicted in the order of their last use: first those of tasks without downloads, then those that all downloads have
completely. If no copy can be evicted, the largest copy that is being fetched fails, and the other fetches wait for its room.

Examining ten thousand copies takes long, so the threads of fetches do it; the loop's thread only determines whether a task is in use.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

from dfengine.errors import DiskFull
from dfengine.net.event_log import NO_EVENTS, EventLog

if TYPE_CHECKING:
    from dfengine.supernode.copies.cache import Cache

    class Usage(Protocol):
        """Decides which copies may be evicted; called on the loop's thread. Implemented by `origin_fetches.OriginFetches`."""

        def eviction_rank(self, task: str) -> int:
            """0: the task has no downloads. 1: all of its downloads are complete. 2: the copy must not be evicted."""

        def running(self, task: str) -> bool:
            """Whether the task is being fetched."""

        def drop(self, task: str) -> bool:
            """Remove the copy from memory and disk. False: by now it must not be evicted."""

PAUSE = 1.0
"""Seconds until the next attempt after evicting for --disk-low did not free enough."""

METADATA = 64 << 10
"""Maximum bytes that one write of a record or a description needs."""

MAX_WAIT = 5.0
"""Seconds that a write waits for a larger copy to fail and free its room."""

SLICE = 1000
"""Tasks in one call on the loop's thread."""

TICK = 0.05

Result = TypeVar("Result")


class DiskSpace:
    """Makes room on the disk. low, high: bytes, --disk-low and --disk-high. Used in any thread except the loop's."""

    def __init__(
        self, cache: Cache, usage: Usage, loop: asyncio.AbstractEventLoop, low: int, high: int, events: EventLog = NO_EVENTS
    ) -> None:
        self._events = events
        self._cache, self._usage, self._loop = cache, usage, loop
        self.low, self.high = low, high
        self._lock = threading.Lock()
        self._next_check = 0.0
        self._freed_count = 0
        """Number of times that room was made."""
        self._closed = False
        self.evictions, self.evicted_at = 0, 0.0
        """Number of evictions, and the last one's time (unix seconds)."""
        self._reported = False
        """Whether it was logged that less than --disk-low stays free."""
        self.exhausted = False
        """Whether the last attempt to make room could remove no copy."""

    def set_limits(self, low: int, high: int) -> None:
        """Set --disk-low and --disk-high."""
        self.low, self.high = low, high

    def check_fits(self, length: int) -> None:
        """Raise DiskFull if a file of `length` more bytes (-1: unknown) would not fit even with all idle copies evicted."""
        free = self._cache.free_bytes()
        if length <= free:
            return
        idle = sum(size for *_, size in self._idle())
        if length > free + idle:
            raise DiskFull(f"the supernode has no room for {length} bytes: {free} are free, {idle} more can be")

    def keep_free(self) -> None:
        """Evict idle copies if less than --disk-low is free."""
        now = time.monotonic()
        if self._cache.free_bytes() >= self.low:
            self._reported = False
        elif now >= self._next_check:
            with self._lock:
                if self._cache.free_bytes() < self.low:
                    self._evict(self._idle(), 0)
                    self._next_check = now + PAUSE if self._cache.free_bytes() < self.low else 0.0

    def write(self, task: str, write: Callable[[], Result], need: int = METADATA, remaining: Callable[[], int] = int) -> Result:
        """Call `write`, which needs `need` bytes; if the disk is full, make room and call it again.

        remaining: bytes of the task's copy that are still to arrive. Raises StorageError.
        """
        end = 0.0
        while True:
            made = self._freed_count
            try:
                return write()
            except DiskFull:
                with self._lock:
                    if self._closed:
                        raise
                    if self._freed_count != made:
                        continue
                    idle = self._idle()
                    there = sum(size for *_, size in idle)
                    if need <= there and remaining() <= there + self._cache.free_bytes() and self._evict(idle, need):
                        self._freed_count += 1
                        continue
                end = end or time.monotonic() + MAX_WAIT
                if self._is_largest(task) or time.monotonic() > end:
                    raise
            self._wait(made, end)

    def space_freed(self) -> None:
        """Let waiting writes retry, because a copy was removed."""
        self._freed_count += 1

    def close(self) -> None:
        """Stop calling the loop's thread, because the process ends."""
        self._closed = True

    def _wait(self, made: int, end: float) -> None:
        while self._freed_count == made and not self._closed and time.monotonic() < end:
            time.sleep(TICK)

    def _idle(self) -> list[tuple[int, float, str, int]]:
        """Return (order, last use, task, bytes) of the copies that may be evicted, in the order of eviction."""
        copies = list(self._cache.copies())
        orders: list[int] = []
        for at in range(0, len(copies), SLICE):
            part = [task for _, task, _ in copies[at : at + SLICE]]
            orders += self._on_loop(partial(list, map(self._usage.eviction_rank, part)), [])
        return sorted((order, used, task, size) for order, (used, task, size) in zip(orders, copies, strict=False) if order < 2)

    def _evict(self, idle: list[tuple[int, float, str, int]], need: int) -> bool:
        """Evict copies of `need` bytes, and up to --disk-high free bytes if less than --disk-low is free. The caller holds `_lock`."""
        gone, count, high = 0, 0, self.high if self._cache.free_bytes() < self.low else 0
        for *_, task, size in idle:
            if gone >= need and self._cache.free_bytes() >= high:
                break
            if self._on_loop(partial(self._usage.drop, task), False):
                gone += size
                count += 1
        self.exhausted = not count
        if count:
            self.evictions, self.evicted_at = self.evictions + 1, time.time()
            self._events.info("space_freed", copies=count, bytes=gone, free=self._cache.free_bytes())
        elif need or not self._reported:
            self._reported = not need
            free = self._cache.free_bytes()
            self._events.warning("no_space", needed=max(need, high - free), free=free)
        return gone > 0

    def _is_largest(self, task: str) -> bool:
        """Whether no other copy that is being fetched occupies more of the disk."""
        sizes = {name: size for _, name, size in self._cache.copies()}
        running: list[str] = self._on_loop(lambda: [name for name in sizes if self._usage.running(name)], [])
        return all((sizes[name], name) <= (sizes.get(task, 0), task) for name in running)

    def _on_loop(self, question: Callable[[], Result], otherwise: Result) -> Result:
        """Call `question` on the loop's thread and return its result; `otherwise` if the process ends."""
        answers: list[Result] = []
        answered = threading.Event()

        def answer() -> None:
            answers.append(question())
            answered.set()

        try:
            self._loop.call_soon_threadsafe(answer)
        except RuntimeError:  # the loop has ended
            return otherwise
        while not answered.wait(TICK) and not self._closed:
            pass
        return answers[0] if answers else otherwise
