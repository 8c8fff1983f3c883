"""Looks up names that stand for several supernodes: `dns://NAME[:PORT]`, each address of the name; `srv://NAME`, its SRV records.

What a name stands for is kept for as long as its records say (`net.srv`), addresses for ADDRESSES seconds: getaddrinfo tells no TTL. Then
it is looked up again in a thread, and what was found last is used meanwhile, and as long as the look-up fails. So only who needs a name
first waits for the resolver, PATIENCE seconds at most. All hosts find the same nodes for a task if they are told the same records.
"""

from __future__ import annotations

import os
import socket
import threading
import time

from dfengine.errors import SupernodeError
from dfengine.nodes import named, order
from dfengine.settings import SupernodeAddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATIENCE = 8.0
"""Seconds to wait for the first answer of a resolver."""

ADDRESSES = 30.0
"""Seconds for which the addresses of a name are kept."""

FAILED = 5.0
"""Seconds after a look-up that failed until the next one."""

MOST = 256
"""Nodes of one name; of more, the first by priority and address, so that all hosts keep the same."""

TRIED = 16
"""Nodes that one download tries of those that names stand for."""

TICK = 0.1
"""Seconds between two checks of a thread that waits."""


class _Name:
    """What one name stands for. Any thread may use it."""

    def __init__(self, node: SupernodeAddress) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._running = False
        self._until = 0.0
        self.nodes: tuple[SupernodeAddress, ...] | None = None
        """What was found last; None: nothing yet."""
        self.why = ""
        """What the last look-up failed with."""
        self.ended = threading.Event()
        """No look-up is under way."""

    def start(self) -> None:
        """Start a look-up in a thread if one is due. Does not wait."""
        with self._lock:
            if self._running or time.monotonic() < self._until:
                return
            self._running = True
            self.ended.clear()
        threading.Thread(target=self._ask, name="names", daemon=True).start()

    def _ask(self) -> None:
        found: list[SupernodeAddress] = []
        seconds, why = FAILED, ""
        try:
            found, seconds = (_records if self._node.lookup == "srv" else _addresses)(self._node)
        except (OSError, UnicodeError, SupernodeError) as error:
            why = str(getattr(error, "strerror", None) or error)
        except Exception as error:  # whatever a resolver says must not keep all others waiting
            why = f"{type(error).__name__}: {error}"
        with self._lock:
            self._running = False
            self._until = time.monotonic() + seconds
            self.why = why or ("" if found else "it has no address")
            if found:
                self.nodes = tuple(found)
            self.ended.set()


def _addresses(node: SupernodeAddress) -> tuple[list[SupernodeAddress], float]:
    """(A node for each address, seconds). Raises OSError, UnicodeError."""
    import ipaddress

    found: dict[str, SupernodeAddress] = {}
    for _, _, _, _, address in socket.getaddrinfo(node.host, node.port, type=socket.SOCK_STREAM):
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        # One of a link has its interface's name, which is another one at each host.
        if not (ip.is_unspecified or ip.is_multicast or (ip.version == 6 and ip.is_link_local)):
            found[str(ip)] = SupernodeAddress(str(ip), node.port, node.weight, name=node.host)
    return _first(found.values()), ADDRESSES


def _records(node: SupernodeAddress) -> tuple[list[SupernodeAddress], float]:
    """(A node for each record, seconds). Raises SupernodeError."""
    from dfengine.net.srv import lookup

    found, seconds = lookup(node.host)
    return _first(found), seconds


def _first(nodes: Iterable[SupernodeAddress]) -> list[SupernodeAddress]:
    return sorted(nodes, key=lambda node: (node.priority, node.host, node.port))[:MOST]


_names: dict[tuple[int, SupernodeAddress], _Name] = {}
"""By process too: a forked one has no thread that looks up for it."""

_lock = threading.Lock()


def _in_child() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_in_child)


def _name(node: SupernodeAddress) -> _Name:
    with _lock:
        return _names.setdefault((os.getpid(), node), _Name(node))


def known(nodes: Iterable[SupernodeAddress]) -> list[SupernodeAddress]:
    """`nodes`, with each name replaced by the nodes that were last found for it. Starts due look-ups; does not wait."""
    found: list[SupernodeAddress] = []
    for node in nodes:
        if node.lookup:
            name = _name(node)
            name.start()
            found += name.nodes or ()
        else:
            found.append(node)
    return list(dict.fromkeys(found))


def expanded(nodes: Iterable[SupernodeAddress], waiting: Callable[[], object] = lambda: None) -> list[SupernodeAddress]:
    """The same, after the names that were never resolved were looked up. waiting: called while this waits; may raise.

    Raises SupernodeError where nothing is left, with the reason.
    """
    given, until = list(nodes), time.monotonic() + PATIENCE
    names = [(node, _name(node)) for node in given if node.lookup]
    found = known(given)
    for _, name in names:
        while name.nodes is None and not name.ended.wait(TICK) and time.monotonic() < until:
            waiting()
    found = known(given) if names else found
    if names and not found:
        raise SupernodeError("; ".join(f"{node}: {name.why or f'no answer within {PATIENCE:g} s'}" for node, name in names))
    return found


def ordered(nodes: Iterable[SupernodeAddress], task: str, waiting: Callable[[], object] = lambda: None) -> list[SupernodeAddress]:
    """The nodes that a download of `task` tries, best first. See `expanded` for the rest."""
    given = list(nodes)
    return order(expanded(given, waiting), task)[:TRIED] if named(given) else order(given, task)


def ordered_now(nodes: Iterable[SupernodeAddress], task: str) -> list[SupernodeAddress]:
    """The same by what is known now, possibly none; waits for nothing."""
    return order(known(nodes), task)[:TRIED]
