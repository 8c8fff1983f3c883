"""Runs the swarm, which has no clock and no timers, on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dfengine.net.event_log import NO_EVENTS, EventLog
from dfengine.supernode.complaint_verifier import ComplaintVerifier
from dfengine.supernode.download_registry import DownloadRegistry
from dfengine.supernode.parked_pulls import ParkedPulls
from dfengine.supernode.pull_answers import PullAnswers
from dfengine.supernode.swarm.swarm import BATCH, Swarm

SANCTIONS = {"blocked": "source_blocked", "isolated": "source_isolated", "released": "source_released"}
"""Sanction of the swarm -> event."""


class SwarmDriver:
    """Answers parked pulls, has complaints verified, and calls `Swarm.tick` at each deadline. due: loop time of the next call."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, swarm: Swarm, registry: DownloadRegistry, parked: ParkedPulls, answers: PullAnswers,
        verifier: ComplaintVerifier, events: EventLog = NO_EVENTS,
    ) -> None:
        self._events = events
        self._loop = loop
        self._swarm = swarm
        self._registry = registry
        self._parked = parked
        self._answers = answers
        self._verifier = verifier
        self.on_wrong_source: Callable[[str, int], None] | None = None
        """Called with the address of a peer server that sent this supernode itself wrong bytes."""
        self._timer: asyncio.TimerHandle | None = None
        self._waking = False
        self.due = float("inf")

    def wake(self) -> None:
        """After each event: answer parked pulls that became answerable, about BATCH at a time, and set the timer of the next deadline."""
        swarm, left = self._swarm, BATCH
        while swarm.wakeable and left > 0:
            task = next(iter(swarm.wakeable))
            left -= 1
            for cid, pull in swarm.answer_parked(task, self._loop.time()):
                self._parked.answer((task, cid), self._answers.answer(task, cid, pull))
                left -= 1
        if swarm.wakeable and not self._waking:
            self._waking = True
            self._loop.call_soon(self._continue)
        if swarm.complaints:
            self._verifier.start()
        if swarm.peers.sanctions:
            self._log_sanctions()
        if swarm.departed:
            self._registry.remove_silent()
        due = swarm.next_due()
        if due < self.due:
            if self._timer is not None:
                self._timer.cancel()
            self.due = due
            self._timer = self._loop.call_at(due + 0.001, self.tick)

    def _log_sanctions(self) -> None:
        sanctions = self._swarm.peers.sanctions
        while sanctions:
            sanction = sanctions.popleft()
            log = self._events.warning if sanction.kind == "isolated" else self._events.info
            source = f"{sanction.key[0]}:{sanction.key[1]}" if sanction.key[1] else sanction.key[0]
            wrong = (sanction.kind, sanction.why, sanction.client) == ("isolated", "digest", "")
            if self.on_wrong_source is not None and wrong and sanction.key[1]:
                self.on_wrong_source(sanction.key[0], sanction.key[1])
            log(SANCTIONS[sanction.kind], source=source, reason=sanction.why, client=sanction.client, task=sanction.task_id)

    def _continue(self) -> None:
        self._waking = False
        self.wake()

    def tick(self) -> None:
        """Run when a deadline is due."""
        self.due, self._timer = float("inf"), None
        self._swarm.tick(self._loop.time())
        self.wake()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
