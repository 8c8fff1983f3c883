"""Resolves names of several supernodes: `dns://NAME[:PORT]`, each address of the name; `srv://NAME`, its SRV records.

Nodes are cached for the TTL of SRV records (`net.srv`), addresses for ADDRESSES seconds, because getaddrinfo returns no TTL. After that a
thread resolves the name again; the last result is used until that succeeds. So only the first use of a name waits for the resolver, for at
most PATIENCE seconds. All hosts find the same nodes for a task if they receive the same records.
"""

from __future__ import annotations

import os
import socket
import threading
import time

from dfengine.errors import SupernodeError
from dfengine.nodes import has_dns_names, order
from dfengine.settings import SupernodeAddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATIENCE = 8.0
"""Seconds to wait for a resolver's first answer."""

ADDRESSES = 30.0
"""Seconds for which the addresses of a name are cached."""

FAILED = 5.0
"""Seconds between a failed look-up and the next one."""

MAX_NODES = 256
"""Maximum number of nodes of one name: the first by priority and address, so that all hosts use the same ones."""

TRIED = 16
"""Maximum number of nodes found by names that one download tries."""

TICK = 0.1
"""Seconds between two checks of a waiting thread."""


class _Name:
    """The nodes of one name. Any thread may use it."""

    def __init__(self, node: SupernodeAddress) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._running = False
        self._until = 0.0
        self.nodes: tuple[SupernodeAddress, ...] | None = None
        """The result of the last successful look-up; None: no look-up has succeeded yet."""
        self.error = ""
        """Error of the last look-up."""
        self.ended = threading.Event()
        """Set while no look-up is running."""

    def start(self) -> None:
        """Start a look-up in a thread if one is due. Does not wait."""
        with self._lock:
            if self._running or time.monotonic() < self._until:
                return
            self._running = True
            self.ended.clear()
        try:
            threading.Thread(target=self._resolve, name="names", daemon=True).start()
        except RuntimeError as error:  # too many threads
            self._end([], FAILED, str(error))

    def _resolve(self) -> None:
        found: list[SupernodeAddress] = []
        seconds, why = FAILED, ""
        try:
            found, seconds = (_records if self._node.lookup == "srv" else _addresses)(self._node)
        except (OSError, UnicodeError, SupernodeError) as error:
            why = str(getattr(error, "strerror", None) or error)
        except Exception as error:  # no resolver's error may leave other threads waiting
            why = f"{type(error).__name__}: {error}"
        self._end(found, seconds, why)

    def _end(self, found: list[SupernodeAddress], seconds: float, why: str) -> None:
        with self._lock:
            self._running = False
            self._until = time.monotonic() + seconds
            self.error = why or ("" if found else "it has no address")
            if found:
                self.nodes = tuple(found)
            self.ended.set()


def _addresses(node: SupernodeAddress) -> tuple[list[SupernodeAddress], float]:
    """(A node for each address, seconds). Raises OSError, UnicodeError."""
    import ipaddress

    found: dict[str, SupernodeAddress] = {}
    for _, _, _, _, address in socket.getaddrinfo(node.host, node.port, type=socket.SOCK_STREAM):
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        # A link-local address includes its interface's name, which differs between hosts.
        if not (ip.is_unspecified or ip.is_multicast or (ip.version == 6 and ip.is_link_local)):
            found[str(ip)] = SupernodeAddress(str(ip), node.port, node.weight, name=node.host)
    return _first(found.values()), ADDRESSES


def _records(node: SupernodeAddress) -> tuple[list[SupernodeAddress], float]:
    """(A node for each record, seconds). Raises SupernodeError."""
    from dfengine.net.srv import lookup

    found, seconds = lookup(node.host)
    return _first(found), seconds


def _first(nodes: Iterable[SupernodeAddress]) -> list[SupernodeAddress]:
    return sorted(nodes, key=lambda node: (node.priority, node.host, node.port))[:MAX_NODES]


_names: dict[tuple[int, SupernodeAddress], _Name] = {}
"""The key includes the process id: a forked process has no thread for a look-up that its parent started."""

_lock = threading.Lock()


def _in_child() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_in_child)


def _name(node: SupernodeAddress) -> _Name:
    with _lock:
        return _names.setdefault((os.getpid(), node), _Name(node))


def cached(nodes: Iterable[SupernodeAddress]) -> list[SupernodeAddress]:
    """Return `nodes`, with each name replaced by the nodes that were last found for it. Starts due look-ups; does not wait."""
    found: list[SupernodeAddress] = []
    for node in nodes:
        if node.lookup:
            name = _name(node)
            name.start()
            found += name.nodes or ()
        else:
            found.append(node)
    return list(dict.fromkeys(found))


def resolved(nodes: Iterable[SupernodeAddress], waiting: Callable[[], object] = lambda: None) -> list[SupernodeAddress]:
    """Return the same as `cached`, after waiting for names that were never resolved. waiting: called while this waits; may raise.

    Raises SupernodeError with the reasons if no node is found.
    """
    given, until = list(nodes), time.monotonic() + PATIENCE
    names = [(node, _name(node)) for node in given if node.lookup]
    found = cached(given)
    for _, name in names:
        while name.nodes is None and not name.ended.wait(TICK) and time.monotonic() < until:
            waiting()
    found = cached(given) if names else found
    if names and not found:
        raise SupernodeError("; ".join(f"{node}: {name.error or f'no answer within {PATIENCE:g} s'}" for node, name in names))
    return found


def ordered(nodes: Iterable[SupernodeAddress], task: str, waiting: Callable[[], object] = lambda: None) -> list[SupernodeAddress]:
    """Return the nodes that a download of `task` tries, best first. See `resolved` for `waiting` and errors."""
    given = list(nodes)
    return order(resolved(given, waiting), task)[:TRIED] if has_dns_names(given) else order(given, task)


def ordered_cached(nodes: Iterable[SupernodeAddress], task: str) -> list[SupernodeAddress]:
    """Return the nodes in the same order by what is cached now, possibly none; does not wait."""
    return order(cached(nodes), task)[:TRIED]
