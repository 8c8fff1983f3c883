"""This supernode's side of the notices: those it has to send, and its listeners for each kind. Any thread may use it.

The cluster's thread calls `exchange` after each beat: it sends waiting notices and receives new ones, for EXCHANGE seconds at most, so that
a slow Redis does not delay the next beat. Listeners are called in that thread.
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
    from dfengine.supernode.cluster.redis_scripts import Received, RedisFacts

    Listener = Callable[[Notice], object]
    """Called with a notice of another supernode; its `seconds` are the remaining ones."""

    Asked = Callable[[Callable[[], Any]], Any]
    """Runs a request to Redis; raises ClusterError when it is not answered in time."""

EXCHANGE = 1.5
"""Longest duration of an exchange, in seconds."""


class NoticeBoard:
    """The notices at one supernode. own: its id. keys: for seals; it seals with the first."""

    def __init__(self, facts: RedisFacts, keys: Sequence[bytes], own: str) -> None:
        self._facts, self._keys, self._own = facts, keys, own
        self._lock = threading.Lock()
        self._outbox = Outbox()
        self._listeners: dict[str, Listener] = {}
        self._repeats: list[Callable[[], object]] = []
        self._epoch, self._since = b"", 0
        self.refused = 0
        """Notices that are sealed by none of the keys, or are old."""

    def __len__(self) -> int:
        """Return the number of notices that wait to be sent."""
        return len(self._outbox)

    def listen(self, kind: str, listener: Listener) -> None:
        """Call `listener` with each received notice of this kind. Call before the cluster starts."""
        self._listeners[kind] = listener

    def repeat(self, tell: Callable[[], object]) -> None:
        """Call `tell` when Redis has lost its data. Call before the cluster starts."""
        self._repeats.append(tell)

    def send(self, name: str, fields: dict[str, Any], seconds: float) -> None:
        """Send a notice with the next beat; name: KIND:NAME. It is valid for `seconds`. Does not block."""
        with self._lock:
            self._outbox.put(Notice(name, fields, self._own, time.time(), seconds))

    def exchange(self, asked: Asked) -> None:
        """Send and receive notices. Raises ClusterError."""
        until = time.monotonic() + EXCHANGE
        while time.monotonic() < until and self._tell(asked):
            pass
        while time.monotonic() < until and self._receive(asked):
            pass

    def _tell(self, asked: Asked) -> bool:
        """Send a batch of notices. Return False if none waits."""
        now = time.time()
        with self._lock:
            taken = self._outbox.take(now)
        if not taken:
            return False
        records: list[tuple[str, bytes, float]] = []
        for notice in taken:
            left = notice.at + notice.seconds - now
            try:
                records.append((notice.name, encode(notice.replace(at=now, seconds=left), self._keys[0]), left))
            except BadValue:
                self.refused += 1
        try:
            asked(lambda: self._facts.tell(records))
        except ClusterError:
            with self._lock:
                self._outbox.back(taken)
            raise
        return True

    def _receive(self, asked: Asked) -> bool:
        """Receive a batch of notices. Return whether there may be more."""
        epoch, since = self._epoch, self._since
        received: Received = asked(lambda: self._facts.receive(since))
        if received.epoch != epoch:
            self._epoch, self._since = received.epoch, 0
            if epoch:
                for tell in self._repeats:
                    tell()
            return bool(since)
        self._since = max(since, received.last)
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
