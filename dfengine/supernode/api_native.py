"""The native pull (`POST /swarm/pull`): applies reports, returns offers, and parks while there is nothing to offer."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from dfengine import wire
from dfengine.errors import BadValue, DfengineError, ProtocolViolation, RemoteError, UnknownTask
from dfengine.net.http import Request, Response
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.task import SUPERNODE_CID
from dfengine.wire import MAX_WAIT

REASONS = frozenset(("gone", "digest", "slow", "other"))
MAX_PIECES = 64
MAX_REPORTS = 20_000
"""Reports in one pull: as many as are decoded and applied in about 20 ms. A client sends at most 1000 of each kind."""

MAX_COSTLY = 5_000
"""Reports in one pull of the kinds that take longer: failures, pieces that are ending, evicted pieces."""


def pull(state: SupernodeState, request: Request) -> Response | asyncio.Future[Response]:
    state.counts["pulls"] += 1
    try:
        message = wire.decode_pull(request.body)
        task, cid = message.task, message.cid
        member = state.member(task, cid, request.client)
        if not member.native:
            raise BadValue("this download registered as 1.x")
        connection = request.connection
        if connection is not None and member.connection is not connection:
            member.connection, connection.member = connection, member
        state.swarm.seen(task, cid, state.now())  # also by a pull without reports that requests no pieces
        state.parked.release((task, cid))
        _report(state, message)
        want = min(message.want, MAX_PIECES)
        if want <= 0:
            state.wake()
            return _answer(wire.Pulled(wire.REPORTED))
        # The capacity that the reports freed goes to parked pulls first; otherwise a download with a slot would retain it.
        state.wake()
        decided = state.swarm.pull(task, cid, want, state.now(), message.pieces)
        if decided.pieces or decided.kind == "finished" or message.wait <= 0:
            answer = state.answers.answer(task, cid, decided)
            state.wake()
            return _answer(answer)
        if message.pieces is not None:
            state.fetch_pool.fetches[task].wants_pieces(message.pieces)
        elif message.end != -1:
            state.fetch_pool.fetches[task].wants(message.una, message.end)
        request.body = b""  # it is not kept while the pull waits
        parked = state.parked.park((task, cid), want, min(message.wait, MAX_WAIT))
        state.wake()
        return parked
    except ProtocolViolation as error:
        state.wake()
        return Response(400, wire.encode(wire.Pulled(wire.BAD_PARAMETER, msg=str(error))))
    except UnknownTask as error:
        return _answer(wire.Pulled(wire.NOT_FOUND, msg=str(error)))
    except BadValue as error:
        return _answer(wire.Pulled(wire.BAD_PARAMETER, msg=str(error)))
    except RemoteError as error:
        return _answer(wire.Pulled(wire.CDN_FAILED, msg=str(error)))
    except DfengineError as error:
        return _answer(wire.Pulled(wire.SYSTEM_ERROR, msg=str(error)))


def _answer(message: wire.Pulled) -> Response:
    return Response(200, wire.encode(message))


def _report(state: SupernodeState, message: wire.Pull) -> None:
    """Apply the reports of a pull. Raises BadPiece, BadRange, ProtocolViolation for reports that cannot be true."""
    swarm, now, task, cid = state.swarm, state.now(), message.task, message.cid
    costly = len(message.failed) + len(message.ending)
    for first, past in message.evicted:
        if first >= past:
            raise ProtocolViolation(f"{first}..{past} is no run of pieces")
        costly += past - first
    if costly > MAX_COSTLY or costly + len(message.done) + len(message.held) > MAX_REPORTS:
        raise ProtocolViolation("too many reports in one pull")
    if any(first < past for (_, past), (first, _) in pairwise(message.held)):
        raise ProtocolViolation("runs of pieces overlap, or are out of order")
    if message.held:
        download = swarm.tasks[task].downloads[cid]
        if download.window is not None and sum(past - first for first, past in message.held) > MAX_COSTLY:
            raise ProtocolViolation("a stream has fewer pieces than that")
        swarm.holds(task, cid, message.held, now)
    if message.done:
        swarm.done_all(task, cid, message.done, now)
    for n, source, why in message.failed:
        if why not in REASONS:
            raise ProtocolViolation(f"a failure is {', '.join(sorted(REASONS))}, not {why[:20]!r}")
        own = source.startswith(SUPERNODE_CID)
        swarm.failed(task, cid, n, None if own else source, why, now)
        if own and why != "slow":
            state.scrubber.scrub(state.fetch_pool.fetches.get(task), n, state.members[task, cid].address)
    if message.pace > 0:
        swarm.paced(task, cid, message.pace, now)
    for n in message.ending:
        swarm.ending(task, cid, n, now)
    if message.una or message.end != -1:
        swarm.window_moved(task, cid, message.una, message.end, now)
    for first, past in message.evicted:
        for n in range(first, past):
            swarm.evicted(task, cid, n, now)
