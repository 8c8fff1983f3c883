"""Clients that sign for an object themselves: which of them share a task, and the proof that each must show."""

from __future__ import annotations

import asyncio
import errno
import os
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dfengine import wire
from dfengine.errors import BadValue, LocalError, OriginBusy, OriginError, OriginForbidden
from dfengine.net.origin_access import OriginAccess
from dfengine.origin.cancel import Cancel
from dfengine.supernode import access_proofs
from dfengine.supernode.access_proofs import WORKERS, AccessProofs
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.registration_check import checked
from dfengine.supernode.task_ids import TaskIds
from tests.origins import quiet
from tests.own_descriptors import own_descriptors

URL = "s3://models/k"


class Store(quiet.QuietHandler):
    """Responds with the status that the path names."""

    asked: ClassVar[list[str]] = []
    heads: ClassVar[list[str]] = []
    head = 403
    """Status of a HEAD."""

    def do_GET(self) -> None:
        status = int(self.path.strip("/").partition("?")[0])
        self.asked.append(self.headers.get("Range", ""))
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", "bytes 0-0/10")
        self.send_header("Content-Length", "1" if status == 206 else "0")
        self.end_headers()
        self.wfile.write(b"x" * (status == 206))

    def do_HEAD(self) -> None:
        self.heads.append(self.headers.get("Range", ""))
        self.send_response(self.head)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def store() -> Iterator[str]:
    with quiet.serving(Store) as address:
        yield f"http://{address}"


def prove(signed: str, access: OriginAccess | None = None) -> None:
    async def run() -> None:
        with closing(AccessProofs(asyncio.get_running_loop(), access or OriginAccess(), 75)) as proofs:
            await proofs.prove(FetchRequest(URL, (("Range", "bytes=5-9"),), signed=signed), "10.0.0.1")

    asyncio.run(run())


def test_a_signature_is_verified_by_requesting_one_byte() -> None:
    with store() as base:
        prove(f"{base}/206?X-Amz-Signature=good")
        prove(f"{base}/416?X-Amz-Signature=of-an-empty-object")
        assert Store.asked[-2:] == ["bytes=0-0"] * 2
        for status in (401, 403, 404, 503):
            with pytest.raises(OriginError) as error:
                prove(f"{base}/{status}?X-Amz-Signature=secret")
            assert error.value.status == status
            assert "secret" not in str(error.value)
        with pytest.raises(OriginForbidden):
            prove(f"{base}/206", OriginAccess(deny=["127.0.0.1"]))


def test_one_client_cannot_occupy_all_verification_threads() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as silent, closing(AccessProofs(loop, OriginAccess(), 25)) as proofs:
            wanted = FetchRequest(URL, signed=f"http://127.0.0.1:{silent.getsockname()[1]}/k")
            tries = [asyncio.create_task(proofs.prove(wanted, "10.0.0.1")) for _ in range(4)]
            await asyncio.sleep(0.05)
            with pytest.raises(OriginBusy):
                await proofs.prove(wanted, "10.0.0.1")
            other = asyncio.create_task(proofs.prove(wanted, "10.0.0.2"))
            await asyncio.sleep(0.05)
            assert not other.done()
            proofs.close()  # wakes the waiting calls
            assert len(await asyncio.gather(*tries, other, return_exceptions=True)) == 5

    asyncio.run(run())


async def cancel_all(tries: list[asyncio.Task[None]]) -> None:
    """What a control connection does when its client disconnects."""
    for each in tries:
        each.cancel()
    await asyncio.gather(*tries, return_exceptions=True)


async def until_released(proofs: AccessProofs) -> None:
    async with asyncio.timeout(60):
        while len(proofs._shares):
            await asyncio.sleep(0.01)
    assert not proofs._cancels


def test_a_client_that_disconnects_leaves_no_descriptor_and_no_share() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as silent, closing(AccessProofs(loop, OriginAccess(), 75)) as proofs:
            wanted = FetchRequest(URL, signed=f"http://127.0.0.1:{silent.getsockname()[1]}/k")
            before = len(own_descriptors())
            tries = [asyncio.create_task(proofs.prove(wanted, f"10.0.0.{1 + n % 2}")) for n in range(WORKERS + 8)]
            while proofs._threads._work_queue.qsize() != 8 or len(proofs._cancels) != WORKERS + 8:
                await asyncio.sleep(0.01)
            await cancel_all(tries)
            await until_released(proofs)
            assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(run())


def test_a_client_keeps_its_share_until_the_threads_of_its_cancelled_proofs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = queue.Queue[Cancel](), threading.Event()

    def slow(wanted: FetchRequest, cancel: Cancel) -> str:
        begun.put(cancel)
        go.wait(60)
        return ""

    async def run() -> None:
        with closing(AccessProofs(asyncio.get_running_loop(), OriginAccess(), 25)) as proofs:
            monkeypatch.setattr(proofs, "_request", slow)
            tries = [asyncio.create_task(proofs.prove(FetchRequest(URL), "10.0.0.1")) for _ in range(4)]
            await asyncio.sleep(0)
            cancels = [await asyncio.to_thread(begun.get, timeout=60) for _ in tries]
            await cancel_all(tries)
            assert all(cancel.is_set for cancel in cancels), "its threads end at once"
            with pytest.raises(OriginBusy):
                await proofs.prove(FetchRequest(URL), "10.0.0.1")
            go.set()
            await until_released(proofs)
            await proofs.prove(FetchRequest(URL), "10.0.0.1")

    asyncio.run(run())


def test_proofs_whose_threads_outlive_the_loop_leave_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(own_descriptors())
    begun, go = threading.Event(), threading.Event()

    def slow(wanted: FetchRequest, cancel: Cancel) -> str:
        begun.set()
        go.wait(60)
        return ""

    async def run() -> AccessProofs:
        proofs = AccessProofs(asyncio.get_running_loop(), OriginAccess(), 75)
        monkeypatch.setattr(proofs, "_request", slow)
        tried = asyncio.create_task(proofs.prove(FetchRequest(URL), "10.0.0.1"))
        await asyncio.to_thread(begun.wait, 60)
        await cancel_all([tried])
        return proofs

    proofs = asyncio.run(run())
    go.set()
    proofs.close()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("lacking", ["descriptors", "threads"])
def test_a_proof_that_cannot_begin_returns_its_share(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptor() -> Cancel:
        raise OSError(errno.EMFILE, "too many open files")

    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        with closing(AccessProofs(asyncio.get_running_loop(), OriginAccess(), 75)) as proofs:
            before = len(own_descriptors())
            with monkeypatch.context() as full:
                if lacking == "descriptors":
                    full.setattr(access_proofs, "Cancel", no_descriptor)
                else:
                    full.setattr(threading.Thread, "start", no_thread)
                with pytest.raises(LocalError, match="too many"):
                    await proofs.prove(FetchRequest(URL), "10.0.0.1")
            await until_released(proofs)
            assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(run())


def test_clients_that_sign_for_the_same_url_share_a_task(tmp_path: Path) -> None:
    credentials = TaskIds(str(tmp_path))

    def task(signed: str, *headers: tuple[str, str]) -> str:
        [(name, _)] = credentials.tasks(FetchRequest(URL, headers, signed=signed), URL)
        return name

    one = task("https://h/models/k?X-Amz-Signature=a&X-Amz-Date=1")
    assert one == task("https://h/models/k?X-Amz-Date=2&X-Amz-Signature=b")
    others = {task(""), task("https://evil/models/k?X-Amz-Signature=a"), task("https://h/models/k?partNumber=1&X-Amz-Signature=a"),
              task("https://h/models/other?X-Amz-Signature=a"), task("", ("signed", "https://h/models/k"))}
    assert len(others | {one}) == 6


def test_an_invalid_signed_url_is_refused_without_showing_its_secret() -> None:
    def registration(url: str, signed: str) -> wire.Registration:
        return wire.Registration(raw_url=url, signed_url=signed, cid="c", ip="10.0.0.1", path="/peer/file/x", port=15000, native=1)

    assert checked(registration(URL, "https://h/k?sig=x")).signed_url == "https://h/k?sig=x"
    assert checked(registration("http://h/k", "http://h/k?sig=x")).signed_url == "http://h/k?sig=x"
    for url, signed in (("http://h/k", "http://h/k?"), ("http://h/k", "http://h:81/k?s3cret"), ("http://h/k", "http://h/k/s3cret?x"),
                        ("http://h/k?a", "http://h/k?a?s3cret"), ("http://h/k", "http://h/k#s3cret"), ("http://h/k", "http://H/k?s3cret")):
        with pytest.raises(BadValue) as refused:
            checked(registration(url, signed))
        assert "s3cret" not in str(refused.value)
    # A task that a digest names is shared by all clients.
    blob = f"http://h/v2/x/blobs/sha256:{'a' * 64}"
    of_digest = registration(blob, f"{blob}?sig=x")
    of_digest.task_url = f"df:sha256:{'a' * 64}"
    with pytest.raises(BadValue):
        checked(of_digest)
    for url, signed in ((URL, "ftp://h/s3cret"), (URL, "https://h/s3cret\n"), (URL, "file:///s3cret"), (URL, "s3://models/s3cret"),
                        ("http://h/k", "https://h/s3cret"), ("hf://org/name/k", "https://h/s3cret"), (URL, "https://h/" + "s3cret" * 4000)):
        with pytest.raises(BadValue) as error:
            checked(registration(url, signed))
        assert "s3cret" not in str(error.value)


def test_clients_that_sign_for_the_same_http_url_share_a_task(tmp_path: Path) -> None:
    """The signed query does not matter. Unsigned requests have another task, and so have clients that do not verify an https server."""
    credentials, url = TaskIds(str(tmp_path)), "http://h/xorbs/k"

    def tasks(query: str, sign: str = "", **more: Any) -> list[str]:
        wanted = FetchRequest(url, (("Range", "bytes=5-9"),), signed=f"{url}?{query}" if query else "", **more)
        return [name for name, _ in credentials.tasks(wanted, url, sign)]

    [one] = tasks("Signature=a")
    assert tasks("Policy=b&Key-Pair-Id=c") == [one]
    assert len({one, *tasks(""), *tasks("Signature=a", "xet"), *tasks("Signature=a", insecure=True)}) == 4
    assert one == tasks("Signature=a", insecure=True)[0]


def test_a_signature_for_one_range_is_verified_with_that_range(monkeypatch: pytest.MonkeyPatch) -> None:
    with store() as base:

        def show(path: str) -> None:
            async def run() -> None:
                with closing(AccessProofs(asyncio.get_running_loop(), OriginAccess(), 75)) as proofs:
                    url = f"{base}{path}"
                    wanted = FetchRequest(url, (("Range", "bytes=0-0"),), signed=f"{url}?Signature=secret")
                    await proofs.prove(wanted, "10.0.0.1")

            asyncio.run(run())

        show("/206")  # HEAD is refused, as stores do whose signature is for GET
        assert (Store.heads[-1], Store.asked[-1]) == ("bytes=0-0", "bytes=0-0")
        for path, status in (("/403", 403), ("/404", 404)):
            with pytest.raises(OriginError) as error:
                show(path)
            assert error.value.status == status
            assert "secret" not in str(error.value)
        monkeypatch.setattr(Store, "head", 206)
        asked = len(Store.asked)
        show("/206")
        assert len(Store.asked) == asked
        monkeypatch.setattr(Store, "head", 404)
        with pytest.raises(OriginError):
            show("/206")
