"""Final refusals of origins, remembered so that a dead URL is not requested for each client. Pure; `now` is monotonic seconds.

Only final answers are remembered (1.x: the 404). An origin that was busy or down may have the file a second later, and an answer about one
client's headers, credentials or filtered parameters says nothing about another's. Where all clients of a task send the same request, what
the origin answers to one holds for all; such a refusal counts for REFUSED seconds, since who gives access may give it again.
"""

from __future__ import annotations

from typing import NamedTuple

from dfengine.errors import OriginError

MOST = 4096
"""Remembered at most, the oldest leave first."""

WORDS = '{"Code":12,"Msg":"url not reachable"}'
"""1.x's."""

FINAL = frozenset((404, 405, 410, 416, 451))
"""Statuses that hold for all clients of a task; its range is part of its name."""

REFUSED = 3.0
"""Seconds for which another refusal counts, of a task whose clients all send the same request."""

FOR_OTHERS = (401, 403)
"""Statuses that ask for credentials."""


class _Refusal(NamedTuple):
    message: str
    status: int
    until: float


def without_reason(message: str) -> str:
    """A refusal as 1.x says it, which gives no reason."""
    before, words, _ = message.partition(WORDS)
    return before + words


def reason_alone(message: str) -> str:
    """What else a refusal says than 1.x's words."""
    _, words, reason = message.partition(f"{WORDS}: ")
    return reason if words else message


class NegativeCache:
    """By task. interval: seconds for which one of FINAL counts."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._by_task: dict[str, _Refusal] = {}

    def remember(self, task: str, url: str, status: int, reason: str, now: float, for_all: bool = False) -> str:
        """The origin refused it; what to say of it, in 1.x's words and with the reason. status 0: it could not be reached.

        for_all: the refusal is of a request that all clients of the task send.
        """
        message = f'taskID: {task}, url: {url}: {WORDS}: {reason}'
        if status not in FINAL and not (for_all and 400 <= status < 500):
            return message
        self._by_task.pop(task, None)
        self._by_task[task] = _Refusal(message, status, now + (self._interval if status in FINAL else REFUSED))
        while len(self._by_task) > MOST:
            self._by_task.pop(next(iter(self._by_task)))
        return message

    def forget(self, task: str) -> None:
        """It may be asked for again."""
        self._by_task.pop(task, None)

    def check(self, task: str, now: float, prefix: str = "") -> None:
        """OriginError, its message after `prefix`, when the task was refused not long ago."""
        refusal = self._by_task.get(task)
        if refusal is not None and now < refusal.until:
            raise OriginError(prefix + refusal.message, refusal.status)
