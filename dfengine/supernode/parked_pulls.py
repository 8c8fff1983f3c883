"""Parked native pulls: each has the future of its response, and a timer after which it is answered without pieces."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from dfengine import wire
from dfengine.histogram import Histogram
from dfengine.net.http import Response
from dfengine.supernode.registered_downloads import Key
from dfengine.supernode.swarm.swarm import Swarm


@dataclass(slots=True)
class Parked:
    """A native pull that waits for pieces. number: pulls parked before it. since: when it was parked (loop time)."""

    future: asyncio.Future[Response]
    timer: asyncio.TimerHandle
    number: int
    since: float


class ParkedPulls(dict[Key, Parked]):
    """Parked pulls by (task, CID), at most one for each. waits: histogram of the seconds until the answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, swarm: Swarm, waits: Histogram) -> None:
        super().__init__()
        self._loop = loop
        self._swarm = swarm
        self._waits = waits
        self.count = 0
        """Pulls parked since the start."""

    def park(self, key: Key, k: int, seconds: float) -> asyncio.Future[Response]:
        """Park a pull of k pieces; it is answered WAIT after `seconds`. A disconnected client cancels the returned future."""
        future: asyncio.Future[Response] = self._loop.create_future()
        timer = self._loop.call_later(seconds, self.release, key)
        self[key] = Parked(future, timer, self.count, self._loop.time())
        self.count += 1
        self._swarm.park(*key, k)
        future.add_done_callback(lambda done: self._cancelled(key, future) if done.cancelled() else None)
        return future

    def _cancelled(self, key: Key, future: asyncio.Future[Response]) -> None:
        parked = self.get(key)
        if parked is not None and parked.future is future:
            del self[key]
            parked.timer.cancel()
            self._swarm.unpark(*key)

    def answer(self, key: Key, answer: wire.Pulled) -> None:
        """Answer a parked pull; do nothing if it is not parked."""
        parked = self.pop(key, None)
        if parked is not None:
            parked.timer.cancel()
            self._waits.observe(self._loop.time() - parked.since)
            if not parked.future.done():
                parked.future.set_result(Response(200, wire.encode(answer)))

    def release(self, key: Key) -> None:
        """Answer WAIT: the time is over, a newer pull of the same CID arrived, or the client is gone. Do nothing if it is not parked."""
        if key in self:
            # Also for a client that is gone: otherwise the swarm would lease pieces that no client fetches.
            self._swarm.unpark(*key)
            self.answer(key, wire.Pulled(wire.WAIT))
