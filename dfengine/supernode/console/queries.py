"""The parameters and bodies of requests to `/api/v2`. Pure. Requests that do not match are refused with 400.

Their bounds limit the cost of a response.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from dfengine.task import URL_PATTERN

PAGE = 1000
"""Entries in one response."""

Limit = Annotated[int, Meta(ge=1, le=PAGE, description="Entries in the response")]
Offset = Annotated[int, Meta(ge=0, le=10_000_000, description="Entries to skip")]
Search = Annotated[str, Meta(max_length=200, description="Only entries with this text in their names, ignoring case")]
Order = Literal["asc", "desc"]


class Nothing(Struct, forbid_unknown_fields=True):
    """No parameters."""


class Paging(Struct, forbid_unknown_fields=True, kw_only=True):
    limit: Limit = 100
    offset: Offset = 0


class TaskQuery(Paging, kw_only=True):
    q: Search = ""
    state: Literal["", "WAITING", "RUNNING", "SUCCESS", "FAILED"] = ""
    active: Annotated[bool, Meta(description="Only tasks with an unfinished download, or a copy that is being fetched")] = False
    sort: Literal["idle", "rate", "downloads", "unfinished", "delivered_bytes", "saved_bytes", "origin_bytes", "length", "url"] = "idle"
    order: Order = "asc"


class HostQuery(Paging, kw_only=True):
    q: Search = ""
    trust: Literal["", "trusted", "unproved", "isolated", "silent"] = ""
    sort: Literal[
        "host", "address", "version", "location", "downloads", "unfinished", "down_rate", "up_rate", "receiving", "sending", "blocked_by",
        "seen",
    ] = "host"  # fmt: skip
    order: Order = "asc"


class OriginQuery(Paging, kw_only=True):
    q: Search = ""
    sort: Literal["origin", "tasks", "reading", "requests", "bytes", "rate", "errors", "last_error_at"] = "origin"
    order: Order = "asc"


class SwarmQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    limit: Limit = PAGE


class PreheatQuery(Paging, kw_only=True):
    state: Literal["", "WAITING", "RUNNING", "SUCCESS", "FAILED"] = ""


class EventQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    after: Annotated[int, Meta(ge=-1, le=1 << 53, description="Only events with a larger id, in order; -1: the newest first")] = -1
    limit: Limit = 100
    level: Annotated[Literal["info", "warning", "error"], Meta(description="This level and more important ones")] = "info"
    event: Annotated[str, Meta(max_length=64, description="Only this kind of event")] = ""


class LiveQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    watch: Annotated[str, Meta(max_length=1000, description="Path and query of a GET below /api/v2 that may be watched")] = ""
    after: Annotated[int, Meta(ge=-1, le=1 << 53, description="Begin with events with a larger id; -1: with the next event")] = -1


class Pin(Struct, forbid_unknown_fields=True):
    """pinned: the copy is not evicted for space, nor removed when it expires."""

    pinned: bool


class NewPreheat(Struct, kw_only=True):
    """A request for a preheat; docs/images.md has all known fields. filter: parameters of the URL that do not name the file."""

    url: Annotated[str, Meta(pattern=URL_PATTERN, max_length=16384)]
    type: Literal["file", "image"] = "file"
    filter: Annotated[str, Meta(max_length=1024)] = ""
    headers: dict[str, str] = {}
    scope: Literal["single_seed_peer", "all_seed_peers", "all_peers"] = "single_seed_peer"
    platforms: Annotated[list[Annotated[str, Meta(max_length=100)]], Meta(max_length=32)] = []
    username: Annotated[str, Meta(max_length=1024)] = ""
    password: Annotated[str, Meta(max_length=4096)] = ""
    pin: bool = False
