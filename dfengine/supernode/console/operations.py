"""The table of all operations of `/api/v2`, by which requests are routed and from which the API's description is made. Pure.

`{name}` in a path matches one segment. query, body: types of the request's parameters (`queries`). answer: type of the response
(`api_types`). changes: the operation changes something, and needs the token or a signature. watched: the live stream can follow it.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from dfengine.supernode.console import api_types, queries

API = "/api/v2"


@dataclass(frozen=True)
class Operation:
    """name: of the method of `Handlers` that runs it. other: further statuses -> description."""

    method: str
    path: str
    name: str
    summary: str
    answer: type[Struct] | None
    query: type[Struct] = queries.Nothing
    body: type[Struct] | None = None
    status: int = 200
    changes: bool = False
    watched: bool = False
    other: tuple[tuple[int, str], ...] = ()

    @property
    def ids(self) -> list[str]:
        """Names of the path's parameters."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


MISSING = ((404, "Not found"),)

TABLE = (
    Operation("GET", "/overview", "overview", "Sums over the whole supernode", api_types.Overview, watched=True),
    Operation("GET", "/tasks", "tasks", "Tasks in memory", api_types.TaskPage, queries.TaskQuery, watched=True),
    Operation("GET", "/tasks/{task}", "task", "One task", api_types.TaskRow, watched=True, other=MISSING),
    Operation("GET", "/tasks/{task}/swarm", "swarm", "The downloads of a task, their pieces and present transfers", api_types.Swarm,
              queries.SwarmQuery, watched=True, other=MISSING),
    Operation("GET", "/hosts", "hosts", "Hosts with registered downloads", api_types.HostPage, queries.HostQuery, watched=True),
    Operation("GET", "/origins", "origins", "Origins that requests were sent to", api_types.OriginPage, queries.OriginQuery, watched=True),
    Operation("GET", "/cluster", "cluster", "The supernodes of the cluster, and whether its Redis answers", api_types.ClusterPage,
              watched=True),
    Operation("GET", "/preheats", "preheats", "Preheats, the newest first", api_types.PreheatPage, queries.PreheatQuery, watched=True),
    Operation("POST", "/preheats", "new_preheat", "Fetch a file or an image before any client requests it", api_types.Preheat,
              body=queries.NewPreheat, status=202, changes=True, other=((409, "It cannot be preheated"),)),
    Operation("GET", "/preheats/{preheat}", "preheat", "One preheat with its parts", api_types.Preheat, watched=True, other=MISSING),
    Operation("DELETE", "/preheats/{preheat}", "drop_preheat", "Cancel a running preheat, or remove an ended one", api_types.Done,
              changes=True, other=MISSING),
    Operation("GET", "/cache", "cache", "Copies on the disk, those used last first, and its free space", api_types.CachePage,
              queries.Paging, watched=True),
    Operation("GET", "/cache/{task}", "copy", "One copy", api_types.CopyRow, other=MISSING),
    Operation("PATCH", "/cache/{task}", "pin", "Pin or unpin a copy", api_types.CopyRow, body=queries.Pin, changes=True, other=MISSING),
    Operation("DELETE", "/cache/{task}", "evict", "Remove a copy; downloads of it register again", api_types.Done, changes=True,
              other=MISSING),
    Operation("GET", "/events", "events", "The latest events", api_types.EventPage, queries.EventQuery),
    Operation("GET", "/live", "live", "Server-sent events: `overview` each second, `event` at once, and the watched resource", None,
              queries.LiveQuery, other=((503, "Too many streams are open"),)),
    Operation("GET", "/openapi.json", "openapi", "This description", None),
)  # fmt: skip

SEGMENTS = {"task": "[0-9a-f]{64}", "preheat": "[0-9A-Za-z]{1,64}"}
"""Parameter of a path -> its pattern; other values are not found (404)."""
