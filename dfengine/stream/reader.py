"""A stream for programs: a file-like reader and an asynchronous iterator, both over the same engine as `get -o -`."""

from __future__ import annotations

import io
import os
import threading

from dfengine.errors import LocalError
from dfengine.settings import GetSettings, Node
from dfengine.stream.streaming import Streaming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from typing import Any

    from dfengine.client.download import Result


def stream(url: str, *, nodes: Iterable[str] = (), **settings: Any) -> Reader:
    """Open `url` as a stream from the swarm of the supernodes `nodes` (HOST[:PORT][=WEIGHT]), or from its origin if there are none.

    Further settings are those of `dfengine.settings.GetSettings`, `window` (pieces), `window_bytes` and `cache` (bytes) among them.
    """
    return Reader(GetSettings(url=url, output="-", nodes=tuple(Node.parse(node) for node in nodes), **settings))


class Reader(io.RawIOBase):
    """Readable binary file, not seekable; `async for` gives one piece's content after the other. Use as a context, or `close` it.

    A reader that does not read stops the download at the end of its window. Reads raise subclasses of DfengineError; after the last
    byte the whole digest was compared, and `result` says how it went.
    """

    def __init__(self, settings: GetSettings) -> None:
        super().__init__()
        self.result: Result | None = None
        self._streaming = Streaming(settings)
        self._piece: tuple[int, int, int, int] | None = None
        self._failure: BaseException | None = None
        self._engine = threading.Thread(target=self._run, name="stream", daemon=True)
        self._engine.start()

    def _run(self) -> None:
        try:
            self.result = self._streaming.run()
        except BaseException as error:
            self._failure = error
            self._streaming.abandon(error)

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Some bytes, at most as many as `buffer` holds; 0 at the end. Waits for the next piece."""
        view = memoryview(buffer).cast("B")
        while len(view):
            if self._piece is None:
                self._piece = self._streaming.next()
                if self._piece is None:
                    self._finish()
                    return 0
            n, fd, offset, left = self._piece
            got = os.preadv(fd, [view[: min(left, len(view))]], offset) if left else 0
            if got < left:
                self._piece = n, fd, offset + got, left - got
            else:
                self._piece = None
                self._streaming.taken(n)
            if got:
                return got
        return 0

    def _finish(self) -> None:
        """All was read: the engine has its last words with the supernode, and the digest is compared."""
        self._engine.join()
        if self._failure is not None:
            raise self._failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The content of each piece, in order."""
        import asyncio

        while content := await asyncio.to_thread(self._next_piece):
            yield content

    def _next_piece(self) -> bytes:
        """What is left of the current piece, or the next one; b"" at the end."""
        parts = []
        step = bytearray(1 << 20)
        while True:
            got = self.readinto(step)
            parts.append(bytes(step[:got]))
            if not got or self._piece is None:
                return b"".join(parts)

    def close(self) -> None:
        """Release everything; what was not read is not fetched. Again: nothing."""
        if not self.closed:
            if self._engine.is_alive():
                self._streaming.stop(LocalError("the reader was closed"))
                self._engine.join()
            self._streaming.close()
        super().close()
