"""Routes requests below `/api/v2` or `/console`: checks permissions, validates parameters, and runs the operation.

Refusals are problems (RFC 9457). An invalid request costs only its parsing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import msgspec

from dfengine.errors import BadValue, DfengineError, ProtocolViolation
from dfengine.net.http import BadRequest, Request, Response
from dfengine.supernode.api_cache import CacheRoutes
from dfengine.supernode.console.api_types import Problem
from dfengine.supernode.console.console_token import ConsoleToken
from dfengine.supernode.console.handlers import Call, Handlers
from dfengine.supernode.console.live import Live
from dfengine.supernode.console.openapi import document
from dfengine.supernode.console.operations import API, SEGMENTS, TABLE, Operation
from dfengine.supernode.console.pages import PAGES, Pages
from dfengine.supernode.console.safe_json import encode
from dfengine.supernode.fastpath import Pulls
from dfengine.supernode.preheats import Preheats
from dfengine.supernode.supernode_state import SupernodeState

PATHS = API, PAGES
"""Path prefixes that are routed here."""

HEADERS = ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")


def public() -> frozenset[str]:
    """Return the paths without data."""
    return Pages().paths | {f"{API}/openapi.json"}


Route = Callable[[SupernodeState, Request], Response | Coroutine[Any, Any, Response]]


class ConsoleRoutes:
    """The routes of one supernode. token: decides which requests may read and change."""

    def __init__(
        self, state: SupernodeState, jobs: Preheats, cache: CacheRoutes, plain: Pulls, token: ConsoleToken, pages: Pages | None = None
    ) -> None:
        self._state = state
        self._token = token
        self._pages = pages or Pages()
        self._handlers = Handlers(state, jobs, cache, plain)
        self._live = Live(state, self._handlers, self.watched, reserves=bool(token))
        self._by_path: dict[str, dict[str, Operation]] = {}
        for operation in TABLE:
            self._by_path.setdefault(operation.path, {})[operation.method] = operation
        self._patterns = [
            (re.compile(re.sub(r"\{(\w+)\}", lambda match: f"(?P<{match[1]}>{SEGMENTS[match[1]]})", path)), path)
            for path in self._by_path if "{" in path
        ]  # fmt: skip
        self._document = b""

    def close(self) -> None:
        """Close at the end of the process."""
        self._live.close()
        self._handlers.sampler.close()

    def find(self, path: str, method: str) -> tuple[str, Route]:
        """Return the path template under which the request is counted, and its route."""
        if not path.startswith(f"{API}/"):
            found = self._pages.find(path)
            if found is None:
                return PAGES, lambda state, request: problem(404, f"{path[:100]}: no such page")
            if method not in ("GET", "HEAD"):
                return PAGES, lambda state, request: _not_allowed("GET")
            return PAGES, lambda state, request: found
        template, ids = self._match(path.removeprefix(API))
        operations = self._by_path.get(template)
        if operations is None:
            return f"{API}/", lambda state, request: problem(404, f"{path[:100]}: no such path, or not found")
        operation = operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            return API + template, lambda state, request: _not_allowed(", ".join(operations))
        return API + template, lambda state, request: self._begin(operation, request, ids)

    def _match(self, path: str) -> tuple[str, dict[str, str]]:
        if path in self._by_path and "{" not in path:
            return path, {}
        for pattern, template in self._patterns:
            if match := pattern.fullmatch(path):
                return template, match.groupdict()
        return "", {}

    def _begin(self, operation: Operation, request: Request, ids: dict[str, str]) -> Response | Coroutine[Any, Any, Response]:
        may_change = self._token.changes(request)
        if operation.changes and not may_change:
            return self._refusal(request)
        try:
            call = Call(request, ids, _query(operation, request), _body(operation, request), may_change)
            if operation.name != "new_preheat":  # which parses it again, and does not wait
                request.body = b""  # the call keeps the request for as long as it waits, or as a stream is open
            if operation.name == "openapi":
                return self._openapi()
            if operation.name == "live":
                return self._live.open(call)
        except BadRequest as error:
            return problem(error.status, error.reason)
        return self._answer(operation, call)

    async def _answer(self, operation: Operation, call: Call) -> Response:
        budget = self._handlers.sampler.budget
        try:
            if operation.changes:
                found = await getattr(self._handlers, operation.name)(call)
            else:
                with budget.request(call.caller):
                    await budget.wait_turn()
                    found = await getattr(self._handlers, operation.name)(call)
        except BadRequest as error:
            return problem(error.status, error.reason)
        except (ProtocolViolation, BadValue) as error:
            return problem(400, str(error))
        except DfengineError as error:
            return problem(409, str(error))
        if operation.changes:
            self._state.events.info("admin_action", action=operation.name, client=call.request.client, **call.ids)
        with budget.work():
            return Response(operation.status, encode(found), headers=HEADERS)

    def watched(self, target: str, call: Call) -> tuple[Operation, Call]:
        """Return the operation for a GET of `target`, in the name of `call`. Raises BadRequest for a path that cannot be watched."""
        request = Request("GET", target.encode("utf-8", "replace"), {}, b"", call.request.client)
        template, ids = self._match(request.path.removeprefix(API)) if request.path.startswith(f"{API}/") else ("", {})
        operation = self._by_path.get(template, {}).get("GET")
        if operation is None or not operation.watched:
            raise BadRequest(400, "watch: not the path of a resource below /api/v2 that can be watched")
        return operation, Call(request, ids, _query(operation, request), None, call.may_change)

    def _refusal(self, request: Request) -> Response:
        self._state.events.warning("admin_action_refused", client=request.client, path=request.path)
        if self._token:
            return problem(401, "this needs the console's token: Authorization: Bearer TOKEN", ("WWW-Authenticate", "Bearer"))
        return problem(403, "read-only: start the supernode with --console-token-file, or with --secret-file")

    def _openapi(self) -> Response:
        self._document = self._document or msgspec.json.encode(document(TABLE))
        return Response(200, self._document, headers=HEADERS)


def problem(status: int, detail: str, *headers: tuple[str, str]) -> Response:
    """Return a refusal. detail: a line for people."""
    body = encode(Problem(HTTPStatus(status).phrase, status, detail))
    retry = (("Retry-After", "2"),) if status in (429, 503) else ()
    return Response(status, body, "application/problem+json", (*HEADERS, *headers, *retry))


def _not_allowed(methods: str) -> Response:
    return problem(405, f"the path has the methods {methods}", ("Allow", methods))


def _query(operation: Operation, request: Request) -> Any:
    """Decode the parameters. Raises BadRequest."""
    given = sum(part.partition("=")[0] != "" for part in request.query_string.decode("utf-8", "replace").split("&"))
    if given > len(request.query):
        raise BadRequest(400, "parameters: one is repeated")
    try:
        return msgspec.convert(request.query, operation.query, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(400, f"parameters: {error}") from None


def _body(operation: Operation, request: Request) -> Any:
    """Decode the body. Raises BadRequest."""
    if operation.body is None:
        return None
    try:
        return msgspec.json.decode(request.body, type=operation.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(400, f"body: {error}") from None
