"""Sends the cluster notices of paused origins, and applies those of other supernodes."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import TYPE_CHECKING

from dfengine.supernode.copies.origin_pauses import MAX_PAUSE, Pause

if TYPE_CHECKING:
    from dfengine.supernode.cluster.membership import Cluster
    from dfengine.supernode.cluster.notices import Notice
    from dfengine.supernode.copies.origin_pauses import OriginPauses

KIND = "origin"

MAX_NAME = 300
"""Characters of an origin's key in a notice; longer ones are not sent."""


def share(pauses: OriginPauses, cluster: Cluster) -> None:
    """Share from now on. Call before the cluster starts."""

    def send(origin: str, pause: Pause, now: float) -> None:
        if len(origin) <= MAX_NAME:
            name = f"{KIND}:{sha256(origin.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"
            message = {"origin": origin, "asked": pause.requested, "reason": pause.reason, "by": cluster.own.address}
            cluster.notices.send(name, message, pause.until - now)

    def receive(notice: Notice) -> None:
        origin, asked, reason, by = (notice.fields.get(name) for name in ("origin", "asked", "reason", "by"))
        if isinstance(origin, str) and len(origin) <= MAX_NAME and isinstance(reason, str) and isinstance(by, str):
            now = time.monotonic()
            pauses.apply_remote(origin, Pause(now + min(notice.seconds, MAX_PAUSE), asked is True, reason[:200], by[:100]), now)

    pauses.on_paused = send
    cluster.notices.subscribe(KIND, receive)
