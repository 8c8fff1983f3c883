"""Shares pins of copies with the cluster: a pin made at any supernode applies at all that have the copy, or get it later.
Of two notices about one task the later one applies, by the clocks of their supernodes."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from dfengine.supernode.copies.cache import TASK_ID
from dfengine.supernode.copies.retention import MAX_URL
from dfengine.task import redacted_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from dfengine.supernode.cluster.membership import Cluster
    from dfengine.supernode.cluster.notices import Notice
    from dfengine.supernode.copies.retention import Retention

KIND = "pin"

KEPT = 7 * 86400.0
"""Seconds for which Redis stores a notice of a pin. Each supernode sends its pins when it starts, and when Redis has lost them."""

MAX_NOTICES = 1024
"""Pins that a supernode sends on these occasions."""

CLOCK_SKEW = 120.0
"""Seconds by which another supernode's clock may be ahead."""


def share(kept: Retention, cluster: Cluster, post: Callable[..., object]) -> None:
    """Share from now on. post: calls a function on the loop's thread. Call before the cluster starts."""

    def send(task: str, url: str, pinned: bool, changed: float) -> None:
        fields = {"task": task, "url": redacted_url(url)[:MAX_URL], "pinned": pinned, "changed": changed}
        cluster.notices.send(f"{KIND}:{task}", fields, KEPT)

    def receive(notice: Notice) -> None:
        task, url, pinned, changed = (notice.fields.get(name) for name in ("task", "url", "pinned", "changed"))
        if not (isinstance(task, str) and TASK_ID.fullmatch(task) and isinstance(url, str) and isinstance(pinned, bool)):
            return
        if isinstance(changed, int | float) and 0 < changed < time.time() + CLOCK_SKEW:
            post(partial(kept.apply_remote, task, url[:MAX_URL], pinned, float(changed)))

    def repeat() -> None:
        for task, keep in kept.pins()[:MAX_NOTICES]:
            send(task, keep.url, True, keep.changed)

    kept.on_changed = send
    cluster.notices.subscribe(KIND, receive)
    cluster.notices.on_data_loss(partial(post, repeat))
    repeat()
