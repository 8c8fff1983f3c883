"""Which addresses have proved that a peer server of this swarm listens there; only these are named to downloads.

A client may be asked where it was seen. Any other address that it registers (of a host with several, behind NAT or a proxy) is first
asked by the supernode itself: for a nonce, which a peer server answers as 1.x's do, and for a proof of the secret where there is one. To an
address of somebody else that is all that is sent.

In threads, a few at once and fewer for each client, in turn between clients. What does not answer is asked again, ever less often, as long
as somebody is registered there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv6Address, ip_address

from dfengine.errors import RemoteError
from dfengine.net.access import Access, Address, reached
from dfengine.net.dial import Connection
from dfengine.net.dialer import Dialer
from dfengine.net.quota import Quota
from dfengine.supernode.swarm.peers import Key
from dfengine.supernode.swarm.swarm import Swarm
from dfengine.task import PEER_PORTS, client_of

AT_ONCE = 8
EACH = 2
"""Addresses asked at once, in all and for one client."""

REST = 0.5
"""Seconds for which what did not answer holds its client's place: a client has EACH / REST a second asked that are not there."""

MOST = 4096
"""Addresses that wait for their turn or for another try; those beyond are not asked until they register again."""

CONNECT = 1.0
ANSWER = 3.0
"""Seconds to connect, and for both answers; a peer server that was just started takes connections before it runs."""

PAUSE, LONGEST = 1.0, 60.0
"""Seconds to the next try, doubled each time up to LONGEST."""

KEEP = 600.0
"""Seconds that a proof holds for who registers."""

KNOWN = 65536
"""Proofs kept; the oldest goes first."""

BODY = 1024
"""Bytes of an answer that are read."""

_VERSION = re.compile(rb"[0-9A-Za-z._+-]{1,64}")


class Reachability:
    """Used on the loop's thread. access: which addresses the supernode may connect to for others. dialer: how it connects now.

    wake: called when a peer has proved that it is there. share: percent of what waits for one client.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, swarm: Swarm, wake: Callable[[], None], access: Access, share: int,
        dialer: Callable[[], Dialer],
    ) -> None:
        self._loop = loop
        self._swarm = swarm
        self._wake = wake
        self._access = access
        self._dialer = dialer
        self._threads = ThreadPoolExecutor(AT_ONCE, "reachability")
        self._proved: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._pauses: dict[Key, float] = {}
        """Everything that waits, or is being asked -> seconds until its next try should this one fail."""
        self._queues: OrderedDict[str, OrderedDict[Key, None]] = OrderedDict()
        """Client -> what it has waiting for a turn; the client whose turn was longest ago is first."""
        self._busy: Counter[str] = Counter()
        self._shares = Quota(MOST, share)
        self._connections: set[Connection] = set()
        self._closed = False

    def __len__(self) -> int:
        """Addresses that wait, or are being asked."""
        return len(self._pauses)

    def known(self, ip: str, port: int, address: str) -> bool:
        """A client that registers from `address` needs no proof for ip and port: it is at that address, or proved it lately."""
        return same_host(ip, address) or self._proved.get((ip, port), 0.0) > self._loop.time()

    def ask(self, key: Key) -> None:
        """A download of this peer has registered: ask its address, unless it is proved, asked already, or may not be asked."""
        if key in self._pauses or not self._swarm.unproved(key) or len(self._pauses) >= MOST:
            return
        ip, port, address = key
        if port in PEER_PORTS and may_be_probed(ip, address, self._access) and self._shares.acquire(address):
            self._pauses[key] = PAUSE
            self._enqueue(key)

    def _enqueue(self, key: Key) -> None:
        """Put it into its client's queue, unless it was proved or is gone."""
        if self._closed:
            return
        if not self._swarm.unproved(key):
            self._forget(key)
            return
        self._queues.setdefault(client_of(key[2]), OrderedDict())[key] = None
        self._ask_next()

    def _ask_next(self) -> None:
        """Ask as many addresses as may be asked now, in turn between clients."""
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
            self._threads.submit(self._ask, key, self._dialer())

    def _ask(self, key: Key, dialer: Dialer) -> None:
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
        self._pauses[key] = min(2 * pause, LONGEST)
        self._loop.call_later(pause, partial(self._enqueue, key))

    def _release(self, client: str) -> None:
        self._busy[client] -= 1
        if not self._busy[client]:
            del self._busy[client]
        self._ask_next()

    def _forget(self, key: Key) -> None:
        del self._pauses[key]
        self._shares.release(key[2])

    def close(self) -> None:
        """The process ends: nobody else is asked, and nobody waited for."""
        self._closed = True
        for connection in self._connections.copy():
            connection.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)


def same_host(ip: str, address: str) -> bool:
    """Both are one address, however it is written."""
    return ip == address or ((one := _address(ip)) is not None and one == _address(address))


def may_be_probed(ip: str, address: str, access: Access) -> bool:
    """A client at `address` may have `ip` asked: a permitted unicast address, no name; a loopback one only for a client on loopback."""
    place, seen = _address(ip), _address(address)
    if place is None or seen is None or place.is_unspecified:
        return False
    meant = reached(place)
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
    """A peer server of this swarm answers there. connections: holds the connection while it is used; another thread may stop it."""
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
    """(status, body) of a short answer; nothing of one that is not 200."""
    connection.send("GET", target)
    head = connection.head(deadline)
    return head.status, connection.body(head, deadline, BODY) if head.status == 200 else b""
