"""Responses of a peer server, without sockets: a real home directory, requests as values."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import random
import re
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import xxhash

from dfengine._piece import Geometry
from dfengine.net._sendfile import FileSlice, Upload
from dfengine.net.dialer import Dialer
from dfengine.net.http import BadRequest, Parts, Request, Response
from dfengine.net.token_bucket import TokenBucket
from dfengine.peer.content_announcer import ContentAnnouncer
from dfengine.peer.routes import Routes
from dfengine.peer.withdrawals import Withdrawals
from dfengine.storage.home import Home
from dfengine.storage.part_file import PartFile
from dfengine.storage.piece_file import PieceFile
from tests.own_descriptors import own_descriptors

SAMPLES = Path(__file__).parent.parent / "wire"
PIECE = 4 << 20
CONTENT = PIECE - 5
LENGTH = 9_000_000


class Host:
    """One host's home, its routes, and downloads that are shared there. `now` is the unix time that the routes see."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.home = Home(str(path / "home"))
        self.limit = TokenBucket(0)
        self.now = 1_000_000.0
        self.routes = Routes(self.home, self.limit, lambda: self.now)
        self.files: list[tuple[PartFile, PieceFile]] = []

    def share(self, name: str, length: int, *, seed: int = 0, expire: float = 180.0) -> tuple[PieceFile, PartFile, bytes]:
        """Share a download without pieces; return also its future content."""
        target = PartFile(str(self.path / f"out-{name}"), hashlib.sha256(name.encode()).hexdigest())
        file = target.open(Geometry(length), b"")
        self.files.append((target, file))
        self.home.share(name, file, target, task="t" * 64, cid=f"cid-{name}", node="127.0.0.1:8002", expire=expire)
        self.home.touch(name, self.now)
        return file, target, random.Random(seed).randbytes(max(length, 0) or 3 * CONTENT)

    def put(self, file: PieceFile, content: bytes, *pieces: int) -> None:
        for n in pieces:
            file.write(n, content[n * CONTENT : (n + 1) * CONTENT], bytes(16))

    def ask(self, path: str, headers: dict[str, str] | None = None, client: str = "127.0.0.3") -> Response | Parts:
        """Return the response, refusals included."""
        try:
            return self.routes(Request("GET", path.encode(), {k.lower(): v for k, v in (headers or {}).items()}, b"", client))
        except BadRequest as error:
            return Response(error.status, error.reason.encode())

    def piece(self, name: str, n: int, size: int = PIECE, **headers: str) -> Response | Parts:
        bounds = f"bytes={n * size}-{(n + 1) * size - 1}"
        return self.ask(f"/peer/file/{name}", {"Range": bounds, "pieceNum": str(n), "pieceSize": str(size), **headers})

    def finish(self, file: PieceFile, target: PartFile, name: str) -> None:
        """End the download: it gets its final name, and its lock is released."""
        self.home.keep_record(name, file)
        target.finish(file)
        file.close()
        self.files = [entry for entry in self.files if entry[1] is not file]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    for _, file in made.files:
        file.close()


def body(answer: Response | Parts) -> bytes:
    if isinstance(answer, Response):
        return answer.body
    return b"".join(part if isinstance(part, bytes) else read(part) for part in answer.parts)


def read(part: FileSlice) -> bytes:
    data = os.pread(part.fd, part.length, part.offset)
    assert len(data) == part.length
    return data


def framed(content: bytes) -> bytes:
    return (len(content) | PIECE << 4).to_bytes(4, "big") + content + b"\x7f"


@pytest.mark.parametrize("length", [1, CONTENT - 1, CONTENT, CONTENT + 1, LENGTH])
def test_pieces_are_framed_as_in_1x(host: Host, length: int) -> None:
    file, _, content = host.share("a", length)
    host.put(file, content, *range(file.geometry.count))
    for n in range(file.geometry.count):
        answer = host.piece("a", n)
        assert answer.status == 206
        assert body(answer) == framed(content[n * CONTENT : (n + 1) * CONTENT])
    assert host.piece("a", file.geometry.count).status == 416


def test_an_empty_file_is_one_piece_of_five_bytes(host: Host) -> None:
    file, _, _ = host.share("a", 0)
    host.put(file, b"", 0)
    assert body(host.piece("a", 0)) == bytes.fromhex("040000007f")
    assert host.piece("a", 1).status == 416


def test_a_piece_is_served_from_the_moment_it_is_written(host: Host) -> None:
    file, _, content = host.share("a", LENGTH)
    assert host.piece("a", 1).status == 404
    host.put(file, content, 1)
    assert body(host.piece("a", 1)) == framed(content[CONTENT : 2 * CONTENT])
    assert [host.piece("a", n).status for n in (0, 2)] == [404, 404]


def test_a_file_of_unknown_length_is_served(host: Host) -> None:
    file, _, content = host.share("a", -1)
    host.put(file, content, 0)
    assert body(host.piece("a", 0)) == framed(content[:CONTENT])
    assert host.piece("a", 1).status == 404
    assert host.piece("a", 10**9).status == 404
    file.write(1, content[CONTENT : CONTENT + 100], bytes(16))
    file.learn_length(CONTENT + 100)
    assert body(host.piece("a", 1)) == framed(content[CONTENT : CONTENT + 100])
    assert host.piece("a", 2).status == 416


def test_a_length_that_becomes_known_during_a_request(host: Host) -> None:
    file, _, content = host.share("a", -1)
    host.put(file, content, 0)
    assert host.piece("a", 0).status == 206
    shared = host.routes._open["a"]
    asked = type(shared).has_range

    def here(offset: int, length: int) -> bool:
        if file.geometry.length < 0:
            file.write(1, content[CONTENT : CONTENT + 100], bytes(16))
            file.learn_length(CONTENT + 100)
        return asked(shared, offset, length)

    shared.has_range = here  # type: ignore[method-assign]
    assert body(host.piece("a", 1)) == framed(content[CONTENT : CONTENT + 100])


def test_ranges_of_the_source_itself_are_not_framed(host: Host) -> None:
    file, _, content = host.share("a", LENGTH)
    host.put(file, content, 0, 1, 2)
    asked = {"cdnSource": "source", "pieceNum": "0", "pieceSize": str(PIECE)}
    assert body(host.ask("/peer/file/a", {**asked, "Range": "bytes=5000000-8999999"})) == content[5_000_000:]
    assert body(host.ask("/peer/file/a", {**asked, "Range": "bytes=8999990-99999999"})) == content[8_999_990:]
    assert host.ask("/peer/file/a", {**asked, "Range": "bytes=9000000-9000001"}).status == 416
    assert host.ask("/peer/file/a", {**asked, "cdnSource": "supernode", "Range": "bytes=0-99"}).status == 206


def test_a_request_for_more_than_a_piece_is_refused(host: Host) -> None:
    file, _, content = host.share("a", LENGTH)
    host.put(file, content, 0, 1, 2)
    asked = {"cdnSource": "source", "pieceNum": "0", "pieceSize": str(PIECE)}
    assert body(host.ask("/peer/file/a", {**asked, "Range": f"bytes=1-{PIECE}"})) == content[1 : PIECE + 1]
    assert host.ask("/peer/file/a", {**asked, "Range": f"bytes=0-{PIECE}"}).status == 400
    assert host.ask("/peer/file/a", {**asked, "Range": f"bytes=0-{LENGTH}", "pieceSize": str((1 << 28) - 1)}).status == 400


BIG = str(2**63)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Range": ""}, 400),
        ({"Range": "bytes=0-4194303", "pieceNum": ""}, 400),
        ({"pieceNum": "-1"}, 400),
        ({"pieceNum": "x"}, 400),
        ({"pieceNum": "1.0"}, 400),
        ({"pieceNum": "٣"}, 400),
        ({"pieceNum": "9" * 19}, 400),
        ({"pieceSize": ""}, 400),
        ({"pieceSize": "0"}, 400),
        ({"pieceSize": "4"}, 400),
        ({"pieceSize": str(1 << 28)}, 400),
        ({"pieceSize": "-4194304"}, 400),
        ({"Range": "0-4194303"}, 400),
        ({"Range": "bytes=-5"}, 400),
        ({"Range": "bytes=5-"}, 400),
        ({"Range": "bytes=50-50"}, 400),
        ({"Range": "bytes=9-0"}, 400),
        ({"Range": "bytes=0-4194303,4194304-8388607"}, 400),
        ({"Range": "bytes= 0-4194303"}, 400),
        ({"Range": "bytes=0--1"}, 400),
        ({"Range": "bytes=+0-9"}, 400),
        ({"Range": "bytes=0x0-0xff"}, 400),
        ({"Range": f"bytes=0-{BIG}"}, 400),
        ({"Range": f"bytes={BIG}-{BIG}0"}, 400),
        ({"Range": "items=0-4194303"}, 400),
        ({"Range": "bytes=0-3"}, 416),
        ({"Range": "bytes=9000015-9000115", "pieceNum": "0"}, 416),
        ({"Range": f"bytes=0-{2**63 - 1}", "pieceNum": "1"}, 416),
        ({"pieceNum": "9" * 18}, 416),
        ({"Range": f"bytes={2**63 - 2}-{2**63 - 1}"}, 416),
    ],
    ids=range(31),
)
def test_invalid_ranges_and_piece_numbers_are_refused(host: Host, headers: dict[str, str], status: int) -> None:
    file, _, content = host.share("a", LENGTH)
    host.put(file, content, 0, 1, 2)
    good = {"Range": "bytes=0-4194303", "pieceNum": "0", "pieceSize": str(PIECE)}
    answer = host.ask("/peer/file/a", {**good, **headers} if headers else {})
    assert isinstance(answer, Response)
    assert answer.status == status


@pytest.mark.parametrize("route", ["/peer/file/", "/piece/", "/check/", "/rate/", "/client/finish?taskID=t&cid=c&taskFileName="])
@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "%2e%2e", "%2e%2e%2fa", "..%2Fhome%2Fpeer.lock", "%2Fetc%2Fpasswd", "/etc/passwd", "a%2Fb", "a/b",
     "a%00", "%00", "a%0Ab", "%FF", "a" * 201, "a" * 5000],
)  # fmt: skip
def test_names_that_are_not_a_plain_segment_are_refused(host: Host, route: str, name: str) -> None:
    headers = {"Range": "bytes=0-4194303", "pieceNum": "0", "pieceSize": str(PIECE), "rateLimit": "1"}
    assert host.ask(route + name, headers).status == 400


@pytest.mark.parametrize("name", [".a", "my%20output-77", "%C3%A4", "a%5Cb", "a*", "peer.lock-1"])
def test_names_that_only_1x_gives_are_unknown(host: Host, name: str) -> None:
    """1.x makes them of the output's name. They are never looked up: a file of the home could have such a name."""
    tasks = Path(host.home.path, "tasks")
    host.share("other", 100)
    (tasks / ".a").write_bytes((tasks / "other").read_bytes())
    headers = {"Range": "bytes=0-4194303", "pieceNum": "0", "pieceSize": str(PIECE)}
    assert host.ask(f"/peer/file/{name}", headers).status == 500
    assert host.ask(f"/check/{name}").status == 200
    assert host.ask(f"/client/finish?taskFileName={name}&taskID=t&cid=c").status == 200
    assert host.home.names() == ["other"]


@pytest.mark.parametrize("query", ["taskFileName=a", "taskFileName=a&taskID=t", "taskFileName=a&cid=c", "taskID=t&cid=c"])
def test_the_end_of_a_download_names_it_completely(host: Host, query: str) -> None:
    assert host.ask(f"/client/finish?{query}").status == 400


def test_an_unknown_name_is_refused(host: Host) -> None:
    answer = host.piece("nosuch", 0)
    assert (answer.status, body(answer)) == (500, b"failed to get taskPath: nosuch\n")


@pytest.mark.parametrize("path", ["/", "/nosuch", "/peer/file", "/server/ping/", "//server/ping", "/metrics"])
def test_an_unknown_path_is_not_found(host: Host, path: str) -> None:
    answer = host.ask(path)
    assert (answer.status, body(answer)) == (404, b"404 page not found\n")


def test_a_link_out_of_the_home_is_not_followed(host: Host) -> None:
    file, _, content = host.share("a", 100)
    host.put(file, content, 0)
    data = Path(host.home.path, "data", "a")
    other = host.path / "other"
    other.write_bytes(b"x" * 100)
    data.unlink()
    data.symlink_to(other)
    assert body(host.piece("a", 0)) == framed(content)
    os.unlink(Path(host.home.path, "tasks", "a"))
    Path(host.home.path, "tasks", "a").symlink_to(host.path / "other")
    host.routes.sweep()
    assert host.piece("a", 0).status == 500


def test_an_output_changed_by_another_program_is_not_served(host: Host) -> None:
    file, target, content = host.share("a", LENGTH)
    host.put(file, content, 0, 1, 2)
    host.finish(file, target, "a")
    assert body(host.piece("a", 2)) == framed(content[2 * CONTENT :])
    with open(target.path, "r+b") as out:
        out.write(b"changed")
    os.utime(target.path, (1, 1))
    assert host.piece("a", 2).status == 404


def test_an_output_truncated_by_another_program_is_not_served(host: Host) -> None:
    file, target, content = host.share("a", LENGTH)
    host.put(file, content, 0, 1, 2)
    host.finish(file, target, "a")
    stat = os.stat(target.path)
    os.truncate(target.path, 5)
    os.utime(target.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert host.piece("a", 0).status == 404


def test_a_file_expires_when_it_is_not_requested_any_more(host: Host) -> None:
    file, target, content = host.share("a", 1000, expire=100.0)
    host.put(file, content, 0)
    host.finish(file, target, "a")
    for _ in range(5):
        host.now += 90
        assert host.piece("a", 0).status == 206
        assert host.routes.sweep() == []
    host.now += 90
    assert host.ask("/check/a").status == 200
    host.now += 101
    assert host.routes.sweep() == [("127.0.0.1:8002", "t" * 64, "cid-a")]
    assert host.piece("a", 0).status == 500
    assert Path(target.path).read_bytes() == content
    assert host.routes.served() == []


def test_frequent_requests_renew_the_expiry(host: Host) -> None:
    file, target, content = host.share("a", 1000, expire=100.0)
    host.put(file, content, 0)
    host.finish(file, target, "a")
    for _ in range(30):
        host.now += 5
        host.piece("a", 0)
    host.now += 96
    assert host.routes.sweep() == []


def test_a_running_download_does_not_expire(host: Host) -> None:
    file, target, content = host.share("a", 1000, expire=100.0)
    host.put(file, content, 0)
    host.now += 1000
    assert host.routes.sweep() == []
    assert host.routes.served() == [("127.0.0.1:8002", "t" * 64, "cid-a")]
    host.finish(file, target, "a")
    assert len(host.routes.sweep()) == 1


def test_a_name_withdrawn_by_another_process_is_not_served(host: Host) -> None:
    file, _, content = host.share("a", 1000)
    host.put(file, content, 0)
    answer = host.piece("a", 0)
    host.home.withdraw("a")
    assert host.piece("a", 0).status == 500
    # A response in progress keeps its file.
    assert body(answer) == framed(content)


@pytest.mark.parametrize("by", ["message", "look"])
def test_withdrawn_files_are_closed_and_reported(host: Host, by: str) -> None:
    files = {}
    for name in ("a", "b", "c"):
        file, target, content = host.share(name, 1000)
        host.put(file, content, 0)
        host.finish(file, target, name)
        files[name] = target.path
        if name != "c":
            assert host.piece(name, 0).status == 206
    told: list[Any] = []
    announcer = ContentAnnouncer(host.home, 1, lambda: host.now, lambda: Dialer(()))
    withdrawals = Withdrawals(host.routes, announcer, told.extend)
    left = {("127.0.0.1:8002", "t" * 64, f"cid-{name}") for name in ("a", "c")}
    if by == "message":
        assert withdrawals(b'{"withdraw": ["a", "c", "nothing"]}')
    else:
        host.home.withdraw("a")
        told = host.routes.withdraw_deleted()
        left = {("127.0.0.1:8002", "t" * 64, "cid-a")}
    assert set(told) == left
    gc.collect()
    opened = {os.stat(f"/proc/self/fd/{fd}").st_ino for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")}
    assert {name for name, path in files.items() if os.stat(path).st_ino in opened} == {"b"}
    assert host.piece("a", 0).status == 500
    assert host.piece("b", 0).status == 206
    assert host.routes.withdraw_deleted() == []
    assert all(map(os.path.exists, files.values()))


@pytest.mark.parametrize("message", [b"[]", b'{"withdraw": 1}', b'{"withdraw": ["../x"]}', b'{"withdraw": [[]]}', b"[" * 9000, b"\xff"])
def test_invalid_withdrawals_are_refused(host: Host, message: bytes) -> None:
    host.share("a", 1000)
    announcer = ContentAnnouncer(host.home, 1, lambda: host.now, lambda: Dialer(()))
    assert not Withdrawals(host.routes, announcer, lambda gone: None)(message)
    assert host.home.names() == ["a"]


def test_the_number_of_open_files_is_bounded(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfengine.peer.routes.OPEN_FILES", 3)
    contents = {}
    for n in range(6):
        file, target, contents[f"n{n}"] = host.share(f"n{n}", 100, seed=n)
        host.put(file, contents[f"n{n}"], 0)
        host.finish(file, target, f"n{n}")
    before = len(own_descriptors())
    for _ in range(3):
        for name, content in contents.items():
            assert body(host.piece(name, 0)) == framed(content)
    assert len(os.listdir("/proc/self/fd")) == before + 2 * 3  # the data, and the record, which mmap keeps open


@pytest.mark.parametrize(("total", "asked", "allowed"), [(0, 10737418240, 10737418240), (1000, 5000, 1000), (1000, 500, 500)])
def test_the_rate_granted_to_a_task_is_bounded_by_the_total_limit(host: Host, total: int, asked: int, allowed: int) -> None:
    host.limit.set_rate(total, 0.0)
    assert body(host.ask("/rate/a", {"rateLimit": str(asked)})) == str(allowed).encode()
    assert host.ask("/rate/a").status == 400
    assert host.ask("/rate/a", {"rateLimit": "-5"}).status == 400


@pytest.mark.parametrize("client", ["127.0.0.1", "127.0.0.9", "::1", "10.0.0.7"])
def test_requests_cannot_set_the_total_limit(host: Host, client: str) -> None:
    """Every user's processes can connect on loopback."""
    for path in ("/check/a", "/client/finish?taskFileName=a&taskID=t&cid=c", "/server/ping", "/rate/a"):
        assert host.ask(path, {"totalLimit": "1", "rateLimit": "1"}, client).status == 200
    assert host.limit.rate == 0


def test_responses_to_piece_requests_agree_with_the_recorded_ones(host: Host) -> None:
    """Exchanges with 1.x's peer server for a file of the same length. Its responses to pieces 3 and 5, past the end, are a defect of 1.x
    (206, five bytes whose head announces a negative length): 416 is the rule."""
    file, _, content = host.share("a", LENGTH)
    host.put(file, content, 0, 1, 2)
    for exchange in samples("peer_piece"):
        request, recorded = exchange["request"], exchange["response"]
        answer = host.ask("/peer/file/a", request["headers"])
        if recorded["headers"].get("Transfer-Encoding") == "chunked":
            assert request["headers"]["pieceNum"] in ("3", "5")
            assert answer.status == 416
            continue
        assert answer.status == recorded["status"]
        if "piece" not in recorded:
            if "strconv" not in recorded["body"]:
                assert body(answer).decode().strip() == recorded["body"].strip()
            continue
        headers = {name.lower(): value for name, value in request["headers"].items()}
        first = int(re.findall(r"\d+", headers["range"])[0])
        sent = body(answer)
        assert len(sent) == recorded["piece"]["length"]
        assert (sent[:4].hex(), sent[-1:].hex()) == (recorded["piece"]["first"][:8], "7f")
        assert sent[4:-1] == content[first - 5 * int(headers["piecenum"]) :][: len(sent) - 5]


def test_responses_to_local_requests_agree_with_the_recorded_ones(host: Host) -> None:
    for exchange in samples("local"):
        recorded = exchange["response"]
        answer = host.ask(exchange["request"]["target"], exchange["request"]["headers"])
        assert isinstance(answer, Response)
        assert (answer.status, answer.content_type) == (recorded["status"], recorded["headers"]["Content-Type"])
        assert re.sub(rb"@[\d.]+$", b"", answer.body) == re.sub(rb"@[\d.]+$", b"", recorded["body"].encode())


def samples(name: str) -> list[dict[str, Any]]:
    loaded: Callable[[str], list[dict[str, Any]]] = json.loads
    return loaded((SAMPLES / f"{name}.json").read_text())


def finished(host: Host) -> tuple[str, bytes]:
    """Return the output and the content of a finished download."""
    file, target, content = host.share("a", LENGTH)
    for n in range(file.geometry.count):
        part = content[n * CONTENT : (n + 1) * CONTENT]
        file.write(n, part, xxhash.xxh3_128_digest(part))
    host.files = [entry for entry in host.files if entry[1] is not file]
    target.finish(file, keep=lambda: host.home.keep_record("a", file))
    file.close()
    return target.path, content


def changed(path: str, at: int, byte: int) -> None:
    """Change a byte, and restore all times that can be set. The kernel's clock of files ticks some hundred times a second."""
    state = os.stat(path)
    with open(path, "r+b") as out:
        out.seek(at)
        out.write(bytes([byte]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    while os.stat(path).st_ctime_ns == state.st_ctime_ns:
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def sent(host: Host, n: int) -> bool:
    """Whether piece n is sent, after its check if one is required; otherwise the connection is closed."""
    answer = host.piece("a", n)
    assert isinstance(answer, Parts)
    there, here = socket.socketpair()
    with there, here:
        here.setblocking(False)
        upload = Upload(answer.parts)
        try:
            while upload.left:
                upload.advance(here.fileno(), 1 << 30)
                if upload.cold is not None:
                    upload.cold.load()
                while select.select([there], [], [], 0)[0]:
                    there.recv(1 << 20)
        except EOFError:
            return False
    return True


def test_an_unchanged_finished_file_is_sent_without_a_check(host: Host) -> None:
    finished(host)
    answer = host.piece("a", 0)
    assert isinstance(answer, Parts)
    part = answer.parts[1]
    assert isinstance(part, FileSlice)
    assert part.resident()


def test_a_changed_byte_of_a_finished_file_is_detected_before_it_is_sent(host: Host) -> None:
    """Its times are restored, except ctime, which cannot be set."""
    path, content = finished(host)
    assert sent(host, 0)
    changed(path, 100, content[100] ^ 1)
    assert not sent(host, 0)
    assert sent(host, 1)
    assert host.piece("a", 0).status == 404
    changed(path, 100, content[100])
    assert sent(host, 0), "the content is right again"


def test_a_finished_file_is_still_sent_after_its_links_change(host: Host) -> None:
    path, _ = finished(host)
    os.link(path, path + "-link")
    assert [sent(host, n) for n in range(3)] == [True, True, True]
    os.unlink(path)
    assert sent(host, 0)


def test_changes_are_detected_where_the_record_was_copied_instead_of_linked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    path, content = finished(host)
    assert sent(host, 0)
    with open(path, "r+b") as out:
        out.write(bytes([content[0] ^ 1]))
    assert host.piece("a", 0).status == 404
