"""Records of the cluster's members, sealed so that Redis and its writers cannot name another host. Pure.

    HMAC-SHA256 in hex, a line break, JSON

A record is valid for FRESH seconds by the clocks of both sides, so that a stored record cannot be replayed after its address has been
assigned to another host.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence

import msgspec

from dfengine.errors import BadValue
from dfengine.settings import SupernodeAddress
from dfengine.supernode.cluster.cluster_view import MAX_LEADERS, ClusterMember

MAX_AGE = 90.0
"""Seconds of validity; clocks of one swarm may differ by 60."""

MAX_RECORD = 1024
"""Bytes of a record, at most."""

_ID = re.compile(r"[0-9a-f]{32}")


class _Record(msgspec.Struct):
    """at: Unix seconds. leads: number of tasks; earlier releases do not send it."""

    id: str
    address: str
    at: float
    leads: int = 0


class OldRecord(BadValue):
    """A record that one of the keys has sealed, but not lately. address: HOST:PORT of its supernode."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__(f"the record of supernode {address} is old, or its clock differs by more than a minute")


def cluster_key(secret: bytes) -> bytes:
    """Derive the key for seals, which differs from all other uses of the secret."""
    return hmac.digest(secret, b"dfengine cluster 1", "sha256")


def key_prefix(key: bytes) -> str:
    """Return the prefix of all keys in Redis, so that swarms with different secrets share none. 1 is the version of the data below it."""
    return f"dfengine:1:{hmac.digest(key, b'prefix', 'sha256').hex()[:16]}:"


def seal(body: bytes, key: bytes) -> bytes:
    """Return `body` with its seal, as members accept it."""
    return hmac.digest(key, body, "sha256").hex().encode() + b"\n" + body


def unseal(record: bytes, keys: Iterable[bytes]) -> bytes:
    """Return the body of a text that one of the keys has sealed. Raises BadValue."""
    seal, _, body = record.partition(b"\n")
    if not any(hmac.compare_digest(hmac.digest(key, body, "sha256").hex().encode(), seal) for key in keys):
        raise BadValue("a member of the cluster has another seal than this supernode's")
    return body


def encode(other: ClusterMember, at: float, key: bytes) -> bytes:
    """Return the sealed record of a supernode. at: Unix seconds."""
    return seal(msgspec.json.encode(_Record(other.id, other.address, at, other.leads)), key)


def decode(record: bytes, at: float, keys: Iterable[bytes]) -> ClusterMember:
    """Return the supernode of a record at Unix time `at`. Raises BadValue if no key has sealed it; OldRecord if not lately."""
    body = unseal(record[:MAX_RECORD], keys)
    try:
        found = msgspec.json.decode(body, type=_Record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadValue("a member of the cluster sent an invalid record") from None
    if not _ID.fullmatch(found.id) or SupernodeAddress.parse(found.address).lookup:
        raise BadValue("a member of the cluster has no address")
    if not abs(found.at - at) <= MAX_AGE:
        raise OldRecord(found.address)
    return ClusterMember(found.id, found.address, max(0, min(found.leads, MAX_LEADERS)))


def decode_all(found: Iterable[bytes], at: float, keys: Sequence[bytes]) -> tuple[list[ClusterMember], set[tuple[str, str]]]:
    """Return the valid records at Unix time `at`, and for each other the address, "" if no key has sealed it, and the fault."""
    valid: list[ClusterMember] = []
    refused: set[tuple[str, str]] = set()
    for record in found:
        try:
            valid.append(decode(record, at, keys))
        except BadValue as error:
            refused.add((error.address if isinstance(error, OldRecord) else "", str(error)))
    return valid, refused
