"""Responses of a peer server (1.x's `Peer server` in docs/protocol.md); finds bytes and opens no socket."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Protocol

from dfengine._piece import FRAME, TAIL, frame_head, parse_range
from dfengine.about import VERSION
from dfengine.errors import BadFrame, BadRange, StorageError
from dfengine.net._sendfile import FileSlice
from dfengine.net.http import BYTES, BadRequest, Parts, Request, Response, text
from dfengine.net.token_bucket import TokenBucket
from dfengine.storage.home import Entry, valid_name
from dfengine.storage.served_file import ServedFile

TOUCH_SECONDS = 1.0
"""Seconds between two records of a file's use, however often it is requested."""

OPEN_FILES = 512
"""Limit of downloads kept open; the least recently requested one is closed first."""

MAX_NAME = 200
"""Maximum number of characters of a name."""

_NUMBER = re.compile(r"[0-9]{1,18}")


class Shares(Protocol):
    """The downloads of this host; `served_downloads.ServedDownloads`, or `storage.home.Home` alone. Times are unix seconds."""

    def find(self, name: str) -> ServedFile | None: ...
    def touch(self, name: str, now: float) -> None: ...
    def sweep(self, now: float) -> list[Entry]: ...
    def withdraw_deleted(self) -> list[Entry]: ...
    def names(self) -> list[str]: ...
    def entry(self, name: str) -> Entry | None: ...
    def has(self, name: str) -> bool: ...
    def withdraw(self, name: str) -> None: ...


Deregistration = tuple[str, str, str]
"""(HOST:PORT of a supernode, task, CID) of a download that is no longer served."""


class Routes:
    """The downloads of one home. `now`: unix seconds. `limit`: the server's bucket."""

    def __init__(self, home: Shares, limit: TokenBucket, now: Callable[[], float]) -> None:
        self._home = home
        self._limit = limit
        self._now = now
        self._open: OrderedDict[str, ServedFile] = OrderedDict()
        self._exact: dict[str, Callable[[Request], Response | Parts]] = {
            "/server/ping": self._ping,
            "/ping": self._ping,
            "/healthz": self._ping,
            "/readyz": self._ping,
            "/client/finish": self._finish,
        }
        self._prefixes: tuple[tuple[str, Callable[[Request, str], Response | Parts]], ...] = (
            ("/peer/file/", self._piece),
            ("/piece/", self._piece),
            ("/check/", self._check),
            ("/rate/", self._rate),
        )

    def __call__(self, request: Request) -> Response | Parts:
        """The response to one request. Raises BadRequest."""
        exact = self._exact.get(request.path)
        if exact is not None:
            return exact(request)
        for prefix, route in self._prefixes:
            if request.path.startswith(prefix):
                return route(request, _name(request.path[len(prefix) :]))
        return text(404, "404 page not found")

    def _ping(self, request: Request) -> Response:
        return Response(200, b"success", BYTES)

    def _check(self, request: Request, name: str) -> Response:
        """The server's version. 1.x sets the limit here; in dfengine only this user's downloads can, through the home's socket."""
        self._touch(name)
        return Response(200, f"{name}@{VERSION}".encode(), BYTES)

    def _rate(self, request: Request, name: str) -> Response:
        """The rate for this task: the requested one, within the server's limit."""
        asked = _number(request, "ratelimit")
        allowed = min(asked, self._limit.rate) if self._limit.rate else asked
        return Response(200, str(allowed).encode(), BYTES)

    def _finish(self, request: Request) -> Response:
        name = _name(request.query.get("taskFileName", ""))
        if not request.query.get("taskID") or not request.query.get("cid"):
            raise BadRequest(400, "invalid params")
        self._touch(name)
        return Response(200, b"success", BYTES)

    def _touch(self, name: str) -> None:
        if valid_name(name):
            self._home.touch(name, self._now())

    def _piece(self, request: Request, name: str) -> Response | Parts:
        piece, size = _number(request, "piecenum"), _number(request, "piecesize")
        start, end = _range(request)
        shared = self._shared(name) if valid_name(name) else None
        if shared is None:
            return text(500, f"failed to get taskPath: {name}")
        try:
            framed = request.headers.get("cdnsource", "").lower() != "source"
            return self._part(shared, name, piece, size, start, end, framed)
        except StorageError:
            # Its record was truncated: the download is opened again at the next request.
            self._open.pop(name, None)
            return text(500, f"failed to read taskPath: {name}")

    def _part(self, shared: ServedFile, name: str, piece: int, size: int, start: int, end: int, framed: bool) -> Response | Parts:
        frame = FRAME if framed else 0
        offset, length = start - frame * piece, end - start + 1 - frame
        if offset < 0 or length < 0:
            return text(416, "range not satisfiable")
        while True:
            total = shared.length
            # An empty file is one piece without content; every other piece begins before the end.
            if total >= 0 and offset >= max(total, 1):
                return text(416, "range not satisfiable")
            content = length if total < 0 else min(length, total - offset)
            # A thread may have to read all of it before it is sent: a request for the whole file would delay all others.
            if content > shared.geometry.piece_size:
                raise BadRequest(400, f"{content} bytes are more than a piece")
            try:
                here = shared.has_range(offset, content)
            except BadRange:
                return text(416, "range not satisfiable")
            if shared.length == total:
                break
            # The length became known in between, and the last piece may be shorter than assumed.
        if not here:
            return text(404, f"piece {piece} is not here")
        now = self._now()
        if now - shared.touched > TOUCH_SECONDS:
            shared.touched = now
            self._home.touch(name, now)
        try:
            fd, start_in_fd, bits, n, owner = shared.locate(offset, content)
        except BadRange:
            return text(416, "range not satisfiable")
        data = FileSlice(fd, start_in_fd, content, owner, bits, n, *shared.check(offset, content, owner))
        if not framed:
            return Parts(206, (data,))
        try:
            return Parts(206, (frame_head(content, size), data, TAIL))
        except BadFrame as error:
            raise BadRequest(400, str(error)) from None

    def _shared(self, name: str) -> ServedFile | None:
        shared = self._open.get(name)
        if shared is not None and not self._home.has(name):
            del self._open[name]  # another process has withdrawn it
            shared = None
        if shared is None:
            shared = self._home.find(name)
            if shared is None:
                return None
            self._open[name] = shared
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)  # closed when the last send of its bytes ends
        self._open.move_to_end(name)
        return shared

    def sweep(self) -> list[Deregistration]:
        """Withdraw expired downloads, close those that other processes withdrew; return the downloads to report to supernodes."""
        gone = self._home.sweep(self._now())
        self._close_withdrawn()
        return _deregistrations(gone)

    def withdraw_deleted(self) -> list[Deregistration]:
        """Withdraw downloads whose output was deleted, and close them and those that other processes withdrew, so that their disk space is
        freed. Returns the downloads to report to supernodes."""
        gone = {entry.name: entry for entry in self._home.withdraw_deleted()}
        return _deregistrations((gone | self._close_withdrawn()).values())

    def withdraw(self, names: Iterable[str]) -> list[Deregistration]:
        """Stop serving downloads on their user's request; return those to report to supernodes."""
        gone = [entry for name in names if (entry := self._home.entry(name)) is not None]
        for entry in gone:
            self._home.withdraw(entry.name)
        self._close_withdrawn()
        return _deregistrations(gone)

    def _close_withdrawn(self) -> dict[str, Entry]:
        """Close withdrawn downloads; return their entries."""
        return {name: self._open.pop(name).entry for name in [*self._open] if not self._home.has(name)}

    def close(self) -> None:
        """Close all downloads; those being sent close when they are done."""
        self._open.clear()

    def served(self) -> list[Deregistration]:
        """All shared downloads, by the names that supernodes use; if the home was deleted, those that are open."""
        entries = {name: shared.entry for name, shared in self._open.items()}
        entries |= {name: entry for name in self._home.names() if (entry := self._home.entry(name)) is not None}
        return _deregistrations(entries.values())


def _deregistrations(entries: Iterable[Entry]) -> list[Deregistration]:
    return [(entry.node, entry.task, entry.cid) for entry in entries if entry.node]


def _name(text: str) -> str:
    """The name, if a download of 1.x can have it, made of its output's name. dfengine's own names are a part of these: `valid_name`."""
    if text in ("", ".", "..") or "/" in text or not text.isprintable() or len(text) > MAX_NAME:
        raise BadRequest(400, "no task file has such a name")
    return text


def _range(request: Request) -> tuple[int, int]:
    given = request.headers.get("range", "")
    if not given.startswith("bytes="):
        raise BadRequest(400, f"invalid range: {given[:60]}")
    try:
        return parse_range(given[6:])
    except BadRange as error:
        raise BadRequest(400, str(error)) from None


def _number(request: Request, name: str) -> int:
    value = request.headers.get(name, "")
    if not _NUMBER.fullmatch(value):
        raise BadRequest(400, f"header {name} is not a number: {value[:40]!r}")
    return int(value)
