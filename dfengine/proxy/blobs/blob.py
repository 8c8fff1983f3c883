"""One blob that is fetched through the swarm: its download, and the readers that wait for its pieces.

    the download's threads   register, fetch, verify and write pieces, and hash the file behind them
    the event loop         requests the pieces that responses need, is notified when one is written, and sends from the file

Law: a reader of a whole blob is not sent its last byte, or any byte of a small blob, before its SHA-256 is compared. A range needs only
its own pieces. A range that reaches the blob's end waits for the SHA-256 if all pieces are on disk. All stop if the SHA-256 is found to
be wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from functools import partial
from typing import TYPE_CHECKING

from dfengine.client.download_thread import DownloadThread
from dfengine.errors import DfengineError, DigestMismatch, LocalError, OriginChanged
from dfengine.files.fetching import OpenFileDownload
from dfengine.files.open_file_storage import DISK
from dfengine.proxy.upstream.timeouts import Progress
from dfengine.proxy.upstream.withheld_tail import MIN_WITHHELD

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from dfengine.client.on_demand import Ticket, TransferOnDemand
    from dfengine.client.result import Result
    from dfengine.proxy.blobs.blob_store import State
    from dfengine.settings import GetSettings
    from dfengine.storage.piece_file import PieceFile

OPEN_SECONDS = 30.0
"""Time to learn a blob's length; then the request that waits for it is passed on, and the download continues."""

WINDOW = 128 << 20
"""Bytes that are requested ahead of a response."""

IN_ORDER = 2
"""Pieces of a window that are requested in order. In a swarm the others are requested at random, so that hosts have different ones."""


class _BlobFetching(OpenFileDownload):
    """on_finished: called in the download thread when the download has ended. verify: see Blob."""

    def __init__(self, settings: GetSettings, on_finished: Callable[[], object], verify: Callable[[int], str] | None) -> None:
        super().__init__(settings, DISK)
        self._on_finished = on_finished
        self._verify_file = verify
        self.final_result: Result | None = None
        self.sha256 = settings.digest.hex if settings.digest is not None else ""

    def run(self) -> Result:
        try:
            result = self.final_result = super().run()
            if self._verify_file is not None:
                self._run_verify(self._verify_file)
            return result
        finally:
            self._on_finished()

    def _run_verify(self, verify: Callable[[int], str]) -> None:
        transfer = self.place.transfer
        assert transfer is not None
        try:
            self.sha256 = verify(transfer.file.fd)
        except DfengineError as error:
            self.failure = error
            raise


class Blob:
    """On the loop's thread. on_finished: called when it has ended. settings: including the expected digest.

    verify: for a blob without a digest that dfengine supports: verifies the file behind a descriptor, in the download thread, and returns
    its SHA-256 in hex. Raises subclasses of DfengineError. by_digest: a digest names the blob; otherwise a version does, see `bind`.
    server_url: of the server that is asked for it; a swarm may have its bytes from another one.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, threads: Executor, settings: GetSettings, on_finished: Callable[[Blob], None],
        verify: Callable[[int], str] | None = None, by_digest: bool = True, server_url: str = "",
    ) -> None:
        """Raises BadValue."""
        self.loop = loop
        self.by_digest = by_digest
        self.server_url = server_url
        self._version = b""
        self.swarm = bool(settings.nodes)
        self._threads = threads
        self._on_finished = on_finished
        self._fetching = _BlobFetching(settings, lambda: loop.call_soon_threadsafe(self._ended), verify)
        self._download_thread = DownloadThread(self._fetching, "blob")
        self._transfer: TransferOnDemand | None = None
        self._opening: asyncio.Task[None] | None = None
        self._requests = 0
        """Number of requests that wait for its length."""
        self.closed = False
        """Whether it was closed, since it has no use any more."""
        self.verified = False
        """Whether it is complete and its digest was verified."""
        self.corrupt = False
        """Whether its digest is wrong."""
        self.state: State | None = None
        """State of its file at the time of verification."""
        self.finished = False
        """Whether the download has ended."""
        self.readers: set[Reader] = set()
        self.idle_since = loop.time()
        self.progress = Progress(self.idle_since)
        self._download_thread.start()

    async def opened(self) -> PieceFile:
        """The file, once its length is known. Raises the download's error, a subclass of DfengineError."""
        if self._opening is None:
            self._opening = self.loop.create_task(self._await_open())
        self._requests += 1
        try:
            await asyncio.shield(self._opening)
        finally:
            self._requests -= 1
        self.idle_since = self.loop.time()
        if self._transfer is None or self.closed:
            self._opening = None
            raise self.failure
        if self.finished and not self.verified:  # the download has failed since
            raise self.failure
        return self._transfer.file

    @property
    def idle(self) -> bool:
        """Whether it has no reader, and no request waits for its length."""
        return not self.readers and not self._requests

    async def _await_open(self) -> None:
        """Wait for the length, in no thread: any number of blobs may wait for servers that do not respond."""
        place = self._fetching.place
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_SECONDS):
                while self._find_transfer() is None and not place.await_end(0.0):
                    opened = asyncio.Event()
                    place.when_opened(partial(self._call_on_loop, opened.set))
                    await opened.wait()

    def _find_transfer(self) -> TransferOnDemand | None:
        self._transfer = self._transfer or self._fetching.place.await_open(0.0)
        return self._transfer

    def _call_on_loop(self, call: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(call)

    def check_progress(self) -> None:
        """Call every second while it has readers: record the progress."""
        if self._transfer is not None:
            received = sum(self._fetching.monitor.counters()[1:]) + self._transfer.file.available.count()
            self.progress.update(received, self.loop.time())

    @property
    def failure(self) -> DfengineError:
        """The reason for which the download has ended."""
        found = self._fetching.failure
        if isinstance(found, DfengineError):
            return found
        if self.version_changed:
            return OriginChanged("the file is another version now")
        return LocalError(f"the blob cannot be read: {found!r}" if found else "it was not opened in time")

    @property
    def missing_bytes(self) -> int:
        """Bytes that are missing, as far as the length is known."""
        if self._transfer is None or self.finished:
            return 0
        file = self._transfer.file
        return max(0, file.geometry.length - file.available.count() * file.geometry.content_size)

    def bind(self, version: bytes) -> bool:
        """Bind an open blob to a version. Returns whether its bytes are of this version; later bytes of another one make it fail."""
        self._version = version
        return not self.version_changed

    @property
    def bound(self) -> bool:
        """Whether it was bound to a version, and is of that version."""
        return bool(self._version) and not self.version_changed

    @property
    def version_changed(self) -> bool:
        """Whether its bytes may be of another version than the one that it was bound to."""
        # The record's version is reset before any byte of another version is written.
        return bool(self._version) and (self._transfer is None or self._transfer.file.record.generation != self._version)

    @property
    def failed(self) -> bool:
        return (self.finished and not self.verified) or self.version_changed

    @property
    def byte_counts(self) -> dict[str, int | float]:
        """Seconds, and bytes by source, of a verified blob."""
        result = self._fetching.final_result
        if result is None:
            return {}
        return {"seconds": result.seconds, "from_peers": result.from_peers, "from_supernode": result.from_supernode,
                "from_origin": result.from_origin, "from_host": result.from_host, "resumed": result.resumed, "hedged": result.hedged}

    @property
    def sha256(self) -> str:
        """SHA-256 in hex of a verified blob."""
        return self._fetching.sha256

    @property
    def file(self) -> PieceFile:
        """The file of an opened blob."""
        assert self._transfer is not None
        return self._transfer.file

    @property
    def path_and_fd(self) -> tuple[str, int]:
        """Path and descriptor of the file, when it is complete."""
        assert self._transfer is not None
        return self._fetching.place.path, self._transfer.file.fd

    def _ended(self) -> None:
        self.finished = True
        self.verified = self._fetching.failure is None
        self.corrupt = isinstance(self._fetching.failure, DigestMismatch)
        if self.verified:
            self._find_transfer()
            self.verified = not self.version_changed
        self._on_finished(self)
        for reader in list(self.readers):
            reader.wake()

    def request(self, pieces: list[int], on_written: Callable[[], None]) -> Ticket:
        """Have pieces fetched. on_written: called in any thread when one of them is written."""
        assert self._transfer is not None
        return self._transfer.request(pieces, on_written)

    def withdraw(self, ticket: Ticket) -> None:
        """Stop waiting for the pieces of a ticket."""
        assert self._transfer is not None
        self._transfer.withdraw(ticket)

    def close(self) -> asyncio.Future[None] | None:
        """Close a blob without readers."""
        if self.closed:
            return None
        self.closed = True
        if not self.finished:
            self._fetching.stop(LocalError("the blob is not needed any more"))
        self._fetching.place.end()
        return self.loop.run_in_executor(self._threads, self._download_thread.close)


class Reader:
    """Requests the pieces of [start, past) of a blob ahead of a response, and wakes it when they are written. Must be closed."""

    def __init__(self, blob: Blob, file: PieceFile, span: tuple[int, int], on_written: Callable[[], None]) -> None:
        start, past = span
        self.blob = blob
        self._last = past == file.geometry.length
        self._whole = start == 0 and self._last
        self._file = file
        self._past = past
        self._on_written = on_written
        self._ticket: Ticket | None = None
        self._asked = -1
        """The piece after the requested ones."""
        self._woken = False
        self.fd = file.fd
        """Descriptor for the bytes that `ready` returned last: the file may move to another path of this host."""
        blob.readers.add(self)

    def ready(self, at: int) -> int:
        """Number of bytes from `at` on that may be sent now. If 0, their pieces are requested, and the response is woken later."""
        file, geometry = self._file, self._file.geometry
        n = geometry.covering(at, 1)[0]
        last = geometry.covering(self._past - 1, 1)[0]
        self._ask(n, last)
        (self.fd, here), end = file.snapshot(), n
        missing = here.first_clear(n)
        end = last + 1 if missing < 0 or missing > last else missing
        if end == n or self.blob.version_changed or self.blob.corrupt:
            return 0
        reach = min(self._past, sum(geometry.content(end - 1)))
        compared = self.blob.verified or not self.blob.by_digest
        if self._last and reach == self._past and not compared and (self._whole or here.count() == geometry.count):
            reach = reach - 1 if self._past > MIN_WITHHELD or not self._whole else at
        return max(0, reach - at)

    def _ask(self, n: int, last: int) -> None:
        window = max(4, WINDOW // self._file.geometry.content_size)
        if self.blob.finished or (self._asked > last) or (self._ticket is not None and self._asked - n > window // 2):
            return
        self._withdraw()
        past = min(last + 1, n + window)
        here = self._file.available
        wanted = [piece for piece in range(n, past) if piece not in here]
        others = wanted[IN_ORDER:]
        if self.blob.swarm:
            random.shuffle(others)
        self._asked = past
        # Pieces on disk may have to be fetched too, if the file moves to another path.
        pieces = [*wanted[:IN_ORDER], *others, *(piece for piece in range(n, past) if piece in here)]
        self._ticket = self.blob.request(pieces, self._piece_written)

    def _piece_written(self) -> None:
        """In any thread."""
        if not self._woken:
            self._woken = True
            self.blob.loop.call_soon_threadsafe(self.wake)

    def wake(self) -> None:
        """Notify the response of a change."""
        self._woken = False
        self._on_written()

    def _withdraw(self) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self.blob.withdraw(ticket)

    def close(self) -> None:
        """Withdraw all requests for pieces."""
        self._on_written = lambda: None
        self._withdraw()
        self.blob.readers.discard(self)
        self.blob.idle_since = self.blob.loop.time()
