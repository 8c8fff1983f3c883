"""Access log: one event for each answered request of a control server or a piece server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TypeVar

from dfengine.net.event_log import EventLog
from dfengine.net.http import BadRequest, ConnectionState, Parts, Request, Response

Answer = TypeVar("Answer")
FastPath = Callable[[bytes, ConnectionState, str], bytes | asyncio.Future[Response] | None]


def logged(events: EventLog, route: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    """Wrap `route` so that each of its answers is logged: a Response, Parts, or a future of a Response."""

    def answer(request: Request) -> Answer:
        log = partial(_log, events, request.client, request.method, request.path, monotonic())
        try:
            found = route(request)
        except BadRequest as error:
            log(error.status, 0)
            raise
        _log_result(found, log)
        return found

    return answer


def logged_fast_path(events: EventLog, fast_path: FastPath, method: str, path: str) -> FastPath:
    """Wrap a server's `fast_path` in the same way; all of its requests have this method and path."""

    def answer(data: bytes, connection: ConnectionState, client: str) -> bytes | asyncio.Future[Response] | None:
        log = partial(_log, events, client, method, path, monotonic())
        found = fast_path(data, connection, client)
        if isinstance(found, bytes):
            log(200, len(found))
        elif found is not None:
            _log_result(found, log)
        return found

    return answer


def _log_result(found: object, log: Callable[[int, int], None]) -> None:
    if isinstance(found, asyncio.Future):
        found.add_done_callback(lambda done: log(499, 0) if done.cancelled() or done.exception() else _log_result(done.result(), log))
    elif isinstance(found, Response):
        log(found.status, len(found.body))
    elif isinstance(found, Parts):
        log(found.status, found.length)


def _log(events: EventLog, client: str, method: str, path: str, started: float, status: int, size: int) -> None:
    events.access(client=client, method=method, path=path, status=status, bytes=size, seconds=monotonic() - started)
