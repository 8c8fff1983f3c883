"""This supernode's side of the notices: those it has to send, and its listeners for each kind. Any thread may use it.

The cluster's thread calls `exchange` after each heartbeat: it sends waiting notices and receives new ones, for EXCHANGE seconds at most, so
that a slow Redis does not delay the next heartbeat. Listeners are called in that thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dfengine.errors import BadValue
from dfengine.supernode.cluster.notices import Notice, Outbox, decode, encode
from dfengine.supernode.cluster.redis_scripts import ClusterError

if TYPE_CHECKING:
    from dfengine.supernode.cluster.redis_scripts import NoticeBatch, RedisScripts

    Listener = Callable[[Notice], object]
    """Called with a notice of another supernode; its `seconds` are the remaining ones."""

    Requester = Callable[[Callable[[], Any]], Any]
    """Runs a request to Redis; raises ClusterError when it is not answered in time."""

EXCHANGE = 1.5
"""Longest duration of an exchange, in seconds."""


class NoticeExchange:
    """The notices at one supernode. own: its id. keys: for seals; it seals with the first."""

    def __init__(self, scripts: RedisScripts, keys: Sequence[bytes], own: str) -> None:
        self._scripts, self._keys, self._own = scripts, keys, own
        self._lock = threading.Lock()
        self._outbox = Outbox()
        self._listeners: dict[str, Listener] = {}
        self._data_loss_listeners: list[Callable[[], object]] = []
        self._epoch, self._last_number = b"", 0
        self.refused = 0
        """Notices that are sealed by none of the keys, or are old."""

    def __len__(self) -> int:
        """Return the number of notices that wait to be sent."""
        return len(self._outbox)

    def subscribe(self, kind: str, listener: Listener) -> None:
        """Call `listener` with each received notice of this kind. Call before the cluster starts."""
        self._listeners[kind] = listener

    def on_data_loss(self, listener: Callable[[], object]) -> None:
        """Call `listener` when Redis has lost its data, or a part of it. Call before the cluster starts."""
        self._data_loss_listeners.append(listener)

    def send(self, name: str, fields: dict[str, Any], seconds: float) -> None:
        """Send a notice with the next heartbeat; name: KIND:NAME. It is valid for `seconds`. Does not block."""
        with self._lock:
            self._outbox.add(Notice(name, fields, self._own, time.time(), seconds))

    def exchange(self, request: Requester) -> None:
        """Send and receive notices. Raises ClusterError."""
        until = time.monotonic() + EXCHANGE
        while time.monotonic() < until and self._send_batch(request):
            pass
        while time.monotonic() < until and self._receive_batch(request):
            pass

    def _send_batch(self, request: Requester) -> bool:
        """Send a batch of notices. Return False if none waits."""
        now, epoch, since = time.time(), self._epoch, self._last_number
        with self._lock:
            batch = self._outbox.pop_batch(now)
        if not batch:
            return False
        records: list[tuple[str, bytes, float]] = []
        for notice in batch:
            left = notice.at + notice.seconds - now
            try:
                records.append((notice.name, encode(notice.replace(at=now, seconds=left), self._keys[0]), left))
            except BadValue:
                self.refused += 1
        try:
            request(lambda: self._scripts.send_notices(records, since, epoch))
        except ClusterError:
            with self._lock:
                self._outbox.requeue(batch)
            raise
        return True

    def _receive_batch(self, request: Requester) -> bool:
        """Receive a batch of notices. Return whether there may be more."""
        epoch, since = self._epoch, self._last_number
        received: NoticeBatch = request(lambda: self._scripts.receive_notices(since, epoch))
        if received.epoch != epoch:
            self._epoch, self._last_number = received.epoch, 0
            if epoch:
                for resend in self._data_loss_listeners:
                    resend()
            return bool(since)
        self._last_number = received.last
        now = time.time()
        for record, left in received.records:
            try:
                notice = decode(record, left, now, self._keys)
            except BadValue:
                self.refused += 1
                continue
            listener = self._listeners.get(notice.kind)
            if listener is not None and notice.by != self._own:
                try:
                    listener(notice)
                except Exception:  # from a supernode of another release; a faulty notice must not end this one's membership
                    self.refused += 1
        return received.last > since and bool(received.records)
