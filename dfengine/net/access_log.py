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
Quick = Callable[[bytes, ConnectionState, str], bytes | asyncio.Future[Response] | None]


def logged(events: EventLog, route: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    """Wrap `route` so that each of its answers is logged: a Response, Parts, or a future of a Response."""

    def answer(request: Request) -> Answer:
        tell = partial(_tell, events, request.client, request.method, request.path, monotonic())
        try:
            found = route(request)
        except BadRequest as error:
            tell(error.status, 0)
            raise
        _of(found, tell)
        return found

    return answer


def logged_quick(events: EventLog, quick: Quick, method: str, path: str) -> Quick:
    """Wrap a server's `quick` in the same way; all of its requests have this method and path."""

    def answer(data: bytes, connection: ConnectionState, client: str) -> bytes | asyncio.Future[Response] | None:
        tell = partial(_tell, events, client, method, path, monotonic())
        found = quick(data, connection, client)
        if isinstance(found, bytes):
            tell(200, len(found))
        elif found is not None:
            _of(found, tell)
        return found

    return answer


def _of(found: object, tell: Callable[[int, int], None]) -> None:
    if isinstance(found, asyncio.Future):
        found.add_done_callback(lambda done: tell(499, 0) if done.cancelled() or done.exception() else _of(done.result(), tell))
    elif isinstance(found, Response):
        tell(found.status, len(found.body))
    elif isinstance(found, Parts):
        tell(found.status, found.length)


def _tell(events: EventLog, client: str, method: str, path: str, started: float, status: int, size: int) -> None:
    events.access(client=client, method=method, path=path, status=status, bytes=size, seconds=monotonic() - started)
