"""The order in which a download tries its supernodes.

Weighted rendezvous hashing (Thaler, Ravishankar 1998; weights by the logarithmic method of Schindelhauer, Schomaker
2005): each node scores -weight / ln(h), h a uniform number in (0, 1) from node and task. All peers of a task
therefore use the same supernode, and each node gets tasks in proportion to its weight. When a node joins or leaves,
only its own tasks move.

Nodes of SRV records are tried by priority first. RFC 2782 chooses within a priority by weight and at random. Here a hash of the
task replaces the random number, so that all its peers choose alike. A weight of 0 counts as ZERO, the small chance that the RFC asks for.
"""

from __future__ import annotations

import hashlib
import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dfengine.settings import SupernodeAddress


ZERO = 1 / 64
"""Weight that stands for 0. If all weights are 0, all nodes are equal."""


def score(node: SupernodeAddress, task: str) -> float:
    """A node's score for a task; the highest is tried first. The hash is SHA-256 because all hosts, of any version, must agree on it."""
    digest = hashlib.sha256(f"{node}\n{task}".encode()).digest()
    uniform = (int.from_bytes(digest[:7], "big") + 0.5) / 2.0**56
    return -(node.weight or ZERO) / math.log(uniform)


def order(nodes: Iterable[SupernodeAddress], task: str) -> list[SupernodeAddress]:
    """Nodes with the best first; each address once, with its first weight."""
    distinct: dict[str, SupernodeAddress] = {}
    for node in nodes:
        distinct.setdefault(str(node), node)
    return sorted(distinct.values(), key=lambda node: (-node.priority, score(node, task)), reverse=True)


def has_dns_names(nodes: Iterable[SupernodeAddress]) -> bool:
    """Whether any node is a name that stands for several supernodes, which `net.node_names` looks up."""
    return any(node.lookup for node in nodes)
