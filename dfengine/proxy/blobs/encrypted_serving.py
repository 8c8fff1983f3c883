"""The response with a file over an encrypted connection: read in parts, as fast as TLS accepts them."""

from __future__ import annotations

import asyncio
from typing import Self

from dfengine.net._sendfile import FileSlice
from dfengine.proxy.blobs.serving import Serving

CHUNK = 256 << 10
"""Bytes that are read and encrypted at once."""

TURN = 2 << 20
"""Bytes for one client before the others get a turn: encryption occupies the loop's thread."""


class EncryptedServing(Serving):
    """See Serving."""

    _part: bytes | FileSlice | None = None
    _done = 0
    """Bytes of the part that were passed to TLS."""
    _warm = _paused = False

    def start(self) -> Self:
        if self._heads[0]:
            self._client.write(self._heads[0])
        self._begin_span()
        self._pump()
        return self

    def pause(self, paused: bool) -> None:
        self._paused = paused
        super().pause(paused)

    def _pump(self) -> None:
        moved = 0
        try:
            while not (self._over or self._loading or self._paused):
                if self._part is None:
                    self._part, self._done, self._warm = self._next_part(), 0, False
                part = self._part
                if part is None:
                    return
                if isinstance(part, bytes):
                    self._give(part)
                    self._part = None
                    continue
                if not (self._warm or part.resident()):
                    self._read(part)
                    return
                count = min(CHUNK, part.length - self._done)
                self._give(part.read(self._done, count))
                self._done += count
                moved += count
                if self._done == part.length:
                    self._part = None
                if moved >= TURN:
                    asyncio.get_running_loop().call_soon(self._pump)
                    return
        except (OSError, EOFError):
            self._over = True
            self._client.cut()

    def _give(self, data: bytes) -> None:
        self._client.write(data)
        self._client.flush()

    def _read(self, part: FileSlice) -> None:
        """Read the part from the disk, in a thread."""
        self._loading = True

        def loaded(_: object) -> None:
            self._loading, self._warm = False, True
            self._pump()

        asyncio.get_running_loop().run_in_executor(None, part.load).add_done_callback(loaded)

    def _ended(self) -> None:
        self._client.end()
