"""The values that `/api/v2` answers with. Pure. Their JSON Schema is part of the API's description (`openapi`).

Sizes are bytes, rates bytes per second, times unix seconds, spans seconds, unless said otherwise. A rate of None is not known yet.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]
Length = Annotated[int, Meta(ge=-1, description="-1: unknown")]
Seconds = Annotated[float, Meta(ge=0)]
Rate = Annotated[float, Meta(ge=0)] | None
Text = str


def _one_of(*words: str) -> Meta:
    return Meta(extra_json_schema={"enum": list(words)})


State = Annotated[str, _one_of("WAITING", "RUNNING", "SUCCESS", "FAILED")]
Trust = Annotated[str, _one_of("trusted", "unproved", "isolated", "silent")]
Kind = Annotated[str, _one_of("file", "manifest", "data", "content")]
Doing = Annotated[str, _one_of("finished", "fetching", "waiting", "quiet")]
Reason = Annotated[str, _one_of("quiet", "origin", "slow_link", "no_source", "blocked", "behind")]
ClusterState = Annotated[str, _one_of("none", "reached", "lost")]
Level = Annotated[str, _one_of("info", "warning", "error")]


class Problem(Struct):
    """What was refused and why (RFC 9457). detail: a line for people."""

    title: Text
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Text


class Done(Struct):
    """It was done."""

    done: bool = True


class Overview(Struct, kw_only=True):
    """Sums over the whole supernode. hindrance: why it should be given no downloads now, "" if it should.

    Those from `registered` to `internal_errors` count from its start. delivered_bytes: sent to downloads by the supernode and by peers.
    saved_bytes: of these, what origins did not send. cluster: whether its Redis answered the last question; cluster_members: its other
    supernodes.
    """

    version: Text
    address: Text
    time: Seconds
    started: Seconds
    hindrance: Text
    may_change: Annotated[bool, Meta(description="The request may change things: it shows the console's token, or was signed")]
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
    """One task. url: without what may open it. state: of the supernode's copy. waits: why its origin is asked again after a pause.
    leader: HOST:PORT of the supernode of the cluster that it comes from, "" for the origin.

    pieces: of the file; cached: those in the copy. downloads: registered ones; unfinished: those of them that lack a piece.
    rate: to downloads, from supernode and peers. saved_bytes: delivered, and not sent by the origin. idle: since somebody asked for it.
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
    """A host: its downloads that registered from one address, with one name and ip. receiving: pieces under way to it; sending: from it.

    trust: `isolated`, nobody gets anything from it for a time; `unproved`, its peer server has not answered yet, and it is no source until
    then; `silent`, it serves nobody by its own wish; else `trusted`. blocked_by: downloads that do not get it as a source any more.
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
    seen: Annotated[float, Meta(ge=0, description="Seconds since its last sign of life")]


class OriginRow(Struct, kw_only=True, gc=False):
    """An origin: scheme, host and port, or bucket. reading: tasks that are being read from it.

    requests, bytes: since the start. errors: failed fetches and refusals; retries: requests after which it was asked again. waits: why it
    is asked again after a pause, "" while it is not; asks_at: when that pause ends. direct: downloads that may read it by themselves.
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
    """One download of the task. n: its number in `feeds` and in what the live stream tells later.

    have: which pieces it has, as base64 of a bitset: piece i is bit i % 8, from the lowest, of byte i // 8; missing bytes are 0.
    got: pieces that have arrived, also those that a stream has passed on. piece_seconds: its quickest pieces, 0: unknown.
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
    """The unfinished download that is furthest behind. reason: one of few words; text: a line for people."""

    n: Count
    reason: Reason
    text: Text


class Swarm(Struct, kw_only=True):
    """The downloads of one task, in the order in which they joined. total: how many there are.

    tick: grows with each look; a change of the live stream follows the snapshot of the tick before. cached: pieces in the supernode's
    copy, as `have` of a host. feeds: [source, receiver, pieces under way]; the source -1 is the supernode.
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
    """A download of the snapshot before that changed. toggled: pieces that came or went; have: all, where those are many."""

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
    """What changed in a swarm since the tick before. left: numbers of downloads that are gone. cached: None: as it was."""

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
    """One file or blob of a preheat. host: the proxy or supernode that fetches it, "" for this one. here: bytes of it that are there."""

    url: Text
    task: Text
    state: State
    length: Length
    here: Count
    digest: Text
    host: Text
    error: Text


class PreheatRow(Struct, kw_only=True):
    """One preheat. ended: 0 while it runs. parts, finished: how many; length, here: bytes of all, as far as known. supernode: HOST:PORT of
    another one of the cluster that works at it, "" for this one."""

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
    """With the parts: first those that failed and those that are under way, 1000 at most."""

    items: list[PreheatPart]


class CopyRow(Struct, kw_only=True):
    """A copy in the cache. here: pieces that it has. taken: on the disk. used: when last. until: kept until then, 0: no time.

    tree: which of a tree's two tasks it is of; base: name of the data of the shared directory that it is the manifest of; "" for none.
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
    """Of the cache's disk: below `low` free bytes idle copies leave, until `high` are. full: when room was wanted last, none could."""

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
    """Some of a list. total: how many match. at: when the figures were gathered."""

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
    """Origins that were asked."""

    items: list[OriginRow]


class ClusterMember(Struct, kw_only=True):
    """A supernode of the cluster. address: of its control port. own: it is the one that says this. leads: tasks that others have of it."""

    address: Text
    own: bool
    leads: Count


class ClusterPage(Page, kw_only=True):
    """The supernodes of the cluster, this one first. configured: there is a cluster. reached: its Redis answered the last question.

    failures: questions that Redis did not answer; refused: notices of others, and records by which they say that they are members,
    that no key has sealed, or that are old; a record counts once for as long as it stays so, and records that no key has sealed once
    together, since nobody can tell whose they are; waiting: notices that are to be told.
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
