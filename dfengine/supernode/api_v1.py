"""The endpoints of 1.x, over the same swarm as the native pull. Codes and texts are 1.x's (docs/protocol.md).

Handlers take the state and a request and answer with a Response, or a coroutine of one. The router answers a ProtocolViolation with 400.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from dfengine import fields, wire
from dfengine._piece import parse_range
from dfengine.errors import (
    BadPiece,
    BadRange,
    BadValue,
    DfengineError,
    OriginBusy,
    OriginError,
    ProtocolViolation,
    RemoteError,
    UnknownTask,
)
from dfengine.location import OBJECTS, scheme_of
from dfengine.net.http import Request, Response
from dfengine.settings import parse_header
from dfengine.supernode.copies.wanted import Tries, Wanted
from dfengine.supernode.negative_cache import FOR_OTHERS, without_reason
from dfengine.supernode.registration import register as join
from dfengine.supernode.state import SupernodeState
from dfengine.supernode.swarm.scheduler import Pull, Supernode
from dfengine.task import (
    MOST_HEADERS,
    MOST_TEXT,
    MOST_URL,
    OWN,
    PEER_PORTS,
    cdn_cid,
    cdn_path,
    check_task_url,
    check_url,
    content_of,
    names_same,
    peer_path,
    typed_url,
)
from dfengine.tree import TreeTask, tree_url

EMPTY = '{"Code":1,"Msg":"empty value"}'
INVALID = '{"Code":2,"Msg":"invalid value"}'
MUST_WAIT = '{"Code":9,"Msg":"peer should wait"}'
GO_ON = '{"Code":11,"Msg":"peer continue"}'

STATUSES = {wire.START: "START", wire.RUNNING: "RUNNING", wire.DONE: "FINISHED"}
RESULTS = {wire.FAILED: "FAILED", wire.WRITTEN: "SUCCESS", wire.NO_RESULT: "INVALID", wire.ARRIVED: "SEMISUC"}
KEPT = ("cid", "ip", "path", "host_name", "version", "call_system", "location", "super_node_ip")
"""What is remembered of a registration as long as it lasts."""

MOST_CERTIFICATES = 1024
"""Texts of certificates; how long they are is bounded by a request's body."""

OVERHEAD = 4096
"""Bytes that a registration takes besides its texts while it waits for the origin."""

FORM = "application/x-www-form-urlencoded"


def answer(message: wire.Answer, status: int = 200) -> Response:
    """A JSON answer as 1.x ends it, with a newline."""
    return Response(status, wire.encode(message) + b"\n")


def refused(message: str, status: int = 500, code: int = 500) -> Response:
    """1.x's refusal."""
    return answer(wire.Answer(code, message=message), status)


# REGISTRATION


def within(name: str, length: int, most: int, what: str = "characters") -> None:
    """Raises BadValue in 1.x's words for a field of more than so many."""
    if length > most:
        raise BadValue(f"{name}: {length} {what} are more than {most}: {INVALID}")


def checked(registration: wire.Registration) -> wire.Registration:
    """The registration, its md5 and URLs in their one form, if every field can be meant; else BadValue with 1.x's words."""
    for name in (*KEPT, "md5", "identifier", "pattern"):
        within(name, len(getattr(registration, name)), MOST_TEXT)
    for name in ("raw_url", "task_url", "signed_url"):
        within(name, len(getattr(registration, name)), MOST_URL)
    within("headers", len(registration.headers or ()), MOST_HEADERS // 4, "headers")
    within("headers", sum(map(len, registration.headers or ())), MOST_HEADERS)
    within("rootCAs", len(registration.root_cas or ()), MOST_CERTIFICATES, "certificates")
    if registration.port and registration.port not in PEER_PORTS:
        bound = "greater than or equal to 15000" if registration.port < PEER_PORTS.start else "less than or equal to 65000"
        raise BadValue(f"validation failure list:\nport in body should be {bound}: {INVALID}")
    for name, value in (("cID", registration.cid), ("peer ip", registration.ip), ("path", registration.path)):
        if not value:
            raise BadValue(f"{name}: {EMPTY}")
        if any(character < " " for character in value):
            raise BadValue(f"{name}: {INVALID}")
    try:
        registration.path = peer_path(registration.path)
    except BadValue:
        # Others will request this path at the registered address, whichever host that is.
        raise BadValue(f"path: {registration.path[:80]}: {INVALID}") from None
    if registration.cid.startswith(OWN):
        raise BadValue(f"cID: {INVALID}")
    if registration.pattern not in ("", "p2p", "cdn", "source"):
        raise BadValue(f"pattern: {registration.pattern}: {INVALID}")
    # A 1.x client compares md5s as text, and ends without a message and without a file if its user wrote capitals. When the registration
    # is refused it goes to the origin and reports the mismatch, as with a 1.x supernode.
    digits = "0123456789abcdefABCDEF" if registration.native else "0123456789abcdef"
    if registration.md5 and not (len(registration.md5) == 32 and set(registration.md5) <= set(digits)):
        raise BadValue(f"md5: {registration.md5}: {INVALID}")
    registration.md5 = registration.md5.lower()
    if registration.stream_mode and (registration.window_size == 0 or registration.window_size < -1):
        raise BadValue(f"windowsize: {registration.window_size}: {INVALID}")
    # 1.x takes a blank in a URL's path or query as it is.
    registration.raw_url, registration.task_url = typed_url(registration.raw_url), typed_url(registration.task_url)
    try:
        if names_tree(registration):
            registration.raw_url, registration.task_url = tree_url(registration.raw_url), ""
        else:
            check_task_url(registration.raw_url)
    except BadValue:
        raise BadValue(f"raw url: {registration.raw_url}: {INVALID}") from None
    if registration.signed_url and scheme_of(registration.raw_url) not in OBJECTS:
        raise BadValue(f"signed url: for a raw url that is no object's: {INVALID}")
    try:
        check_url(registration.signed_url or "http://none")
    except BadValue:
        raise BadValue(f"signed url: {INVALID}") from None  # without a word of it
    if registration.task_url and not (
        names_same(registration.task_url, registration.raw_url) or content_of(registration.task_url, registration.raw_url)
    ):
        # Bytes of one URL under the name of another would be given to all who want that one.
        raise BadValue(f"task url: {registration.task_url} is not the raw url less some query parameters: {INVALID}")
    return registration


def names_tree(registration: wire.Registration) -> bool:
    """It says something of a tree. Raises ProtocolViolation for what goes with none."""
    if not (registration.tree or registration.include or registration.exclude or registration.manifest):
        return False
    other = registration.task_url not in ("", registration.raw_url)
    ranged = any(header.partition(":")[0].strip().lower() == "range" for header in registration.headers or ())
    if not registration.native or registration.stream_mode or registration.md5 or registration.signed_url or other or ranged:
        raise ProtocolViolation("a tree is for native downloads: it has no range, md5, stream, signed URL or other name")
    return True


def tree_of(registration: wire.Registration) -> TreeTask | None:
    """The task of a tree that a checked registration names, None: it names none. Raises ProtocolViolation for what cannot be meant."""
    if not names_tree(registration):
        return None
    try:
        return TreeTask.parse(registration.tree, registration.include or (), registration.exclude or (), registration.manifest)
    except BadValue as error:
        raise ProtocolViolation(str(error)) from None


def wanted(state: SupernodeState, registration: wire.Registration, address: str) -> Wanted:
    """What the origin is to be asked for; takes the certificates from the registration. Raises BadValue, RemoteError."""
    try:
        certificates = tuple(base64.b64decode(pem, validate=True) for pem in registration.root_cas or ())
    except (binascii.Error, ValueError):
        raise BadValue(f"rootCAs: {INVALID}") from None
    registration.root_cas = None
    headers = tuple(parse_header(header) for header in registration.headers or ())
    tries = Tries.within(registration.origin_tries, registration.origin_retry_time, registration.origin_connect_time,
                         registration.origin_first_byte_time)
    return Wanted(registration.raw_url, headers, registration.insecure, state.quota.shared(certificates, address), registration.md5,
                  registration.signed_url, tries, content_of(registration.task_url or "", registration.raw_url),
                  split=(registration.private or state.settings.private) != "share", tree=tree_of(registration))


async def register(state: SupernodeState, request: Request) -> Response:
    try:
        form = request.headers.get("content-type", "").lower().startswith(FORM)
        registration = checked(wire.Registration.decode(request.body, form))
        request.body = b""  # or it would be kept for as long as the origin's head is waited for
        with state.quota.registering(request.client, OVERHEAD + registration.texts):
            how, url = wanted(state, registration, request.client), registration.task_url or registration.raw_url
            fetch, member = await join(state, registration, how, url, request.client)
    except ProtocolViolation as error:
        return refused(str(error), 400, 400)
    except OriginBusy as error:
        return answer(wire.Answer(wire.WAIT if registration.native else wire.WAIT_AUTH, msg=f"register again: {error}"))
    except OriginError as error:
        # A 1.x client ends at this code; if it is refused as for a URL that cannot be fetched, it goes to the origin directly.
        if error.status in FOR_OTHERS and registration.native and not error.final:
            return answer(wire.Answer(wire.NEED_AUTH, msg=f"the origin asks for credentials: {error}"))
        return refused(str(error) if registration.native else without_reason(str(error)))
    except DfengineError as error:
        return refused(str(error))
    geometry = fetch.geometry
    data = wire.Registered(
        task_id=fetch.task, file_length=geometry.length, piece_size=geometry.piece_size, cdn_source="supernode", as_seed=False,
        seed_task_id="",
    )
    if member.native:
        data.native, data.generation, data.digest = member.native, fetch.description.generation, state.cache.digest
    return answer(wire.Answer(wire.SUCCESS, data, "success"))


# THE PULL


def next_pieces(state: SupernodeState, request: Request) -> Response:
    """GET /peer/task: report one piece, ask for more."""
    query = request.query
    task, cid = _download(query, fields.SRC_CID)
    try:
        status, result = _number(query, fields.STATUS), _number(query, fields.RESULT)
        state.counts["pulls"] += 1
        member = state.member(task, cid, request.client)
        state.swarm.touch(cid, state.now())
        if status == wire.DONE:
            return answer(wire.Answer(wire.FINISHED))
        if status not in STATUSES:
            message = f"failed to convert piece result ({RESULTS.get(result, '')}) dfgetTaskStatus (): {INVALID}"
            return answer(wire.Answer(wire.BAD_PARAMETER, msg=message))
        if status == wire.RUNNING:
            _report(state, task, cid, query, result)
        download = state.swarm.tasks[task].downloads.get(cid)
        if download is not None and not download.legacy:
            raise BadValue(f"clientID({cid}): registered for native pulls: {INVALID}")  # it may be assigned pieces whose md5 is unknown
        pull = state.swarm.pull(task, cid, state.settings.down_limit, state.now())
    except (BadValue, BadRange, BadPiece) as error:
        return answer(wire.Answer(wire.BAD_PARAMETER, msg=str(error)))
    except UnknownTask as error:
        return answer(wire.Answer(wire.NOT_FOUND, msg=str(error)))
    except RemoteError as error:
        return answer(wire.Answer(wire.CDN_FAILED, msg=str(error)))
    finally:
        state.wake()
    return _pulled(state, task, cid, member.super_node_ip, pull, status)


def _number(query: dict[str, str], name: str) -> int:
    value = query.get(name, "")
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise BadValue(f"{name}: {value[:40]}: {INVALID}")
    return int(value)


def piece_of(state: SupernodeState, task: str, given: str) -> int:
    """The piece whose range was given. Raises BadRange with 1.x's words."""
    fetch = state.cdn.fetches.get(task)
    try:
        if fetch is None:
            raise BadRange("no such task")
        return fetch.geometry.number(*parse_range(given))
    except BadRange:
        raise BadRange(f"pieceRange: {given[:60]}: {INVALID}") from None


def _report(state: SupernodeState, task: str, cid: str, query: dict[str, str], result: int) -> None:
    if result not in RESULTS or result == wire.NO_RESULT:
        raise BadValue(f"failed to convert result: {RESULTS.get(result, '')} and status RUNNING to pieceStatus: {INVALID}")
    n = piece_of(state, task, query.get(fields.RANGE, ""))
    source = _source(query)
    if result == wire.ARRIVED:
        state.swarm.arrived(task, cid, n, state.now())
    elif result == wire.WRITTEN:
        state.swarm.done(task, cid, n, source, state.now())
    else:
        _failed(state, task, cid, n, source, "other")


def _failed(state: SupernodeState, task: str, cid: str, n: int, source: str | None, why: str) -> None:
    state.swarm.failed(task, cid, n, source, why, state.now())
    if source is None:
        state.scrubber.scrub(state.cdn.fetches.get(task), n, state.members[task, cid].address)


def _download(query: dict[str, str], parameter: str = fields.CID) -> tuple[str, str]:
    """(task, CID) of whom a request speaks for."""
    return query.get(fields.TASK_ID, ""), query.get(parameter, "")


def _source(query: dict[str, str]) -> str | None:
    """The swarm's name of a source: the supernode itself is None there."""
    cid = query.get(fields.DST_CID, "")
    return None if not cid or cid.startswith(OWN) else cid


def _pulled(state: SupernodeState, task: str, cid: str, super_node_ip: str, pull: Pull, status: int) -> Response:
    fetch = state.cdn.fetches[task]
    geometry, file = fetch.geometry, fetch.file
    assert file is not None
    if pull.kind == "finished":
        if not fetch.md5:
            return answer(wire.Answer(wire.WAIT, msg=f"taskID({task}) clientID({cid}): {MUST_WAIT}"))
        return answer(wire.Answer(wire.FINISHED, wire.Finished(geometry.framed_length, fetch.md5)))
    if pull.kind == "busy":
        return answer(wire.Answer(wire.CONTINUE, msg=f"taskID: {task},clientID: {cid}: {GO_ON}"))
    if pull.kind == "wait":
        cached = state.swarm.tasks[task].cached.count()
        where = "clientSucCount:0,cdnSucCount:0" if status == wire.START and not cached else f"taskID({task}) clientID({cid})"
        return answer(wire.Answer(wire.WAIT, msg=f"{where}: {MUST_WAIT}"))
    if not pull.pieces:
        return answer(wire.Answer(wire.WAIT, msg=MUST_WAIT))
    pieces = []
    for n, sources in pull.pieces:
        source = sources[0]
        md5 = file.md5s[n]  # 1.x is offered only pieces whose md5 is known
        if isinstance(source, Supernode):
            who, ip, port, path = cdn_cid(super_node_ip, task), super_node_ip, state.settings.download_port, cdn_path(task)
        else:
            who, ip, port, path = source.cid, source.ip, source.port, source.path
        pieces.append(
            wire.PieceSource(geometry.range_text(n), n, geometry.piece_size, f"{md5.hex()}:{geometry.framed(n)}", who, ip, port, path)
        )
    return answer(wire.Answer(wire.CONTINUE, pieces))


# REPORTS


def piece_done(state: SupernodeState, request: Request) -> Response:
    """GET /peer/piece/suc, and POST /peer/piece/stream: written, or cached, and servable now."""
    return _told(state, request, lambda task, cid, n: state.swarm.done(task, cid, n, _source(request.query), state.now()))


def piece_evicted(state: SupernodeState, request: Request) -> Response:
    """DELETE /peer/piece/stream: no longer in the cache."""
    return _told(state, request, lambda task, cid, n: state.swarm.evicted(task, cid, n, state.now()))


def _told(state: SupernodeState, request: Request, event: Callable[[str, str, int], object]) -> Response:
    task, cid = _download(request.query)
    try:
        state.member(task, cid, request.client)
        event(task, cid, piece_of(state, task, request.query.get(fields.PIECE_RANGE, "")))
    except DfengineError as error:
        return refused(str(error))
    finally:
        state.wake()
    return answer(wire.Answer(wire.REPORTED))


def piece_failed(state: SupernodeState, request: Request) -> Response:
    """GET /peer/piece/error: a source had not the piece, or another one. 200 and nothing, as 1.x."""
    query = request.query
    task, cid = _download(query, fields.SRC_CID)
    kind = query.get(fields.ERROR_TYPE, "")
    why = fields.WHY.get(kind)
    if why is None:
        return refused(f"errorType: {kind[:60]}: {INVALID}", 400, 400)
    try:
        state.member(task, cid, request.client)
        _failed(state, task, cid, piece_of(state, task, query.get(fields.RANGE, "")), _source(query), why)
    except DfengineError as error:
        return refused(str(error))
    finally:
        state.wake()
    return Response(200, b"")


def leave(state: SupernodeState, request: Request) -> Response:
    task, cid = _download(request.query)
    member = state.members.get((task, cid))
    if member is None or not member.is_of(request.client):
        return refused(f"failed to update the service down info because this peer({cid}) has been offline")
    state.registry.leave(member.key)
    state.wake()
    return answer(wire.Answer(wire.LEFT))


def report(state: SupernodeState, request: Request) -> Response:
    told = wire.folded(request.body)
    state.counts["finished_downloads" if told.get("success") is True else "failed_downloads"] += 1
    if told.get("wrongcontent") is True:
        state.shares.doubt(told.get("taskid"), told.get("cid"), request.client)
    if told.get("backsourcereason") not in (None, "", "0", 0):
        state.counts["back_to_source"] += 1
    return answer(wire.Answer(1, msg="success"))


def heartbeat(state: SupernodeState, request: Request) -> Response:
    """POST /peer/heartbeat: of a seed; a sign of life if it names a CID."""
    cid = wire.folded(request.body).get("cid")
    if isinstance(cid, str) and cid:
        state.swarm.touch(cid, state.now())
    return Response(200, b'{"seedTaskIDs":null}\n')


def network(state: SupernodeState, request: Request) -> Response:
    """POST /peer/network: 1.x asks who else fetches; this swarm tells by pulls only."""
    wire.folded(request.body)  # raises ProtocolViolation
    return Response(200, b'{"nodes":null}\n')


