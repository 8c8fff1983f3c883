"""Selects the supernodes that a download tries, best first; names are resolved when the supernodes are requested."""

from __future__ import annotations

from dfengine.errors import BadValue, SupernodeFull
from dfengine.nodes import has_dns_names, order
from dfengine.settings import SupernodeAddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dfengine.client.monitor import Monitor
    from dfengine.errors import RemoteError
    from dfengine.settings import GetSettings


MAX_NAMED = 8
"""Most alternatives, named by full supernodes, in one search."""

MAX_ADDRESS = 300
"""Most characters of an address."""


class Candidates:
    """The supernodes of one search, each once: those given, and right after a full one the alternatives it names, MAX_NAMED in all."""

    def __init__(self, nodes: list[SupernodeAddress]) -> None:
        self._waiting = list(nodes)
        self._seen = set(map(str, nodes))
        self._more_allowed = MAX_NAMED

    def __iter__(self) -> Iterator[SupernodeAddress]:
        while self._waiting:
            yield self._waiting.pop(0)

    @property
    def has_more(self) -> bool:
        """Whether there are more."""
        return bool(self._waiting)

    def failed(self, error: RemoteError) -> None:
        """Report the error of the latest one, which may name alternatives."""
        found: list[SupernodeAddress] = []
        for text in error.alternatives if isinstance(error, SupernodeFull) else ():
            if len(text) > MAX_ADDRESS:
                continue
            try:
                node = SupernodeAddress.parse(text)
            except BadValue:
                continue
            if not node.lookup and str(node) not in self._seen and len(found) < self._more_allowed:
                self._seen.add(str(node))
                found.append(node)
        self._more_allowed -= len(found)
        self._waiting[:0] = found


def ordered_supernodes(settings: GetSettings, task: str, monitor: Monitor) -> Callable[[], list[SupernodeAddress]]:
    """Return a function that returns the supernodes at once, also later; `task` determines their order. Raises SupernodeError if names
    resolve to none."""
    if not has_dns_names(settings.nodes):
        fixed = order(settings.nodes, task)
        return lambda: fixed
    from dfengine.net import node_names

    monitor.set_state("looks up the names of supernodes")
    found = node_names.ordered(settings.nodes, task, lambda: monitor.check(None))
    return lambda: node_names.ordered_cached(settings.nodes, task) or found
