"""Which supernodes a download tries, best first; those that names stand for as the names say when it asks."""

from __future__ import annotations

from dfengine.nodes import named, order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.client.watch import Watch
    from dfengine.settings import GetSettings, SupernodeAddress


def tried(settings: GetSettings, task: str, watch: Watch) -> Callable[[], list[SupernodeAddress]]:
    """What gives them, at once, also later on; `task` selects them. Raises SupernodeError where names stand for none."""
    if not named(settings.nodes):
        fixed = order(settings.nodes, task)
        return lambda: fixed
    from dfengine.net import node_names

    watch.waits("looks up the names of supernodes")
    found = node_names.ordered(settings.nodes, task, lambda: watch.check(None))
    return lambda: node_names.ordered_now(settings.nodes, task) or found
