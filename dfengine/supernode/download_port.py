"""The download port: framed bytes of the supernode's copies, while they are still being fetched."""

from __future__ import annotations

import email.utils
from collections.abc import Callable

from dfengine._piece import parse_range
from dfengine.errors import BadRange
from dfengine.net._sendfile import FileSlice
from dfengine.net.http import TEXT, BadRequest, Parts, Request, Response, text
from dfengine.supernode.cache import TASK_ID
from dfengine.supernode.fetch import FAILED, Fetch


class DownloadRoutes:
    """Answers for `find`, which gives a task's fetch or None."""

    def __init__(self, find: Callable[[str], Fetch | None]) -> None:
        self._find = find

    def __call__(self, request: Request) -> Response | Parts:
        """The answer to one request; raises BadRequest."""
        if request.path in ("/_ping", "/ping"):
            return Response(200, b"OK", TEXT)
        task = self._named(request.path)
        fetch = self._find(task) if task else None
        if fetch is None or fetch.file is None or fetch.state == FAILED:
            return text(404, "no such task here")
        return self._bytes(fetch, request.headers.get("range", ""))

    def _named(self, path: str) -> str:
        """The task of `/download/<first 3>/<task>` or `/piece/<task>`, empty for any other path."""
        parts = path.split("/")
        if len(parts) == 4 and parts[1] == "download" and parts[2] == parts[3][:3]:
            task = parts[3]
        elif len(parts) == 3 and parts[1] == "piece":
            task = parts[2]
        else:
            return ""
        return task if TASK_ID.fullmatch(task) else ""

    def _bytes(self, fetch: Fetch, given: str) -> Response | Parts:
        file = fetch.file
        assert file is not None
        geometry = file.geometry
        if not given:
            if not file.record.all_here():
                return text(404, "the file is not complete yet: ask for a piece's range")
            start, end = 0, geometry.framed_length - 1
        else:
            try:
                if not given.startswith("bytes="):
                    raise BadRange(f"invalid range: {given[:60]}")
                start, end = parse_range(given[6:])
            except BadRange as error:
                raise BadRequest(400, str(error)) from None
        total = geometry.framed_length
        if 0 <= total <= start:
            return Response(416, b"range not satisfiable\n", TEXT, (("Content-Range", f"bytes */{total}"),))
        if total < 0:
            # Until the origin has ended every piece that is here is a full one, and a request is for exactly one.
            return self._full_piece(fetch, start, end)
        end = min(end, total - 1)
        size = geometry.piece_size
        if not file.here.all_in_range(start // size, end // size + 1):
            return text(404, "these pieces are not here yet")
        parts = tuple(part if isinstance(part, bytes) else FileSlice(file.fd, *part, file) for part in geometry.segments(start, end))
        return Parts(206 if given else 200, parts, self._headers(fetch, f"bytes {start}-{end}/{total}" if given else ""))

    def _full_piece(self, fetch: Fetch, start: int, end: int) -> Response | Parts:
        file = fetch.file
        assert file is not None
        geometry = file.geometry
        try:
            n = geometry.number(start, end)
        except BadRange as error:
            raise BadRequest(400, str(error)) from None
        if n >= len(file.here) or n not in file.here:
            return text(404, "this piece is not here yet")
        if file.geometry.length >= 0:
            # It became known in between, and this piece may be the last, and short.
            return self._bytes(fetch, f"bytes={start}-{end}")
        fd, offset, length = file.locate(n)
        return Parts(206, (geometry.head(n), FileSlice(fd, offset, length, file), b"\x7f"), self._headers(fetch, f"bytes {start}-{end}/*"))

    def _headers(self, fetch: Fetch, content_range: str) -> tuple[tuple[str, str], ...]:
        modified = email.utils.formatdate(fetch.file.made, usegmt=True) if fetch.file is not None else ""
        headers = (("Last-Modified", modified), ("Accept-Ranges", "bytes"), ("ETag", f'"{fetch.description.generation}"'))
        return (*headers, ("Content-Range", content_range)) if content_range else headers
