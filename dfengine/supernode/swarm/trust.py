"""Trust: when failures block or isolate a source. Pure rules over PeerState and Download; `peers` applies their results.

* A failure counts against the pair (this client, this source); at Limits.blacklist the client does not get that source for
  Limits.isolation seconds. Wrong bytes reach that count at once. A success of the pair resets it.
* It also counts against the source, as long as failures are consecutive: at Limits.fail_isolate the source is isolated for all clients.
  One client address counts for at most one less than that, so no single client, lying or broken, isolates a peer.
* Wrong bytes isolate sooner, but need proof. The first complaint makes the supernode request that piece from the source (VERIFY): wrong
  bytes to the supernode are proof. So are complaints of Limits.accusers different client addresses, or of Limits.doubters once the source
  has sent the supernode the right bytes, because either the source or the clients may lie.
* After a complaint that the source did not send in time ("slow") the supernode verifies it at once. If it is silent to the supernode too,
  and no client got a piece from it meanwhile, it is isolated. Otherwise the clients may be slow, so isolation takes Limits.fail_isolate
  addresses in a row.
* When a client gives up on a source, and one failure before isolation, the supernode verifies the source as well: its failure isolates, its
  success ends the row of failures.
* An address is the one that the supernode saw a client register from, never one that the client reports.
* A success ends the row of failures, and an isolation for failures. An isolation for wrong bytes ends only with its time.
"""

from __future__ import annotations

from enum import Enum

from dfengine.supernode.swarm._state import Download, PeerState
from dfengine.supernode.swarm.limits import Limits


class Verdict(Enum):
    """The consequence of a failure for its source: none yet, a verification by the supernode, isolation."""

    NOTHING = 0
    VERIFY = 1
    ISOLATE = 2


MAX_FAILED_SOURCES = 256
"""Sources whose failures a client's download remembers; the oldest is forgotten first. A search skips at most so many."""

OWN = ""
"""The supernode's address among those of clients."""


def block(client: Download, source: PeerState, why: str, limits: Limits) -> bool:
    """Count a failure of the pair; True if from now on the client does not get this source."""
    if client.source_failures is None:
        client.source_failures = {}
    if source not in client.source_failures and len(client.source_failures) >= MAX_FAILED_SOURCES:
        forgive(client, next(iter(client.source_failures)))
    before = client.source_failures.get(source, 0)
    count = client.source_failures[source] = max(before + 1, limits.blacklist) if why == "digest" else before + 1
    if source.blocked_by is None:
        source.blocked_by = {}
    source.blocked_by[client] = None
    return before < limits.blacklist <= count


def forgive(client: Download, source: PeerState) -> None:
    """Reset the failures of the pair."""
    if client.source_failures is not None:
        client.source_failures.pop(source, None)
    if source.blocked_by is not None:
        source.blocked_by.pop(client, None)


def blocks(client: Download, source: PeerState, limits: Limits) -> bool:
    """Whether the client does not get this source now."""
    return client.source_failures is not None and client.source_failures.get(source, 0) >= limits.blacklist


def record_failure(source: PeerState, address: str, why: str, limits: Limits) -> Verdict:
    """Count a failure against the source, reported by a client at this address or found by the supernode (OWN)."""
    if source.failures is None:
        source.failures = {}
    source.failures[address] = source.failures.get(address, 0) + (why != "slow")
    if why == "digest":
        if source.accusers is None:
            source.accusers = {}
        source.accusers[address] = None
        if address == OWN or len(source.accusers) >= (limits.doubters if source.cleared else limits.accusers):
            source.wrong_bytes_proven = True
            return Verdict.ISOLATE
    most = max(1, limits.fail_isolate - 1)
    row = sum(min(count, most) for count in source.failures.values())
    if (len(source.failures) if why == "slow" else row) >= limits.fail_isolate:
        return Verdict.ISOLATE
    return Verdict.VERIFY if why in ("digest", "slow") or (why == "gone" and row == most) else Verdict.NOTHING


def confirmed(source: PeerState) -> bool:
    """Whether a failure found by the supernode isolates the source: no client has got a piece from it since the complaint."""
    return source.failures is not None


def clear(source: PeerState, why: str) -> None:
    """Record that the source sent the supernode the right bytes after a complaint of kind `why`."""
    if why != "slow":
        source.failures = None
    source.cleared = True


def record_success(source: PeerState, address: str) -> bool:
    """Record that a client got a right piece from the source; True if that ends an isolation."""
    source.failures = None
    if source.accusers is not None:
        source.accusers.pop(address, None)
    return source.isolated and not source.wrong_bytes_proven
