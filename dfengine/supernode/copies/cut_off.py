"""Whether this supernode is cut off from its cluster, or the leader of a task alone is lost. In a fetch's thread.

    the leader is lost, and ...                   then
    another member is reached                     a member leads; if the old leader runs, Redis tells it so, and it stops reading
    no other member is reached, there are some    this supernode's hosts are sent on to the others, which they may reach; what it lacks is
                                                  read from the origin for those that come back
    there is no other member, or nobody knows     a member leads, which may be this one
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dfengine.errors import DfengineError
from dfengine.settings import SupernodeAddress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dfengine.net.dialer import Dialer

SECONDS = 1.0
"""For one to be connected to."""

MOST = 4
"""Members that are tried, all at once."""


def reaches(dialer: Dialer, addresses: Sequence[str]) -> bool:
    """One of these, HOST:PORT, can be connected to."""

    def reach(address: str) -> bool:
        with contextlib.suppress(DfengineError):
            node = SupernodeAddress.parse(address)
            dialer.connect(node.host, node.port, timeout=SECONDS).close()
            return True
        return False

    tried = addresses[:MOST]
    with ThreadPoolExecutor(len(tried) or 1, "reach") as pool:
        return any(pool.map(reach, tried))
