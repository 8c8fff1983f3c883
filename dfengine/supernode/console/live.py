"""`/api/v2/live`: a stream of server-sent events for each viewer, and one round of figures for all of them.

A round makes each message once, for any number of viewers of the same resource, and stays within the budget: rounds of costly figures are
further apart. A viewer that has not read its last message does not get this one. Viewers have no queue: events are in the ring, and a
viewer that has missed a change of a swarm gets a snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

import msgspec

from dfengine.net.client_quota import Quota
from dfengine.net.event_stream import EventStream, message
from dfengine.net.http import BadRequest, Response
from dfengine.supernode.console.api_types import Problem
from dfengine.supernode.console.handlers import Call, Handlers, event_row
from dfengine.supernode.console.operations import Operation
from dfengine.supernode.console.safe_json import encode
from dfengine.supernode.console.swarm_watch import SwarmWatch

if TYPE_CHECKING:
    from dfengine.supernode.supernode_state import SupernodeState

PERIOD = 1.0
"""Seconds between two rounds."""

MAX_VIEWERS = 32
"""Viewers at the same time, of which one client may have its share."""

RESERVED = 8
"""Places of these for viewers that may change something, so that viewers without the token cannot take all places."""

PATIENCE = 60.0
"""Seconds for which a viewer may leave a message unread before its stream is closed."""

EVENTS = 50
"""Events in one message to a viewer."""

HEADERS = ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), ("X-Accel-Buffering", "no")
RETRY = b"retry: 2000\n\n"
"""Milliseconds after which a browser connects again."""


_Swarm = tuple[str, int]
"""The watched part of a swarm: the task, and the number of downloads."""


class Viewer:
    """last: id of the last event sent. sent: last message sent of the watched resource. tick: of the swarm sent last."""

    __slots__ = ("call", "last", "operation", "read_at", "sent", "stream", "tick", "watch")

    def __init__(self, watch: str, operation: Operation | None, call: Call, last: int) -> None:
        self.watch, self.operation, self.call, self.last = watch, operation, call, last
        self.stream: EventStream | None = None
        self.sent = b""
        self.tick = -1
        self.read_at = monotonic()


class Live:
    """watched: returns the operation for a GET of the watched path, or raises BadRequest. reserves: there is a token."""

    def __init__(
        self, state: SupernodeState, handlers: Handlers, watched: Callable[[str, Call], tuple[Operation, Call]], reserves: bool
    ) -> None:
        self._state, self._handlers, self._watched = state, handlers, watched
        self._viewers: dict[EventStream, Viewer] = {}
        self._public_limit = MAX_VIEWERS - RESERVED * reserves
        # Both kinds of viewers may have the same address.
        self._shares = {
            False: Quota(self._public_limit, state.settings.client_share), True: Quota(MAX_VIEWERS, state.settings.client_share)
        }  # fmt: skip
        self._swarms: dict[_Swarm, SwarmWatch] = {}
        self._wakeup = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None

    def open(self, call: Call) -> Response:
        """Return the stream. Raises BadRequest when it is refused."""
        query, request = call.query, call.request
        operation, watched = self._watched(query.watch, call) if query.watch else (None, call)
        last = _last(request.headers.get("last-event-id", ""), query.after, self._state.events.newest_id)
        if self._full(call):
            raise BadRequest(503, self._refusal(call))
        request.keep_alive = False
        viewer = Viewer(query.watch, operation, watched, last)
        return EventStream(lambda stream: self._stream_opened(stream, viewer), self._stream_ended, HEADERS)

    def _full(self, call: Call) -> bool:
        """Whether there is no place for this viewer."""
        most = MAX_VIEWERS if call.may_change else self._public_limit
        return len(self._viewers) >= most or self._shares[call.may_change].full(call.request.client)

    def _refusal(self, call: Call) -> str:
        shares = self._shares[call.may_change]
        if shares.full(call.request.client):
            return f"{shares.limit} live streams of this client are open, the most for one client"
        rest = MAX_VIEWERS - len(self._viewers)
        return f"{len(self._viewers)} live streams are open{f', and {rest} places are for viewers with the token' if rest else ''}"

    def _stream_opened(self, stream: EventStream, viewer: Viewer) -> None:
        if self._full(viewer.call):
            stream.close()
            return
        self._shares[viewer.call.may_change].acquire(viewer.call.request.client)
        viewer.stream = stream
        self._viewers[stream] = viewer
        self._handlers.viewers = len(self._viewers)
        stream.write(RETRY)
        self._wakeup.set()
        if self._rounds is None:
            self._rounds = self._state.loop.create_task(self._run())

    def _stream_ended(self, stream: EventStream) -> None:
        viewer = self._viewers.pop(stream, None)
        if viewer is not None:
            self._shares[viewer.call.may_change].release(viewer.call.request.client)
            self._handlers.viewers = len(self._viewers)

    async def _run(self) -> None:
        try:
            while self._viewers:
                self._wakeup.clear()
                await asyncio.sleep(self._handlers.sampler.budget.delay())
                await self._round()
                try:
                    await asyncio.wait_for(self._wakeup.wait(), PERIOD)
                    await asyncio.sleep(PERIOD / 10)  # so that many new viewers share a round
                except TimeoutError:
                    continue
        finally:
            self._rounds = None
            self._swarms.clear()

    async def _round(self) -> None:
        encoded: dict[tuple[str, bool], bytes] = {}
        overviews: dict[bool, bytes] = {}
        changes: dict[_Swarm, bytes] = {}
        snapshots: dict[_Swarm, bytes] = {}
        budget = self._handlers.sampler.budget
        watched = {_swarm(each.call) for each in self._viewers.values() if each.operation and each.operation.name == "swarm"}
        self._swarms = {key: self._swarms.get(key) or SwarmWatch(self._state, key[0], budget, key[1]) for key in watched}
        for key, swarm in self._swarms.items():
            change = await swarm.refresh()
            with budget.work():
                changes[key] = message(encode(change), "swarm_change") if change is not None else b""
        for viewer in list(self._viewers.values()):
            stream, now = viewer.stream, monotonic()
            if stream is None or stream not in self._viewers:
                continue
            if stream.unread:
                if now - viewer.read_at > PATIENCE:
                    stream.abort()
                continue
            viewer.read_at = now
            operation, may_change = viewer.operation, viewer.call.may_change
            if may_change not in overviews:
                overview = await self._handlers.overview(viewer.call)
                with budget.work():
                    overviews[may_change] = message(encode(overview), "overview")
            if operation is None:
                update = b""
            elif operation.name == "swarm":
                update = await self._swarm_update(viewer, changes, snapshots)
            else:
                key = (viewer.watch, may_change)
                if key not in encoded:
                    encoded[key] = await self._resource(operation, viewer.call)
                update = encoded[key] if encoded[key] != viewer.sent else b""
                viewer.sent = encoded[key]
            stream.write(b"".join((overviews[may_change], self._events(viewer), update)))

    async def _resource(self, operation: Operation, call: Call) -> bytes:
        budget = self._handlers.sampler.budget
        try:
            found = await getattr(self._handlers, operation.name)(call)
        except BadRequest as error:
            return _gone_message(error.status, error.reason)
        with budget.work():
            data = message(encode(found), "resource")
        await asyncio.sleep(0)
        return data

    async def _swarm_update(self, viewer: Viewer, changes: dict[_Swarm, bytes], snapshots: dict[_Swarm, bytes]) -> bytes:
        task, _ = key = _swarm(viewer.call)
        swarm = self._swarms.get(key)
        if swarm is None or self._state.names.find(task) not in self._state.swarm.tasks:
            update = _gone_message(404, f"task {task}: not found")
            viewer.tick, repeated, viewer.sent = -1, update == viewer.sent, update
            return b"" if repeated else update
        viewer.sent = b""
        before, viewer.tick = viewer.tick, swarm.tick
        if before == swarm.tick:
            return b""
        if before == swarm.tick - 1 and changes.get(key):
            return changes[key]
        if key not in snapshots:
            found = await swarm.snapshot()
            with self._handlers.sampler.budget.work():
                snapshots[key] = message(encode(found), "swarm") if found is not None else b""
        return snapshots[key]

    def _events(self, viewer: Viewer) -> bytes:
        events = self._state.events.after(viewer.last, EVENTS)
        if events:
            viewer.last = events[-1][0]
        return b"".join(message(encode(event_row(event)), "event", event[0]) for event in events)

    def close(self) -> None:
        """Stop at the end of the process."""
        if self._rounds is not None:
            self._rounds.cancel()


def _swarm(call: Call) -> _Swarm:
    return call.ids["task"], call.query.limit


def _last(header: str, after: int, newest: int) -> int:
    """Return the id after which events are sent. Raises BadRequest."""
    if header:
        if not (header.isascii() and header.isdigit() and len(header) < 17):
            raise BadRequest(400, "Last-Event-ID is not a number")
        return int(header)
    return newest if after < 0 else after


def _gone_message(status: int, reason: str) -> bytes:
    return message(msgspec.json.encode(Problem("Gone", status, reason)), "gone")
