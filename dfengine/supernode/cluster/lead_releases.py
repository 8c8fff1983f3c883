"""The leads that a supernode gives up: they wait for a request to Redis, and for its answer.

Redis may process a request long after the supernode has stopped waiting for its answer, and the task may be led again by then. So each
request has a number, and Redis refuses a number that is not greater than the last one that it has received. Before a lead is requested
while the last request to release leads has no answer, an empty request with the same number is sent: once Redis has answered this, it
has either processed the earlier request already, or will refuse it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dfengine.supernode.cluster.redis_scripts import RedisScripts

MAX_RELEASES = 10_000
"""Tasks that wait to be released. Beyond these, tasks stay this supernode's as long as it runs."""

MAX_RELEASED_AT_ONCE = 500
"""Tasks that one request releases, with each heartbeat: Redis serves no other request meanwhile, for less than a millisecond."""


class LeadReleases:
    """The releases of one supernode, whose id is `own`. Any thread may use it; `settle` and `send` block, no other call does."""

    def __init__(self, scripts: RedisScripts, own: str) -> None:
        self._scripts, self._own = scripts, own
        self._lock = threading.Lock()
        self._waiting: dict[str, None] = {}
        """Tasks to release, in their order."""
        self._sent: dict[str, None] = {}
        """Those of the request that is under way, and that are not led again since."""
        self._number = self._settled = 0
        """The number of the last request, and the greatest number that Redis refuses by now."""

    def add(self, task: str) -> None:
        """Have the lead of a task released."""
        with self._lock:
            if len(self._waiting) + len(self._sent) < MAX_RELEASES:
                self._waiting[task] = None

    def keep(self, task: str) -> None:
        """Keep the lead of a task, which is about to be requested again."""
        with self._lock:
            self._waiting.pop(task, None)
            self._sent.pop(task, None)

    def settle(self) -> None:
        """Return once Redis releases no leads any more by the requests sent so far. Call before each request for a lead, in the thread
        that sends it. Raises ClusterError."""
        with self._lock:
            number = self._number
            if number == self._settled:
                return
        self._scripts.release([], self._own, number)
        self._note_settled(number)

    def send(self, run: Callable[[Callable[[], bool]], bool]) -> None:
        """Release tasks that wait for it. They wait until Redis has released them, unless they are led again. Called by one thread.

        run: sends a request and returns its answer, or raises ClusterError, as this does.
        """
        with self._lock:
            tasks = list(islice(self._waiting, MAX_RELEASED_AT_ONCE))
            if not tasks:
                return
            self._sent = dict.fromkeys(tasks)
            for task in tasks:
                del self._waiting[task]
            self._number = number = self._number + 1
        released = False
        try:
            released = run(lambda: self._scripts.release(tasks, self._own, number))
            self._note_settled(number)
        finally:
            with self._lock:
                if not released:
                    self._waiting = {**self._sent, **self._waiting}
                self._sent = {}

    def _note_settled(self, number: int) -> None:
        with self._lock:
            self._settled = max(self._settled, number)
