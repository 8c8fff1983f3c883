"""Distinguishes a supernode that is cut off from its cluster from a lost leader. Runs in a fetch's thread.

    the leader is lost, and ...                   then
    another member can be reached                 a member leads; if the old leader runs, Redis notifies it, and it stops reading
    other members exist, none can be reached      this supernode sends its hosts on to the others, which they may reach; it reads its
                                                  missing pieces from the origin for hosts that return
    no other member exists, or none is known      a member leads, which may be this one
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
"""Seconds to connect to a member."""

MAX_MEMBERS = 4
"""Maximum number of members that are tried, all at once."""


def can_reach_any(dialer: Dialer, addresses: Sequence[str]) -> bool:
    """Whether any of `addresses` (HOST:PORT) accepts a connection."""

    def reach(address: str) -> bool:
        with contextlib.suppress(DfengineError):
            node = SupernodeAddress.parse(address)
            dialer.connect(node.host, node.port, timeout=SECONDS).close()
            return True
        return False

    tried = addresses[:MAX_MEMBERS]
    # Where no thread can be started, this one tries them all.
    with contextlib.suppress(RuntimeError), ThreadPoolExecutor(len(tried) or 1, "reach") as pool:
        return any(pool.map(reach, tried))
    return any(map(reach, tried))
