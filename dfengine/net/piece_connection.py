"""One connection of a piece server.

Laws:
* One answer at a time, in the order of the requests. Further requests wait, and beyond BACKLOG bytes the socket is not read.
* Work for which the loop has no time waits for the client's next turn (`fair_queue`). The next request of a pipeline always does.
* The bytes buffered for a client are counted; a connection that makes them exceed the client's share is closed.
* A connection is always in one of three phases, each with a deadline: a head is received (head_seconds from its first byte), an answer is
  sent (stall_seconds since the last byte moved, a limit last throttled it, or a read from the disk began), idle (idle_seconds). A slow
  reader leaves the socket full for longer than that: MIN_ACKNOWLEDGED bytes that it acknowledges meanwhile begin the time again.
* A limit refuses before bytes move, never after: the bucket determines how much the next sendfile may send.
* `close` releases everything at once, in any phase: descriptors, the answer's files, its place in a queue.

sendfile would block the loop for a page that is not in memory: such a slice is first read by a thread, and only its connection waits.
"""

from __future__ import annotations

import contextlib
import errno
import math
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from dfengine.net._sendfile import FileSlice, Upload
from dfengine.net.http import BYTES, BadRequest, Parts, Request, RequestReader, Response, head, text
from dfengine.net.listener import NOTSENT_LOWAT
from dfengine.net.rate_queue import RateQueue
from dfengine.net.token_bucket import TokenBucket
from dfengine.net.unacknowledged_bytes import MIN_ACKNOWLEDGED, unacknowledged_bytes

if TYPE_CHECKING:
    from dfengine.net.piece_server import PieceServer
    from dfengine.net.tls_upload import TlsSocket, TlsUpload

READ = 32 << 10
BACKLOG = 4 << 10
"""Bytes of waiting requests beyond which the socket is not read."""

TURN = 32 << 20
"""Maximum number of bytes that one call sends, for receivers as fast as sendfile; no piece is larger."""


class PieceConnection:
    """Connection of one client, created when it is accepted; the server forgets it when it closes."""

    __slots__ = (
        "_answer", "_at", "_backlog", "_bytes_sent", "_close", "_held", "_joined", "_more", "_queued", "_queued_until",
        "_reader", "_reading", "_server", "_sock", "_stalled", "_started", "_unsent", "_upload", "_waiting", "_writing",
        "client", "deadline",
    )  # fmt: skip

    def __init__(self, server: PieceServer, sock: socket.socket | TlsSocket, client: str) -> None:
        self._server = server
        self._sock = sock
        self.client = client
        # None until the first byte: ten thousand silent connections must cost little.
        self._reader: RequestReader | None = None
        self._waiting: deque[Request | BadRequest] | None = None
        """Complete requests: rarely more than the one that is answered next."""
        self._backlog = b""
        self._at = 0
        """Start of the received bytes that are not parsed yet: `_backlog` from `_at` on."""
        self._upload: Upload | TlsUpload | None = None
        self._answer: Parts | None = None
        self._more: Iterator[tuple[bytes | FileSlice, ...]] | None = None
        """The parts of the answer after `_upload`."""
        self._reading = self._writing = self._close = self._joined = self._started = self._stalled = False
        self._held = self._unsent = self._bytes_sent = self._queued = 0
        self._queued_until = 0.0
        """The deadline for which `_queued` was read."""
        self.deadline = time.monotonic() + server.head_seconds
        self._read(True)

    @property
    def sending(self) -> bool:
        """Whether an answer is being sent."""
        return self._upload is not None

    @property
    def idle(self) -> bool:
        """Whether no request and no answer of the connection is in progress."""
        return not (self._upload or self._waiting or self._backlog or self._started or self._joined)

    @property
    def is_new(self) -> bool:
        """Whether nothing was received: the first request may be under way."""
        return self._reader is None

    def _read(self, wanted: bool) -> None:
        if wanted != self._reading:
            self._reading = wanted
            loop = self._server.loop
            (loop.add_reader(self._sock, self._readable) if wanted else loop.remove_reader(self._sock))

    def _write(self, wanted: bool) -> None:
        if wanted != self._writing:
            self._writing = wanted
            loop = self._server.loop
            (loop.add_writer(self._sock, self._writable) if wanted else loop.remove_writer(self._sock))

    # The loop calls these two whenever there is data to read or room to write; a connection that must wait for its turn joins once.

    def _readable(self) -> None:
        if not self._at_once(self._receive):
            self._read(False)

    def _writable(self) -> None:
        if not self._at_once(self._continue):
            self._write(False)
            self._stalled = True

    def _at_once(self, act: Callable[[], None]) -> bool:
        turns = self._server.turns
        if not turns.open:
            self._join()
            return False
        started = time.monotonic()
        act()
        turns.spent(time.monotonic() - started)
        return True

    def _join(self) -> None:
        if not self._joined:
            self._joined = True
            self._server.turns.join(self)

    def handle_next(self) -> None:
        self._joined = False
        stalled, self._stalled = self._stalled, False
        if self._sock.fileno() < 0:
            return
        # An answer that waits for a limit or for the disk is continued by the limit's queue or the disk's thread only.
        if stalled or (self._upload is None and (self._waiting or self._backlog)):
            self._continue()
        else:
            self._receive()

    def _receive(self) -> None:
        """Read the socket, and begin an answer unless one is being sent."""
        if len(self._backlog) >= BACKLOG:
            return
        try:
            data = self._sock.recv(READ)
        except (BlockingIOError, InterruptedError):
            self._read(True)
            return
        except OSError as error:
            if reason := getattr(error, "reason", ""):  # an SSLError
                self._server.events.warning("tls_refused", client=self.client, reason=str(reason))
            data = b""
        if not data:
            self.close()
            return
        self._backlog = self._backlog[self._at :] + data if self._backlog else data
        self._at = 0
        self._read(len(self._backlog) < BACKLOG)
        if self._upload is None:
            self._begin_next()
        self._count_buffered()

    def _begin_next(self) -> None:
        """Begin the next answer; wait for more bytes if no request is complete."""
        if self._reader is None or self._waiting is None:
            self._waiting = deque()
            self._reader = RequestReader(self.client, self._waiting.append, max_body=0)
        while self._backlog and not self._waiting:
            data, at = self._backlog, self._at
            end = self._reader.extent(data, at)
            try:
                self._reader.feed(data[at:end])
            except BadRequest as error:
                self._waiting.append(error)
                end = len(data)
            self._backlog, self._at = (data, end) if end < len(data) else (b"", 0)
        if self._waiting:
            self._started = False
            self._begin(self._waiting.popleft())
            self._continue_answer(None)
        else:
            self._idle()

    def _continue(self) -> None:
        """Continue the answer being sent, or begin the next; called when the socket may be ready."""
        if self._sock.fileno() < 0:
            return
        if self._upload is None:
            self._begin_next()
        else:
            self._continue_answer(None)

    def resume(self, rate_queue: RateQueue) -> None:
        """Take the turn that the rate limit's queue assigns to this connection."""
        if self._upload is not None:
            self._continue_answer(rate_queue.bucket)

    def _continue_answer(self, turn: TokenBucket | None) -> None:
        if self._push(turn):
            if self._close:
                self.close()
            elif self._waiting or self._backlog:
                # The next request waits for its turn, so that one client's pipeline does not block other clients.
                self._join()
            else:
                self._idle()

    def _idle(self) -> None:
        started = self._reader is not None and self._reader.started
        if not started or not self._started:  # else the deadline set at the first byte remains
            self.deadline = time.monotonic() + (self._server.head_seconds if started else self._server.idle_seconds)
        self._started = started
        self._read(True)
        self._count_buffered()

    def _count_buffered(self) -> None:
        """Count the bytes buffered for this client; disconnect a client that exceeds its share."""
        held = len(self._backlog) + (self._reader.buffered if self._reader is not None else 0)
        if held != self._held:
            self._held = self._server.memory.replace(self.client, self._held, held)
            if held and not self._held:
                self.close()

    def _begin(self, request: Request | BadRequest) -> None:
        if isinstance(request, BadRequest):
            # The start of the next request is unknown.
            self._close = True
            self._upload = self._server.upload(self._sock, (text(request.status, request.reason).encode(False),))
            return
        self._close = not request.keep_alive
        unsent = self._server.unsent(self.client)
        if unsent != self._unsent:
            self._unsent = unsent
            self._sock.setsockopt(socket.IPPROTO_TCP, NOTSENT_LOWAT, unsent)  # 0: the system's default
        answer = self._server.answer(request)
        bodiless = request.method == "HEAD"
        if isinstance(answer, Response):
            self._upload = self._server.upload(self._sock, (answer.encode(not self._close, bodiless),))
            return
        first = head(answer.status, BYTES, answer.length, answer.headers, not self._close)
        parts = () if bodiless else answer.parts
        if parts and isinstance(parts[0], bytes):
            first, parts = first + parts[0], parts[1:]  # one system call for both heads
        self._upload = self._server.upload(self._sock, (first, *parts))
        self._answer = answer
        self._more = None if bodiless else iter(answer.more)
        if answer.started is not None and not bodiless:
            answer.started(self.acknowledged_bytes)

    def acknowledged_bytes(self) -> int:
        """Bytes that the client has acknowledged on this connection; -1 while this side holds back the rest of an answer."""
        if self._sock.fileno() < 0:
            return 0
        queued = unacknowledged_bytes(self._sock.fileno())
        return -1 if self._upload is not None and not queued else self._bytes_sent - queued

    def is_expired(self, now: float) -> bool:
        """Whether the deadline is over, and the client has acknowledged less than MIN_ACKNOWLEDGED bytes since the first call for it."""
        if now <= self.deadline:
            if self._upload is not None and self._queued_until != self.deadline:
                self._queued, self._queued_until = unacknowledged_bytes(self._sock.fileno()), self.deadline
            return False
        if self._upload is None or self._queued_until != self.deadline:
            return True
        before, self._queued = self._queued, unacknowledged_bytes(self._sock.fileno())
        self.deadline = self._queued_until = now + self._server.stall_seconds
        return before - self._queued < MIN_ACKNOWLEDGED

    def _load(self) -> None:
        """Read the slice that is not in memory in a thread, then continue."""
        self._server.loads += 1
        self._write(False)
        self.deadline = math.inf  # its turn does not depend on the client
        self._server.cold_slices.join(self)

    def begin_load(self) -> Callable[[], None]:
        """See cold_slices."""
        assert self._upload is not None
        upload, cold = self._upload, self._upload.cold
        self.deadline = time.monotonic() + self._server.stall_seconds

        def load() -> None:
            if cold is not None and self._upload is upload:  # else the client disconnected before the thread began
                cold.load()

        return load

    def loaded(self) -> None:
        """See cold_slices."""
        if self._upload is not None:
            self._continue_answer(None)

    def _limits(self) -> list[TokenBucket]:
        """The buckets that apply to the answer being sent."""
        of_answer = self._answer.limit if self._answer is not None else None
        return [bucket for bucket in (self._server.limit, of_answer) if bucket is not None and bucket.rate]

    def _allowed(self, want: int, limits: list[TokenBucket], now: float, turn: TokenBucket | None) -> int:
        """Acquire bytes of `want` that all `limits` allow. 0: this connection then waits in the queue of the limit that refuses."""
        granted = want
        for n, bucket in enumerate(limits):
            queue = self._server.rate_queue(bucket)
            got = bucket.acquire(granted, now) if queue is None or bucket is turn else 0
            for earlier in limits[:n]:
                earlier.release(granted - got)
            if not got:
                self._server.throttle(self, bucket, granted, first=bucket is turn)
                return 0
            granted = got
        return granted

    def _push(self, turn: TokenBucket | None) -> bool:
        """Send as much as the socket accepts and the limits allow; True when the answer is complete and the connection is open."""
        upload, server = self._upload, self._server
        assert upload is not None
        limits = self._limits()
        while True:
            now = time.monotonic()
            want = min(upload.left, TURN)
            allowed = self._allowed(want, limits, now, turn) if limits else want
            if not allowed:
                # The connection resumes when the limit allows, independent of the socket's state and of how long that takes.
                self._write(False)
                self.deadline = math.inf
                return False
            before = upload.sends, upload.sendfiles
            try:
                moved = upload.advance(self._sock.fileno(), allowed)
            except (OSError, EOFError) as error:
                # The client has disconnected, or the file was truncated: the announced bytes cannot be sent.
                answer = self._answer
                self.close()
                if answer is not None and answer.broken is not None and (isinstance(error, EOFError) or error.errno == errno.EIO):
                    answer.broken()
                return False
            finally:
                server.sends += upload.sends - before[0]
                server.sendfiles += upload.sendfiles - before[1]
            server.bytes_sent += moved
            self._bytes_sent += moved
            if moved < allowed:
                for bucket in limits:
                    bucket.release(allowed - moved)
            if moved or self.deadline == math.inf:
                self.deadline = now + server.stall_seconds
            if not upload.left:
                parts = next(self._more, None) if self._more is not None else None
                if parts is None:
                    break
                self._upload = server.upload(self._sock, parts)
                self._write(True)
                return False
            if upload.cold is not None:
                self._load()
                return False
            if moved < allowed or allowed == want:
                self._write(True)
                return False
            turn = None  # a limit granted less than wanted: join the end of its queue
        self._write(False)
        answer, self._upload, self._answer, self._more = self._answer, None, None, None
        if answer is not None and answer.sent is not None:
            answer.sent(answer.length)
        return True

    def close(self) -> None:
        """Release everything; an answer in progress is aborted."""
        if self._sock.fileno() < 0:
            return
        self._read(False)
        self._write(False)
        if self._reader is not None:
            self._reader.close()
        self._upload = self._answer = self._more = self._reader = self._waiting = None
        self._backlog = b""
        self._server.memory.release(self.client, self._held)
        self._held = 0
        if self._close:
            # Closing with unread bytes in the socket would reset the connection, and the client could lose the answer.
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
                for _ in range(8):
                    if not self._sock.recv(READ):
                        break
        self._sock.close()
        self._server.forget(self)
