"""What a supernode tells all others of its cluster, apart from being there: notices, sealed, each for a time. Pure.

A notice is of a kind and has a name; a later one of the same kind and name replaces it. Redis numbers them, so that each supernode asks
for those only that came after the last one that it has. Nobody waits for a notice: it goes with the next beat, and is heard with the next
one of the others.

Laws:

1. A notice counts for the seconds that it says, less those that Redis says it lay there; one that is kept and replayed counts
   for FRESH seconds longer at most.
2. What waits to be told is bounded: beyond it the oldest is not told. What was not told because Redis failed is told later, unless a later
   one of its kind and name waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from dfengine.errors import BadValue
from dfengine.supernode.cluster.records import FRESH, opened, sealed
from dfengine.value import Value

LONGEST = 16 << 10
"""Bytes of a notice, with its seal."""

MOST_WAITING = 4096
"""Notices that wait to be told."""

AT_ONCE = 64
"""Of one question to Redis, to tell or to hear."""

_NAME = re.compile(r"[a-z]{1,16}:[0-9A-Za-z]{1,128}")


class Notice(Value):
    """name: KIND:NAME. fields: its content (`said` in Redis). by: id of its supernode. at: unix seconds. seconds: for which it counts."""

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
    """Raises BadValue for one that is too long, or has no name."""
    try:
        body = sealed(msgspec.json.encode(_Body(**notice.__dict__)), key)
    except UnicodeEncodeError:
        raise BadValue(f"notice {notice.name[:160]} has text that cannot be encoded") from None
    if len(body) > LONGEST or not _NAME.fullmatch(notice.name):
        raise BadValue(f"notice {notice.name[:160]} has {len(body)} bytes, or no name")
    return body


def decode(record: bytes, lay: float, now: float, keys: Iterable[bytes]) -> Notice:
    """At unix time `now`, with the seconds that are left of it. lay: those that Redis will keep it. Raises BadValue."""
    if len(record) > LONGEST:
        raise BadValue("a notice is too long")
    body = opened(record, keys)
    try:
        found = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadValue("what a member of the cluster says is no notice") from None
    if not (-FRESH <= now - found.at <= found.seconds + FRESH) or not _NAME.fullmatch(found.name):
        raise BadValue("a member's notice is old, or its clock differs by more than a minute")
    return Notice(found.name, found.fields, found.by, found.at, max(0.0, min(found.seconds, lay, found.at + found.seconds + FRESH - now)))


class Outbox:
    """Notices that wait to be told, the oldest first."""

    def __init__(self) -> None:
        self._waiting: dict[str, Notice] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, notice: Notice) -> None:
        """Tell it next; one of the same name that waits is not told."""
        self._waiting.pop(notice.name, None)
        self._waiting[notice.name] = notice
        while len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def take(self, now: float) -> list[Notice]:
        """Up to AT_ONCE of them that still count at unix time `now`; they wait no more."""
        taken: list[Notice] = []
        while self._waiting and len(taken) < AT_ONCE:
            notice = self._waiting.pop(next(iter(self._waiting)))
            left = notice.at + notice.seconds - now
            if left > 0:
                taken.append(notice)
        return taken

    def back(self, taken: list[Notice]) -> None:
        """They were not told."""
        later, self._waiting = self._waiting, {}
        for notice in (*taken, *later.values()):
            self.put(notice)
