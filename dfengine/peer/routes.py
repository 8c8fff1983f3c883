"""What a peer server answers (1.x's `Peer server` in docs/protocol.md); it finds bytes and opens no socket."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable

from dfengine._piece import FRAME, TAIL, frame_head, parse_range
from dfengine.errors import BadFrame, BadRange
from dfengine.net._sendfile import FileSlice
from dfengine.net.http import BYTES, BadRequest, Parts, Request, Response, text
from dfengine.net.limit import TokenBucket
from dfengine.settings import VERSION
from dfengine.storage.home import Home, Shared, valid_name

TOUCH_SECONDS = 1.0
OPEN_FILES = 512
"""Downloads kept open at once; the least recently asked for closes first."""

_NUMBER = re.compile(r"[0-9]{1,18}")
_TAIL = bytes([TAIL])


class Routes:
    """The tasks of one home directory. `now` gives unix seconds; `limit` is the server's bucket, of all tasks together."""

    def __init__(self, home: Home, limit: TokenBucket, now: Callable[[], float]) -> None:
        self._home = home
        self._limit = limit
        self._now = now
        self._open: OrderedDict[str, Shared] = OrderedDict()
        self.used = now()
        """When it was last asked for something, unix seconds."""
        self._exact: dict[str, Callable[[Request], Response | Parts]] = {
            "/server/ping": self._ping,
            "/ping": self._ping,
            "/client/finish": self._finish,
        }
        self._prefixes: tuple[tuple[str, Callable[[Request, str], Response | Parts]], ...] = (
            ("/peer/file/", self._piece),
            ("/piece/", self._piece),
            ("/check/", self._check),
            ("/rate/", self._rate),
        )

    def __call__(self, request: Request) -> Response | Parts:
        """The answer to one request; raises BadRequest."""
        self.used = self._now()
        exact = self._exact.get(request.path)
        if exact is not None:
            return exact(request)
        for prefix, route in self._prefixes:
            if request.path.startswith(prefix):
                name = request.path[len(prefix) :]
                if not valid_name(name):
                    raise BadRequest(400, "no task file has such a name")
                return route(request, name)
        return text(404, "404 page not found")

    def _ping(self, request: Request) -> Response:
        return Response(200, b"success", BYTES)

    def _check(self, request: Request, name: str) -> Response:
        self._home.touch(name, self.used)
        return Response(200, f"{name}@{VERSION}".encode(), BYTES)

    def _rate(self, request: Request, name: str) -> Response:
        """The rate that this task may use: what it asks for, within the whole server's."""
        asked = _number(request, "ratelimit")
        allowed = min(asked, self._limit.rate) if self._limit.rate else asked
        return Response(200, str(allowed).encode(), BYTES)

    def _finish(self, request: Request) -> Response:
        name = request.query.get("taskFileName", "")
        if not valid_name(name):
            raise BadRequest(400, "no task file has such a name")
        self._home.touch(name, self.used)
        return Response(200, b"success", BYTES)

    def _piece(self, request: Request, name: str) -> Response | Parts:
        piece, size, start, end = self._asked(request)
        shared = self._shared(name)
        if shared is None:
            return text(500, f"failed to get taskPath: {name}")
        framed = request.headers.get("cdnsource", "").lower() != "source"
        frame = FRAME if framed else 0
        offset = start - frame * piece
        length = end - start + 1 - frame
        total = shared.length
        if total >= 0:
            # An empty file is one piece without content; otherwise a piece begins before the end.
            if offset > total or (offset == total and total > 0) or length < 0:
                return text(416, "range not satisfiable")
            length = min(length, total - offset)
        if offset < 0 or length < 0:
            return text(416, "range not satisfiable")
        try:
            here = shared.here(offset, length)
        except BadRange:
            return text(416, "range not satisfiable")
        if not here:
            return text(404, f"piece {piece} is not here")
        if self.used - shared.touched > TOUCH_SECONDS:
            shared.touched = self.used
            self._home.touch(name, self.used)
        content = FileSlice(shared.fd, offset, length, shared)
        try:
            parts = (frame_head(length, size), content, _TAIL) if framed else (content,)
        except BadFrame as error:
            raise BadRequest(400, str(error)) from None
        return Parts(206, parts)

    def _asked(self, request: Request) -> tuple[int, int, int, int]:
        """(pieceNum, pieceSize, start, end) of a request; raises BadRequest."""
        piece, size = _number(request, "piecenum"), _number(request, "piecesize")
        given = request.headers.get("range", "")
        if not given.startswith("bytes="):
            raise BadRequest(400, f"invalid range: {given[:60]}")
        try:
            start, end = parse_range(given[6:])
        except BadRange as error:
            raise BadRequest(400, str(error)) from None
        return piece, size, start, end

    def _shared(self, name: str) -> Shared | None:
        shared = self._open.get(name)
        if shared is None:
            shared = self._home.find(name)
            if shared is None:
                return None
            self._open[name] = shared
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)  # closes itself when nothing of it is being sent any more
        self._open.move_to_end(name)
        return shared

    def sweep(self) -> list[tuple[str, str, str]]:
        """Withdraw what expired; (node, task, CID) of each, for the supernodes."""
        gone = self._home.sweep(self._now())
        for entry in gone:
            self._open.pop(entry.name, None)
        return [(entry.node, entry.task, entry.cid) for entry in gone if entry.node]

    def served(self) -> list[tuple[str, str, str]]:
        """(node, task, CID) of every download that is shared."""
        entries = [self._home.entry(name) for name in self._home.names()]
        return [(entry.node, entry.task, entry.cid) for entry in entries if entry is not None and entry.node]


def _number(request: Request, name: str) -> int:
    value = request.headers.get(name, "")
    if not _NUMBER.fullmatch(value):
        raise BadRequest(400, f"header {name} is not a number: {value[:40]!r}")
    return int(value)
