"""The download port: serves framed bytes of the supernode's copies, also while they are being fetched."""

from __future__ import annotations

import email.utils
import os
from collections.abc import Callable, Iterator
from functools import partial

from dfengine._piece import Geometry, parse_range
from dfengine.copy_states import FAILED
from dfengine.errors import BadRange, OutOfResources, StorageError
from dfengine.net._sendfile import FileSlice
from dfengine.net.http import TEXT, BadRequest, Parts, Request, Response, text
from dfengine.storage.descriptors import OpenDescriptor
from dfengine.supernode.copies.cache import TASK_ID
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch

AT_ONCE = 64
"""Pieces per batch of slices: a large copy has a hundred thousand pieces."""


class DownloadRoutes:
    """Responses from the copies. `find` returns a task's fetch or None. damaged: called with pieces [first, past) that could not be read.

    requested: called with (task, piece, address, see Parts.started) before each response with one piece is sent.
    """

    def __init__(
        self, find: Callable[[str], Fetch | None], damaged: Callable[[Fetch, Copy, int, int], None],
        requested: Callable[[str, int, str, Callable[[], int]], None],
    ) -> None:
        self._find = find
        self._damaged = damaged
        self._requested = requested

    def __call__(self, request: Request) -> Response | Parts:
        """Return the response to a request. Raises BadRequest."""
        if request.path in ("/_ping", "/ping"):
            return Response(200, b"OK", TEXT)
        task = self._task_of(request.path)
        fetch = self._find(task) if task else None
        if fetch is None or fetch.file is None or fetch.state == FAILED:
            return text(404, "no such task")
        return self._bytes(fetch, request.headers.get("range", ""), request.client)

    def _task_of(self, path: str) -> str:
        """Return the task of `/download/<first 3>/<task>` or `/piece/<task>`, "" for any other path."""
        parts = path.split("/")
        if len(parts) == 4 and parts[1] == "download" and parts[2] == parts[3][:3]:
            task = parts[3]
        elif len(parts) == 3 and parts[1] == "piece":
            task = parts[2]
        else:
            return ""
        return task if TASK_ID.fullmatch(task) else ""

    def _bytes(self, fetch: Fetch, given: str, client: str) -> Response | Parts:
        file = fetch.file
        assert file is not None
        geometry = file.geometry
        if not given:
            if not (0 < geometry.count == file.available.count()):
                return text(404, "the copy is not complete yet: request the range of a piece")
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
            # While the length is unknown every piece in the copy is a full one, and a request must be for exactly one.
            return self._full_piece(fetch, start, end, client)
        end = min(end, total - 1)
        size = geometry.piece_size
        if not file.available.all_in_range(start // size, end // size + 1):
            return text(404, "the copy does not have these pieces yet")
        pieces = start // size, end // size + 1
        held = self._hold(fetch, file, *pieces)
        if held is None:
            return text(404, "the copy does not have these pieces any more")
        batches = _batches(geometry, held, start, end)
        headers = self._headers(fetch, held, f"bytes {start}-{end}/{total}" if given else "")
        return Parts(206 if given else 200, next(batches), headers, broken=partial(self._damaged, fetch, file, *pieces),
                     more=batches, length=end + 1 - start,
                     started=partial(self._requested, fetch.task, pieces[0], client) if pieces[1] - pieces[0] == 1 else None)

    def _full_piece(self, fetch: Fetch, start: int, end: int, client: str) -> Response | Parts:
        file = fetch.file
        assert file is not None
        geometry = file.geometry
        try:
            n = geometry.number(start, end)
        except BadRange as error:
            raise BadRequest(400, str(error)) from None
        if n >= len(file.available) or n not in file.available:
            return text(404, "the copy does not have this piece yet")
        if file.geometry.length >= 0:
            # The length became known in between, and this piece may be the last one, and short.
            return self._bytes(fetch, f"bytes={start}-{end}", client)
        offset, length = geometry.content(n)
        held = self._hold(fetch, file, n, n + 1)
        if held is None:
            return text(404, "the copy does not have this piece any more")
        return Parts(206, (geometry.head(n), FileSlice(held.fd, offset, length, held), b"\x7f"),
                     self._headers(fetch, held, f"bytes {start}-{end}/*"), broken=partial(self._damaged, fetch, file, n, n + 1),
                     started=partial(self._requested, fetch.task, n, client))

    def _hold(self, fetch: Fetch, file: Copy, first: int, past: int) -> OpenDescriptor | None:
        """Return the copy's descriptor; None when its file was removed. Raises BadRequest when it cannot be opened now."""
        try:
            return file.hold()
        except OutOfResources:
            raise BadRequest(503, "no descriptor is left for the file: try again later") from None
        except StorageError:
            self._damaged(fetch, file, first, past)
            return None

    def _headers(self, fetch: Fetch, held: OpenDescriptor, content_range: str) -> tuple[tuple[str, str], ...]:
        modified = email.utils.formatdate(os.fstat(held.fd).st_mtime, usegmt=True)
        headers = (("Last-Modified", modified), ("Accept-Ranges", "bytes"), ("ETag", f'"{fetch.description.generation}"'))
        return (*headers, ("Content-Range", content_range)) if content_range else headers


def _batches(geometry: Geometry, held: OpenDescriptor, start: int, end: int) -> Iterator[tuple[bytes | FileSlice, ...]]:
    """Yield framed bytes `start` to `end`, both included, in batches of up to AT_ONCE pieces; at least one batch."""
    step = AT_ONCE * geometry.piece_size
    while start <= end:
        last = min(end, (start // step + 1) * step - 1)
        yield tuple(part if isinstance(part, bytes) else FileSlice(held.fd, *part, held) for part in geometry.segments(start, last))
        start = last + 1
