"""A supernode with origins that are busy, change, limit connections or never respond: it waits, requests once, and never mixes files."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from dfengine.copy_states import SUCCESS
from dfengine.net.http import Request
from dfengine.settings import SupernodeSettings
from dfengine.supernode import api_v1
from dfengine.supernode import supernode_state as nodes
from dfengine.supernode.copies.fetch_request import FetchRequest, RetryLimits
from tests.e2e.scene import Scene, Supernode, descriptors, until
from tests.e2e.test_faults import post, registration
from tests.origins.answers import etag_of, refuse, serve
from tests.origins.behaviour import PIECE, SMALL, content
from tests.origins.server import Exchange, Script, Server

ALONE = ("--pattern", "cdn", "--notbs")
"""Options of a download that only the supernode may serve."""

TWELVE_MB = 12_000_000


class RecordingScript:
    """A script that records the times of requests, and the most responses sent at the same time."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.lock = threading.Lock()
        self.times: list[float] = []
        self.running = self.most = self.refused = 0

    def __call__(self, x: Exchange) -> None:
        with self.lock:
            self.times.append(time.monotonic())
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            self.script(x)
        finally:
            with self.lock:
                self.running -= 1


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def url(server: Server, path: str = "/f") -> str:
    return f"http://{server.address}{path}"


# BUSY ORIGINS


def test_registrations_during_an_origins_retry_after_wait_for_one_request(stage: Scene) -> None:
    data = content(SMALL, 1)
    script = RecordingScript(lambda x: serve(x) if x.n else refuse(x, headers=(("Retry-After", "3"),)))
    node = stage.supernode()
    with Server(script, (data,)) as server:
        gets = [stage.start_get(url(server), f"out{host}", *ALONE, host=host, nodes=(node,)) for host in range(2, 8)]
        results = [stage.end(get) for get in gets]
    assert {stage.digest(f"out{host}") for host in range(2, 8)} == {sha(data)}
    assert all(result["back_to_source"] is None for result in results)
    assert len(script.times) == 2, "as many requests as for one client"
    assert script.times[1] - script.times[0] >= 3.0


@pytest.mark.parametrize(("native", "code"), [(1, 602), (0, 609)])
def test_a_waiting_registration_is_answered_with_the_clients_own_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: int, code: int
) -> None:
    """602 for native clients; 609 for 1.x, whose clients register again after it."""
    monkeypatch.setattr("dfengine.supernode.origin_fetches.HEAD_SECONDS", 0.2)

    async def play(address: str) -> dict[str, object]:
        node = nodes.SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        message = {**registration(address, 1), "native": native}
        body = json.dumps(message).encode()
        answers = [await api_v1.register(node, Request("POST", b"/peer/registry", {}, body, "127.0.0.1")) for _ in range(2)]
        assert {answer.status for answer in answers} == {200}
        assert answers[0].body == answers[1].body
        await asyncio.to_thread(node.fetch_pool.close)
        node.close()
        return dict(json.loads(answers[0].body))

    with Server(lambda x: x.silence(), (b"",)) as server:
        answer = asyncio.run(play(url(server)))
        assert len(server.log) == 1, "one request for all registrations"
    assert answer["code"] == code
    assert set(answer) <= {"code", "msg"}, "the response registers no download"


def test_a_temporary_failure_is_not_remembered(stage: Scene) -> None:
    data = content(SMALL, 1)
    node = stage.supernode("--fail-access-interval", "1h")
    # A Retry-After of 4000 s is too long to wait: it is reported at once as a refusal.
    with Server(lambda x: serve(x) if x.n else refuse(x, headers=(("Retry-After", "4000"),)), (data,)) as server:
        said = stage.get(url(server), "out", *ALONE, nodes=(node,), status=3)
        assert f"{server.address} answers 503 Service Unavailable" in said
        stage.get(url(server), "out", *ALONE, nodes=(node,))
        assert len(server.log) == 2
    assert stage.digest("out") == sha(data)


@pytest.mark.parametrize(("options", "tries"), [(("--retry", "0"), 1), (("--retry", "2"), 3), (("--retry-max-time", "0.1s"), 1)])
def test_a_clients_retry_options_limit_requests_to_the_origin(stage: Scene, options: tuple[str, ...], tries: int) -> None:
    node = stage.supernode()
    with Server(refuse, (b"",)) as server:
        said = stage.get(url(server), "out", *ALONE, *options, nodes=(node,), status=3)
        assert f"{server.address} answers 503 Service Unavailable" in said
        assert len(server.log) == tries


def test_a_failure_in_mid_file_keeps_to_the_clients_retry_limit(stage: Scene) -> None:
    """The registration after the failure requests the file once more; its refusal ends the download without two minutes of retries."""
    node = stage.supernode()
    with Server(lambda x: refuse(x) if x.n else serve(x, cut=PIECE + 9), (content(3 * PIECE, 1),)) as server:
        stage.get(url(server), "out", *ALONE, "--retry", "0", nodes=(node,), status=3)
        # Each attempt requests a range first, and then the whole file.
        assert len(server.log) <= 1 + 2 * 2


def test_a_clients_first_byte_timeout_applies_to_the_origin(stage: Scene) -> None:
    node = stage.supernode()
    with Server(lambda x: x.silence(), (b"",)) as server:
        said = stage.get(url(server), "out", *ALONE, "--retry", "0", "--first-byte-timeout", "0.3s", nodes=(node,), status=3)
    assert "does not answer" in said


def test_the_most_patient_client_decides_how_often_an_origin_is_tried(tmp_path: Path) -> None:
    """Even if it registers later, and the first client allows one attempt only."""
    both_registered = threading.Event()

    def answer(x: Exchange) -> None:
        both_registered.wait(60)
        (serve if x.n else refuse)(x)

    async def play(address: str) -> None:
        node = nodes.SupernodeState(SupernodeSettings(advertise_ip="127.0.0.1"), str(tmp_path), asyncio.get_running_loop())
        hasty, patient = (
            FetchRequest(address, retry_limits=limits)
            for limits in (RetryLimits.of_client(1, 0.1, 5.0, 5.0), RetryLimits.of_client(0, 0.0, 0.0, 0.0))
        )
        fetches = [asyncio.ensure_future(node.fetches.ensure("ab" * 32, wanted)) for wanted in (hasty, patient)]
        await asyncio.sleep(0)  # in which each registers
        both_registered.set()
        assert {(await fetch).geometry.length for fetch in fetches} == {SMALL}
        await asyncio.to_thread(node.fetch_pool.close)
        node.close()

    with Server(answer, (content(SMALL, 1),)) as server:
        asyncio.run(play(url(server)))
        assert len(server.log) == 2


@pytest.mark.parametrize(
    ("wish", "had"),
    [
        ((0, 0.0, 0.0, 0.0), RetryLimits()), ((1, 0.0, 0.0, 0.0), RetryLimits(0)), ((3, 2.0, 1.0, 4.0), RetryLimits(2, 2.0, 1.0, 4.0)),
        ((1 << 31, 1e9, 1e9, 1e9), RetryLimits(seconds=1e9)),
    ],
)
def test_a_clients_retry_limits_are_bounded_by_the_supernodes_defaults(wish: tuple[int, float, float, float], had: RetryLimits) -> None:
    assert RetryLimits.of_client(*wish) == had
    assert had | RetryLimits() == RetryLimits() | had == RetryLimits()
    assert RetryLimits(1, 3.0, 1.0, 9.0) | RetryLimits(2, 2.0, 2.0, 8.0) == RetryLimits(2, 3.0, 2.0, 9.0)


def test_a_final_refusal_is_remembered_for_the_interval(stage: Scene) -> None:
    script = RecordingScript(lambda x: refuse(x, "404 Not Found"))
    node = stage.supernode("--fail-access-interval", "2s")
    with Server(script, (b"",)) as server:
        def asked_again() -> bool:
            assert post(node, "/peer/registry", registration(url(server), 1))["code"] == 500
            return len(script.times) == 2

        until(asked_again, "a second request")
    assert script.times[1] - script.times[0] >= 2.0


# ORIGINS WHOSE FILE CHANGES, OR SEEMS TO


def test_an_etag_that_differs_in_every_response_does_not_cost_a_read_per_download(stage: Scene) -> None:
    data = content(3 * PIECE, 1)
    node = stage.supernode("--revalidate-interval", "0.2s")
    with Server(lambda x: serve(x, etag=f'"{x.n}"', modified="", rate=40e6), (data,)) as server:
        running = stage.start_get(url(server), "out-2", *ALONE, "-s", "3M", host=2, nodes=(node,))
        joined = 0
        while running.poll() is None or joined < 10:
            host = 3 + joined
            stage.get(url(server), f"out-{host}", *ALONE, host=host, nodes=(node,))
            assert stage.digest(f"out-{host}") == sha(data)
            joined += 1
            # Each download starts after the copy's initial term of freshness.
            time.sleep(0.3)
        assert stage.end(running)["back_to_source"] is None
        # The term grows with each comparison that found no change.
        assert len(server.log) <= joined // 2
    assert stage.digest("out-2") == sha(data)


def test_a_running_comparison_with_the_origin_is_shared_by_registrations(stage: Scene) -> None:
    data = content(2 * PIECE, 1)
    node = stage.supernode("--revalidate-interval", "0.1s", "--origin-connections", "1")
    # The second response is compared with the copy for four seconds.
    with Server(lambda x: serve(x, etag=f'"{x.n}"', modified="", rate=2e6 if x.n else 0), (data,)) as server:
        stage.get(url(server), "out-2", *ALONE, host=2, nodes=(node,))

        time.sleep(0.2)  # the copy's term has expired
        with ThreadPoolExecutor(8) as several:
            answers = list(several.map(lambda n: post(node, "/peer/registry", registration(url(server), n)), range(1, 9)))
        # All of them waited for the one comparison: none is assigned a copy that may be outdated.
        assert [answer["code"] for answer in answers] == [200] * 8
        assert len(server.log) == 2
        until(lambda: not server.busy, "the end of the comparison")
    deregister_all(node)


@pytest.mark.parametrize("etags", ["of the bytes", "new in each answer"])
def test_no_download_mixes_old_and_new_bytes_when_the_file_changes(stage: Scene, etags: str) -> None:
    old, new = content(4 * PIECE, 1), content(4 * PIECE, 2)
    node = stage.supernode("--revalidate-interval", "0.2s")
    with Server(lambda x: serve(x, etag=etag_of(x.file) if etags == "of the bytes" else f'"{x.n}"', modified=""), (old, new)) as server:
        stage.get(url(server), "out-2", *ALONE, host=2, nodes=(node,))
        running = [
            stage.start_get(url(server), f"out-{host}", *ALONE, "-s", "2M", host=host, nodes=(node,)) for host in (3, 4)
        ]
        until(lambda: node.metric("dfengine_pieces_from_supernode_total") > 4, "running downloads")
        server.now = 1
        # The copy is valid until its term expires.
        until(lambda: gets(stage, node, server, "late") == sha(new), "the new file")
        for host, process in zip((3, 4), running, strict=True):
            process.communicate(timeout=60)
            whole = stage.digest(f"out-{host}") if process.returncode == 0 else ""
            assert whole in (sha(new), sha(old)) if process.returncode == 0 else not (stage.path / f"out-{host}").exists()
    assert stage.digest("out-2") == sha(old)


def gets(stage: Scene, node: Supernode, server: Server, name: str) -> str:
    """Digest of the file that a download through the supernode receives now."""
    stage.get(url(server), name, *ALONE, "--force", host=5, nodes=(node,))
    return stage.digest(name)


# ORIGINS WHOSE RESPONSE DEPENDS ON THE REQUEST


def test_each_accept_language_has_its_own_copy_if_the_origin_varies_by_it(stage: Scene) -> None:
    """RFC 9111 section 4.1. Requests with the same language share a copy, also after a restart."""
    files = {language: content(SMALL, n) for n, language in enumerate(("", "fr", "en"))}
    vary = (("Vary", "Accept-Encoding, Accept-Language"),)
    script = RecordingScript(lambda x: serve(x, file=files[x.request.get("accept-language")], extra=vary))

    def get(node: Supernode, name: str, language: str, *more: str) -> None:
        headers = ("--header", f"Accept-Language: {language}") if language else ()
        stage.get(url(server), name, *ALONE, *headers, *more, nodes=(node,))
        assert stage.digest(name) == sha(files[language]), f"{name}: in {language or 'no language'}"

    node = stage.supernode("--revalidate-interval", "1h")
    with Server(script, tuple(files.values())) as server:
        for turn in range(2):
            for language in files:
                get(node, f"{language}{turn}", language, "--header", f"User-Agent: {turn}")
        assert len(script.times) == 3, "the origin is read once for each language, whatever the other headers"
        stage.kill(node.process)
        node = stage.supernode(home=node.home)
        for language in ("en", "fr", ""):
            get(node, f"{language}-later", language)


def test_headers_that_the_origin_does_not_vary_by_share_a_copy(stage: Scene) -> None:
    data = content(SMALL, 1)
    script = RecordingScript(lambda x: serve(x, extra=(("Vary", "Accept-Encoding, Range, Cookie"),)))
    node = stage.supernode("--revalidate-interval", "1h")
    with Server(script, (data,)) as server:
        for n in range(3):
            headers = ("--header", f"Accept-Language: {n}", "--header", f"Origin: http://{n}", "--header", "Accept-Encoding: gzip")
            stage.get(url(server), f"out{n}", *ALONE, *headers, nodes=(node,))
            assert stage.digest(f"out{n}") == sha(data)
    assert len(script.times) == 1


# ORIGINS THAT LIMIT CONNECTIONS


@pytest.mark.parametrize(("connections", "most"), [(4, 3), (1, 1)])
def test_an_origin_is_read_over_at_most_the_configured_connections(stage: Scene, connections: int, most: int) -> None:
    data = content(TWELVE_MB, 1)
    script = RecordingScript(lambda x: serve(x, rate=1e6))
    node = stage.supernode("--origin-connections", str(connections))
    with Server(script, (data,)) as server:
        stage.get(url(server), "out", *ALONE, nodes=(node,))
    assert stage.digest("out") == sha(data)
    assert script.most == most, "no more connections than pieces"


def test_the_number_of_connections_that_an_origin_grants_is_remembered(stage: Scene) -> None:
    data = content(8 * PIECE, 1)
    refused: list[str] = []

    def two_at_once(x: Exchange) -> None:
        if x.claim(2):
            serve(x, rate=4e6)
        else:
            refused.append(x.request.path)
            refuse(x)

    node = stage.supernode()
    with Server(two_at_once, (data,)) as server:
        for name in ("first", "second"):
            stage.get(url(server, f"/{name}"), name, *ALONE, nodes=(node,))
            assert stage.digest(name) == sha(data)
    assert set(refused) == {"/first"}
    assert len(refused) <= 2, "the requests in flight at the first refusal"


def test_pieces_that_a_stream_waits_for_are_fetched_next(stage: Scene) -> None:
    data = content(30 * PIECE, 1)
    node = stage.supernode("--origin-connections", "2")
    # Ten pieces are in flight over two connections when the stream asks; its pieces are the next range to be requested.
    with Server(lambda x: serve(x, rate=10e6), (data,)) as server:
        about = {**registration(url(server), 1), "streamMode": True, "windowSize": 2}
        task = post(node, "/peer/registry", about)["data"]["taskId"]
        pull = {"task": task, "cid": about["cid"], "want": 1, "wait": 20.0, "una": 20, "end": 22}
        offers = until(lambda: post(node, "/swarm/pull", pull).get("offers"), "an offer of a piece")
        assert offers[0][0] in (20, 21)
        starts = [span[0] // PIECE for span in (request.range(len(data)) for request in server.log) if span]
        assert 20 in starts
        assert not [start for start in starts if 10 <= start < 20], "pieces that no client waits for"
        deregister_all(node)
        node.process.send_signal(signal.SIGTERM)
        node.process.wait(10)


def deregister_all(node: Supernode) -> None:
    """Remove all registered downloads and their leases."""
    for peer in json.loads(node.get("/peers")):
        urllib.request.urlopen(urllib.request.Request(f"http://{node.node}/peers/{quote(peer['ID'])}", method="DELETE"), timeout=20).close()


# THE END OF A SUPERNODE


def test_forgetting_a_copy_ends_its_comparison_with_the_origin(tmp_path: Path) -> None:
    data = content(2_000_000, 1)  # takes minutes at the rate below

    async def play(server: Server) -> None:
        settings = SupernodeSettings(advertise_ip="127.0.0.1", revalidate_interval=0.0)
        node = nodes.SupernodeState(settings, str(tmp_path), asyncio.get_running_loop())
        wanted = FetchRequest(url(server))
        fetch = await node.fetches.ensure("ab" * 32, wanted)
        while fetch.state != SUCCESS:
            await asyncio.sleep(0.01)
        await node.fetches.ensure("ab" * 32, wanted)
        assert server.busy, "the comparison runs"
        node.fetches.forget("ab" * 32)
        await asyncio.to_thread(until, lambda: not server.busy, "the end of the request")
        node.close()

    with Server(lambda x: serve(x, etag=f'"{x.n}"', modified="", rate=10_000 if x.n else 0), (data,)) as server:
        asyncio.run(play(server))
        assert len(server.log) == 2


def test_finished_fetches_leave_no_eventfd_open(stage: Scene) -> None:
    node = stage.supernode()

    def waits() -> int:
        return sum("eventfd" in name for name in descriptors(node.process.pid))

    with Server(serve, (content(SMALL, 1),)) as server:
        before = waits()
        for n in range(5):
            stage.get(url(server, f"/{n}"), f"out{n}", *ALONE, nodes=(node,))
        until(lambda: waits() <= before, "the close of all eventfds")


@contextmanager
def full_queue_address() -> Iterator[str]:
    """An address that accepts no connection: its queue is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("what", ["head", "connect", "pause", "body"])
def test_a_supernode_that_waits_for_an_origin_ends_within_seconds(stage: Scene, what: str) -> None:
    scripts: dict[str, Script] = {
        "head": lambda x: x.silence(),
        "connect": lambda x: x.silence(),
        "pause": lambda x: refuse(x, headers=(("Retry-After", "60"),)),
        "body": lambda x: serve(x, rate=10_000),
    }
    node = stage.supernode()
    with Server(scripts[what], (content(SMALL, 1),)) as server, full_queue_address() as nowhere, ThreadPoolExecutor(1) as pool:
        address = f"http://{nowhere}/f" if what == "connect" else url(server)
        asking = pool.submit(post, node, "/peer/registry", registration(address, 1))
        if what == "connect":
            until(lambda: node.metric("dfengine_origin_requests_total") == 1, "a request")
        else:
            until(lambda: server.log, "a request")
        if what == "body":
            asking.result()
        if what == "pause":
            until(lambda: not server.busy, "the refusal")
        began = time.monotonic()
        node.process.terminate()
        assert node.process.wait(60) == 0
        assert time.monotonic() - began < 15.0
        asking.exception()


def test_a_killed_supernode_requests_only_the_rest_of_its_copy(stage: Scene) -> None:
    data = content(6 * PIECE, 1)
    node = stage.supernode("--origin-connections", "1")
    with Server(lambda x: serve(x, rate=5e6), (data,)) as server:
        get = stage.start_get(url(server), "out", *ALONE, nodes=(node,))
        until(lambda: node.metric("dfengine_origin_bytes_total") > 2 * PIECE, "two pieces")
        stage.kill(node.process)
        stage.supernodes.remove(node)
        before = len(server.log)
        again = stage.supernode("--origin-connections", "1", home=node.home, port=node.port,
                                download_port=int(node.download.rpartition(":")[2]))
        stage.end(get)
        first = server.log[before]
        took = again.metric("dfengine_origin_bytes_total")
        span = first.range(len(data))
    assert stage.digest("out") == sha(data)
    assert before == 1
    assert len(server.log) == 2
    assert span is not None
    assert span[0] >= 2 * PIECE
    assert span[0] % PIECE == 0
    assert span[1] == len(data) - 1
    assert first.get("if-range") == etag_of(data)
    assert took == len(data) - span[0]
