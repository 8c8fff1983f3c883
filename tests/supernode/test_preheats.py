"""Preheats: those that are cancelled while a thread works for them, those that wait for their turn."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dfengine.copy_states import FAILED, SUCCESS
from dfengine.errors import RemoteError, SupernodeFull
from dfengine.net.http import Request, Response
from dfengine.origin.cancel import Cancel
from dfengine.origin.container_image import ImageReader
from dfengine.origin.image_manifest import Blob
from dfengine.settings import SupernodeAddress, SupernodeSettings
from dfengine.supernode import api_preheat, preheat_job, preheat_targets
from dfengine.supernode import preheats as module
from dfengine.supernode.api_preheat import PreheatRoutes
from dfengine.supernode.preheat_job import Job, Part
from dfengine.supernode.preheat_request import PreheatRequest, parse_v1
from dfengine.supernode.preheat_targets import PreheatTargets
from dfengine.supernode.preheats import Preheats
from dfengine.supernode.supernode_state import SupernodeState


def test_the_end_of_a_preheat_ends_the_thread_that_reads_its_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = queue.Queue[Cancel](), threading.Event()

    def blobs(self: ImageReader, platforms: tuple[str, ...]) -> list[Blob]:
        begun.put(self._cancel)
        go.wait(60)
        return []

    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        monkeypatch.setattr(ImageReader, "blobs", blobs)
        preheats = Preheats(node)
        job = preheats.begin(parse_v1(b'{"type": "image", "url": "http://127.0.0.1:1/v2/a/manifests/1"}'), "10.0.0.1")
        assert job is not None
        assert job.task is not None
        cancel = await asyncio.to_thread(begun.get, timeout=60)
        job.task.cancel()  # as a time limit or the failure of another part does
        await asyncio.wait([job.task])
        await asyncio.sleep(0)
        assert cancel.is_set
        assert job.reading is None, "its result may be credentials"
        assert cancel.fd >= 0, "the thread may be about to wait for the descriptor"
        go.set()
        await until(lambda: cancel.fd < 0)
        preheats.close()
        node.close()

    asyncio.run(play())


@pytest.mark.parametrize("when", ["requesting", "waiting"])
def test_a_cancelled_preheat_is_cancelled_at_the_other_supernode_that_begins_it(when: str) -> None:
    begun, found, go, cancelled = threading.Event(), threading.Event(), threading.Event(), queue.Queue[str]()

    def begin(fields: dict[str, Any]) -> str:
        begun.set()
        go.wait(60)
        return "name"

    def find(name: str) -> dict[str, Any]:
        found.set()
        return {"here": 0, "count": 0, "status": "RUNNING"}

    async def play() -> None:
        other: Any = SimpleNamespace(begin=begin, find=find, cancel=cancelled.put, node="h:8002")
        targets = PreheatTargets(SimpleNamespace(loop=asyncio.get_running_loop()), str)  # type: ignore[arg-type]
        forwarded = asyncio.create_task(targets._run_forwarded(SimpleNamespace(), Part("http://o/f"), other, {}))  # type: ignore[arg-type]
        await asyncio.to_thread(begun.wait, 60)
        if when == "waiting":
            go.set()
            await asyncio.to_thread(found.wait, 60)
        forwarded.cancel()
        await asyncio.gather(forwarded, return_exceptions=True)
        go.set()
        assert await asyncio.to_thread(cancelled.get, timeout=20) == "name"
        targets.close()

    asyncio.run(play())


def test_a_preheat_waits_for_a_full_supernode_which_few_others_ask_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preheat_targets, "FULL_PAUSE", 0.001)
    asked: list[int] = []
    full = threading.Event()
    full.set()

    def begin(fields: dict[str, Any]) -> str:
        asked.append(fields["n"])
        if full.is_set():
            raise SupernodeFull("supernode h:8002 answers 429: too many preheats are under way")
        return "name"

    async def play() -> None:
        done = {"here": 1, "length": 1, "count": 1, "status": "SUCCESS"}
        other: Any = SimpleNamespace(begin=begin, find=lambda name: done, node="h:8002")
        targets = PreheatTargets(SimpleNamespace(loop=asyncio.get_running_loop()), str)  # type: ignore[arg-type]
        parts = [Part(f"http://o/{n}") for n in range(20)]
        forwarded = [
            asyncio.create_task(targets._run_forwarded(SimpleNamespace(), part, other, {"n": n}))  # type: ignore[arg-type]
            for n, part in enumerate(parts)
        ]
        await until(lambda: len(asked) > 40)
        assert set(asked) == set(range(preheat_targets.BEGIN_AT_ONCE))
        full.clear()
        async with asyncio.timeout(60):
            await asyncio.gather(*forwarded)
        assert {part.state for part in parts} == {SUCCESS}
        targets.close()

    asyncio.run(play())


def test_a_preheat_without_a_descriptor_takes_no_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptor() -> Cancel:
        raise OSError(errno.EMFILE, "too many open files")

    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        preheats = Preheats(node)
        monkeypatch.setattr(preheat_job, "Cancel", no_descriptor)
        request = Request("POST", b"/api/v1/preheats", {}, b'{"type":"file","url":"http://o/f"}', "10.0.0.1")
        refused = PreheatRoutes(preheats).create(node, request)
        assert isinstance(refused, Response)
        assert b"no descriptor for the preheat: too many open files" in refused.body.lower()
        assert not preheats._shares.amount_of("10.0.0.1")
        assert not list(preheats)
        preheats.close()
        node.close()

    asyncio.run(play())


def file_preheat(url: str) -> PreheatRequest:
    return parse_v1(b'{"type": "file", "url": "%b"}' % url.encode())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def test_preheats_of_one_client_leave_slots_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        running: list[str] = []

        async def work(self: Preheats, job: Job, request: PreheatRequest) -> None:
            running.append(job.client)
            await asyncio.Event().wait()

        monkeypatch.setattr(Preheats, "_work", work)
        preheats = Preheats(node)
        jobs = [preheats.begin(file_preheat(f"http://o/{n}"), "10.0.0.1") for n in range(module.AT_ONCE + 4)]
        jobs += [preheats.begin(file_preheat("http://o/other"), "10.0.0.2")]
        await until(lambda: "10.0.0.2" in running)
        assert running.count("10.0.0.1") == module.AT_ONCE * 3 // 4
        preheats.close()
        await asyncio.gather(*(job.task for job in jobs if job is not None and job.task is not None), return_exceptions=True)
        preheats._jobs.clear()
        jobs.clear()
        await asyncio.sleep(0)
        gc.collect()  # the cancelled tasks' tracebacks
        assert not preheats._client_slots
        node.close()

    asyncio.run(play())


def test_preheats_that_two_supernodes_forward_to_each_other_all_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preheat_targets, "POLL", (0.001, 0.01))

    async def fetched(self: Preheats, job: Job, request: PreheatRequest, part: Part, slots: asyncio.Semaphore) -> None:
        part.end()

    async def play() -> None:
        loop = asyncio.get_running_loop()
        sides: dict[str, Preheats] = {}

        class Other:
            """The control port of a supernode, called in a thread."""

            def __init__(self, dialer: object, address: SupernodeAddress, token: str) -> None:
                self.node, self._own = str(address), sides[address.host]

            def begin(self, fields: dict[str, Any]) -> str:
                async def begin() -> str:
                    job = self._own.begin(parse_v1(json.dumps(fields).encode()), "10.0.0.9")
                    assert job is not None
                    return job.id

                return asyncio.run_coroutine_threadsafe(begin(), loop).result(60)

            def find(self, name: str) -> dict[str, Any]:
                job = self._own.find(name)
                assert job is not None
                return {"here": 0, "length": 0, "count": 1, "status": job.state}

        monkeypatch.setattr(preheat_targets, "NodePreheats", Other)
        monkeypatch.setattr(Preheats, "_fetch_file", fetched)
        states = []
        for own, other in ("10.0.0.1", "10.0.0.2"), ("10.0.0.2", "10.0.0.1"):
            settings = SupernodeSettings(advertise_ip=own, nodes=(SupernodeAddress(other, 8002),))
            states.append(SupernodeState(settings, str(tmp_path / own), loop))
            sides[own] = Preheats(states[-1])
        jobs = []
        for n in range(module.AT_ONCE + 4):
            for own, preheats in sides.items():
                body = {"type": "file", "url": f"http://o/{own}/{n}", "scope": "all_seed_peers"}
                jobs += [preheats.begin(parse_v1(json.dumps(body).encode()), "10.0.0.9")]
        try:
            await until(lambda: all(job is not None and job.state == SUCCESS for job in jobs))
        finally:
            for preheats, state in zip(sides.values(), states, strict=True):
                preheats.close()
                await asyncio.gather(*(job.task for job in preheats if job.task is not None), return_exceptions=True)
                state.close()

    asyncio.run(play())


def test_the_response_to_a_new_preheat_does_not_wait_for_its_turn_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_preheat, "MAX_START", 0.01)

    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())

        async def work(self: Preheats, job: Job, request: PreheatRequest) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(Preheats, "_work", work)
        preheats = Preheats(node)
        jobs = [preheats.begin(file_preheat(f"http://o/{n}"), f"10.0.0.{n}") for n in range(module.AT_ONCE)]
        request = Request("POST", b"/api/v1/preheats", {}, b'{"type": "file", "url": "http://o/further"}', "10.0.1.1")
        async with asyncio.timeout(60):
            answer = PreheatRoutes(preheats).create(node, request)
            assert not isinstance(answer, Response)
            response = await answer
        assert response.status == 201
        preheats.close()
        await asyncio.gather(*(job.task for job in (*jobs, *preheats) if job is not None and job.task is not None), return_exceptions=True)
        node.close()

    asyncio.run(play())


def test_ended_preheats_are_dropped_by_the_size_of_their_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHARACTERS", 100_000, raising=False)

    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())

        async def work(self: Preheats, job: Job, request: PreheatRequest) -> None:
            job.parts = [Part(url) for url in request.urls]

        monkeypatch.setattr(Preheats, "_work", work)
        preheats = Preheats(node)
        for n in range(30):
            job = preheats.begin(file_preheat(f"http://o/{n:02}/" + "p" * 9900), "10.0.0.1")
            assert job is not None
            assert job.task is not None
            await asyncio.wait((job.task,))
            await asyncio.sleep(0)
        assert [each.url[9:11] for each in preheats] == [str(n) for n in range(25, 30)]
        preheats.close()
        node.close()

    asyncio.run(play())


@pytest.mark.parametrize("kind", ["image", "file"])
def test_a_preheat_reports_why_no_thread_can_begin_it(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def play() -> None:
        settings = SupernodeSettings(advertise_ip="127.0.0.1", nodes=(SupernodeAddress("10.0.0.9", 8002),))
        node = SupernodeState(settings, str(tmp_path), asyncio.get_running_loop())
        preheats = Preheats(node)
        body = {"type": kind, "url": "http://127.0.0.1:1/v2/a/manifests/1", "scope": "all_seed_peers"}
        monkeypatch.setattr(Preheats, "_fetch_file", fetched)
        monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
        job = preheats.begin(parse_v1(json.dumps(body).encode()), "10.0.0.1")
        assert job is not None
        assert job.task is not None
        await asyncio.wait((job.task,))
        await asyncio.sleep(0)
        assert (job.state, job.error) == (FAILED, "can't start new thread")
        assert job.cancel.fd < 0
        preheats.close()
        node.close()

    async def fetched(self: Preheats, job: Job, request: PreheatRequest, part: Part, slots: asyncio.Semaphore) -> None:
        part.end()

    asyncio.run(play())


def test_the_failure_of_a_task_of_a_preheat_is_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(self: Preheats, job: Job, request: PreheatRequest) -> None:
        async with asyncio.TaskGroup():
            raise RemoteError("the name has no address")

    async def play() -> None:
        node = SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        monkeypatch.setattr(Preheats, "_work", work)
        preheats = Preheats(node)
        job = preheats.begin(file_preheat("http://o/f"), "10.0.0.1")
        assert job is not None
        assert job.task is not None
        await asyncio.wait((job.task,))
        await asyncio.sleep(0)
        assert (job.state, job.error) == (FAILED, "the name has no address")
        preheats.close()
        node.close()

    asyncio.run(play())
