"""Proxies that take work: each sends a request that is parked until there is work, and reports the results in its next requests."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from functools import partial
from itertools import islice

import msgspec

from dfengine.errors import RemoteError
from dfengine.net import work_messages
from dfengine.net.client_quota import Quota
from dfengine.net.http import Response
from dfengine.task import client_of

LIFE = 75.0
"""Seconds after its last request for which a proxy is available."""

MAX_WORKERS = 1 << 16
EACH = 4
"""Items that one proxy has in progress at most, even if it wants more."""


class Worker:
    """A proxy. host: its name. ip: the address of its host for others. address: the one that its requests come from."""

    def __init__(self, name: str, host: str, ip: str, address: str) -> None:
        self.name = name
        self.host = host
        self.ip = ip
        self.address = address
        self.seen = 0.0
        self.waiting: dict[int, work_messages.WorkItem] = {}
        self.under_way: dict[int, work_messages.WorkItem] = {}
        self.results: dict[int, asyncio.Future[str]] = {}
        """Number of an item -> the reason of its failure, "" for success."""
        self.parked: asyncio.Future[Response] | None = None
        self.want = 0


class Workers:
    """The proxies that take work. Used on the loop's thread. share: percent for one client. trusted: all are members of the swarm."""

    def __init__(self, loop: asyncio.AbstractEventLoop, share: int, trusted: bool) -> None:
        self._loop = loop
        self._workers: dict[str, Worker] = {}
        self._shares = Quota(MAX_WORKERS, share)
        self._next = secrets.randbits(48)
        """Numbers do not, or hardly ever, repeat those of an earlier process."""
        self.trusted = trusted

    def __iter__(self) -> Iterator[Worker]:
        """Iterate over the available proxies."""
        now = self._loop.time()
        return (worker for worker in self._workers.values() if now - worker.seen < LIFE)

    def request_work(self, asking: work_messages.WorkRequest, address: str) -> Response | asyncio.Future[Response]:
        """Answer a proxy's request for work, or park it. Raises RemoteError at the limit, or if another client uses the proxy's name."""
        worker = self._workers.get(asking.worker)
        if worker is None:
            if not self._shares.acquire(address):
                raise RemoteError("too many proxies of this client take work already")
            worker = self._workers[asking.worker] = Worker(asking.worker, asking.host_name or address, asking.ip or address, address)
        if client_of(worker.address) != client_of(address):
            raise RemoteError("another client takes work by this name")
        worker.seen = self._loop.time()
        for done in asking.done:
            worker.under_way.pop(done.number, None)
            self._end(worker, done.number, done.error)
        # Items of a response that did not arrive are assigned again.
        held = set(asking.under_way)
        for number in [number for number in worker.under_way if number not in held]:
            worker.waiting[number] = worker.under_way.pop(number)
        over = [number for number in asking.under_way if number not in worker.results]
        worker.want = asking.want
        self._release_parked(worker)
        given = self._next_items(worker)
        if given or over or asking.wait <= 0:
            return _answer(work_messages.WorkResponse(work=given, over=over))
        parked = worker.parked = self._loop.create_future()
        timer = self._loop.call_later(asking.wait, self._release_parked, worker)
        parked.add_done_callback(lambda _: timer.cancel())
        return parked

    def assign(self, worker: Worker, item: work_messages.WorkItem) -> asyncio.Future[str]:
        """Assign an item; its number is replaced. The future's result is the reason of a failure, "" for success; cancel it to withdraw."""
        number, self._next = self._next, self._next + 1
        end = worker.results[number] = self._loop.create_future()
        end.add_done_callback(partial(self._ended, worker, number))
        worker.waiting[number] = msgspec.structs.replace(item, number=number)
        if worker.parked is not None and not worker.parked.done() and (given := self._next_items(worker)):
            worker.parked.set_result(_answer(work_messages.WorkResponse(work=given)))
            worker.parked = None
        return end

    def expire(self) -> None:
        """Call periodically: drop the proxies that are gone; their items fail."""
        now = self._loop.time()
        for worker in [worker for worker in self._workers.values() if now - worker.seen >= LIFE]:
            del self._workers[worker.name]
            self._shares.release(worker.address)
            for number in list(worker.results):
                self._end(worker, number, f"the proxy of {worker.host} has sent no request for {LIFE:g} s")

    def _next_items(self, worker: Worker) -> list[work_messages.WorkItem]:
        numbers = list(islice(worker.waiting, max(0, min(worker.want, EACH - len(worker.under_way)))))
        given = [worker.waiting.pop(number) for number in numbers]
        worker.under_way |= {item.number: item for item in given}
        return given

    def _release_parked(self, worker: Worker) -> None:
        """Answer the parked request without work."""
        parked, worker.parked = worker.parked, None
        if parked is not None and not parked.done():
            parked.set_result(_answer(work_messages.WorkResponse()))

    def _end(self, worker: Worker, number: int, error: str) -> None:
        end = worker.results.get(number)
        if end is not None and not end.done():
            end.set_result(error)

    def _ended(self, worker: Worker, number: int, _: object) -> None:
        worker.results.pop(number, None)
        worker.waiting.pop(number, None)
        worker.under_way.pop(number, None)


def _answer(given: work_messages.WorkResponse) -> Response:
    return Response(200, msgspec.json.encode(given))
