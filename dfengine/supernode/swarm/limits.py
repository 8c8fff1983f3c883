"""What the swarm allows: slots, times, failures. One frozen value, read by every policy."""

from __future__ import annotations

from dataclasses import dataclass

from dfengine.net.quota import SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Slots are pieces at once; times are seconds.

    up: a peer server sends. down: a 1.x CID receives. native_down: a native CID receives. supernode: the supernode sends of one task.
    few: the limit of up, native_down and supernode while pieces are slow: from `slow` seconds a piece on, until it takes a third of that.
    More would share a link that one piece can fill, and each piece would be complete, and served to others, later.
    alternates: sources named beside the one that holds the slot, at most 2.
    lease: how long an assigned piece may take before its slot is taken back, where a task was given no time of its own.
    reseed_delay: how long the supernode does not send a piece again that is on its way to a source; twice the task's mean time per piece
    where that is longer.
    select_delay: the same towards a pull that selects that piece, while no source with a slot has it; one and a half times the task's mean
    time per piece where that is longer (`selections`).
    fail_isolate: consecutive failures that isolate a source. accusers: clients (by address) whose digest complaints do;
    doubters: so many are needed against a source that sent the supernode the right bytes.
    client_share: percent of the supernode's slots, at least one, for late pieces of one client while others wait.
    blacklist: failures after which that source is not named to that client. isolation: how long this, and an isolation for all, lasts.
    peer_gc: silence after which a peer and its CIDs are forgotten; longer than a peer server lives idle.
    ahead: pieces that may be reported beyond the supernode's own while the task's length is unknown.
    """

    up: int = 5
    down: int = 4
    native_down: int = 8
    supernode: int = 5
    few: int = 2
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
