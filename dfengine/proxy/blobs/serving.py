"""The response with a blob, or with ranges of it: sent in order from its file while its pieces are fetched.

The file's pages are sent by sendfile. Pages that are not in memory are first read by a thread.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from dfengine.net._sendfile import FileSlice, Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.proxy.blobs.blob import Reader
    from dfengine.proxy.front.client_connection import ClientConnection
    from dfengine.proxy.ranges import Span

STEP = 8 << 20
"""Bytes of one slice: each is checked for pages that are not in memory."""

TURN = 16 << 20
"""Bytes for one client before the others get a turn."""

WAIT_SECONDS = 60.0
"""Interval of checks whether the next piece can still arrive."""


class Serving:
    """spans: of the file, each after its head; heads[-1] ends the body. reader: of a blob that is being fetched; None: it is complete.

    owner: keeps `fd` open.
    """

    def __init__(
        self, client: ClientConnection, fd: int, owner: object, spans: list[Span], heads: list[bytes],
        reader: Callable[[Span, Callable[[], None]], Reader] | None,
    ) -> None:
        self._client = client
        self._fd = fd
        self._owner = owner
        self._spans = spans
        self._heads = heads
        self._open = reader
        self._reader: Reader | None = None
        self._index = 0
        self._at = spans[0][0] if spans else 0
        self._upload: Upload | None = None
        self._loading = self._over = False
        self._waiting = math.inf
        """When it began to wait for a piece (seconds of the loop's clock); infinite while it does not wait."""

    def start(self) -> Serving:
        """Start; the response's head is written already."""
        self._upload = Upload((self._client.take_unsent() + self._heads[0],))
        self._begin_span()
        self._pump()
        return self

    def _begin_span(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._index < len(self._spans):
            self._at = self._spans[self._index][0]
            if self._open is not None:
                self._reader = self._open(self._spans[self._index], self._pump)

    # Callbacks of the client's connection.

    def body(self, data: bytes) -> None: ...
    def complete(self) -> None: ...

    def pause(self, paused: bool) -> None:
        if not paused:
            self._pump()

    def gone(self) -> None:
        self._over = True
        if self._reader is not None:
            self._reader.close()
        self._upload = None

    def expired(self) -> None:
        # A client that does not read the available bytes is cut at once.
        left = 0.0
        if self._reader is not None and not self._over and self._waiting < math.inf:
            left = self._reader.blob.progress.remaining_seconds(self._waiting, self._clock())
        (self._client.set_deadline(min(WAIT_SECONDS, left)) if left > 0 else self._client.cut())

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()

    # Sending from the file.

    def _pump(self) -> None:
        """Send the bytes that can be sent."""
        if self._over or self._loading:
            return
        moved = 0
        try:
            while True:
                if self._upload is None and not self._next():
                    return
                upload = self._upload
                assert upload is not None
                count = upload.advance(self._client.fileno, STEP)
                moved += count
                if not upload.left:
                    self._upload = None
                elif upload.cold is not None:
                    self._load(upload, upload.cold)
                    return
                elif not count:
                    self._client.await_writable(self._pump)
                    return
                if moved >= TURN:
                    asyncio.get_running_loop().call_soon(self._pump)
                    return
        except (OSError, EOFError):
            # The client disconnected, or the file was truncated: the announced bytes cannot be sent.
            self._over = True
            self._client.cut()
        finally:
            if moved:
                self._client.extend_deadline()

    def _next(self) -> bool:
        """Make the next upload. False if it has to wait for a piece, or at the end of the response."""
        part = self._next_part()
        self._upload = Upload((part,)) if part is not None else None
        return part is not None

    def _next_part(self) -> bytes | FileSlice | None:
        """The next part to send. None if it has to wait for a piece, or at the end of the response."""
        while self._index < len(self._spans):
            past = self._spans[self._index][1]
            if self._at >= past:
                self._index += 1
                self._begin_span()
                if self._heads[self._index]:
                    return self._heads[self._index]
                continue
            length = past - self._at
            if self._reader is not None:
                length = min(length, self._reader.ready(self._at))
                if not length:
                    if self._reader.blob.failed:
                        self._over = True
                        self._client.cut()
                    elif self._waiting == math.inf:
                        self._waiting = self._clock()
                    return None
                self._waiting = math.inf
                self._fd = self._reader.fd
            length = min(length, STEP)
            part = FileSlice(self._fd, self._at, length, self._owner)
            self._at += length
            return part
        self._over = True
        if self._reader is not None:
            self._reader.close()
        self._ended()
        return None

    def _ended(self) -> None:
        """Finish, when all is sent."""
        self._client.response_sent()

    def _load(self, upload: Upload, cold: FileSlice) -> None:
        self._loading = True

        def loaded(_: object) -> None:
            self._loading = False
            if self._upload is upload:
                self._pump()

        asyncio.get_running_loop().run_in_executor(None, cold.load).add_done_callback(loaded)
