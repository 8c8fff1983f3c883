"""Work items that the supernode gives to proxies, and the proxies' reports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from dfengine.errors import ProtocolViolation, RemoteError
from dfengine.net import work_messages
from dfengine.supernode import proxy_workers as module
from dfengine.supernode.proxy_workers import Worker, Workers

A, B = "a" * 32, "b" * 32
ITEM = work_messages.WorkItem(number=0, url="https://r/v2/a/blobs/x", digest="sha256:" + "c" * 64, headers=[("Authorization", "secret")])


def played(play: Callable[[Workers], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        await play(Workers(asyncio.get_running_loop(), 75, False))

    asyncio.run(run())


async def ask(workers: Workers, name: str = A, address: str = "10.0.0.1", **fields: Any) -> work_messages.WorkResponse:
    found = workers.request_work(work_messages.WorkRequest(worker=name, want=4, **fields), address)
    return work_messages.decode_response((await found if isinstance(found, asyncio.Future) else found).body)


def only(workers: Workers) -> Worker:
    [worker] = workers
    return worker


def test_work_is_assigned_up_to_the_limit_and_ends_with_its_report() -> None:
    async def play(workers: Workers) -> None:
        assert await ask(workers) == work_messages.WorkResponse()
        worker = only(workers)
        assert (worker.ip, worker.host) == ("10.0.0.1", "10.0.0.1")
        ends = [workers.assign(worker, ITEM) for _ in range(6)]
        given = (await ask(workers)).work
        assert len(given) == module.EACH
        assert given[0].headers == [("Authorization", "secret")]
        numbers = [item.number for item in given]
        assert len(set(numbers)) == 4
        # A proxy has at most EACH items running.
        assert await ask(workers, under_way=numbers) == work_messages.WorkResponse()
        done = [work_messages.WorkResult(numbers[0]), work_messages.WorkResult(numbers[1], "no room")]
        more = await ask(workers, under_way=numbers[2:], done=done)
        assert len(more.work) == 2
        assert (await ends[0], await ends[1]) == ("", "no room")
        assert not ends[2].done()

    played(play)


def test_a_parked_request_returns_when_work_is_assigned() -> None:
    async def play(workers: Workers) -> None:
        await ask(workers)
        waiting = asyncio.ensure_future(ask(workers, wait=30.0))
        await asyncio.sleep(0)
        workers.assign(only(workers), ITEM)
        assert len((await waiting).work) == 1
        # A second request of the same proxy ends the first.
        first = asyncio.ensure_future(ask(workers, wait=30.0, under_way=list(only(workers).under_way)))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(ask(workers, wait=0.01, under_way=list(only(workers).under_way)))
        assert (await first, await second) == (work_messages.WorkResponse(), work_messages.WorkResponse())

    played(play)


def test_work_that_the_proxy_does_not_list_is_sent_again() -> None:
    async def play(workers: Workers) -> None:
        await ask(workers)
        workers.assign(only(workers), ITEM)
        first = (await ask(workers)).work
        assert (await ask(workers)).work == first
        assert (await ask(workers, under_way=[first[0].number])).work == []

    played(play)


def test_cancelled_and_unknown_work_is_reported_as_over() -> None:
    async def play(workers: Workers) -> None:
        await ask(workers)
        end = workers.assign(only(workers), ITEM)
        [item] = (await ask(workers)).work
        end.cancel()
        await asyncio.sleep(0)
        assert (await ask(workers, under_way=[item.number, 7])).over == [item.number, 7]
        assert not only(workers).under_way
        end = workers.assign(only(workers), ITEM)
        end.cancel()
        await asyncio.sleep(0)
        assert (await ask(workers)).work == []

    played(play)


def test_work_of_a_worker_that_sends_no_requests_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(workers: Workers) -> None:
        await ask(workers)
        end = workers.assign(only(workers), ITEM)
        workers.expire()
        assert not end.done()
        monkeypatch.setattr(module, "LIFE", 0.0)
        assert not list(workers)
        workers.expire()
        assert "has sent no request" in await end
        assert not workers._shares

    played(play)


def test_a_worker_name_belongs_to_one_client_and_clients_have_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WORKERS", 2)

    async def play(workers: Workers) -> None:
        await ask(workers)
        with pytest.raises(RemoteError, match="another client"):
            await ask(workers, address="10.0.0.2")
        with pytest.raises(RemoteError, match="too many"):
            await ask(workers, B)
        await ask(workers, B, address="10.0.0.2", ip="10.9.9.9")
        assert [worker.ip for worker in workers] == ["10.0.0.1", "10.9.9.9"]

    played(play)


@pytest.mark.parametrize("fields", [
    {}, {"worker": "x"}, {"worker": A, "want": -1}, {"worker": A, "want": 65}, {"worker": A, "wait": 31}, {"worker": A, "wait": -1},
    {"worker": A, "under_way": [-1]}, {"worker": A, "under_way": list(range(65))},
    {"worker": A, "done": [{"number": 1, "error": "x" * 1001}]},
    {"worker": A, "host_name": "x" * 256}, {"worker": A, "done": [{}]}, {"worker": A, "under_way": [1 << 54]}, {"worker": A, "ip": 5},
])  # fmt: skip
def test_invalid_work_requests_are_rejected(fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolViolation):
        work_messages.decode_request(json.dumps(fields).encode())


@pytest.mark.parametrize("body", [
    b"", b"5", b'{"work": [{}]}', b'{"work": [{"number": 1, "url": "u", "digest": "sha256:x"}]}', b'{"over": ["x"]}',
])  # fmt: skip
def test_invalid_work_responses_are_rejected(body: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        work_messages.decode_response(body)


def test_work_items_do_not_show_secrets() -> None:
    assert "secret" not in repr(ITEM)
