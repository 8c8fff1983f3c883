"""Limits of the swarm: slots, times, failures. One frozen value, read by every policy."""

from __future__ import annotations

from dataclasses import dataclass

from dfengine.net.client_quota import SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a swarm. Slots are pieces at once; times are seconds.

    up: slots of a peer server for sending. down: of a 1.x CID for receiving. native_down: of a native CID for receiving. supernode: of the
    supernode for sending one task.
    slow_slots: the limit of up, native_down and supernode while pieces are slow: from `slow` seconds a piece on, until a piece
    takes a third of that. More would share a link that one piece can saturate, and each piece would be complete and served later.
    alternates: sources named in addition to the one that holds the slot, at most 2.
    lease: seconds that an assigned piece may take before its slot is reclaimed, for tasks without a time of their own.
    reseed_delay: how long the supernode does not send again a piece that is in flight to a source; twice the task's mean time per piece
    where that is longer.
    select_delay: the same for a pull that selects that piece, while no source with a slot has it; one and a half times the task's mean
    time per piece where that is longer (`selections`).
    fail_isolate: consecutive failures that isolate a source. accusers: digest complaints from so many clients (by address) isolate it;
    doubters: so many are needed against a source that sent the supernode the right bytes.
    client_share: percent of the supernode's slots, at least one, for late pieces of one client while others wait.
    blacklist: failures after which a source is not named to a client. isolation: duration of that, and of an isolation for all clients.
    peer_gc: silence after which a peer and its CIDs are forgotten; longer than an idle peer server runs.
    ahead: pieces that may be reported beyond the supernode's own while the task's length is unknown.
    """

    up: int = 5
    down: int = 4
    native_down: int = 8
    supernode: int = 5
    slow_slots: int = 2
    slow: float = 0.3
    alternates: int = 2
    lease: float = 30.0
    reseed_delay: float = 2.0
    select_delay: float = 0.1
    fail_isolate: int = 5
    accusers: int = 2
    doubters: int = 4
    blacklist: int = 3
    client_share: int = SHARE
    isolation: float = 60.0
    peer_gc: float = 360.0
    ahead: int = 1024
