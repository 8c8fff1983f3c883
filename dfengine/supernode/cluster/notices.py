"""Notices: sealed messages of a supernode to all others of its cluster, each valid for a time. Pure.

A notice has a kind and a name; a later one of the same kind and name replaces it. Redis numbers them, so that each supernode requests only
those after the last one that it has. Sending a notice does not block: it is sent with the next heartbeat, and received with the next
heartbeat of each other supernode.

Rules:

1. A notice is valid for the seconds that it states, less the time that it was stored in Redis; a notice that is stored elsewhere and
   replayed is valid for at most FRESH seconds longer.
2. Waiting notices are bounded: beyond the bound, the oldest is dropped. A notice that was not sent because Redis failed is sent later,
   unless a later one of its kind and name waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from dfengine.errors import BadValue
from dfengine.supernode.cluster.member_records import MAX_AGE, seal, unseal
from dfengine.value import Value

MAX_NOTICE = 16 << 10
"""Bytes of a notice, with its seal."""

MAX_WAITING = 4096
"""Notices that wait to be sent."""

AT_ONCE = 64
"""Notices in one request to Redis, to send or to receive."""

_NAME = re.compile(r"[a-z]{1,16}:[0-9A-Za-z]{1,128}")


class Notice(Value):
    """name: KIND:NAME. fields: its content (`said` in Redis). by: id of its sender. at: Unix seconds. seconds: its validity."""

    name: str
    fields: dict[str, Any]
    by: str
    at: float
    seconds: float

    @property
    def kind(self) -> str:
        """The part of the name before the colon."""
        return self.name.partition(":")[0]


class _Body(msgspec.Struct):
    name: str
    fields: dict[str, Any] = msgspec.field(name="said")
    by: str
    at: float
    seconds: float


def encode(notice: Notice, key: bytes) -> bytes:
    """Return a sealed notice. Raises BadValue if it is too long, or its name is invalid."""
    try:
        body = seal(msgspec.json.encode(_Body(**notice.__dict__)), key)
    except UnicodeEncodeError:
        raise BadValue(f"notice {notice.name[:160]} has text that cannot be encoded") from None
    if len(body) > MAX_NOTICE or not _NAME.fullmatch(notice.name):
        raise BadValue(f"notice {notice.name[:160]} has {len(body)} bytes, or no name")
    return body


def decode(record: bytes, ttl: float, now: float, keys: Iterable[bytes]) -> Notice:
    """Return the notice with the seconds that are left at Unix time `now`. ttl: seconds until Redis drops it. Raises BadValue."""
    if len(record) > MAX_NOTICE:
        raise BadValue("a notice is too long")
    body = unseal(record, keys)
    try:
        found = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadValue("a member of the cluster sent an invalid notice") from None
    if not (-MAX_AGE <= now - found.at <= found.seconds + MAX_AGE) or not _NAME.fullmatch(found.name):
        raise BadValue("a member's notice is old, or its clock differs by more than a minute")
    return Notice(found.name, found.fields, found.by, found.at, max(0.0, min(found.seconds, ttl, found.at + found.seconds + MAX_AGE - now)))


class Outbox:
    """Notices that wait to be sent, the oldest first."""

    def __init__(self) -> None:
        self._waiting: dict[str, Notice] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, notice: Notice) -> None:
        """Add a notice; it replaces a waiting one of the same name."""
        self._waiting.pop(notice.name, None)
        self._waiting[notice.name] = notice
        while len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def pop_batch(self, now: float) -> list[Notice]:
        """Remove and return up to AT_ONCE notices that are still valid at Unix time `now`."""
        batch: list[Notice] = []
        while self._waiting and len(batch) < AT_ONCE:
            notice = self._waiting.pop(next(iter(self._waiting)))
            left = notice.at + notice.seconds - now
            if left > 0:
                batch.append(notice)
        return batch

    def requeue(self, batch: list[Notice]) -> None:
        """Put back notices that were not sent."""
        later, self._waiting = self._waiting, {}
        for notice in (*batch, *later.values()):
            self.add(notice)
