"""Which supernodes a download tries, best first; those that names stand for as the names say when it asks."""

from __future__ import annotations

from dfengine.errors import BadValue, SupernodeFull
from dfengine.nodes import named, order
from dfengine.settings import SupernodeAddress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dfengine.client.watch import Watch
    from dfengine.errors import RemoteError
    from dfengine.settings import GetSettings


MOST_NAMED = 8
"""Supernodes that others name, of one look."""

LONGEST = 300
"""Characters of an address."""


class Trying:
    """The supernodes of one look, each once: those given, and right after one that is full those that it names, MOST_NAMED in all."""

    def __init__(self, nodes: list[SupernodeAddress]) -> None:
        self._waiting = list(nodes)
        self._seen = set(map(str, nodes))
        self._left = MOST_NAMED

    def __iter__(self) -> Iterator[SupernodeAddress]:
        while self._waiting:
            yield self._waiting.pop(0)

    @property
    def left(self) -> bool:
        """There are more."""
        return bool(self._waiting)

    def failed(self, error: RemoteError) -> None:
        """Why the latest one was in vain."""
        found: list[SupernodeAddress] = []
        for text in error.alternatives if isinstance(error, SupernodeFull) else ():
            if len(text) > LONGEST:
                continue
            try:
                node = SupernodeAddress.parse(text)
            except BadValue:
                continue
            if not node.lookup and str(node) not in self._seen and len(found) < self._left:
                self._seen.add(str(node))
                found.append(node)
        self._left -= len(found)
        self._waiting[:0] = found


def tried(settings: GetSettings, task: str, watch: Watch) -> Callable[[], list[SupernodeAddress]]:
    """What gives them, at once, also later on; `task` selects them. Raises SupernodeError where names stand for none."""
    if not named(settings.nodes):
        fixed = order(settings.nodes, task)
        return lambda: fixed
    from dfengine.net import node_names

    watch.waits("looks up the names of supernodes")
    found = node_names.ordered(settings.nodes, task, lambda: watch.check(None))
    return lambda: node_names.ordered_now(settings.nodes, task) or found
