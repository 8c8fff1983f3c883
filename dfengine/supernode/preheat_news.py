"""Tells the cluster of this supernode's preheats, hears of the others', and has these cancelled there. On the loop's thread."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from dfengine.errors import BadValue, RemoteError
from dfengine.supernode.api_preheat import here, totals
from dfengine.supernode.preheat_job import Job, Part
from dfengine.supernode.told_preheats import REPEAT, SILENCE, ToldJob, ToldJobs, forgotten, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dfengine.supernode.cluster.membership import Cluster
    from dfengine.supernode.cluster.notices import Notice
    from dfengine.supernode.state import SupernodeState

JOB, CANCEL = "preheat", "cancel"
"""Kinds of notices."""

PERIOD = 1.0
"""Seconds between two looks at what has changed."""

PARTS = 256
"""Of a preheat with more parts, so many times more seldom."""

AT_ONCE = 32
"""Preheats that are told of in one look."""

KEPT = 3600.0
"""Seconds for which others know of one that has ended."""


class PreheatNews:
    """own: this supernode's preheats. cancel: ends one of them, or forgets it."""

    def __init__(self, state: SupernodeState, cluster: Cluster, own: Callable[[], Iterable[Job]], cancel: Callable[[Job], None]) -> None:
        self._state, self._cluster, self._own, self._cancel = state, cluster, own, cancel
        self._told = ToldJobs()
        self._said: dict[str, tuple[dict[str, object], float]] = {}
        """Job -> what was said of it last, and when."""
        post = state.loop.call_soon_threadsafe
        cluster.board.listen(JOB, lambda notice: post(self._heard, notice))
        cluster.board.listen(CANCEL, lambda notice: post(self._asked, notice))
        cluster.board.repeat(partial(post, self._said.clear))
        self._timer: asyncio.TimerHandle = state.loop.call_later(PERIOD, self._look)

    def told(self) -> list[ToldJob]:
        """Preheats of the other supernodes, as they are now."""
        return self._told.all({each.id for each in self._cluster.others}, self._state.now())

    def cancel(self, job: ToldJob) -> None:
        """Have its supernode end it, or all forget it. Raises RemoteError when nobody would hear of it."""
        gone = job.owner not in {each.id for each in self._cluster.others}
        if not gone and not self._cluster.reached:
            raise RemoteError(f"it is of supernode {job.supernode}, and the cluster's Redis does not answer: cancel it there")
        if job.over:
            self._told.drop(job)
        self._cluster.board.say(f"{CANCEL}:{job.owner}{job.id}", {"owner": job.owner, "id": job.id, "over": job.over}, SILENCE)

    def _heard(self, notice: Notice) -> None:
        try:
            self._told.heard(notice.said, notice.by, notice.at, self._state.now())
        except BadValue:
            self._cluster.board.refused += 1

    def _asked(self, notice: Notice) -> None:
        """Somebody cancels a preheat at another supernode."""
        owner, id, over = (notice.said.get(name) for name in ("owner", "id", "over"))
        if owner == self._cluster.own.id:
            job = next((job for job in self._own() if job.id == id), None)
            if job is not None and job.over == (over is True):
                self._cancel(job)
                self._state.wake()
        elif over is True:
            for each in self.told():
                if (each.owner, each.id) == (owner, id) and each.over:
                    self._told.drop(each)

    def _look(self) -> None:
        self._timer = self._state.loop.call_later(PERIOD, self._look)
        now, address, left = self._state.now(), self._cluster.own.address, AT_ONCE
        jobs = {job.id: job for job in self._own()}
        for id in [id for id in self._said if id not in jobs]:
            del self._said[id]
            self._cluster.board.say(self._name(id), forgotten(id), SILENCE)
        for id, job in jobs.items():
            before, at = self._said.get(id, ({}, -REPEAT))
            if job.over and before.get("state") == job.state and before.get("updated") == job.updated:
                continue
            if left and now - at >= PERIOD * (1 + len(job.parts) / PARTS):
                said = say(job, address, totals(self._state, job), self._here)
                if said != before or now - at >= REPEAT:
                    left -= 1
                    self._said[id] = said, now
                    self._cluster.board.say(self._name(id), said, KEPT if job.over else SILENCE)

    def _here(self, part: Part) -> int:
        return here(self._state, part)

    def _name(self, id: str) -> str:
        return f"{JOB}:{self._cluster.own.id}{id}"

    def close(self) -> None:
        """The process ends."""
        self._timer.cancel()
