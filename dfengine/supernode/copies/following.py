"""Fetches a task from the supernode that leads it, as a client of its swarm, while serving this one's own hosts. In the fetch's thread.

Each piece is compared with the digest that the leader names, and offered here at once: each supernode sends to its own hosts, and the
origin is read once. The leader also sends the origin's validators, so that a follower that continues without it reads the rest by range. A
lost leader costs LOST seconds: then another member leads, whatever the state of Redis (`fallback_leader` of `cluster/cluster_view.py`). If
Redis makes this supernode the leader meanwhile, any other one may follow it: this one reads the origin if it receives nothing. A leader
that refuses, or sends nothing for PATIENCE seconds, costs that time, and the origin is read. From a leader that reads the origin slowly
this supernode takes the lead (`slow_leader`). A supernode whose own link is slow as well sends its hosts on.

The leader receives the registration of the host here, with its credentials, and checks them as its own hosts'. It returns the task's name
in the cluster, which must be the same here, and its own id of the task.
"""

from __future__ import annotations

import base64
import os
import socket
import time
from collections.abc import Iterable
from functools import partial

from dfengine import wire
from dfengine._piece import Geometry
from dfengine.about import VERSION
from dfengine.copy_states import RUNNING
from dfengine.errors import BadValue, OriginUnreachable, RemoteError, SupernodeError
from dfengine.net.http_client import JSON_HEADERS, Connection
from dfengine.origin.request import selection
from dfengine.origin.version import Version
from dfengine.settings import SupernodeAddress
from dfengine.supernode.copies.cache import TASK_ID, Description
from dfengine.supernode.copies.copy import Copy
from dfengine.supernode.copies.fetch import Fetch
from dfengine.supernode.copies.leader_answers import decode_offers, decode_registration
from dfengine.supernode.copies.leader_probe import LeaderProbe
from dfengine.supernode.copies.leader_pulls import LeaderPulls
from dfengine.supernode.copies.network_partition import can_reach_any
from dfengine.supernode.copies.piece_connections import PieceConnections, set_keepalive
from dfengine.supernode.copies.repair import missing_runs
from dfengine.supernode.copies.slow_leader import HOLD, OWN_SPAN, SlowLeader, is_slow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dfengine.supernode.copies.fetch import Cluster

COMPLETE, ORIGIN, CHANGED = "whole", "origin", "changed"
"""All pieces are on disk; the origin must be read; the leader has another version than the copy."""

PATIENCE = 60.0
"""Seconds without a piece, also before the first one, after which the origin is read instead."""

FALLBACK_PATIENCE = 20.0
"""The same for a fallback leader, which was not assigned the lead."""

LOST = 3.0
"""Seconds without a response after which an unreachable leader counts as lost: a restarted supernode needs less."""

AGAIN = 0.5
"""Seconds between two attempts."""

PARK = 2.0
"""Seconds for which a pull is parked; also the longest delay of the process's end."""

CONNECT = 2.0
"""Seconds to connect."""

SYSTEM = "dfengine-supernode"

MAX_VARY = 64
"""Maximum number of headers in a leader's list of those that an origin's response may depend on."""


class _Changed(Exception):
    """The leader has another version."""


class _LeaderChanged(Exception):
    """Another supernode leads. takes_lead: this one takes the lead itself."""

    def __init__(self, takes_lead: bool = False) -> None:
        super().__init__()
        self.takes_lead = takes_lead


def may_follow(fetch: Fetch) -> bool:
    """Whether a leader may be used: all supernodes name the task alike, and its credentials go only to holders of a key that hosts lack."""
    wanted = fetch.request
    return fetch.cluster is not None and bool(wanted.cluster_name) and (fetch.cluster.separate_key or not wanted.has_credentials)


def follow(fetch: Fetch, found: tuple[Copy, Description] | None) -> str:
    """Fetch the task from its leader: COMPLETE, ORIGIN or CHANGED. found: an incomplete copy. Raises OriginUnreachable, StorageError."""
    return _Following(fetch, found).run()


class _Following:
    def __init__(self, fetch: Fetch, found: tuple[Copy, Description] | None) -> None:
        self._fetch = fetch
        self._found = found
        self._cid = f"{socket.gethostname()[:64]}-{os.getpid()}-{os.urandom(8).hex()}"
        self._received_at = time.monotonic()
        """When the last piece arrived. A leader that responds but sends no piece is abandoned."""
        self._responded_at = self._received_at
        """When a leader responded last."""
        self._unreachable: set[str] = set()
        """Addresses that cannot be reached."""
        self._task = ""
        """The leader's id of the task: each supernode makes its own ids of private files."""
        self._followed_since, self._patience = self._received_at, PATIENCE
        """When following the present leader began, and for how long it may send nothing."""
        self._slow_leader = SlowLeader()
        self._probe: LeaderProbe | None = None
        self._lead_lost_to = ""
        """The supernode that took the lead from this one; "" once it is known whether this one's link is too slow to follow."""
        self._bytes = 0
        """Received from the present leader's swarm."""

    def run(self) -> str:
        fetch = self._fetch
        assert fetch.cluster is not None
        self._own_ip = SupernodeAddress.parse(fetch.cluster.own.address).host
        with fetch.changed:
            self._lead_lost_to = fetch.new_leader
        try:
            return self._run(fetch, fetch.cluster)
        finally:
            self._end_probe()

    def _run(self, fetch: Fetch, cluster: Cluster) -> str:
        while True:
            self._check()
            with fetch.changed:
                fetch.new_leader = ""
            address, known = cluster.leader(fetch.request.cluster_name), True
            if address is None or address in self._unreachable:
                address, known = cluster.fallback_leader(fetch.request.cluster_name, self._unreachable), False
            if address is None:
                return ORIGIN
            self._followed_since, self._patience, self._bytes = time.monotonic(), PATIENCE if known else FALLBACK_PATIENCE, 0
            self._slow_leader.leader_changed(self._followed_since)
            try:
                return COMPLETE if self._follow_node(SupernodeAddress.parse(address)) else ORIGIN
            except _Changed:
                return CHANGED
            except _LeaderChanged as moved:
                if moved.takes_lead:
                    return ORIGIN
                continue
            except (SupernodeError, BadValue):
                if known:
                    return ORIGIN
                self._unreachable.add(address)
            except RemoteError as error:
                fetch.retry_reason = str(error)
                if not known or time.monotonic() - self._responded_at > LOST:
                    self._unreachable.add(address)
                    if known and not self._continue_without(cluster, address):
                        return ORIGIN
            if time.monotonic() - self._received_at > PATIENCE:
                return ORIGIN
            if address not in self._unreachable:
                with fetch.changed:
                    fetch.changed.wait_for(lambda: fetch.stopped, AGAIN)

    def _continue_without(self, cluster: Cluster, leader: str) -> bool:
        """Continue after the leader is lost. False: all others are lost as well, and hosts that were sent on to them have returned, or
        PATIENCE has passed."""
        fetch = self._fetch
        others = [each for each in cluster.addresses() if each != leader]
        if not others:
            return True
        if can_reach_any(cluster.dialer(), others):
            # If the leader runs and only this supernode is cut off from it, Redis notifies it that another supernode reads the origin now.
            # Unless it has itself taken the lead within HOLD, perhaps from here: then both read, and the lead does not alternate.
            if cluster.fallback_leader(fetch.request.cluster_name, self._unreachable) is None:
                cluster.take_lead(fetch.request.cluster_name, leader, 0.0, HOLD)
            return True
        with fetch.changed:
            fetch.registered_again = False
        fetch.post(fetch.events.fetch_redirects_hosts, fetch, "it reaches no other supernode")
        with fetch.changed:
            fetch.changed.wait_for(lambda: fetch.registered_again or fetch.stopped, PATIENCE)
        return False

    def _check(self) -> None:
        if self._fetch.stopped:
            raise OriginUnreachable("the supernode is going away")

    def _follow_node(self, node: SupernodeAddress) -> bool:
        """Follow `node` until the copy is complete. False: its answer is unusable here. Raises RemoteError, _Changed, StorageError."""
        connection = self._connected(node.host, node.port)
        try:
            self._responded_at = time.monotonic()
            answer = self._register(connection, node)
            if answer is None:
                return False
            data, version = answer
            self._fetch.leader, self._task = str(node), data.task_id
            file = self._file(data, version)
        finally:
            connection.close()
        self._pull(node, file)
        return True

    def _register(self, connection: Connection, node: SupernodeAddress) -> tuple[wire.Registered, Version] | None:
        wanted, end = self._fetch.request, time.monotonic() + self._patience
        asked = wire.encode(self._registration(node))
        while True:
            self._check()
            status, _, body = connection.request("POST", "/peer/registry", JSON_HEADERS, asked, timeout=30.0)
            answer = decode_registration(body, status)
            if answer.code != wire.WAIT:
                break
            if time.monotonic() > end:
                raise SupernodeError(f"supernode {node} waits for its origin")
            self._check_own_lead(self._followed_since)
            with self._fetch.changed:
                self._fetch.changed.wait_for(lambda: self._fetch.stopped, AGAIN)
        data, fetch = answer.data, self._fetch
        if answer.code != wire.SUCCESS or data is None:
            raise SupernodeError(f"supernode {node} refuses: {(answer.msg or answer.message)[:200]}", answer.code)
        same = data.cluster_name == wanted.cluster_name and bool(TASK_ID.fullmatch(data.task_id)) and len(data.vary) <= MAX_VARY
        right = same and data.native and data.digest == fetch.cache.digest and data.cdn_source != "source"
        # Each supernode itself reads a file whose length is still unknown.
        if not right or data.file_length < 0 or data.piece_size != Geometry(data.file_length).piece_size or not data.generation:
            return None
        return data, Version(data.etag, data.last_modified, data.file_length, not data.undated, data.coding)

    def _registration(self, node: SupernodeAddress) -> wire.Registration:
        """Repeat the registration of the task's first host here, so that the leader checks its credentials as its own hosts'."""
        wanted = self._fetch.request
        asked = wire.Registration(
            super_node_ip=node.host, raw_url=wanted.url, task_url=wanted.task_url, cid=self._cid, ip=self._own_ip,
            host_name=socket.gethostname()[:255], path=f"/peer/file/{self._cid}", version=VERSION, md5=wanted.md5,
            identifier=wanted.identifier, call_system=SYSTEM, headers=[f"{name}: {value}" for name, value in wanted.headers],
            insecure=wanted.insecure, root_cas=[base64.b64encode(pem).decode() for pem in wanted.cacerts] or None, pattern="cdn",
            native=wire.NATIVE, in_order=True, signed_url=wanted.signed, private="split" if wanted.split else "share", follows=True,
        )  # fmt: skip
        if (tree := wanted.tree) is not None:
            asked.tree, asked.manifest = tree.part, tree.manifest
            asked.include, asked.exclude = list(tree.globs.include), list(tree.globs.exclude)
        return asked

    def _file(self, data: wire.Registered, version: Version) -> Copy:
        """Return the copy to write pieces to. Raises _Changed, StorageError."""
        fetch, vary = self._fetch, selection(self._fetch.request.headers, data.vary)
        if fetch.file is not None:
            fetch.description.vary = fetch.description.vary | vary
            if (fetch.description.generation, fetch.file.geometry.length) != (data.generation, data.file_length):
                raise _Changed
            return fetch.file
        found = self._found
        if found is not None and (found[1].generation, found[0].geometry.length) == (data.generation, data.file_length):
            file, fetch.description = found
            fetch.description.vary = fetch.description.vary | vary
        else:
            wanted = fetch.request
            fetch.description = known = Description(
                url=wanted.url, generation=data.generation, digest=fetch.cache.digest, verified=wanted.verified,
                vary=vary, tree=wanted.tree.part if wanted.tree is not None else "", open=wanted.open,
            )  # fmt: skip
            known.set_version(version)
            fetch.disk.check_fits(data.file_length)
            create = partial(fetch.cache.create, fetch.task, Geometry(data.file_length), known)
            file = fetch.disk.write(fetch.task, lambda: fetch.use_files(create))
        fetch.file, fetch.from_cache, fetch.reads_origin, fetch.state = file, False, False, RUNNING
        fetch.post(fetch.events.fetch_head, fetch)
        fetch.notify()
        fetch.post(fetch.events.fetch_pieces, fetch, file.available.copy())
        return file

    def _pull(self, node: SupernodeAddress, file: Copy) -> None:
        """Fetch all pieces. Raises RemoteError, StorageError."""
        connections = PieceConnections(self._fetch, file, self._connected)
        pulls = LeaderPulls(partial(self._connected, node.host, node.port), connections)
        try:
            self._exchange(pulls, node, file, connections)
        except (SupernodeError, _LeaderChanged):
            raise
        except RemoteError:
            connections.finish(self._responded_at + LOST - time.monotonic())
            raise
        finally:
            pulls.close()
            connections.close()
            self._received_at = max(self._received_at, connections.received_at)
            self._end_probe()

    def _exchange(self, pulls: LeaderPulls, node: SupernodeAddress, file: Copy, connections: PieceConnections) -> None:
        """Pull while there is room, and report. Raises RemoteError, StorageError."""
        fetch, held, selects = self._fetch, _runs(file.available), True
        while True:
            self._check()
            done, failed = connections.collect()
            missing, room = bool(missing_runs(file)), connections.room
            wanted = fetch.wanted_piece if missing and selects else -1
            pieces = [n for n in range(wanted, min(wanted + room, file.geometry.count)) if n not in file.available] if wanted >= 0 else None
            # Selected pieces may take long to arrive: other connections do not idle meanwhile.
            park = PARK if missing and room and (connections.idle or not pieces) else 0.0
            message = wire.Pull(task=self._task, cid=self._cid, done=done, failed=failed, held=held, want=room if missing else 0, wait=park,
                                pieces=pieces or None)  # fmt: skip
            answers = pulls.send(wire.encode(message), park)
            if answers:
                self._responded_at = time.monotonic()
            if not missing:
                return
            self._check_leader(node, file, connections)
            held, offers = [], [offer for status, body in answers for offer in decode_offers(node, status, body)]
            for offer in offers:
                connections.offer(offer)
            # A stream here waits for a piece that the leader cannot offer now: fetch other pieces meanwhile.
            selects = pulls.parked or bool(offers) or not pieces
            if not pulls.parked and not connections.idle and (not connections.room or not (offers or pieces)):
                connections.wait(AGAIN)
            last = max(self._received_at, connections.received_at, self._followed_since)
            if time.monotonic() - last > self._patience:
                raise SupernodeError(f"supernode {node} sends no pieces")
            self._check_own_lead(last)

    def _check_leader(self, node: SupernodeAddress, file: Copy, connections: PieceConnections) -> None:
        """Check whether another supernode than the one at `node` leads, or this one should. Raises _LeaderChanged."""
        fetch, slow_leader, now = self._fetch, self._slow_leader, time.monotonic()
        for size, seconds, at in connections.take_timings():
            slow_leader.piece_received(size, seconds, at)
            self._bytes += size
        if fetch.new_leader and fetch.new_leader != str(node):
            raise _LeaderChanged
        if self._lead_lost_to and now - self._followed_since >= OWN_SPAN:
            self._lead_lost_to = ""
            if is_slow(self._bytes, now - self._followed_since, fetch.new_leader_rate):
                fetch.post(fetch.events.fetch_redirects_hosts, fetch, "its link is slow")
        if self._probe is None:
            if fetch.request.tree is None and slow_leader.is_due(file.geometry.count - file.available.count(), now):
                connect = partial(self._connected, node.host, node.port)
                self._probe = LeaderProbe(fetch, file, connect, self._task, self._cid, slow_leader.wait)
            return
        if not self._probe.ended:
            return
        found, self._probe = self._probe.rates, None
        if found is None or not slow_leader.probed(*found, now):
            if found is None:
                slow_leader.failed(now)
            return
        assert fetch.cluster is not None
        if fetch.cluster.take_lead(fetch.request.cluster_name, str(node), found[0], HOLD):
            fetch.post(fetch.events.fetch_took_lead, fetch, str(node), *found)
            raise _LeaderChanged(takes_lead=True)

    def _check_own_lead(self, received_at: float) -> None:
        """Check whether Redis has made this supernode the leader meanwhile, and the other one sends nothing. Raises _LeaderChanged."""
        fetch = self._fetch
        assert fetch.cluster is not None
        if time.monotonic() - received_at > LOST and fetch.cluster.has_lead(fetch.request.cluster_name):
            raise _LeaderChanged(takes_lead=True)

    def _end_probe(self) -> None:
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.close()

    def _connected(self, host: str, port: int, named: bool = True) -> Connection:
        """Connect. Raises RemoteError."""
        assert self._fetch.cluster is not None
        return self._fetch.cluster.dialer().connect(host, port, timeout=CONNECT, named=named, opened=set_keepalive)


def _runs(here: Iterable[int]) -> list[tuple[int, int]]:
    """Return the runs [first, past) of the pieces."""
    found: list[tuple[int, int]] = []
    for n in here:
        if found and found[-1][1] == n:
            found[-1] = found[-1][0], n + 1
        else:
            found.append((n, n + 1))
    return found
