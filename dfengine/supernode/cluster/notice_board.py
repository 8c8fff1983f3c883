"""This supernode's side of the notices: what it has to tell, and who here wants to hear which kind. Any thread may use it.

`exchange` is called by the cluster's thread after each beat: it tells what waits and hears what is new, for EXCHANGE seconds at most, so
that a slow Redis does not keep the next beat. Listeners are called in that thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dfengine.errors import BadValue
from dfengine.supernode.cluster.notices import Notice, Outbox, decode, encode
from dfengine.supernode.cluster.redis_facts import ClusterError

if TYPE_CHECKING:
    from dfengine.supernode.cluster.redis_facts import Received, RedisFacts

    Listener = Callable[[Notice], object]
    """Given what another supernode said; `seconds` are those for which it still counts."""

    Asked = Callable[[Callable[[], Any]], Any]
    """Asks Redis, and raises ClusterError when it does not answer in time."""

EXCHANGE = 1.5
"""Seconds."""


class NoticeBoard:
    """own: this supernode's id. keys: of seals, the first of which it uses itself."""

    def __init__(self, facts: RedisFacts, keys: Sequence[bytes], own: str) -> None:
        self._facts, self._keys, self._own = facts, keys, own
        self._lock = threading.Lock()
        self._outbox = Outbox()
        self._listeners: dict[str, Listener] = {}
        self._repeats: list[Callable[[], object]] = []
        self._epoch, self._since = b"", 0
        self.refused = 0
        """Notices that none of the keys has sealed, or that are old."""

    def __len__(self) -> int:
        """Notices that wait to be told."""
        return len(self._outbox)

    def listen(self, kind: str, listener: Listener) -> None:
        """Before the cluster starts."""
        self._listeners[kind] = listener

    def repeat(self, tell: Callable[[], object]) -> None:
        """Have `tell` called when Redis has lost what it was told. Before the cluster starts."""
        self._repeats.append(tell)

    def send(self, name: str, fields: dict[str, Any], seconds: float) -> None:
        """Tell it with the next beat; name: KIND:NAME. It counts for so many seconds. Waits for nothing."""
        with self._lock:
            self._outbox.put(Notice(name, fields, self._own, time.time(), seconds))

    def exchange(self, asked: Asked) -> None:
        """Raises ClusterError."""
        until = time.monotonic() + EXCHANGE
        while time.monotonic() < until and self._tell(asked):
            pass
        while time.monotonic() < until and self._receive(asked):
            pass

    def _tell(self, asked: Asked) -> bool:
        """There may be more."""
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
        """There is more."""
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
                except Exception:  # of another release's supernode: this one stays a member whatever that says
                    self.refused += 1
        return received.last > since and bool(received.records)
