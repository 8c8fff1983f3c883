"""`POST /swarm/share`: a host announces that it has all of some content; see `shares`."""

from __future__ import annotations

from dfengine import wire
from dfengine.errors import BadValue, DfengineError, ProtocolViolation
from dfengine.location import is_content
from dfengine.net.http import Request, Response
from dfengine.supernode.registration import join_swarm, remove_other_client
from dfengine.supernode.registration_check import OVERHEAD, checked
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.task import task_id


def share(state: SupernodeState, request: Request) -> Response:
    try:
        given = wire.decode_announcement(request.body)
        request.body = b""
        with state.quota.registering(request.client, OVERHEAD + len(given.digests)):
            return _answer(announced(state, given, request.client))
    except ProtocolViolation as error:
        return Response(400, wire.encode(wire.Announced(wire.BAD_PARAMETER, msg=str(error))))
    except BadValue as error:
        return _answer(wire.Announced(wire.BAD_PARAMETER, msg=str(error)))
    except DfengineError as error:
        return _answer(wire.Announced(wire.SYSTEM_ERROR, msg=str(error)))


def announced(state: SupernodeState, given: wire.Announcement, address: str) -> wire.Announced:
    """Apply an announcement and return its response. Raises BadValue, RemoteError, StorageError."""
    if not is_content(given.name) or not given.port:
        raise BadValue("an announcement has a name of content and the port of a peer server")
    registration = checked(wire.Registration(
        raw_url=given.name, cid=given.cid, ip=given.ip, port=given.port, path=given.path, host_name=given.host_name, version=given.version,
        location=given.location, native=wire.NATIVE,
    ))  # fmt: skip
    task = task_id(registration.raw_url)
    key, shares = (task, given.cid), state.shares
    remove_other_client(state, key, address)
    member = state.members.get(key)
    if given.withdrawn:
        shares.remove_sharer(task, given.cid)
        state.registry.leave(key)
        state.wake()
        return wire.Announced(wire.SUCCESS, task)
    if member is not None and (member.peer.ip, member.peer.port, member.peer.path) == (given.ip, given.port, registration.path):
        if shares.renew(task, given.cid, given.keep):
            state.registry.touch(given.cid, address)
            return wire.Announced(wire.SUCCESS, task, kept=shares.copies.is_kept(task), msg=shares.copies.keep_refusal(task))
    elif member is not None:
        state.registry.leave(key)  # the address of its peer server has changed
    if not given.digests:
        return wire.Announced(wire.CONTINUE, task, state.cache.digest)
    state.members.check_limits(key, address)
    fetch = shares.claim(task, given, address)
    if fetch is None:
        return wire.Announced(wire.WAIT, task, msg=f"other hosts share different bytes as {given.name}: verifying which are right")
    join_swarm(state, registration, fetch, address)
    shares.add_sharer(fetch, given.cid, given.keep)
    return wire.Announced(wire.SUCCESS, task, kept=shares.copies.is_kept(task))


def _answer(message: wire.Announced) -> Response:
    return Response(200, wire.encode(message))
