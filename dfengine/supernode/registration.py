"""Registers a download: finds or starts the fetch of its task, then joins the swarm."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from dfengine import wire
from dfengine.copy_states import FAILED
from dfengine.errors import OriginBusy, OriginError, OriginUntrusted, RemoteError, SupernodeFull
from dfengine.location import is_content
from dfengine.origin.request import is_private
from dfengine.supernode.access_proofs import version_of
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.fetch_request import FetchRequest
from dfengine.supernode.registered_downloads import Key, RegisteredDownload
from dfengine.supernode.supernode_state import SupernodeState
from dfengine.supernode.swarm.peers import key_of
from dfengine.task import Peer, task_id


async def register(
    state: SupernodeState, registration: wire.Registration, wanted: FetchRequest, task_url: str, address: str = "",
    until: float = math.inf,
) -> tuple[Fetch, RegisteredDownload]:
    """Register a download for the client at `address`. Raises OriginError for a refusal of the origin, RemoteError, StorageError.

    until: see `OriginFetches.ensure`.
    """
    state.cache.check_length(registration.file_length)
    if is_content(wanted.url):
        fetch = await _content_fetch(state, registration, wanted, address)
    else:
        fetch = await _task_fetch(state, registration, wanted, task_url, address, until)
        if not registration.follows:
            _redirect_from_slow(state, registration, fetch)
    return fetch, join_swarm(state, registration, fetch, address)


def _redirect_from_slow(state: SupernodeState, registration: wire.Registration, fetch: Fetch) -> None:
    """Raise SupernodeFull for a native download that should use another supernode, once for each download."""
    others = registration.native and state.other_supernodes()
    if others and state.registry.redirected_hosts.should_redirect(fetch.task, registration.cid, state.now()):
        raise SupernodeFull("this supernode gets the file too slowly")
    fetch.on_registered_again()


def join_swarm(state: SupernodeState, registration: wire.Registration, fetch: Fetch, address: str) -> RegisteredDownload:
    """Add the download to the swarm of the fetch's task. Raises RemoteError."""
    key = (fetch.task, registration.cid)
    remove_other_client(state, key, address)
    state.members.check_limits(key, address)  # others may have registered since the last check
    host, ip = registration.host_name, registration.ip
    port = registration.port if registration.pattern != "cdn" else 0
    name = f"{host}-{ip}-{time.time_ns()}"
    peer = Peer(ip, port, registration.path, host, name, registration.version, registration.location)
    native = min(registration.native, wire.NATIVE)
    member = RegisteredDownload(registration.super_node_ip or state.advertise_ip, registration.call_system, native, peer, address,
                    registration.file_length)
    # One client's expectation of the length concerns that client alone.
    member.check_length(fetch.geometry.length)
    wnd = registration.window_size if registration.stream_mode else -1
    state.swarm.join(fetch.task, registration.cid, peer, state.now(), wnd=wnd, legacy=not member.native, address=address,
                    in_order=registration.in_order, proved=not port or state.reachability.is_proved(ip, port, address or ip),
                    is_follower=registration.follows and state.is_supernode(address))
    state.reachability.check(key_of(peer, registration.cid, address or ip))
    state.members.add(key, member)
    state.counts["registered"] += 1
    state.legacy_counts.registered(registration.call_system, address)
    state.events.info(
        "registered", task=fetch.task, cid=registration.cid, client=address, host=host, system=registration.call_system,
        url=fetch.request.url, length=fetch.geometry.length, native=bool(native), serves=bool(port),
    )
    if not member.native:
        state.fetch_pool.compute_md5s(fetch, address)
    state.wake()
    return member


async def _content_fetch(state: SupernodeState, registration: wire.Registration, wanted: FetchRequest, address: str) -> Fetch:
    """Return the task of a name of content, which no other field of the registration changes."""
    if not registration.native:
        raise RemoteError(f"{wanted.url} is for programs that speak the native pull")
    task = task_id(wanted.url)
    state.members.check_limits((task, registration.cid), address)
    return await state.shares.find(task, wanted.url)


async def _task_fetch(
    state: SupernodeState, registration: wire.Registration, wanted: FetchRequest, task_url: str, address: str, until: float
) -> Fetch:
    """Return the fetch of the download's task, a variant of it if the origin's Vary requires that."""

    def check_room(task: str) -> None:
        state.members.check_limits((task, registration.cid), address)

    shared = _fetch_from_hosts(state, wanted, task_url) if registration.native else None
    if shared is not None:
        check_room(shared.task)
        return shared
    fetch = await ensure_fetch(state, wanted, task_url, registration.md5 or registration.identifier, address, check_room, until)
    for names in (fetch.description.vary, ("*",)):
        if fetch.description.matches(wanted.headers):
            break
        task, name = state.credentials.variant(fetch.task, wanted.headers, names), fetch.request.cluster_name
        if state.fetches.cluster_names is not None and name:
            name = state.fetches.cluster_names.variant(name, wanted.headers, names)
        check_room(task)
        request = replace(wanted, insecure=fetch.request.insecure, cacerts=fetch.request.cacerts, cluster_name=name)
        fetch = await state.fetches.ensure(task, request, address, until)
    return fetch


def _fetch_from_hosts(state: SupernodeState, wanted: FetchRequest, task_url: str) -> Fetch | None:
    """Return the task of public content that hosts share as a whole, if the supernode has no copy from the content's place."""
    if not wanted.content or wanted.verified or any(name.lower() == "range" or is_private(name) for name, _ in wanted.headers):
        return None
    [(placed, _)] = state.credentials.tasks(wanted, task_url)
    known = state.fetch_pool.fetches.get(placed)
    if (known is not None and known.state != FAILED) or state.cache.has(placed):
        return None
    return state.shares.available(task_id(task_url), task_url)


async def ensure_fetch(
    state: SupernodeState, wanted: FetchRequest, task_url: str, sign: str, address: str,
    check_room: Callable[[str], None] = lambda task: None, until: float = math.inf,
) -> Fetch:
    """Return the fetch of the first of the possible tasks whose origin can be verified as that task requires.

    sign: see `task.task_id`. check_room: called with the task before its fetch begins; its exceptions are passed on. until: see
    `OriginFetches.ensure`. Raises as `register`.
    """
    shared = await _shared_fetch(state, wanted, task_url, sign, address, check_room, until)
    if shared is not None:
        return shared
    tasks = [*state.credentials.tasks(wanted, task_url, sign)]
    if state.fetches.cluster_names is not None:
        names = state.fetches.cluster_names.tasks(wanted, task_url, sign)
        tasks = [(task, replace(request, cluster_name=name)) for (task, request), name in zip(tasks, names, strict=True)]
    if wanted.content and any(is_private(name) for name, _ in wanted.headers):
        await state.access_proofs.prove(wanted, address)
        known = state.fetch_pool.fetches.get(tasks[0][0])
        if known is not None:
            known.request = replace(known.request, url=wanted.url, headers=wanted.headers)
    if wanted.signed:
        await state.access_proofs.prove(wanted, address)
        for task, _ in tasks:
            known = state.fetch_pool.fetches.get(task)
            if known is not None:
                # The latest signature is valid longest.
                known.request = replace(known.request, signed=wanted.signed)
    if tasks[-1][0] in state.fetch_pool.fetches:
        del tasks[:-1]  # an earlier download has found that a redirect leads to an origin that needs the last task
    while True:
        task, request = tasks.pop(0)
        check_room(task)
        try:
            return await state.fetches.ensure(task, request, address, until)
        except OriginUntrusted:
            if not tasks:
                raise


async def _shared_fetch(
    state: SupernodeState, wanted: FetchRequest, task_url: str, sign: str, address: str, check_room: Callable[[str], None], until: float,
) -> Fetch | None:
    """Return the fetch shared by clients whose own credentials open the same version; None without proof: each then has its own task.

    The origin itself responds to a client with its own task, so no client receives a byte that the origin refuses to it.
    """
    if not state.credentials.shared_task(wanted, task_url, sign, "any"):
        return None
    for _ in range(2):
        try:
            version = await state.access_proofs.version(wanted, address)
            task = state.credentials.shared_task(wanted, task_url, sign, version)
            if not task:
                return None
            check_room(task)
            known = state.fetch_pool.fetches.get(task)
            if known is not None:
                # These credentials were proved last.
                known.request = replace(known.request, url=wanted.url, headers=wanted.headers)
            names = state.fetches.cluster_names
            name = names.shared_task(wanted, task_url, sign, version) if names is not None else ""
            named = replace(wanted, cluster_name=name, credentials_proved=True)
            fetch = await state.fetches.ensure(task, named, address, until)
        except OriginBusy:
            raise
        except OriginError:
            return None
        if version_of(fetch.description.version(fetch.geometry.length)) == version:
            return fetch
        # The file has changed in between.
        state.access_proofs.forget(wanted)
    return None


def remove_other_client(state: SupernodeState, key: Key, address: str) -> None:
    """Remove a download of this name that registered from another address; raise RemoteError if it is still connected or shares content."""
    known = state.members.get(key)
    if known is None or known.is_of(address):
        return
    if known.connection is not None or state.shares.is_shared(*key):
        raise RemoteError(f"cID: {key[1]} is another client's")
    state.registry.leave(key)
