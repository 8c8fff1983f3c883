"""Clients that sign for an object themselves: who shares a task, and what each must show."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from dfengine import wire
from dfengine.errors import BadValue, OriginBusy, OriginError, OriginForbidden
from dfengine.net.access import Access
from dfengine.supernode.copies.wanted import Wanted
from dfengine.supernode.credentials import Credentials
from dfengine.supernode.registration_check import checked
from dfengine.supernode.signatures import Signatures

URL = "s3://models/k"


class Store(BaseHTTPRequestHandler):
    """Answers with the status that the path says."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        status = int(self.path.strip("/").partition("?")[0])
        self.asked.append(self.headers.get("Range", ""))
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", "bytes 0-0/10")
        self.send_header("Content-Length", "1" if status == 206 else "0")
        self.end_headers()
        self.wfile.write(b"x" * (status == 206))

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def store() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def prove(signed: str, access: Access | None = None) -> None:
    async def run() -> None:
        with closing(Signatures(asyncio.get_running_loop(), access or Access(), 75)) as signatures:
            await signatures.prove(Wanted(URL, (("Range", "bytes=5-9"),), signed=signed), "10.0.0.1")

    asyncio.run(run())


def test_a_signature_is_tried_by_one_byte() -> None:
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
            prove(f"{base}/206", Access(deny=["127.0.0.1"]))


def test_one_client_cannot_have_all_threads_try() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent, closing(Signatures(asyncio.get_running_loop(), Access(), 25)) as signatures:
            wanted = Wanted(URL, signed=f"http://127.0.0.1:{silent.getsockname()[1]}/k")
            tries = [asyncio.create_task(signatures.prove(wanted, "10.0.0.1")) for _ in range(4)]
            await asyncio.sleep(0.05)
            with pytest.raises(OriginBusy):
                await signatures.prove(wanted, "10.0.0.1")
            other = asyncio.create_task(signatures.prove(wanted, "10.0.0.2"))
            await asyncio.sleep(0.05)
            assert not other.done()
            signatures.close()  # wakes who waits
            assert len(await asyncio.gather(*tries, other, return_exceptions=True)) == 5

    asyncio.run(run())


def test_a_task_is_shared_by_those_who_sign_for_the_same_url(tmp_path: Path) -> None:
    credentials = Credentials(str(tmp_path))

    def task(signed: str, *headers: tuple[str, str]) -> str:
        [(name, _)] = credentials.tasks(Wanted(URL, headers, signed=signed), URL)
        return name

    one = task("https://h/models/k?X-Amz-Signature=a&X-Amz-Date=1")
    assert one == task("https://h/models/k?X-Amz-Date=2&X-Amz-Signature=b")
    others = {task(""), task("https://evil/models/k?X-Amz-Signature=a"), task("https://h/models/k?partNumber=1&X-Amz-Signature=a"),
              task("https://h/models/other?X-Amz-Signature=a"), task("", ("signed", "https://h/models/k"))}
    assert len(others | {one}) == 6


def test_a_signed_url_that_cannot_be_meant_is_refused_without_a_word_of_it() -> None:
    def registration(url: str, signed: str) -> wire.Registration:
        return wire.Registration(raw_url=url, signed_url=signed, cid="c", ip="10.0.0.1", path="/peer/file/x", port=15000, native=1)

    assert checked(registration(URL, "https://h/k?sig=x")).signed_url == "https://h/k?sig=x"
    for url, signed in ((URL, "ftp://h/s3cret"), (URL, "https://h/s3cret\n"), (URL, "file:///s3cret"), (URL, "s3://models/s3cret"),
                        ("http://h/k", "https://h/s3cret"), ("hf://org/name/k", "https://h/s3cret"), (URL, "https://h/" + "s3cret" * 4000)):
        with pytest.raises(BadValue) as error:
            checked(registration(url, signed))
        assert "s3cret" not in str(error.value)
