"""`POST /swarm/reading`: how this supernode reads a task from the origin, for a supernode that copies the task from this one."""

from __future__ import annotations

from dfengine import wire
from dfengine.errors import ProtocolViolation, RemoteError
from dfengine.net.http import Request, Response
from dfengine.supernode.copies import origin_progress_messages
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.origin_progress_messages import Reading
from dfengine.supernode.copies.repair import missing_runs
from dfengine.supernode.supernode_state import SupernodeState


def reading(state: SupernodeState, request: Request) -> Response:
    """Return SUCCESS with the reader's state, or NOT_FOUND for a download that is not registered."""
    try:
        asked = origin_progress_messages.decode_request(request.body)
        state.member(asked.task, asked.cid, request.client)
    except ProtocolViolation as error:
        return Response(400, wire.encode(wire.Answer(wire.BAD_PARAMETER, msg=str(error))))
    except RemoteError:
        return _answer(Reading(wire.NOT_FOUND))
    fetch = state.fetch_pool.fetches[asked.task]
    late = latest(fetch.file) if fetch.reader is not None and fetch.file is not None else -1
    return _answer(Reading(wire.SUCCESS, fetch.origin_bytes, late))


def latest(file: Copy) -> int:
    """Return the piece that a reader reaches last, or nearly; -1: none. Never the file's last: it may be too short to measure a rate by.

    Connections beside the first one begin at the end of the file, and each reads its run of pieces upwards.
    """
    past = file.geometry.count - 1
    return next((min(end, past) - 1 for first, end in reversed(missing_runs(file)) if first < min(end, past)), -1)


def _answer(message: Reading) -> Response:
    return Response(200, wire.encode(message))
