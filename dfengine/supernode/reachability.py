"""Checks that a peer server of this swarm listens at a registered address. Only proved addresses are named to downloads.

The address that a client registers from is proved. Any other address that it registers (of a host with several, behind NAT or a proxy) is
first checked by the supernode: it sends a nonce, to which a peer server responds as those of 1.x do, and requests a proof of the secret if
there is one. Nothing else is sent to an unproved address.

The checks run in threads, a few at once and fewer for each client, in turn between clients. An address that does not respond is checked
again at growing intervals, as long as a download is registered there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import partial
from ipaddress import IPv6Address, ip_address

from dfengine.errors import RemoteError
from dfengine.net.client_quota import Quota
from dfengine.net.dialer import Dialer
from dfengine.net.http_client import Connection
from dfengine.net.origin_access import Address, OriginAccess, effective_addresses
from dfengine.net.thread_pool import ThreadPool
from dfengine.supernode.swarm.peers import Key
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.task import PEER_PORTS, client_of

AT_ONCE = 8
EACH = 2
"""Addresses checked at the same time, of all clients and of one."""

REST = 0.5
"""Seconds for which an unreachable address occupies its client's place: a client has at most EACH / REST of them checked a second."""

MAX_ADDRESSES = 4096
"""Addresses that wait for their turn or for another try. Further ones are not checked until they register again."""

CONNECT = 1.0
ANSWER = 3.0
"""Seconds to connect, and for both responses; a peer server that was just started accepts connections before it runs."""

PAUSE, MAX_PAUSE = 1.0, 60.0
"""Seconds to the next try, doubled each time up to MAX_PAUSE."""

KEEP = 600.0
"""Seconds for which a proof is valid for later registrations."""

KNOWN = 65536
"""Proofs in memory; the oldest is dropped first."""

BODY = 1024
"""Bytes of a response that are read."""

_VERSION = re.compile(rb"[0-9A-Za-z._+-]{1,64}")


class Reachability:
    """Used on the loop's thread. access: addresses that the supernode may connect to for clients. dialer: returns the Dialer.

    wake: called when a peer is proved. share: percent of the waiting addresses for one client.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, swarm: Swarm, wake: Callable[[], None], access: OriginAccess, share: int,
        dialer: Callable[[], Dialer],
    ) -> None:
        self._loop = loop
        self._swarm = swarm
        self._wake = wake
        self._access = access
        self._dialer = dialer
        self._threads = ThreadPool(AT_ONCE, "reachability")
        self._proved: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._pauses: dict[Key, float] = {}
        """Every address that waits or is being checked -> seconds until its next try if this one fails."""
        self._queues: OrderedDict[str, OrderedDict[Key, None]] = OrderedDict()
        """Client -> its addresses that wait for a turn; the client whose turn was longest ago is first."""
        self._busy: Counter[str] = Counter()
        self._shares = Quota(MAX_ADDRESSES, share)
        self._connections: set[Connection] = set()
        self._closed = False

    def __len__(self) -> int:
        """Return the number of addresses that wait or are being checked."""
        return len(self._pauses)

    def is_proved(self, ip: str, port: int, address: str) -> bool:
        """Whether ip and port need no proof for a client that registers from `address`: it is that address, or was proved lately."""
        return same_host(ip, address) or self._proved.get((ip, port), 0.0) > self._loop.time()

    def check(self, key: Key) -> None:
        """Check the address of a registered download, unless it is proved, waits already, or may not be probed."""
        if key in self._pauses or not self._swarm.unproved(key) or len(self._pauses) >= MAX_ADDRESSES:
            return
        ip, port, address = key
        if port in PEER_PORTS and may_be_probed(ip, address, self._access) and self._shares.acquire(address):
            self._pauses[key] = PAUSE
            self._enqueue(key)

    def _enqueue(self, key: Key) -> None:
        """Add an address to its client's queue, or drop it if it is proved or has no download left."""
        if self._closed:
            return
        if not self._swarm.unproved(key):
            self._forget(key)
            return
        self._queues.setdefault(client_of(key[2]), OrderedDict())[key] = None
        self._check_next()

    def _check_next(self) -> None:
        """Check as many addresses as the limits allow, in turn between clients."""
        for client in list(self._queues):
            if self._busy.total() >= AT_ONCE or self._closed:
                return
            queue = self._queues[client]
            if self._busy[client] >= EACH:
                continue
            key, _ = queue.popitem(last=False)
            if queue:
                self._queues.move_to_end(client)
            else:
                del self._queues[client]
            self._busy[client] += 1
            self._threads.submit(self._check, key, self._dialer())

    def _check(self, key: Key, dialer: Dialer) -> None:
        found = is_peer(dialer, key[0], key[1], self._connections)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._record, key, found)

    def _record(self, key: Key, found: bool) -> None:
        client = client_of(key[2])
        if found:
            self._proved[key[:2]] = self._loop.time() + KEEP
            self._proved.move_to_end(key[:2])
            if len(self._proved) > KNOWN:
                self._proved.popitem(last=False)
            self._forget(key)
            self._swarm.prove(key)
            self._wake()
            self._release(client)
            return
        self._loop.call_later(REST, self._release, client)
        pause = self._pauses[key]
        self._pauses[key] = min(2 * pause, MAX_PAUSE)
        self._loop.call_later(pause, partial(self._enqueue, key))

    def _release(self, client: str) -> None:
        self._busy[client] -= 1
        if not self._busy[client]:
            del self._busy[client]
        self._check_next()

    def _forget(self, key: Key) -> None:
        del self._pauses[key]
        self._shares.release(key[2])

    def close(self) -> None:
        """Stop at the end of the process: start no checks, and stop the running ones."""
        self._closed = True
        for connection in self._connections.copy():
            connection.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


def same_host(ip: str, address: str) -> bool:
    """Whether both texts are one address, in any notation."""
    return ip == address or ((one := _address(ip)) is not None and one == _address(address))


def may_be_probed(ip: str, address: str, access: OriginAccess) -> bool:
    """Whether `ip` may be probed for a client at `address`: a permitted unicast address; loopback only for clients on loopback."""
    place, seen = _address(ip), _address(address)
    if place is None or seen is None or place.is_unspecified:
        return False
    meant = effective_addresses(place)
    if any(each.is_multicast or (each.version == 4 and each.is_reserved) for each in meant):
        return False
    return access.permits("", ip) and (seen.is_loopback or not any(each.is_loopback for each in meant))


def _address(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def is_peer(dialer: Dialer, ip: str, port: int, connections: set[Connection]) -> bool:
    """Whether a peer server of this swarm responds. connections: set of open connections, which another thread may stop."""
    nonce = os.urandom(16).hex()
    try:
        with contextlib.closing(dialer.connect(ip, port, timeout=CONNECT)) as connection:
            connections.add(connection)
            try:
                return _answers(connection, nonce, dialer.secrets)
            finally:
                connections.discard(connection)
    except RemoteError:
        return False


def _answers(connection: Connection, nonce: str, secrets: tuple[bytes, ...]) -> bool:
    deadline = time.monotonic() + ANSWER
    name, at, version = _get(connection, f"/check/{nonce}", deadline)[1].partition(b"@")
    if name != nonce.encode() or not at or not _VERSION.fullmatch(version):
        return False
    if not secrets:
        return True
    from dfengine.net.secret import PROOF, proves

    return proves(secrets, nonce, *_get(connection, PROOF + nonce, deadline))


def _get(connection: Connection, target: str, deadline: float) -> tuple[int, bytes]:
    """Return (status, body) of a short response; the body is empty unless the status is 200."""
    connection.send("GET", target)
    head = connection.head(deadline)
    return head.status, connection.body(head, deadline, BODY) if head.status == 200 else b""
