"""Cache of origins' final refusals, so that a dead URL is not requested for each client. Pure; `now` is monotonic seconds.

Only final refusals are cached (1.x: the 404). An origin that was busy or down may have the file a second later, and a response to one
client's headers, credentials or filtered parameters does not apply to another client. Where all clients of a task send the same request,
the origin's response to one client applies to all; such a refusal is cached for REFUSED seconds, because access may be granted at any time.
"""

from __future__ import annotations

from typing import NamedTuple

from dfengine.errors import OriginError

MAX_REFUSALS = 4096
"""Refusals in the cache; the oldest are dropped first."""

WORDS = '{"Code":12,"Msg":"url not reachable"}'
"""1.x's message."""

FINAL = frozenset((404, 405, 410, 416, 451))
"""Statuses that apply to all clients of a task; the range is part of the task's name."""

REFUSED = 3.0
"""Seconds for which another refusal is cached, of a task whose clients all send the same request."""

FOR_OTHERS = (401, 403)
"""Statuses that request credentials."""


class _Refusal(NamedTuple):
    message: str
    status: int
    until: float


def without_reason(message: str) -> str:
    """Return a refusal as in 1.x, without the reason."""
    before, words, _ = message.partition(WORDS)
    return before + words


def reason_alone(message: str) -> str:
    """Return the reason of a refusal, without 1.x's message."""
    _, words, reason = message.partition(f"{WORDS}: ")
    return reason if words else message


class NegativeCache:
    """Refusals by task. interval: seconds for which a status of FINAL is cached."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._by_task: dict[str, _Refusal] = {}

    def remember(self, task: str, url: str, status: int, reason: str, now: float, for_all: bool = False) -> str:
        """Cache an origin's refusal, and return the message for clients: 1.x's, and the reason. status 0: the origin was not reachable.

        for_all: all clients of the task send the refused request.
        """
        message = f'taskID: {task}, url: {url}: {WORDS}: {reason}'
        if status not in FINAL and not (for_all and 400 <= status < 500):
            return message
        self._by_task.pop(task, None)
        self._by_task[task] = _Refusal(message, status, now + (self._interval if status in FINAL else REFUSED))
        while len(self._by_task) > MAX_REFUSALS:
            self._by_task.pop(next(iter(self._by_task)))
        return message

    def forget(self, task: str) -> None:
        """Drop the refusal of a task, which may then be requested again."""
        self._by_task.pop(task, None)

    def check(self, task: str, now: float, prefix: str = "") -> None:
        """Raise OriginError, its message after `prefix`, when a refusal of the task is cached."""
        refusal = self._by_task.get(task)
        if refusal is not None and now < refusal.until:
            raise OriginError(prefix + refusal.message, refusal.status)
