"""A stream for programs: a file-like reader and an asynchronous iterator, both with the same download as `get -o -`."""

from __future__ import annotations

import io
import os
import sys
import threading

from dfengine.client.cleanup import release
from dfengine.client.download_thread import DownloadThread
from dfengine.errors import Cancelled, DfengineError, LocalError, Unverified
from dfengine.settings import GetSettings
from dfengine.streaming.stream_download import StreamDownload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType
    from typing import Any

    from dfengine.client.monitor import Observer
    from dfengine.client.result import Result
    from dfengine.task import Digest


class Reader(io.RawIOBase):
    """Readable binary file, not seekable; `async for` yields the content of one piece after the other. Use it as a context, or `close` it.

    If the program does not read, the download stops at the end of its window. Reads raise subclasses of DfengineError. At the end of the
    file the given whole-file digests have been compared, `verified` is True if there are any, and `result` is the download's result.

    If a program closes the stream earlier, as an archive reader may do, and the rest of the file is within the window, `close` reads it and
    compares the digests, raising DigestMismatch if one differs; otherwise `close` raises Unverified. An exception that leaves the context
    releases everything at once; its notes state the digests that were not compared.

    Any thread may read: each read returns the bytes after those of the previous read. Reads of a closed stream raise ValueError.
    """

    verified = False
    """Whether the whole file was read and the given digests match."""

    def __init__(self, settings: GetSettings, observer: Observer | None = None) -> None:
        super().__init__()
        self._pid = os.getpid()
        self._delivered = 0
        """Bytes that the consumer has read."""
        self._given_digests: list[Digest] = []
        self._reading = self._finished = False
        self._turn = threading.RLock()
        """Held by the running read. Descriptors are closed under it as well: their numbers may be reused for other files."""
        self._download_thread: DownloadThread | None = None
        self._streaming = StreamDownload(settings, observer)
        self._given_digests = settings.given
        self._piece: tuple[int, int, int, int] | None = None
        self._download_thread = DownloadThread(self._streaming, "stream")
        self._download_thread.start()

    @property
    def result(self) -> Result | None:
        """The download's result, after the whole file was read; None before."""
        return self._download_thread.result if self._download_thread is not None else None

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read some bytes, at most as many as fit in `buffer`, and return their number; 0 at the end. Waits for the next piece."""
        view = memoryview(buffer).cast("B")
        if self._in_forked_child:
            raise LocalError("the stream belongs to the process that this one was forked from: begin another")
        with self._turn:
            self._check_open()
            self._reading = True
            try:
                return self._read(view)
            except DfengineError:
                self._finished = True
                raise
            finally:
                self._reading = False

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed stream")

    def _read(self, view: memoryview) -> int:
        while len(view):
            if self._piece is None:
                self._piece = self._streaming.next()
                if self._piece is None:
                    self._finish()
                    return 0
            n, fd, offset, left = self._piece
            try:
                got = os.preadv(fd, [view[: min(left, len(view))]], offset) if left else 0
            finally:
                self._check_open()  # a signal handler, which runs in this same thread, may have closed the stream
            if got < left:
                self._piece = n, fd, offset + got, left - got
            else:
                self._piece = None
                self._streaming.consumed(n)
            if got:
                self._delivered += got
                return got
        return 0

    def _finish(self) -> None:
        """Wait, after the whole file was read, for the download thread to send its last reports and compare the digest."""
        assert self._download_thread is not None
        self._download_thread.join()
        self._finished = True
        if self._download_thread.failure is not None:
            raise self._download_thread.failure
        self.verified = bool(self._streaming.memory.expected)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The content of each piece, in order."""
        import asyncio

        while content := await asyncio.to_thread(self.next_piece):
            yield content

    def next_piece(self) -> bytes:
        """Return the rest of the current piece, or the next one; b"" at the end."""
        parts = []
        step = bytearray(1 << 20)
        with self._turn:
            while True:
                got = self.readinto(step)
                parts.append(bytes(step[:got]))
                if not got or self._piece is None:
                    return b"".join(parts)

    @property
    def _unproven(self) -> str:
        """Describe bytes that were read without a comparison of digests, "" for none. A read that another thread stops raises by itself."""
        if not self._delivered or self._finished or self._reading or not self._given_digests:
            return ""
        digests = " and ".join(map(str, self._given_digests))
        return f"{self._delivered} bytes were read, and {digests} is of the whole file: it was not compared"

    def close(self) -> None:
        """Release everything, after comparing the given digests. A second call has no effect.

        Waits for the rest of the file, at most a window, only if digests were given and some bytes were read. Raises DigestMismatch,
        Unverified, and the error that ended the stream.
        """
        if self.closed:
            return
        try:
            if not self._in_forked_child and self._unproven:
                self._drain()
        finally:
            self._release()

    def _drain(self) -> None:
        """Read the rest of the file for the digest. Raises Unverified if the rest is longer than the window."""
        with self._turn:
            left, most = self._streaming.ahead
            for _ in range(most + 1 if left <= most else 0):
                piece, self._piece = self._piece or self._streaming.next(), None
                if piece is None:
                    return self._finish()
                self._streaming.consumed(piece[0])
        raise Unverified(f"{self._unproven}; read to the end of the file, or leave the digest out")

    def cancel(self) -> None:
        """End the stream soon; may be called from any thread. Reads, also a waiting one, raise Cancelled; no digest is compared."""
        self.stop(Cancelled("the stream was cancelled"))

    def stop(self, error: BaseException) -> None:
        """Like `cancel`, with another error."""
        if self._download_thread is not None and self._download_thread.is_alive() and not self._in_forked_child:
            self._streaming.stop(error)

    def _release(self) -> None:
        if self._download_thread is None or self.closed or self._in_forked_child:
            super().close()
        else:
            release(self._end, self._close_thread)

    def _end(self) -> None:
        """Make waiting reads of other threads raise."""
        assert self._download_thread is not None
        if not self._download_thread.over:
            self._streaming.stop(LocalError("the reader was closed"))

    def _close_thread(self) -> None:
        assert self._download_thread is not None
        with self._turn:
            release(self._download_thread.close, super().close)

    @property
    def _in_forked_child(self) -> bool:
        """Whether this process was forked after the stream began: the stream belongs to its parent."""
        return self._pid != os.getpid()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the stream; see the class for exceptions."""
        if error is None:
            self.close()
            return
        if self._unproven and not self.closed:
            error.add_note(f"dfengine: {self._unproven}")
        self._release()

    def __del__(self) -> None:
        if not self.closed and not sys.is_finalizing():  # at the interpreter's end modules cannot be imported
            if self._unproven and not self._in_forked_child:
                import warnings

                warnings.warn(f"a stream was not closed: {self._unproven}", ResourceWarning, source=self, stacklevel=2)
            self._release()
