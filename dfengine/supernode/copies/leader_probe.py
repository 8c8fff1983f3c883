"""Measures whether the origin sends to this supernode faster than to the leader of a task: a thread that reads one piece, once.

The leader names a piece that it will read late, and reports its bytes read from the origin before and after. The piece is kept.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from dfengine import wire
from dfengine.errors import DfengineError, ProtocolViolation
from dfengine.net.http_client import JSON_HEADERS, Connection
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.origin_progress_messages import Reading, ReadingRequest, decode_answer
from dfengine.supernode.copies.origin_reading import close_cancel, read_piece
from dfengine.supernode.copies.slow_leader import MIN_SPAN

MAX_SECONDS = 10.0
"""Maximum seconds to read the piece."""

ANSWER = 5.0
"""Seconds to wait for the leader's report on its reading."""


class LeaderProbe:
    """One measurement, started at once; `close` it before the fetch sends other requests to its origin. connect: to the leader's control
    port. task, cid: this follower's at the leader. wait: seconds for which no other follower should probe."""

    def __init__(self, fetch: Fetch, file: Copy, connect: Callable[[], Connection], task: str, cid: str, wait: float) -> None:
        self._fetch, self._file, self._connect, self._task, self._cid, self._wait = fetch, file, connect, task, cid, wait
        self.rates: tuple[float, float] | None = None
        """Bytes per second from the origin to this supernode, and to the leader; None: the measurement failed."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
        self._started = False
        with contextlib.suppress(RuntimeError):  # no thread can be started: the measurement has failed
            self._thread.start()
            self._started = True

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop the measurement."""
        self._closing.set()
        with self._fetch.changed:
            if self._fetch.cancel is not None:
                self._fetch.cancel.set()
        if self._started:
            self._thread.join()

    def _run(self) -> None:
        try:
            self.rates = self._measure()
        except DfengineError:
            self.rates = None
        finally:
            close_cancel(self._fetch)

    def _measure(self) -> tuple[float, float] | None:
        """Measure both rates. Raises DfengineError."""
        fetch, file = self._fetch, self._file
        assert fetch.cluster is not None
        if not fetch.description.version(file.geometry.length).binds:
            return None
        connection = self._connect()
        try:
            before, started = self._request_reading(connection), time.monotonic()
            n = before.last
            if not 0 <= n < file.geometry.count - 1 or n in file.available:  # the last piece may be short
                return None
            if not fetch.cluster.reserve_probes(fetch.request.cluster_name, self._wait) or self._closing.is_set():
                return None
            rate = read_piece(fetch, file, n, MAX_SECONDS)
            if self._closing.wait(max(0.0, started + MIN_SPAN - time.monotonic())):
                return None
            after, seconds = self._request_reading(connection), time.monotonic() - started
        finally:
            connection.close()
        return rate, max(0, after.read - before.read) / seconds

    def _request_reading(self, connection: Connection) -> Reading:
        """Request the leader's report. Raises RemoteError."""
        asked = wire.encode(ReadingRequest(self._task, self._cid))
        _, _, body = connection.request("POST", "/swarm/reading", JSON_HEADERS, asked, timeout=ANSWER)
        answer = decode_answer(body)
        if answer.code != wire.SUCCESS:
            raise ProtocolViolation("the leader does not report its reading")
        return answer
