"""Hosts that this supernode redirected to another one, because its link is too slow for their task. Pure: `now` is monotonic seconds.

A download is redirected once. A download that registers again has found no other supernode, and is served.
"""

from __future__ import annotations

SECONDS = 60.0
"""Seconds after `begin` in which registrations are redirected."""

MAX_TASKS, MAX_DOWNLOADS = 256, 10_000
"""At these limits, the tasks that began first are dropped, and further downloads are served."""


class RedirectedHosts:
    """The redirected downloads of one supernode."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[float, set[str]]] = {}

    def begin(self, task: str, now: float) -> None:
        """Redirect the hosts of this task from now on."""
        self._tasks[task] = self._tasks.pop(task, (0.0, set()))
        self._tasks[task] = now + SECONDS, self._tasks[task][1]
        while len(self._tasks) > MAX_TASKS:
            del self._tasks[next(iter(self._tasks))]

    def should_redirect(self, task: str, cid: str, now: float) -> bool:
        """Whether to redirect this download now; True once for each download."""
        found = self._tasks.get(task)
        if found is None:
            return False
        until, sent = found
        if now >= until:
            del self._tasks[task]
            return False
        if cid in sent or len(sent) >= MAX_DOWNLOADS:
            return False
        sent.add(cid)
        return True
