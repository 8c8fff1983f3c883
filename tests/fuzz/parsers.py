"""The parsers by name. Each takes bytes and raises nothing: errors that its contract documents are suppressed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import xxhash

from dfengine import settings, wire
from dfengine._piece import Geometry, parse_range
from dfengine.app import cli
from dfengine.client import messages
from dfengine.disposition import filename
from dfengine.errors import BadValue, OriginError, ProtocolViolation, StorageError
from dfengine.net import _request, http, secret
from dfengine.net.http_client import parse_head
from dfengine.origin.head import Head
from dfengine.origin.request import Hop, asked_range
from dfengine.paths import LARGEST
from dfengine.storage.home import valid_name
from dfengine.storage.piece_file import PieceFile
from dfengine.storage.record import Record
from dfengine.storage.shared_content import SharedContent
from dfengine.supernode.copies import origin_progress_messages
from dfengine.supernode.fastpath._plain_pull import plain_pull
from dfengine.supernode.registration_check import checked, wanted
from dfengine.supernode.registration_quota import TaskQuota
from dfengine.task import Digest, check_url, generation, task_url

CORPUS = Path(__file__).parent / "corpus"
PLAIN_BODY = 100
"""Body limit in bytes of the plain reader."""

NODE: Any = SimpleNamespace(
    quota=TaskQuota(75, lambda act, *arguments: act(*arguments), lambda task: None), settings=SimpleNamespace(private="split")
)
"""The parts of a supernode that a registration uses before a task begins."""

GEOMETRIES = (Geometry(0), Geometry(9_000_000), Geometry(-1))


def request(data: bytes) -> None:
    """A request's head, body and query as the servers parse them, fed in two parts."""
    for cut in (len(data), len(data) // 2):
        found: list[http.Request] = []
        reader = http.RequestReader("127.0.0.1", found.append)
        try:
            reader.feed(data[:cut])
            reader.feed(data[cut:])
            for each in found:
                each.query.get("taskId")
        except http.BadRequest as error:
            if not 400 <= error.status < 500:
                raise AssertionError(error.status) from error


def read(data: bytes) -> object:
    """The requests that a server parses from `data`, or its refusal."""
    found: list[http.Request] = []
    try:
        http.RequestReader("", found.append, PLAIN_BODY).feed(data)
    except http.BadRequest as error:
        return error.status, error.reason
    return [(each.method, each.target, each.headers, each.body, each.keep_alive) for each in found]


def plain(data: bytes) -> None:
    """A request that the plain reader accepts is parsed equally by the full reader."""
    if _request.plain(data, http.MAX_HEAD, PLAIN_BODY) is None:
        return
    taken = read(data)
    with mock.patch("dfengine.net.http.plain", return_value=None):
        full = read(data)
    assert taken == full, (taken, full)


def plain_body(data: bytes) -> None:
    """A pull's body that is parsed as plain is parsed equally by the full parser."""
    plain = plain_pull(data)
    if plain is not None:
        full = wire.decode_pull(data)
        assert plain == (full.task, full.cid, full.done, full.ending, full.want, full.wait, full.una, full.end), plain
        assert [*full.failed, *full.held, *full.evicted] == []
        assert full.pieces is None


_guard = secret.Guard((bytes(secret.MIN_LENGTH),))


def signature(data: bytes) -> None:
    """A signature's header; without the secret every signature is refused."""
    refusal = _guard.refusal(http.Request("GET", b"/x", {secret.HEADER.lower(): data.decode("latin-1")}, b"", ""))
    assert refusal is not None
    assert refusal.status == 401


def query(data: bytes) -> None:
    """A query string."""
    with contextlib.suppress(http.BadRequest):
        http.Request("GET", b"/peer/task?" + data, {}, b"", "").query.items()


def answer_head(data: bytes) -> None:
    """A response's head as the client parses it."""
    try:
        found = parse_head(data)
        assert found.length >= -1
        assert 100 <= found.status < 600
    except ProtocolViolation:
        pass


def origin_head(data: bytes) -> None:
    """An origin's head: its framing, range, version and pause. Any response is parsed or refused."""
    with contextlib.suppress(OriginError):
        found = Head.parse(data.splitlines(keepends=True))
        assert found.retry_after(1.8e9) >= 0
        found.version(-1, 1.8e9)
        part = found.content_range
        assert part is None or 0 <= part[0] <= part[1] <= LARGEST
        assert part is None or part[2] == -1 or part[1] < part[2]
        named(found.get("content-disposition"))
        assert -1 <= found.body_length <= LARGEST


def named(header: str) -> None:
    """The name in a Content-Disposition is a file in the working directory or empty."""
    name = filename(header)
    assert "/" not in name
    assert "\0" not in name
    assert not name.startswith(".")


def location(data: bytes) -> None:
    """A Location gives an http or https URL that can be requested, or an error."""
    with contextlib.suppress(OriginError):
        there = Hop("http://u:p@h/b/c;d?e").follow(data.decode("latin-1"), 302)
        assert there.scheme in ("http", "https")
        assert there.target.startswith("/")
        assert all("!" <= letter <= "~" for letter in there.target)
        assert there.key == "http://h:80" or there.userinfo != "u:p" or b"u:p" in data


def user_range(data: bytes) -> None:
    """A user's Range and its bounds."""
    with contextlib.suppress(BadValue):
        first, last = asked_range(data.decode("latin-1"))
        assert last == -1 or 0 <= first <= last


def registration(form: bool, data: bytes) -> None:
    """A registration, its checks and the resulting request."""
    with contextlib.suppress(BadValue, ProtocolViolation):
        wanted(NODE, checked(wire.Registration.decode(data, form)), "127.0.0.1")


def message(decode: Callable[[bytes], object], data: bytes) -> None:
    """A message in JSON."""
    with contextlib.suppress(BadValue, ProtocolViolation):
        decode(data)


def piece_range(data: bytes) -> None:
    """A range and the piece that it names."""
    try:
        start, end = parse_range(data.decode("latin-1"))
        assert 0 <= start <= end
        for geometry in GEOMETRIES:
            try:
                n = geometry.number(start, end)
                assert geometry.range(n)[0] == start
            except ProtocolViolation:
                pass
    except ProtocolViolation:
        pass


def text(parse: Callable[[str], object], data: bytes) -> None:
    """Text that users write: a rate, a size, a duration, a node, a header, a digest, a URL."""
    with contextlib.suppress(BadValue):
        parse(data.decode("latin-1"))


_scratch = tempfile.TemporaryDirectory(prefix="dffuzz-")


def yaml(data: bytes) -> None:
    """A configuration file."""
    path = os.path.join(_scratch.name, "fuzzed.yml")
    with open(path, "wb") as file:
        file.write(data)
    with contextlib.suppress(BadValue):
        cli.configuration([path])


RECORDED = Geometry(250, 105)
"""Geometry of the corpus' records: three pieces, of which the second is not on disk."""

CONTENT = bytes(range(100)) + bytes(100) + bytes(range(50))


def record(data: bytes) -> None:
    """A damaged record on disk: the download starts again, or only intact pieces count as available."""
    part, path = (os.path.join(_scratch.name, name) for name in ("recorded.part", "recorded.record"))
    for name, content in ((part, CONTENT), (path, data)):
        with open(name, "wb") as out:
            out.write(content)
    with contextlib.suppress(StorageError):
        seen = Record.follow(path)
        with contextlib.suppress(StorageError, IndexError):
            seen.has_range(0, max(1, seen.geometry.count))
        seen.close()
    try:
        file = PieceFile.open(part, path)
    except StorageError:
        return
    try:
        file.recheck()
        for n in file.available:
            offset, length = file.geometry.content(n)
            piece = CONTENT[offset : offset + length]
            if file.record.digest(n) != xxhash.xxh3_128_digest(piece) or (file.geometry == RECORDED and n not in (0, 2)):
                raise AssertionError(f"piece {n} counts as available")
        file.record.is_complete()
    finally:
        file.close()


PARSERS: dict[str, Callable[[bytes], None]] = {
    "request": request,
    "plain": plain,
    "plain_pull": plain_body,
    "signature": signature,
    "query": query,
    "answer_head": answer_head,
    "origin_head": origin_head,
    "disposition": lambda data: named(data.decode("latin-1")),
    "location": location,
    "user_range": user_range,
    "registration": partial(registration, False),
    "form": partial(registration, True),
    "pull": partial(message, wire.decode_pull),
    "pulled": partial(message, messages.decode_pulled),
    "pulled1": partial(message, messages.decode_pulled1),
    "registered": partial(message, messages.decode_registered),
    "origin_ask": partial(message, wire.decode_origin_ask),
    "reading_ask": partial(message, origin_progress_messages.decode_request),
    "reading": partial(message, origin_progress_messages.decode_answer),
    "announcement": partial(message, wire.decode_announcement),
    "announced": partial(message, wire.decode_announced),
    "shared": partial(message, SharedContent.decode),
    "folded": partial(message, wire.folded),
    "range": piece_range,
    "rate": partial(text, settings.parse_rate),
    "duration": partial(text, settings.parse_duration),
    "node": partial(text, settings.SupernodeAddress.parse),
    "header": partial(text, settings.parse_header),
    "digest": partial(text, Digest.parse),
    "url": partial(text, check_url),
    "task_url": partial(text, lambda url: task_url(url, "a&b")),
    "name": partial(text, valid_name),
    "generation": partial(text, lambda tag: generation(tag, tag, 7)),
    "yaml": yaml,
    "record": record,
}


def corpus(name: str) -> list[bytes]:
    """The initial inputs of a parser."""
    lines = (CORPUS / f"{name}.txt").read_bytes().splitlines()
    return [line.decode("ascii").encode().decode("unicode_escape").encode("latin-1") for line in lines]
