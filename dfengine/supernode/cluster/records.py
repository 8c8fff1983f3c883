"""What a supernode says of itself to its cluster: sealed, so that Redis and its writers cannot name another host. Pure.

    HMAC-SHA256 in hex, a line break, JSON

A record counts for FRESH seconds by the clocks of both sides, so that one who keeps it cannot use it when the address is somebody else's.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable

import msgspec

from dfengine.errors import BadValue
from dfengine.settings import SupernodeAddress
from dfengine.supernode.cluster.beliefs import MOST, Other

FRESH = 90.0
"""Seconds; clocks of one swarm may differ by 60."""

LONGEST = 1024
"""Bytes of a record."""

_ID = re.compile(r"[0-9a-f]{32}")


class _Record(msgspec.Struct):
    """at: unix seconds. leads: tasks; an earlier release does not say it."""

    id: str
    address: str
    at: float
    leads: int = 0


def key_of(secret: bytes) -> bytes:
    """For seals: another one than any that the secret is used for elsewhere."""
    return hmac.digest(secret, b"dfengine cluster 1", "sha256")


def prefix_of(key: bytes) -> str:
    """Of all keys in Redis, so that swarms with other secrets do not meet there. 1 is the version of what lies below it."""
    return f"dfengine:1:{hmac.digest(key, b'prefix', 'sha256').hex()[:16]}:"


def sealed(body: bytes, key: bytes) -> bytes:
    """What the others believe."""
    return hmac.digest(key, body, "sha256").hex().encode() + b"\n" + body


def opened(record: bytes, keys: Iterable[bytes]) -> bytes:
    """The body of what one of the keys has sealed. Raises BadValue."""
    seal, _, body = record.partition(b"\n")
    if not any(hmac.compare_digest(hmac.digest(key, body, "sha256").hex().encode(), seal) for key in keys):
        raise BadValue("a member of the cluster has another seal than this supernode's")
    return body


def encode(other: Other, at: float, key: bytes) -> bytes:
    """at: unix seconds."""
    return sealed(msgspec.json.encode(_Record(other.id, other.address, at, other.leads)), key)


def decode(record: bytes, at: float, keys: Iterable[bytes]) -> Other:
    """At unix time `at`. Raises BadValue for what none of the keys has sealed, or not lately."""
    body = opened(record[:LONGEST], keys)
    try:
        found = msgspec.json.decode(body, type=_Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadValue("what a member of the cluster says is no record") from None
    if not abs(found.at - at) <= FRESH:
        raise BadValue("a member's record is old, or its clock differs by more than a minute")
    if not _ID.fullmatch(found.id) or SupernodeAddress.parse(found.address).lookup:
        raise BadValue("a member of the cluster has no address")
    return Other(found.id, found.address, max(0, min(found.leads, MOST)))
