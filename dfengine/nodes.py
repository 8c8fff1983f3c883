"""The order in which a download tries its supernodes.

Weighted rendezvous hashing (Thaler, Ravishankar 1998; weights by the logarithmic method of Schindelhauer, Schomaker
2005): each node scores -weight / ln(h), h a uniform number in (0, 1) from node and task. All peers of a task
therefore meet at one supernode, a node takes tasks in proportion to its weight, and one that comes or goes moves
only the tasks that are its own.

Nodes of SRV records are tried by priority first. RFC 2782 chooses within a priority by weight and chance; here the task
takes the place of chance, so that its peers meet. A weight of 0 is one of ZERO, as small a chance as the RFC asks for.
"""

from __future__ import annotations

import hashlib
import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.settings import SupernodeAddress


ZERO = 1 / 64
"""What a weight of 0 counts beside others; where all are 0 they are equal."""


def score(node: SupernodeAddress, task: str) -> float:
    """Higher is tried earlier. The hash is sha256 because every host must agree on it, of whatever version."""
    digest = hashlib.sha256(f"{node}\n{task}".encode()).digest()
    uniform = (int.from_bytes(digest[:7], "big") + 0.5) / 2.0**56
    return -(node.weight or ZERO) / math.log(uniform)


def order(nodes: Iterable[SupernodeAddress], task: str) -> list[SupernodeAddress]:
    """Best first; each address once, with its first weight."""
    distinct: dict[str, SupernodeAddress] = {}
    for node in nodes:
        distinct.setdefault(str(node), node)
    return sorted(distinct.values(), key=lambda node: (-node.priority, score(node, task)), reverse=True)


def named(nodes: Iterable[SupernodeAddress]) -> bool:
    """There are names among them that stand for several: `net.node_names` looks these up."""
    return any(node.lookup for node in nodes)
