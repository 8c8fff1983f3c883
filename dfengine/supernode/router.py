"""The table of routes: 1.x's paths, dfengine's own, and all of them also below /v<digits and dots>."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from dfengine.errors import ProtocolViolation
from dfengine.net.http import BadRequest, Request, Response, text
from dfengine.net.loop_watch import LoopWatch
from dfengine.net.piece_server import PieceServer
from dfengine.supernode import admin, api_native, api_origin, api_origin_progress, api_peers, api_share, api_v1, api_work
from dfengine.supernode.api_cache import CacheRoutes
from dfengine.supernode.api_jobs import JobRoutes
from dfengine.supernode.api_preheat import PreheatRoutes
from dfengine.supernode.console.console_token import ConsoleToken
from dfengine.supernode.console.routes import PATHS, ConsoleRoutes
from dfengine.supernode.fastpath import Pulls
from dfengine.supernode.legacy_metrics import size_of
from dfengine.supernode.metrics import MetricSources, Scrapes
from dfengine.supernode.preheat_notices import PreheatNotices
from dfengine.supernode.preheat_token import PreheatToken
from dfengine.supernode.preheats import Preheats
from dfengine.supernode.supernode_state import SupernodeState

if TYPE_CHECKING:
    from dfengine.supernode.cluster.membership import Cluster

Answer = Response | asyncio.Future[Response]
Route = Callable[[SupernodeState, Request], Response | asyncio.Future[Response] | Coroutine[Any, Any, Response]]

_VERSIONED = re.compile(r"/v[0-9][0-9.]*(?=/)")

ROUTES: dict[str, dict[str, Route]] = {
    "/swarm/pull": {"POST": api_native.pull},
    "/swarm/origin": {"POST": api_origin.origin},
    "/swarm/reading": {"POST": api_origin_progress.reading},
    "/swarm/share": {"POST": api_share.share},
    "/swarm/work": {"POST": api_work.request_work},
    "/peer/registry": {"POST": api_v1.register},
    "/peer/task": {"GET": api_v1.next_pieces},
    "/peer/piece/suc": {"GET": api_v1.piece_done},
    "/peer/piece/error": {"GET": api_v1.piece_failed},
    "/peer/piece/stream": {"POST": api_v1.piece_done, "DELETE": api_v1.piece_evicted},
    "/peer/service/down": {"GET": api_v1.leave},
    "/task/metrics": {"POST": api_v1.report},
    "/peer/heartbeat": {"POST": api_v1.heartbeat},
    "/peer/network": {"POST": api_v1.network},
    "/_ping": {"GET": admin.ping},
    "/healthy": {"GET": admin.ping},
    "/healthz": {"GET": admin.ping},
    "/readyz": {"GET": admin.ready},
    "/version": {"GET": admin.version},
    "/api/v1/peers": {"GET": api_peers.peers, "POST": api_peers.new_peer},
    "/api/v1/peers/": {"GET": api_peers.peer, "DELETE": api_peers.drop_peer},
    "/api/v1/tasks/": {"GET": admin.task, "DELETE": admin.drop_task},
}
"""A path that ends in a slash takes one more segment, an id. `Router` adds /metrics, /api/v1/cache, preheats and jobs, and LISTS."""

ROUTES.update({admin.PREFIX + path: routes for path, routes in ROUTES.items() if path.startswith("/peer/") or path == "/task/metrics"})

BODILESS = frozenset(("GET", "HEAD", "DELETE"))
"""Methods whose requests have no fields in a body."""

LISTS = "/", f"{admin.PREFIX}/"
"""Paths whose response is the list of routes; no id follows them."""

OURS = {
    "/swarm/join": "/peer/registry",
    "/swarm/next": "/peer/task",
    "/swarm/done": "/peer/piece/suc",
    "/swarm/failed": "/peer/piece/error",
    "/swarm/cached": "/peer/piece/stream",
    "/swarm/leave": "/peer/service/down",
    "/swarm/report": "/task/metrics",
    "/swarm/alive": "/peer/heartbeat",
    "/swarm/network": "/peer/network",
    "/ping": "/_ping",
    "/peers": "/api/v1/peers",
    "/peers/": "/api/v1/peers/",
    "/tasks/": "/api/v1/tasks/",
}
ROUTES.update({ours: ROUTES[theirs] for ours, theirs in OURS.items()})

_NOT_FOUND = text(404, "404 page not found")


class Router:
    """The handler of the control server. Coroutines become tasks that the connection may cancel.

    quick: answers plain pulls from their bytes, for a server without a secret. pieces, watch: sources of metrics. token: see PreheatToken;
    None: no token is needed. console: see ConsoleToken; None: the console changes nothing.
    """

    def __init__(
        self, state: SupernodeState, pieces: PieceServer | None = None, watch: LoopWatch | None = None, token: PreheatToken | None = None,
        console: ConsoleToken | None = None,
    ) -> None:
        self._state = state
        self.answers: dict[tuple[str, int], int] = {}
        """(route, HTTP status) -> responses, without plain pulls that are answered at once."""
        self.plain = Pulls(state, self._park)
        self.quick = self.plain.answer
        served = MetricSources(self.answers, self.plain, pieces, watch)
        token = token if token is not None else PreheatToken()
        self._preheats = Preheats(state, lambda: token.text)
        console = console if console is not None else ConsoleToken()
        cache, preheats = CacheRoutes(console.changes, state.settings.client_share), PreheatRoutes(self._preheats)
        jobs = JobRoutes(self._preheats, state.advertise_ip)
        opened: dict[str, dict[str, Route]] = {
            "/api/v1/preheats": {"GET": preheats.list_all, "POST": preheats.create},
            "/api/v1/preheats/": {"GET": preheats.get, "DELETE": preheats.delete},
            "/api/v1/jobs": {"GET": jobs.list_all, "POST": jobs.create},
            "/api/v1/jobs/": {"GET": jobs.get, "DELETE": jobs.delete},
        }
        kept: dict[str, dict[str, Route]] = {
            "/api/v1/cache": {"GET": cache.list_all},
            "/api/v1/cache/": {"GET": cache.get, "POST": console.protect(cache.change), "DELETE": console.protect(cache.remove)},
        }
        kept |= {path: {method: token.protect(route) for method, route in routes.items()} for path, routes in opened.items()}
        kept |= {path.replace("/api/v1", before): routes for path, routes in kept.items() for before in ("", "/oapi/v1")}
        self._routes = ROUTES | kept | {"/metrics": {"GET": partial(admin.metrics, Scrapes(state, served))}}
        self._console = ConsoleRoutes(state, self._preheats, cache, self.plain, console)
        lists: dict[str, dict[str, Route]] = {path: {"GET": admin.listing(self._routes, path[:-1])} for path in LISTS}
        self._routes = lists | self._routes

    def join(self, cluster: Cluster) -> None:
        """Serve the cluster's preheats as well. Call before the cluster starts."""
        self._preheats.notices = PreheatNotices(self._state, cluster, self._preheats)

    def close(self) -> None:
        """Close at the end of the process, before the state is closed."""
        self._console.close()
        self._preheats.close()

    def _park(self, task: str, cid: str, want: int, seconds: float) -> asyncio.Future[Response]:
        """Park a plain pull."""
        self._state.counts["pulls"] += 1
        later = self._state.parked.park((task, cid), want, seconds)
        later.add_done_callback(lambda done: self._count("/swarm/pull", _outcome(done)))
        return later

    def __call__(self, request: Request) -> Answer:
        """Answer a request. Raises BadRequest."""
        path = request.path
        methods = self._routes.get(path)
        if methods is None and path.startswith(PATHS):
            path, found = self._console.find(path, request.method)
            methods = {request.method: found, "GET": found}
        if methods is None:
            path, methods = self._search(path)
            if methods is None:
                return _NOT_FOUND
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            return text(405, f"{path} takes {', '.join(methods)}")
        if self._state.draining and route is api_v1.register:
            route = api_v1.refuse_draining
        started, size = monotonic(), size_of(request)
        if request.method in BODILESS:
            request.body = b""  # no route reads it, and the request may wait
        try:
            result = route(self._state, request)
        except BadRequest as error:
            result = text(error.status, error.reason)
        except ProtocolViolation as error:
            result = api_v1.refuse_body(request, error)
        if isinstance(result, Response):
            self._answered(path, started, size, result)
            return result
        later = self._state.loop.create_task(result) if asyncio.iscoroutine(result) else result
        assert isinstance(later, asyncio.Future)
        later.add_done_callback(lambda done: self._answered(path, started, size, _outcome(done)))
        return later

    def _answered(self, path: str, started: float, size: int, answer: Response | None) -> None:
        self._count(path, answer)
        self._state.legacy_counts.answered(path, monotonic() - started, size, answer)

    def _count(self, path: str, answer: Response | None) -> None:
        key = (path, answer.status if answer is not None else 499)
        self.answers[key] = self.answers.get(key, 0) + 1

    def _search(self, path: str) -> tuple[str, dict[str, Route] | None]:
        """Return the route of a versioned path, or of a path that ends in an id."""
        versioned = _VERSIONED.match(path)
        if versioned:
            path = path[versioned.end() :]
        if path in self._routes and (path in LISTS or not path.endswith("/")):
            return path, self._routes[path]
        folder, slash, name = path.rpartition("/")
        if name and folder + slash in self._routes and folder + slash not in LISTS:
            return folder + slash, self._routes[folder + slash]
        return path, None


def _outcome(done: asyncio.Future[Response]) -> Response | None:
    """Return the response; None when the client disconnected before, or the handler failed."""
    return None if done.cancelled() or done.exception() else done.result()
