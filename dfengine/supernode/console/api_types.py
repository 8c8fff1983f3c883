"""The values of responses of `/api/v2`. Pure. Their JSON Schema is part of the API's description (`openapi`).

Sizes are bytes, rates bytes per second, times Unix seconds, durations seconds, unless stated otherwise. A rate of None is not known yet.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from dfengine.copy_states import STATES

Count = Annotated[int, Meta(ge=0)]
Length = Annotated[int, Meta(ge=-1, description="-1: unknown")]
Seconds = Annotated[float, Meta(ge=0)]
Rate = Annotated[float, Meta(ge=0)] | None
Text = str


def _one_of(*words: str) -> Meta:
    return Meta(extra_json_schema={"enum": list(words)})


State = Annotated[str, _one_of(*STATES)]
Trust = Annotated[str, _one_of("trusted", "unproved", "isolated", "silent")]
Kind = Annotated[str, _one_of("file", "manifest", "data", "content")]
Doing = Annotated[str, _one_of("finished", "fetching", "waiting", "quiet")]
Reason = Annotated[str, _one_of("quiet", "origin", "slow_link", "no_source", "blocked", "behind")]
ClusterState = Annotated[str, _one_of("none", "reached", "lost")]
Level = Annotated[str, _one_of("info", "warning", "error")]


class Problem(Struct):
    """A refused request, and the reason (RFC 9457). detail: a line for people."""

    title: Text
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Text


class Done(Struct):
    """The operation succeeded."""

    done: bool = True


class Overview(Struct, kw_only=True):
    """Sums over the whole supernode. hindrance: why it accepts no downloads now, "" if it accepts them.

    `registered` to `internal_errors` count from the supernode's start. delivered_bytes: sent to downloads by the supernode and by peers.
    saved_bytes: the part of these that origins did not send. cluster: whether its Redis answered the last request; cluster_members: the
    other supernodes of the cluster.
    """

    version: Text
    address: Text
    time: Seconds
    started: Seconds
    hindrance: Text
    may_change: Annotated[bool, Meta(description="The request may change things: it has the console's token, or was signed")]
    tasks: Count
    downloads: Count
    unfinished: Count
    peers: Count
    isolated_peers: Count
    unproved_peers: Count
    parked_pulls: Count
    leases: Count
    registered: Count
    finished: Count
    failed: Count
    back_to_source: Count
    pulls: Count
    pieces_from_supernode: Count
    pieces_from_peers: Count
    origin_requests: Count
    origin_bytes: Count
    delivered_bytes: Count
    saved_bytes: Count
    internal_errors: Count
    rate: Rate
    origin_rate: Rate
    free_bytes: Count
    viewers: Annotated[int, Meta(ge=0, description="Streams of /api/v2/live")]
    cluster: ClusterState = "none"
    cluster_members: Count = 0


class TaskRow(Struct, kw_only=True, gc=False):
    """One task. url: without credentials. state: of the supernode's copy. waits: why its origin is retried after a pause.
    leader: HOST:PORT of the supernode of the cluster that the copy comes from, "" for the origin.

    pieces: of the file; cached: those in the copy. downloads: registered ones; unfinished: those that lack a piece.
    rate: to downloads, from supernode and peers. saved_bytes: delivered, and not sent by the origin. idle: since the last request.
    """

    task: Text
    url: Text
    kind: Kind
    state: State
    error: Text
    waits: Text
    leader: Text = ""
    length: Length
    piece_size: Count
    pieces: Length
    cached: Count
    downloads: Count
    unfinished: Count
    rate: Rate
    origin_rate: Rate
    delivered_bytes: Count
    from_supernode_bytes: Count
    from_peers_bytes: Count
    origin_bytes: Count
    origin_requests: Count
    saved_bytes: Count
    supernode_slots: Count
    pinned: bool
    idle: Seconds


class HostRow(Struct, kw_only=True, gc=False):
    """A host: downloads that registered from one address, with one name and ip. receiving, sending: pieces in transfer to and from it.

    trust: `isolated`: no download gets it as a source for a time; `unproved`: its peer server has not answered yet, and it is no source
    until then; `silent`: it has chosen to serve no pieces; else `trusted`. blocked_by: downloads that do not get it as a source any more.
    """

    host: Text
    address: Text
    ip: Text
    version: Text
    location: Text
    system: Text
    trust: Trust
    downloads: Count
    unfinished: Count
    receiving: Count
    sending: Count
    slots: Count
    blocked_by: Count
    down_rate: Rate
    up_rate: Rate
    seen: Annotated[float, Meta(ge=0, description="Seconds since its last request")]


class OriginRow(Struct, kw_only=True, gc=False):
    """An origin: scheme, host and port, or bucket. reading: tasks that are being read from it.

    requests, bytes: since the start. errors: failed fetches and refusals; retries: failed requests that were retried. waits: why it is
    retried after a pause, "" without one; asks_at: when that pause ends. direct: downloads that may read it themselves.
    """

    origin: Text
    tasks: Count
    reading: Count
    requests: Count
    bytes: Count
    rate: Rate
    errors: Count
    retries: Count
    last_error: Text
    last_error_at: Seconds
    waits: Text
    asks_at: Seconds
    direct: Count


class SwarmHost(Struct, kw_only=True, gc=False):
    """One download of the task. n: its number in `feeds` and in later messages of the live stream.

    have: the pieces that it has, as base64 of a bitset: piece i is bit i % 8, from the lowest, of byte i // 8; missing bytes are 0.
    got: pieces that have arrived, also those that a stream has delivered. piece_seconds: of its quickest pieces, 0: unknown.
    """

    n: Count
    cid: Text
    host: Text
    address: Text
    ip: Text
    version: Text
    location: Text
    trust: Trust
    state: Doing
    slow: bool
    got: Count
    receiving: Count
    sending: Count
    piece_seconds: Seconds
    quiet_seconds: Seconds
    have: Text


class Slowest(Struct):
    """The unfinished download that is furthest behind. reason: a fixed word; text: a line for people."""

    n: Count
    reason: Reason
    text: Text


class Swarm(Struct, kw_only=True):
    """The downloads of one task, in the order in which they joined. total: their number.

    tick: increases with each check; a change of the live stream follows the snapshot of the previous tick. cached: pieces in the
    supernode's copy, as `have` of a host. feeds: [source, receiver, pieces in transfer]; the source -1 is the supernode.
    """

    task: Text
    at: Seconds
    tick: Count
    pieces: Length
    total: Count
    cached: Text
    hosts: list[SwarmHost]
    feeds: list[tuple[int, int, int]]
    slowest: Slowest | None


class HostChange(Struct, kw_only=True, omit_defaults=True, gc=False):
    """A download of the previous snapshot that changed. toggled: pieces that it got or lost; have: all its pieces, after many changes."""

    n: Count
    state: Doing
    slow: bool
    got: Count
    receiving: Count
    sending: Count
    piece_seconds: Seconds
    toggled: list[int] = []
    have: Text | None = None


class SwarmChange(Struct, kw_only=True):
    """Changes of a swarm since the previous tick. left: numbers of downloads that have left. cached: None if unchanged."""

    task: Text
    at: Seconds
    tick: Count
    pieces: Length
    total: Count
    cached: Text | None
    joined: list[SwarmHost]
    left: list[int]
    changed: list[HostChange]
    feeds: list[tuple[int, int, int]]
    slowest: Slowest | None


class PreheatPart(Struct, kw_only=True):
    """One file or blob of a preheat. host: the proxy or supernode that fetches it, "" for this one. here: bytes that are fetched."""

    url: Text
    task: Text
    state: State
    length: Length
    here: Count
    digest: Text
    host: Text
    error: Text


class PreheatRow(Struct, kw_only=True):
    """One preheat. ended: 0 while it runs. parts, finished: numbers of parts; length, here: bytes of all and fetched ones, as far as known.
    supernode: HOST:PORT of another supernode of the cluster that runs it, "" for this one."""

    id: Text
    type: Text
    url: Text
    scope: Text
    state: State
    error: Text
    started: Seconds
    ended: Seconds
    supernode: Text
    parts: Count
    finished: Count
    length: Count
    here: Count


class Preheat(PreheatRow, kw_only=True):
    """A preheat with its parts: failed and running ones first, 1000 at most."""

    items: list[PreheatPart]


class CopyRow(Struct, kw_only=True):
    """A copy in the cache. here: pieces that it has. taken: bytes on disk. used: time of the last use. until: end of its protection, or 0.

    tree: the task of a tree that it belongs to (one of two); base: name of the data of the shared directory whose manifest it is; or "".
    """

    task: Text
    url: Text
    length: Length
    pieces: Length
    here: Count
    taken: Count
    used: Seconds
    state: Text
    pinned: bool
    until: Seconds
    tree: Text
    base: Text


class Room(Struct, kw_only=True):
    """The cache's disk: below `low` free bytes, idle copies are removed until `high` are free. full: at the last attempt none could be."""

    free: Count
    low: Count
    high: Count
    full: bool
    evictions: Count
    evicted_at: Seconds


class EventRow(Struct, kw_only=True, gc=False):
    """An event, as in the log. time: RFC 3339."""

    id: Count
    time: Text
    level: Level
    event: Text
    fields: dict[str, str | int | float | bool | None]


class Page(Struct, kw_only=True):
    """A part of a list. total: number of matching entries. at: when the figures were gathered."""

    total: Count
    offset: Count
    at: Seconds


class TaskPage(Page, kw_only=True):
    """Tasks in memory."""

    items: list[TaskRow]


class HostPage(Page, kw_only=True):
    """Hosts with registered downloads."""

    items: list[HostRow]


class OriginPage(Page, kw_only=True):
    """Origins that requests were sent to."""

    items: list[OriginRow]


class ClusterMember(Struct, kw_only=True):
    """A supernode of the cluster. address: of its control port. own: it is the responding one. leads: number of tasks."""

    address: Text
    own: bool
    leads: Count


class ClusterPage(Page, kw_only=True):
    """The supernodes of the cluster, this one first. configured: there is a cluster. reached: its Redis answered the last request.

    failures: requests without a valid answer of Redis. refused: notices and membership records of others that no key has sealed, or that
    are old. A record counts once for as long as its fault lasts; all records that no key has sealed count once together, because their
    senders are unknown. waiting: notices that wait to be sent.
    """

    configured: bool
    reached: bool
    failures: Count
    refused: Count
    waiting: Count
    items: list[ClusterMember]


class PreheatPage(Page, kw_only=True):
    """Preheats, the newest first."""

    items: list[PreheatRow]


class CachePage(Page, kw_only=True):
    """Copies on the disk, those used last first."""

    room: Room
    items: list[CopyRow]


class EventPage(Page, kw_only=True):
    """Events: the newest first, or, after an id, in order. last: the id of the newest event of all."""

    last: Count
    items: list[EventRow]
