"""The endpoints of 1.x, over the same swarm as the native pull. Codes and texts are those of 1.x (docs/protocol.md).

Handlers receive the state and a request, and return a Response or a coroutine of one. The router maps a ProtocolViolation to a refusal.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Coroutine
from dataclasses import replace
from time import monotonic
from typing import Any

from dfengine import fields, trace_context, wire
from dfengine._piece import parse_range
from dfengine.codes import INVALID
from dfengine.errors import (
    BadPiece,
    BadRange,
    BadValue,
    DfengineError,
    DiskFull,
    OriginBusy,
    OriginError,
    ProtocolViolation,
    RemoteError,
    SupernodeFull,
    UnknownTask,
)
from dfengine.net import tracing
from dfengine.net.http import CloseConnection, Request, Response
from dfengine.supernode.download_events import log_download
from dfengine.supernode.label_values import number
from dfengine.supernode.legacy_metrics import MAX_DOWNLOAD, MAX_FILE
from dfengine.supernode.negative_cache import FOR_OTHERS, reason_alone, without_reason
from dfengine.supernode.registration import register as join
from dfengine.supernode.registration_check import OVERHEAD, checked, wanted
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.supernode.swarm.scheduler import PullResult, SupernodeSource
from dfengine.task import SUPERNODE_CID, cdn_cid, cdn_path

FULL_RETRY = 5
"""Value of Retry-After, in seconds, when the supernode is full."""

MUST_WAIT = '{"Code":9,"Msg":"peer should wait"}'
CONTINUE = '{"Code":11,"Msg":"peer continue"}'

STATUSES = {str(status): status for status in (wire.START, wire.RUNNING, wire.DONE)}
RESULTS = {str(wire.FAILED): "FAILED", str(wire.WRITTEN): "SUCCESS", str(wire.NO_RESULT): "INVALID", str(wire.ARRIVED): "SEMISUC"}
FORM = "application/x-www-form-urlencoded"

LEGACY_SECONDS = 4.0
"""Seconds after which a registration of 1.x waits no longer for the head of the origin's response: dfget waits 5 for an answer."""

LEGACY_GRACE = 0.5
"""Seconds after LEGACY_SECONDS at which it is answered in any case, as when the origin does not check credentials by then."""


def answer(message: wire.Answer, status: int = 200) -> Response:
    """Return a message as a JSON response with a final newline, as in 1.x."""
    return Response(status, wire.encode(message) + b"\n")


def refusal(message: str, status: int = 500, code: int = 500) -> Response:
    """Return a refusal in the form of 1.x."""
    return answer(wire.Answer(code, message=message), status)


def refuse_body(request: Request, error: ProtocolViolation) -> Response:
    """Refuse a request for its body. On 1.x's paths an unreadable body gets 1.x's refusal, a body over a limit that 1.x lacks 400."""
    legacy = isinstance(error, wire.UnreadableBody) and ("/peer/" in request.path or request.path.endswith("/task/metrics"))
    return refusal(str(error)) if legacy else refusal(str(error), 400, 400)


# REGISTRATION


def register(state: SupernodeState, request: Request) -> Coroutine[Any, Any, Response]:
    try:
        registration = checked(wire.Registration.decode(request.body, request.headers.get("content-type", "").lower().startswith(FORM)))
    except DfengineError as error:
        with _span(request):
            return _answered(_refuse(state, request, error))
    request.body = b""  # it may be large, and the registration waits for the head of the origin's response
    return _trace_registration(state, request, registration)


def _span(request: Request) -> tracing.Span:
    parent = request.headers.get(trace_context.NAME, "")
    return tracing.begin("dfengine-supernode", "register", parent, tracing.SERVER, client=request.client)


def _refuse(state: SupernodeState, request: Request, error: DfengineError) -> Response:
    state.events.warning("registration_refused", client=request.client, reason=str(error))
    return refuse_body(request, error) if isinstance(error, ProtocolViolation) else refusal(str(error))


async def _answered(response: Response) -> Response:
    return response


async def _trace_registration(state: SupernodeState, request: Request, registration: wire.Registration) -> Response:
    with _span(request) as span:
        return await _register(state, request, registration, span)


async def _register(state: SupernodeState, request: Request, registration: wire.Registration, span: tracing.Span) -> Response:
    try:
        with state.quota.registering(request.client, OVERHEAD + registration.texts):
            how, url = wanted(state, registration, request.client), registration.task_url or registration.raw_url
            how = replace(how, traceparent=span.traceparent) if span.traceparent else how
            # At code 609 dfget registers again, three times. The head's wait ends first: a complete copy that is being compared is used.
            until = math.inf if registration.native else state.loop.time() + LEGACY_SECONDS
            async with asyncio.timeout(None if registration.native else LEGACY_SECONDS + LEGACY_GRACE):
                fetch, member = await join(state, registration, how, url, request.client, until)
    except TimeoutError:
        state.events.debug("registration_deferred", client=request.client, reason="the origin has not answered yet")
        return answer(wire.Answer(wire.WAIT_AUTH, msg="register again: the origin has not answered yet"))
    except OriginBusy as error:
        state.events.debug("registration_deferred", client=request.client, reason=str(error))
        return answer(wire.Answer(wire.WAIT if registration.native else wire.WAIT_AUTH, msg=f"register again: {error}"))
    except OriginError as error:
        state.events.warning("registration_refused", client=request.client, reason=reason_alone(str(error)))
        # A 1.x client ends at this code. When refused as for a URL that cannot be fetched, it goes to the origin directly.
        if error.status in FOR_OTHERS and registration.native and not error.final:
            return answer(wire.Answer(wire.NEED_AUTH, msg=f"the origin asks for credentials: {error}"))
        return refusal(str(error) if registration.native else without_reason(str(error)))
    except (SupernodeFull, DiskFull) as error:
        state.events.warning("registration_refused", client=request.client, reason=str(error))
        return refusal_with_supernodes(state, str(error)) if registration.native else refusal(str(error))
    except DfengineError as error:
        return _refuse(state, request, error)
    geometry = fetch.geometry
    span.add_attributes(
        task=state.names.public_name(fetch.task), cid=state.names.public_cid(fetch.task, registration.cid), length=geometry.length,
    )
    data = wire.Registered(
        task_id=fetch.task, file_length=geometry.length, piece_size=geometry.piece_size, cdn_source="supernode", as_seed=False,
        seed_task_id="",
    )
    if member.native:
        known = fetch.description
        data.native, data.generation, data.digest = member.native, known.generation, state.cache.digest
        if registration.follows:
            data.etag, data.last_modified, data.undated, data.coding = known.etag, known.last_modified, not known.dated, known.coding
            data.cluster_name, data.vary = fetch.request.cluster_name, sorted(known.vary)
    return answer(wire.Answer(wire.SUCCESS, data, "success"))


def refusal_with_supernodes(state: SupernodeState, message: str, status: int = 503) -> Response:
    """Refuse and name other supernodes to clients that know the field: a random choice of those that lead the fewest tasks."""
    others = state.other_supernodes()[: 2 * wire.MAX_ALTERNATIVES]
    alternatives = random.sample(others, min(len(others), wire.MAX_ALTERNATIVES))
    response = answer(wire.Answer(wire.SYSTEM_ERROR if status == 503 else status, message=message, alternatives=alternatives), status)
    response.headers = (("Retry-After", str(FULL_RETRY)),)
    return response


def refuse_draining(state: SupernodeState, request: Request) -> Response:
    """Refuse a registration while this supernode drains; a native client receives the reason and the cluster's other supernodes.
    Raises CloseConnection for a client of 1.x: it looks for another supernode after a closed connection, but not after a refusal."""
    try:
        native = wire.Registration.decode(request.body, request.headers.get("content-type", "").lower().startswith(FORM)).native
    except (ProtocolViolation, BadValue):
        native = 0
    if not native:
        raise CloseConnection
    return refusal_with_supernodes(state, "it is about to end (--drain) and takes no new downloads")


# THE PULL


def next_pieces(state: SupernodeState, request: Request) -> Response:
    """GET /peer/task: report one piece, request more."""
    query = request.query
    task, cid = _download(query, fields.SRC_CID)
    try:
        state.counts["pulls"] += 1
        status = STATUSES.get(query.get(fields.STATUS, ""))
        if status is None:
            result = RESULTS.get(query.get(fields.RESULT, ""), "")
            message = f"failed to convert piece result ({result}) dfgetTaskStatus (): {INVALID}"
            return answer(wire.Answer(wire.BAD_PARAMETER, msg=message))
        member = state.member(task, cid, request.client)
        state.registry.touch(cid, request.client)
        if status == wire.DONE:
            return answer(wire.Answer(wire.FINISHED))
        if status == wire.RUNNING:
            _report(state, task, cid, query)
        download = state.swarm.tasks[task].downloads.get(cid)
        if download is not None and not download.legacy:
            raise BadValue(f"clientID({cid}): registered for native pulls: {INVALID}")  # its pieces may have no md5
        started = monotonic()
        pull = state.swarm.pull(task, cid, state.settings.down_limit, state.now())
        state.legacy_counts.scheduled(member.peer.ip, monotonic() - started, request.client)
    except (BadValue, BadRange, BadPiece) as error:
        return answer(wire.Answer(wire.BAD_PARAMETER, msg=str(error)))
    except UnknownTask as error:
        return answer(wire.Answer(wire.NOT_FOUND, msg=str(error)))
    except RemoteError as error:
        return answer(wire.Answer(wire.CDN_FAILED, msg=str(error)))
    finally:
        state.wake()
    return _pulled(state, task, cid, member.super_node_ip, pull, status)


def piece_of(state: SupernodeState, task: str, given: str) -> int:
    """Return the piece with the given range. Raises BadRange with 1.x's message."""
    fetch = state.fetch_pool.fetches.get(task)
    try:
        if fetch is None:
            raise BadRange("no such task")
        return fetch.geometry.number(*parse_range(given))
    except BadRange:
        raise BadRange(f"pieceRange: {given[:60]}: {INVALID}") from None


def _report(state: SupernodeState, task: str, cid: str, query: dict[str, str]) -> None:
    n, result = piece_of(state, task, query.get(fields.RANGE, "")), query.get(fields.RESULT, "")
    if result not in RESULTS or result == str(wire.NO_RESULT):
        raise BadValue(f"failed to convert result: {RESULTS.get(result, '')} and status RUNNING to pieceStatus: {INVALID}")
    source = _source(query)
    if result == str(wire.ARRIVED):
        state.swarm.arrived(task, cid, n, state.now())
    elif result == str(wire.WRITTEN):
        state.swarm.done(task, cid, n, source, state.now())
    else:
        _failed(state, task, cid, n, source, "other")


def _failed(state: SupernodeState, task: str, cid: str, n: int, source: str | None, why: str) -> None:
    state.swarm.failed(task, cid, n, source, why, state.now())
    if source is None:
        state.scrubber.scrub(state.fetch_pool.fetches.get(task), n, state.members[task, cid].address)


def _download(query: dict[str, str], parameter: str = fields.CID) -> tuple[str, str]:
    """Return the (task, CID) that a request names."""
    return query.get(fields.TASK_ID, ""), query.get(parameter, "")


def _source(query: dict[str, str]) -> str | None:
    """Return the swarm's name of a source; None is the supernode itself."""
    cid = query.get(fields.DST_CID, "")
    return None if not cid or cid.startswith(SUPERNODE_CID) else cid


def _pulled(state: SupernodeState, task: str, cid: str, super_node_ip: str, pull: PullResult, status: int) -> Response:
    fetch = state.fetch_pool.fetches[task]
    geometry, file = fetch.geometry, fetch.file
    assert file is not None
    if pull.kind == "finished":
        if not fetch.md5:
            return answer(wire.Answer(wire.WAIT, msg=f"taskID({task}) clientID({cid}): {MUST_WAIT}"))
        return answer(wire.Answer(wire.FINISHED, wire.Finished(geometry.framed_length, fetch.md5)))
    if pull.kind == "busy":
        return answer(wire.Answer(wire.CONTINUE, msg=f"taskID: {task},clientID: {cid}: {CONTINUE}"))
    if pull.kind == "wait":
        cached = state.swarm.tasks[task].cached.count()
        where = "clientSucCount:0,cdnSucCount:0" if status == wire.START and not cached else f"taskID({task}) clientID({cid})"
        return answer(wire.Answer(wire.WAIT, msg=f"{where}: {MUST_WAIT}"))
    if not pull.pieces:
        return answer(wire.Answer(wire.WAIT, msg=MUST_WAIT))
    pieces = []
    for n, sources in pull.pieces:
        source = sources[0]
        md5 = file.md5s[n]  # a 1.x download is offered only pieces whose md5 is known
        if isinstance(source, SupernodeSource):
            who, ip, port, path = cdn_cid(super_node_ip, task), super_node_ip, state.settings.download_port, cdn_path(task)
        else:
            who, ip, port, path = source.cid, source.ip, source.port, source.path
        pieces.append(
            wire.PieceSource(geometry.range_text(n), n, geometry.piece_size, f"{md5.hex()}:{geometry.framed(n)}", who, ip, port, path)
        )
    return answer(wire.Answer(wire.CONTINUE, pieces))


# REPORTS


def piece_done(state: SupernodeState, request: Request) -> Response:
    """GET /peer/piece/suc, and POST /peer/piece/stream: the piece is written, or cached, and its download serves it."""
    return _report_event(state, request, lambda task, cid, n: state.swarm.done(task, cid, n, _source(request.query), state.now()))


def piece_evicted(state: SupernodeState, request: Request) -> Response:
    """DELETE /peer/piece/stream: the piece has left the cache."""
    return _report_event(state, request, lambda task, cid, n: state.swarm.evicted(task, cid, n, state.now()))


def _report_event(state: SupernodeState, request: Request, event: Callable[[str, str, int], object]) -> Response:
    task, cid = _download(request.query)
    try:
        state.member(task, cid, request.client)
        event(task, cid, piece_of(state, task, request.query.get(fields.PIECE_RANGE, "")))
    except DfengineError as error:
        return refusal(str(error))
    finally:
        state.wake()
    return answer(wire.Answer(wire.REPORTED))


def piece_failed(state: SupernodeState, request: Request) -> Response:
    """GET /peer/piece/error: a source did not have the piece, or sent other bytes. Always status 200 with an empty body: 1.x checks no
    field of a report. Reports that cannot be true have no effect.

    1.x's dfget names no piece when a source answered 404; it reports the piece by its next pull.
    """
    query = request.query
    task, cid = _download(query, fields.SRC_CID)
    why = fields.WHY.get(query.get(fields.ERROR_TYPE, ""))
    try:
        state.member(task, cid, request.client)
        if why is not None:
            _failed(state, task, cid, piece_of(state, task, query.get(fields.RANGE, "")), _source(query), why)
    except DfengineError:
        pass
    finally:
        state.wake()
    return Response(200, b"")


def leave(state: SupernodeState, request: Request) -> Response:
    task, cid = _download(request.query)
    member = state.members.get((task, cid))
    if member is None or not member.is_of(request.client):
        return refusal(f"failed to update the service down info because this peer({cid}) has been offline")
    state.registry.leave(member.key)
    state.wake()
    return answer(wire.Answer(wire.LEFT))


def report(state: SupernodeState, request: Request) -> Response:
    report_fields = wire.folded(request.body)
    state.legacy_counts.reported(report_fields, request.client)
    if report_fields.get("success") is True:
        length, seconds = number(report_fields.get("filelength"), MAX_FILE), number(report_fields.get("duration"), MAX_DOWNLOAD)
        state.timings.downloaded(length, seconds)
    state.counts["finished_downloads" if report_fields.get("success") is True else "failed_downloads"] += 1
    if report_fields.get("wrongcontent") is True:
        state.shares.report_wrong_digest(report_fields.get("taskid"), report_fields.get("cid"), request.client)
    if report_fields.get("backsourcereason") not in (None, "", "0", 0):
        state.counts["back_to_source"] += 1
    log_download(state.events, report_fields, request.client, state.names, state.fetch_pool.fetches)
    return answer(wire.Answer(1, msg="success"))


def _optional(body: bytes) -> dict[str, Any]:
    """Fields of a JSON object; 1.x also accepts no body and null. Raises ProtocolViolation."""
    return {} if body.strip() in (b"", b"null") else wire.folded(body)


def heartbeat(state: SupernodeState, request: Request) -> Response:
    """POST /peer/heartbeat: the heartbeat of a seed. It proves that the download is alive when it names a CID."""
    cid = _optional(request.body).get("cid")
    if isinstance(cid, str) and cid:
        state.registry.touch(cid, request.client)
    return Response(200, b'{"seedTaskIDs":null}\n')


def network(state: SupernodeState, request: Request) -> Response:
    """POST /peer/network: 1.x requests the other downloads of a task. Always an empty list: this swarm names sources in pulls only."""
    _optional(request.body)  # raises ProtocolViolation
    return Response(200, b'{"nodes":null}\n')


